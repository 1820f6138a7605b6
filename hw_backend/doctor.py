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
_CAP_SYS_NICE = 23
_REAL_TIME = 2  # priority of the manager's control thread


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        state: `ok`, `advice` (it works, something would be better) or `missing` (it does not work).
        found: what is there.
        mend: the command that mends it; empty where `found` says that there is nothing to mend.
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
        _priority(root),
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
            "permissions",
            ADVICE,
            "not root: virtual ports only",
            "sudo flexnfv dataplane up CHAIN --port PCI_ADDRESS",
        )
    return Check(
        "permissions",
        MISSING,
        "not root, and XDG_RUNTIME_DIR is not set",
        "export XDG_RUNTIME_DIR=/run/user/$(id -u)",
    )


def _kernel(root: Path) -> Check:
    release = (root / "proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    major, minor = (int(part) for part in re.findall(r"\d+", release)[:2])
    if (major, minor) < (5, 9):
        return Check(
            "kernel",
            MISSING,
            f"Linux {release} lacks pidfd_open or close_range",
            "apt-get install linux-image-amd64 && reboot",
        )
    return Check("kernel", OK, f"Linux {release}")


def _priority(root: Path) -> Check:
    """The manager's control thread runs in real time, where it may."""
    status = root / "proc/self/status"
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status.read_text(encoding="utf-8"), re.MULTILINE)
    capable = found is not None and int(found[1], 16) >> _CAP_SYS_NICE & 1
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if capable or limit == resource.RLIM_INFINITY or limit >= _REAL_TIME:
        return Check("priority", OK, "the control thread may go before other programs")
    if os.geteuid() == 0:
        return Check(
            "priority",
            ADVICE,
            "root without CAP_SYS_NICE: commands may take longer",
            "docker run --cap-add=SYS_NICE IMAGE",
        )
    return Check(
        "priority",
        ADVICE,
        "no real time for the control thread: commands may take longer",
        'echo "$USER - rtprio 2" | sudo tee /etc/security/limits.d/flexnfv.conf; log in anew',
    )


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    if cores < 3:
        return Check(
            "cores",
            ADVICE,
            f"{cores}: manager, NFs and generator share them; instances add no speed unless paced",
            "flexnfv dataplane up --pacing --scale 1/20",
        )
    return Check("cores", OK, f"{cores} may be used")


def _isolated(root: Path) -> Check:
    path = root / "sys/devices/system/cpu/isolated"
    isolated = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if isolated:
        return Check("isolcpus", OK, f"CPUs {isolated} are left alone by the scheduler")
    present = (root / "sys/devices/system/cpu/present").read_text(encoding="utf-8").strip()
    last = int(re.split(r"[-,]", present)[-1])
    if last < 2:
        return Check("isolcpus", OK, "no CPU is isolated; nothing to mend with so few")
    words = f"isolcpus=1-{last} nohz_full=1-{last}"
    return Check(
        "isolcpus",
        ADVICE,
        "no CPU is isolated: other programs may delay packets",
        f"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{words} /' /etc/default/grub && update-grub && reboot",
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
        yield _nic(device, driver)
    if not found:
        yield Check("NIC", OK, "none: memif, af_packet, tap and pcap ports work, nothing to mend")


def _nic(device: Path, driver: str) -> Check:
    """One network device; those of mlx5 stay the kernel's, and DPDK's driver works beside it."""
    found = f"{device.name} is bound to {driver}"
    if driver in ("vfio-pci", "uio_pci_generic", "igb_uio"):
        return Check("NIC", OK, found)
    if driver != "mlx5_core":
        bind = f"modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {device.name}"
        return Check("NIC", ADVICE, f"{found}: the kernel's", bind)
    manager = build_folder() / MANAGER
    if manager.is_file() and b"mlx5_pci" in manager.read_bytes():
        return Check("NIC", OK, found)
    interface = next((path.name for path in device.glob("net/*")), "INTERFACE")
    return Check(
        "NIC",
        ADVICE,
        f"{found}, and this build has no mlx5 driver: it works as the kernel's interface",
        f"flexnfv dataplane up CHAIN --port af_packet:{interface}",
    )


def _frequency(root: Path) -> Check:
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    if not folder.exists():
        found = "no driver: parked cores keep their frequency"
        if "hypervisor" in (root / "proc/cpuinfo").read_text(encoding="utf-8").split():
            return Check("cpufreq", ADVICE, f"{found}; nothing to mend in a virtual machine")
        return Check("cpufreq", ADVICE, found, "modprobe acpi-cpufreq")
    governors = (folder / "scaling_available_governors").read_text(encoding="utf-8").split()
    if "userspace" not in governors:
        pstate = "sys/devices/system/cpu/intel_pstate/status"
        passive = f"echo passive >/{pstate} && " if (root / pstate).exists() else ""
        return Check(
            "cpufreq",
            ADVICE,
            f"governors {', '.join(governors)}: none lets us set the frequency",
            f"{passive}modprobe cpufreq_userspace",
        )
    return Check("cpufreq", OK, "the frequency of parked cores can be lowered")
