"""Governors of the NFs' CPUs: in the end they are as before the chain, whoever was killed.

An NF takes its CPU's governor through DPDK's power library, and gives it back when it stops. One
that is killed gives nothing back, and of several on one CPU the last gives back what the first has
set. So the governors are noted before the start, and put back when the manager is gone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

GOVERNORS_FILE = "governors"
_CPUS = Path("/sys/devices/system/cpu")
_LINE = re.compile(r"(\d{1,4}) ([a-z_]+) (\d*)")


def note_governors(folder: Path, cpus: Sequence[int]) -> None:
    """Note governor, and frequency where it is set by hand, of the CPUs that have a driver."""
    lines = []
    for cpu in sorted(set(cpus)):
        with suppress(OSError):
            governor = _file(cpu, "scaling_governor").read_text().strip()
            by_hand = governor == "userspace"
            speed = _file(cpu, "scaling_setspeed").read_text().strip() if by_hand else ""
            lines.append(f"{cpu} {governor} {speed}\n")
    draft = folder / f".{GOVERNORS_FILE}"
    draft.write_text("".join(lines), encoding="utf-8")
    draft.replace(folder / GOVERNORS_FILE)


def put_back_governors(folder: Path) -> None:
    """Put back what was noted, where something else stands now."""
    try:
        noted = (folder / GOVERNORS_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for cpu, governor, speed in _LINE.findall(noted):
        with suppress(OSError):  # this is not root, or the driver has gone
            path = _file(int(cpu), "scaling_governor")
            if path.read_text().strip() != governor:
                path.write_text(governor)
            if speed:
                _file(int(cpu), "scaling_setspeed").write_text(speed)
    (folder / GOVERNORS_FILE).unlink(missing_ok=True)


def _file(cpu: int, name: str) -> Path:
    return _CPUS / f"cpu{cpu}" / "cpufreq" / name
