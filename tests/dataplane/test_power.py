"""Governors and frequencies of the NFs' CPUs, on a cpufreq driver made of files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flexnfv.hw_backend import power
from flexnfv.hw_backend.power import GOVERNORS_FILE, note_governors, put_back_governors
from tests.dataplane.running_manager import BLOCKED, STOPPED, Manager


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four CPUs with a driver, and a fifth without."""
    folder = tmp_path / "cpus"
    monkeypatch.setattr(power, "_CPUS", folder)
    for cpu in range(4):
        (folder / f"cpu{cpu}" / "cpufreq").mkdir(parents=True)
        set_governor(folder, cpu, "ondemand")
    (folder / "cpu4").mkdir()
    return folder


def set_governor(folder: Path, cpu: int, governor: str, speed: str = "<unsupported>") -> None:
    (folder / f"cpu{cpu}/cpufreq/scaling_governor").write_text(f"{governor}\n")
    (folder / f"cpu{cpu}/cpufreq/scaling_setspeed").write_text(f"{speed}\n")


def stands(folder: Path, cpu: int, name: str = "scaling_governor") -> str:
    return (folder / f"cpu{cpu}/cpufreq" / name).read_text().strip()


def test_noted_governors_are_put_back_and_others_left_alone(cpus: Path, tmp_path: Path) -> None:
    set_governor(cpus, 2, "userspace", "1600000")
    note_governors(tmp_path, [2, 1, 4, 1])
    for cpu in range(4):
        set_governor(cpus, cpu, "userspace", "800000")
    set_governor(cpus, 3, "powersave")
    put_back_governors(tmp_path)
    assert [stands(cpus, cpu) for cpu in range(4)] == [
        "userspace",
        "ondemand",
        "userspace",
        "powersave",
    ]
    assert stands(cpus, 2, "scaling_setspeed") == "1600000"
    assert stands(cpus, 0, "scaling_setspeed") == "800000"
    assert not (tmp_path / GOVERNORS_FILE).exists()
    put_back_governors(tmp_path)  # nothing is noted: nothing to do


@pytest.mark.parametrize("text", ["", "x", "1\n", "../../x y \n", "99 ondemand \n"])
def test_odd_notes_change_nothing(cpus: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / GOVERNORS_FILE).write_text(text)
    put_back_governors(tmp_path)
    assert [stands(cpus, cpu) for cpu in range(4)] == ["ondemand"] * 4


PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
from flexnfv.chain import load_chain
from flexnfv.hw_backend.processes import alive
from flexnfv.hw_backend.manager_process import Placement, ManagerProcess

folder, killed, cores = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
last = max(os.sched_getaffinity(0))
first = min(os.sched_getaffinity(0))

def governors():
    cpus = Path("/sys/devices/system/cpu").glob("cpu[0-9]*")
    return {c.name: (c / "cpufreq/scaling_governor").read_text().strip() for c in cpus}

def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

chain = load_chain("paper")
chain = chain.replace(nf=[nf.model_dump() | {"cores_per_instance": cores} for nf in chain.nf])
nfs = (last,) if cores == 1 else (first, last)
with ManagerProcess(chain, folder=folder, placement=Placement((first,), nfs, (first,))) as manager:
    client = manager.client
    pids = client.read().pids
    told = {"last": f"cpu{last}", "runs": governors()}
    told["power"] = int(client.snapshot().header["power"])
    told["affinity"] = [sorted(os.sched_getaffinity(pid)) for pid in pids]
    told["cpus"] = [first, last]
    if killed == "nf":
        client.kill(1, 0)
        until(lambda: not alive(pids[1]))
    if killed == "manager":
        os.kill(manager.pid, signal.SIGKILL)
        until(lambda: not alive(manager.pid))
told["after"] = governors()
print(json.dumps(told))
"""


def run(tmp_path: Path, killed: str = "nobody", cores: int = 1) -> dict[str, Any]:
    """What a manager finds where every CPU has a driver, and leaves behind."""
    script = Path(__file__).with_name("fake_cpufreq.sh")
    if shutil.which("unshare") is None:
        pytest.fail("unshare is not installed (package util-linux)")
    result = subprocess.run(
        [
            *("unshare", "-m", "sh", str(script), str(tmp_path)),
            *(sys.executable, "-c", PROGRAM, str(tmp_path / "m"), killed, str(cores)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return told


@pytest.mark.dataplane
@pytest.mark.parametrize("killed", ["nobody", "nf", "manager"])
def test_governors_are_as_before_whoever_was_killed(tmp_path: Path, killed: str) -> None:
    told = run(tmp_path, killed)
    assert told["power"] == 1
    assert told["runs"][told["last"]].startswith("userspace")
    others = {cpu for cpu in told["runs"] if cpu != told["last"]}
    assert {told["runs"][cpu] for cpu in others} == {"ondemand"}
    assert set(told["after"].values()) == {"ondemand"}


@pytest.mark.dataplane
def test_an_instance_of_several_cores_runs_on_them_and_leaves_their_frequency(
    tmp_path: Path,
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU")
    told = run(tmp_path, cores=2)
    assert told["affinity"] == [told["cpus"]] * 3
    assert told["power"] == 0
    assert set(told["runs"].values()) == {"ondemand"}
    assert (
        "an instance of 2 cores keeps their frequency as it is"
        in (tmp_path / "m" / "nf.log").read_text()
    )


@pytest.mark.dataplane
def test_a_core_that_is_another_instances_second_keeps_its_frequency(tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("CPUs 0 and 1 are not both allowed")
    text = (
        "type wide function=monitor cores=2 min=0 max=1\n"
        "type first function=monitor max=1\n"
        "type second function=monitor min=0 max=1\n"
        "chain main types=wide,first,second\nport net_null0 peer=0\n"
    )
    wrapper = ["unshare", "-m", "sh", str(Path(__file__).with_name("fake_cpufreq.sh"))]
    options = ["--cores", "0", "--nf-cores", "0,1"]
    with Manager(tmp_path, text, *options, wrapper=[*wrapper, str(tmp_path)]) as manager:
        manager.until(lambda: manager.page().power == 1, "a managed core")
        assert [manager.instance(t, 0).core for t in range(3)] == [0, 0, 1]
        speed = (tmp_path / "speed").read_text()
        manager.command("BLOCK", nf=2, slot=0)
        manager.await_states(2, [BLOCKED])
        assert (tmp_path / "speed").read_text() == speed
        manager.command("STOP", nf=0, slot=0)
        manager.await_states(0, [STOPPED])
        manager.command("RERUN", nf=2, slot=0)
        manager.command("BLOCK", nf=2, slot=0)  # now it has the core for itself
        manager.await_states(2, [BLOCKED])
        manager.until(
            lambda: (tmp_path / "speed").read_text().startswith("800000"), "the lowest frequency"
        )
