"""Experiments: the paper's evaluation, the model against a live chain, and calibration."""
