"""What this machine has and lacks for the dataplane, and the commands that mend it."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flexnfv.hw_backend.build import (
    MANAGER,
    NF,
    PAGE_LIBRARY,
    PKTGEN,
    build_folder,
    missing_packages,
)

OK, ADVICE, MISSING = "ok", "advice", "missing"

HUGE_PAGES = 1024
"""Of 2 MB: a manager with its packets, and test peers beside it."""
FREE_HUGE_PAGES = 128
"""Free ones that a small chain needs."""


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        state: `ok`, `advice` (it works, something would be better) or `missing` (it does not work).
        found: what is there.
        mend: the command that mends it, if any.
    """

    name: str
    state: str
    found: str
    mend: str = ""


def examine(root: Path = Path("/")) -> list[Check]:
    """All findings.

    Args:
        root: where `proc` and `sys` are, for tests.
    """
    return [
        _packages(),
        _built(),
        _huge_pages(root),
        _huge_mount(root),
        _permissions(),
        _kernel(root),
        _real_time(),
        _cores(),
        _isolated(root),
        *_nics(root),
        _frequency(root),
    ]


def _packages() -> Check:
    missing = missing_packages()
    if missing:
        return Check(
            "packages",
            MISSING,
            f"{', '.join(missing)} not installed",
            f"apt-get install {' '.join(missing)}",
        )
    return Check("packages", OK, "compiler, meson, DPDK >= 22.11 and its libraries are installed")


def _built() -> Check:
    folder = build_folder()
    lacking = [p.name for p in (MANAGER, NF, PKTGEN, PAGE_LIBRARY) if not (folder / p).is_file()]
    if lacking:
        return Check("dataplane", MISSING, f"not built in {folder}", "flexnfv dataplane build")
    return Check("dataplane", OK, f"built in {folder}")


def _meminfo(root: Path) -> dict[str, int]:
    text = (root / "proc/meminfo").read_text(encoding="utf-8")
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}


def _huge_pages(root: Path) -> Check:
    memory = _meminfo(root)
    total, free = memory.get("HugePages_Total", 0), memory.get("HugePages_Free", 0)
    size = memory.get("Hugepagesize", 2048)
    found = f"{free} of {total} huge pages of {size // 1024} MB free"
    mend = f"sysctl vm.nr_hugepages={HUGE_PAGES}"
    if total == 0:
        return Check("huge pages", MISSING, "none", mend)
    if free * size < FREE_HUGE_PAGES * 2048:
        return Check("huge pages", MISSING, found, mend)
    if total * size < HUGE_PAGES * 2048:
        return Check("huge pages", ADVICE, f"{found}: enough for small chains", mend)
    return Check("huge pages", OK, found)


def _huge_mount(root: Path) -> Check:
    mounts = [
        fields[1]
        for line in (root / "proc/mounts").read_text(encoding="utf-8").splitlines()
        if len(fields := line.split()) > 2 and fields[2] == "hugetlbfs"
    ]
    writable = [mount for mount in mounts if os.access(mount, os.W_OK)]
    if not mounts:
        return Check("hugetlbfs", MISSING, "not mounted", "mount -t hugetlbfs nodev /dev/hugepages")
    if not writable:
        return Check(
            "hugetlbfs", MISSING, f"{mounts[0]} is not writable", f"sudo chmod 1777 {mounts[0]}"
        )
    return Check("hugetlbfs", OK, f"mounted at {writable[0]}")


def _permissions() -> Check:
    if os.geteuid() == 0:
        return Check("permissions", OK, "root")
    if os.environ.get("XDG_RUNTIME_DIR"):
        return Check(
            "permissions", ADVICE, "not root: virtual ports only", "run as root to use NICs"
        )
    return Check(
        "permissions",
        MISSING,
        "not root, and XDG_RUNTIME_DIR is not set",
        "export XDG_RUNTIME_DIR=/run/user/$(id -u), or run as root",
    )


def _kernel(root: Path) -> Check:
    release = (root / "proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    major, minor = (int(part) for part in re.findall(r"\d+", release)[:2])
    if (major, minor) < (5, 9):
        return Check(
            "kernel",
            MISSING,
            f"Linux {release} lacks pidfd_open or close_range",
            "use 5.9 or later",
        )
    return Check("kernel", OK, f"Linux {release}")


def _real_time() -> Check:
    if os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0:
        return Check("real time", OK, "the control thread may have real-time priority")
    return Check(
        "real time",
        ADVICE,
        "no real-time priority: commands may take longer",
        "add to /etc/security/limits.conf: YOUR_USER - rtprio 1",
    )


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    if cores < 3:
        return Check(
            "cores",
            ADVICE,
            f"{cores}: manager, NFs and generator share them; instances add no speed",
            "pace instances (`up --pacing --scale 1/20`): then scaling is real",
        )
    return Check("cores", OK, f"{cores} may be used")


def _isolated(root: Path) -> Check:
    path = root / "sys/devices/system/cpu/isolated"
    isolated = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if isolated:
        return Check("isolcpus", OK, f"CPUs {isolated} are left alone by the scheduler")
    return Check(
        "isolcpus",
        ADVICE,
        "no CPU is isolated: other programs may delay packets",
        "add isolcpus=2-N nohz_full=2-N to the kernel's command line",
    )


def _nics(root: Path) -> Iterator[Check]:
    """PCI network devices (class 02) and the drivers that they are bound to."""
    devices = root / "sys/bus/pci/devices"
    found = False
    for device in sorted(devices.glob("*")) if devices.exists() else []:
        if not (device / "class").read_text(encoding="utf-8").startswith("0x02"):
            continue
        found = True
        driver = (device / "driver").resolve().name if (device / "driver").exists() else "none"
        if driver in ("vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core"):
            yield Check("NIC", OK, f"{device.name} is bound to {driver}")
        else:
            yield Check(
                "NIC",
                ADVICE,
                f"{device.name} is bound to {driver}: the kernel's",
                f"modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {device.name}",
            )
    if not found:
        yield Check("NIC", ADVICE, "none: memif, af_packet, tap and pcap ports work", "")


def _frequency(root: Path) -> Check:
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    if not folder.exists():
        return Check("cpufreq", ADVICE, "no driver: parked cores keep their frequency", "")
    governors = (folder / "scaling_available_governors").read_text(encoding="utf-8").split()
    if "userspace" not in governors:
        return Check(
            "cpufreq",
            ADVICE,
            f"governors {', '.join(governors)}: none lets us set the frequency",
            "add intel_pstate=passive to the kernel's command line; modprobe cpufreq_userspace",
        )
    return Check("cpufreq", OK, "the frequency of parked cores can be lowered")
