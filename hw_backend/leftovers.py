"""What DPDK leaves of a process that was killed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_OURS = re.compile(r"flexnfv[-_][A-Za-z0-9_-]{1,60}")
"""DPDK file prefixes of our managers and generators."""


def is_ours(prefix: str) -> bool:
    """Whether a DPDK file prefix is one that we give: no other program's, no pattern, no path."""
    return _OURS.fullmatch(prefix) is not None


def remove_dpdk_files(prefix: str) -> None:
    """Remove what a killed primary process left of its runtime folder and its huge pages.

    Nothing is removed under a prefix that is not ours: an empty one would mean everybody's.
    """
    if not is_ours(prefix):
        return
    shutil.rmtree(_runtime() / prefix, ignore_errors=True)
    for mount in huge_mounts():
        for path in mount.glob(f"{prefix}map_*"):
            path.unlink(missing_ok=True)


def huge_mounts() -> Iterator[Path]:
    """Where file systems of huge pages are mounted; a space is written as \\040 there."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "hugetlbfs":
            yield Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount))


def _runtime() -> Path:
    """Where DPDK keeps the files of its processes."""
    if os.geteuid() == 0:
        return Path("/var/run/dpdk")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / "dpdk"
