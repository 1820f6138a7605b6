"""What made a result: revision, versions, machine. For reports; no result depends on it."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from flexnfv import __version__

_PACKAGES = ("numpy", "scipy", "numba", "onnxruntime", "torch", "stable-baselines3", "ray")


@cache
def made_with() -> dict[str, str]:
    """Revision, processor, kernel and versions by name."""
    found = {
        "flexnfv": __version__,
        "revision": revision(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str:
    """Git revision of the source, with `+` where it has changes; "" outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        # An installed wheel may lie in somebody else's checkout.
        if not git("ls-files", "--", Path(__file__).name):
            return ""
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
