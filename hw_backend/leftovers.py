"""What DPDK leaves of a process that was killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def remove_dpdk_files(prefix: str) -> None:
    """Remove what a killed primary process left of its runtime folder and its huge pages."""
    shutil.rmtree(_runtime() / prefix, ignore_errors=True)
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "hugetlbfs":
            for path in Path(mount).glob(f"{prefix}map_*"):
                path.unlink(missing_ok=True)


def _runtime() -> Path:
    """Where DPDK keeps the files of its processes."""
    if os.geteuid() == 0:
        return Path("/var/run/dpdk")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / "dpdk"
