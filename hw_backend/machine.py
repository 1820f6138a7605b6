"""What the machine is, in a line: reports name it beside every figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, CPUs that may be used, kernel."""
    cpus = len(os.sched_getaffinity(0))
    return f"{processor()}, {cpus} CPUs, Linux {platform.release()}"
