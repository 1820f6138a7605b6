"""Scaling policies: they see readings, never a backend. Each is a registered entry point."""
