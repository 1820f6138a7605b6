"""What the doctor finds on machines that lack something."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from flexnfv.hw_backend import doctor
from flexnfv.hw_backend.doctor import ADVICE, MISSING, OK, Check, examine


class Machine:
    """A `proc` and a `sys` with what a dataplane needs; a test takes something away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.huge = root / "hugepages"
        self.huge.mkdir()
        self.pages(1024, 900)
        self.write("proc/mounts", f"nodev {self.huge} hugetlbfs rw 0 0\n")
        self.write("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n")
        self.write("proc/self/status", "CapEff:\t000001ffffffffff\n")
        self.write("proc/cpuinfo", "flags : fpu sse2\n")
        self.write("sys/devices/system/cpu/present", "0-7\n")
        self.write("sys/devices/system/cpu/isolated", "2-7\n")
        cpufreq = "sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors"
        self.write(cpufreq, "performance userspace\n")
        self.nic("vfio-pci")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def pages(self, total: int, free: int) -> None:
        text = f"HugePages_Total: {total}\nHugePages_Free: {free}\nHugepagesize: 2048 kB\n"
        self.write("proc/meminfo", text)

    def nic(self, driver: str) -> None:
        self.write("sys/bus/pci/devices/0000:3b:00.0/class", "0x020000\n")
        self.write("sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n")  # no network device
        target = self.root / "sys/bus/pci/drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        link = self.root / "sys/bus/pci/devices/0000:3b:00.0/driver"
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in examine(self.root) if check.name == name)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_that_has_everything(machine: Machine) -> None:
    for name in ("huge pages", "hugetlbfs", "kernel", "priority", "isolcpus", "NIC", "cpufreq"):
        assert machine[name].state == OK, machine[name]
        assert machine[name].mend == ""


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(0, 0, MISSING), (1024, 100, MISSING), (512, 500, ADVICE), (1024, 1024, OK)],
)
def test_huge_pages(machine: Machine, total: int, free: int, state: str) -> None:
    machine.pages(total, free)
    check = machine["huge pages"]
    assert check.state == state
    assert check.mend == ("" if state == OK else "sysctl vm.nr_hugepages=1024")


def test_huge_pages_that_are_not_mounted(machine: Machine) -> None:
    machine.write("proc/mounts", "proc /proc proc rw 0 0\n")
    assert machine["hugetlbfs"].state == MISSING
    assert machine["hugetlbfs"].mend == "mount -t hugetlbfs nodev /dev/hugepages"


@pytest.mark.parametrize(("release", "state"), [("5.8.18", MISSING), ("5.9.0", OK), ("6.1", OK)])
def test_kernel(machine: Machine, release: str, state: str) -> None:
    machine.write("proc/sys/kernel/osrelease", release)
    assert machine["kernel"].state == state


def test_a_nic_that_the_kernel_holds_is_named_with_the_command_that_binds_it(
    machine: Machine,
) -> None:
    machine.nic("ixgbe")
    assert machine["NIC"].state == ADVICE
    assert machine["NIC"].mend.endswith("--bind=vfio-pci 0000:3b:00.0")


def test_governors_without_userspace(machine: Machine) -> None:
    folder = "sys/devices/system/cpu/cpu0/cpufreq"
    machine.write(f"{folder}/scaling_available_governors", "performance powersave\n")
    assert machine["cpufreq"].state == ADVICE
    assert machine["cpufreq"].mend == "modprobe cpufreq_userspace"
    machine.write("sys/devices/system/cpu/intel_pstate/status", "active\n")
    assert machine["cpufreq"].mend.startswith("echo passive >/sys/devices/system/cpu/intel_pstate")


def test_no_cpufreq_driver(machine: Machine) -> None:
    shutil.rmtree(machine.root / "sys/devices/system/cpu/cpu0/cpufreq")
    assert machine["cpufreq"].mend == "modprobe acpi-cpufreq"
    machine.write("proc/cpuinfo", "flags : fpu hypervisor sse2\n")
    assert machine["cpufreq"].mend == ""
    assert "nothing to mend" in machine["cpufreq"].found


@pytest.mark.parametrize(("driver", "state"), [(b"..mlx5_pci..", OK), (b"..ixgbe..", ADVICE)])
def test_an_mlx5_works_where_the_build_has_its_driver(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: bytes, state: str
) -> None:
    monkeypatch.setenv("FLEXNFV_DATAPLANE_BUILD", str(tmp_path))
    (tmp_path / "manager").mkdir()
    (tmp_path / "manager/flexnfv-manager").write_bytes(driver)
    machine.nic("mlx5_core")
    machine.write("sys/bus/pci/devices/0000:3b:00.0/net/ens1/mtu", "1500\n")
    assert machine["NIC"].state == state
    mend = "flexnfv dataplane up CHAIN --port af_packet:ens1"
    assert machine["NIC"].mend == ("" if state == OK else mend)


@pytest.mark.parametrize(
    ("capabilities", "limit", "user", "mend"),
    [
        (1 << 23, 0, 1000, ""),
        (0, 2, 1000, ""),
        (0, -1, 1000, ""),
        (0, 1, 1000, "limits.d"),
        (0, 0, 0, "--cap-add=SYS_NICE"),
    ],
)
def test_the_priority_that_the_manager_takes(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: int,
    limit: int,
    user: int,
    mend: str,
) -> None:
    machine.write("proc/self/status", f"Name:\tx\nCapEff:\t{capabilities:016x}\n")
    limits = {resource.RLIMIT_RTPRIO: limit}
    monkeypatch.setattr("resource.getrlimit", lambda kind: (limits.get(kind, 99), 0))
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert (machine["priority"].state == OK) == (not mend)
    assert mend in machine["priority"].mend


def test_isolation_names_the_cpus_that_there_are(machine: Machine) -> None:
    machine.write("sys/devices/system/cpu/isolated", "\n")
    assert "isolcpus=1-7 nohz_full=1-7" in machine["isolcpus"].mend
    machine.write("sys/devices/system/cpu/present", "0-1\n")
    assert machine["isolcpus"].state == OK


def test_whatever_is_not_well_has_a_command_or_needs_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(machine.root / "sys/bus")
    shutil.rmtree(machine.root / "sys/devices/system/cpu/cpu0")
    machine.write("sys/devices/system/cpu/isolated", "\n")
    machine.write("proc/sys/kernel/osrelease", "4.19\n")
    machine.write("proc/mounts", "")
    machine.write("proc/self/status", "CapEff:\t0\n")
    machine.write("proc/cpuinfo", "flags : hypervisor\n")
    machine.pages(0, 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    findings = examine(machine.root)
    assert sum(finding.state != OK for finding in findings) > 5
    for finding in findings:
        assert finding.state == OK or finding.mend or "nothing to mend" in finding.found, finding


def test_packages_and_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda: ["meson", "libdpdk-dev"])
    monkeypatch.setenv("FLEXNFV_DATAPLANE_BUILD", str(tmp_path / "nowhere"))
    assert machine["packages"].mend == "apt-get install meson libdpdk-dev"
    assert machine["dataplane"].state == MISSING
    assert machine["dataplane"].mend == "flexnfv dataplane build"


def test_without_root_and_without_a_runtime_folder(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert machine["permissions"].state == MISSING
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert machine["permissions"].state == ADVICE
