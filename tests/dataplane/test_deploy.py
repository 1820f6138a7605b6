"""A deployment on the dataplane: the manager's own law has the chain whenever nobody else does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.cli import main
from flexnfv.deploy.status import read_status
from flexnfv.errors import BackendError
from flexnfv.hw_backend import running
from flexnfv.hw_backend.abi import CONTROLS, Snapshot
from flexnfv.hw_backend.client import Client
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import PktgenOptions
from flexnfv.hw_backend.processes import alive
from flexnfv.states import RUNNING
from flexnfv.traces import Trace

pytestmark = pytest.mark.dataplane

INTERVAL_S = 0.1
STATUS_S = 0.02
TAKEN_WITHIN = 3
"""Intervals since the last word of a controller after which the law has the chain."""


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    """The paper's chain at 100 ms."""
    shipped = (resources.files("flexnfv") / "chains" / "paper.toml").read_text(encoding="utf-8")
    path = tmp_path / "quick.toml"
    path.write_text(shipped.replace("interval_s = 1.0", f"interval_s = {INTERVAL_S}"))
    return path


@pytest.fixture
def manager(chain_file: Path, tmp_path: Path) -> Iterator[ManagerProcess]:
    """A manager whose law somebody switched off; rings that outlast a stall of the machine."""
    options = ManagerOptions(
        scale=0.01, pacing=True, law=False, status_s=STATUS_S, ring_size=1 << 15
    )
    with ManagerProcess(load_chain(chain_file), folder=tmp_path / "m", options=options) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a deployment is to start its manager; one that still runs there is ended."""
    place = tmp_path / "own"
    yield place
    if (place / "control.sock").exists():
        running.end(place)


@pytest.fixture
def deploy(chain_file: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a deployment that records in `tmp_path / name`; returns once it has decided."""
    started = []

    def begin(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flexnfv.cli", "deploy", "--chain", str(chain_file)),
                *("--policy", "watermark", "--out", str(tmp_path / name), "--json", *arguments),
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        status = tmp_path / name / "status.json"
        wait_for(lambda: status.exists() and json.loads(status.read_text())["intervals"] > 2)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Its exit code, as soon as it has one: its policies may keep its output open for longer."""
    process.send_signal(number)
    return process.wait(timeout=60)


def control(snapshot: Snapshot) -> str:
    return CONTROLS[int(snapshot.header["control"])]


def pages(client: Client, until: Callable[[Snapshot], bool]) -> list[Snapshot]:
    """Every page that the manager publishes, up to the first of which `until` holds."""
    seen = [client.read()]

    def done() -> bool:
        page = client.read()
        if page.time_ns > seen[-1].time_ns:
            seen.append(page)
        return until(seen[-1])

    wait_for(done)
    return seen


def test_the_law_scales_a_chain_whose_deployment_was_killed_and_loses_nothing(
    deploy: Callable[..., subprocess.Popen[bytes]], manager: ManagerProcess, tmp_path: Path
) -> None:
    """Traffic steps to what one monitor carries, but above its high watermark, as nobody decides.

    All times are the page's. Where the machine kept the manager from the cores for longer than its
    status period, the law may be later by so much.
    """
    first = deploy("first", "--attach", str(manager.folder))
    client = manager.client
    assert control(client.read()) == "controller"
    rates = np.full(600, 1e6)
    rates[20:] = 3.5e6
    trace = Trace("step", rates, INTERVAL_S)
    options = PktgenOptions(port=manager.peer, trace=trace, rate_scale=manager.options.scale)
    manager.generator(options).start()
    wait_for(lambda: int(client.read().header["delivered"]) > 0)
    assert end(first, signal.SIGKILL) == -signal.SIGKILL
    assert read_status(tmp_path / "first")["state"] == "died"

    seen = pages(client, lambda page: control(page) == "law")
    times = np.array([page.time_ns for page in seen])
    stalled_ns = max(int(np.diff(times, prepend=times[0]).max()) - STATUS_S * 1e9, 0)
    silent_ns = seen[-1].time_ns - int(seen[-1].header["last_heartbeat_ns"])
    assert silent_ns <= (TAKEN_WITHIN * INTERVAL_S + STATUS_S) * 1e9 + stalled_ns
    assert int(seen[-1].header["takeovers"]) == 1

    before = seen[-1].of_type(0)["state"]
    assert (before == RUNNING).sum() == 1
    last = pages(client, lambda page: int((page.of_type(0)["state"] == RUNNING).sum()) > 1)[-1]
    assert control(last) == "law"
    assert int(last.header["law_decisions"]) > 0
    assert sum(last.dropped.values()) == 0

    second = deploy("second", "--attach", str(manager.folder))
    assert control(client.read()) == "controller"
    assert end(second, signal.SIGINT) == 0
    status = read_status(tmp_path / "second")
    assert status["state"] == "stopped"
    assert status["now"]["offered_pps"] > 0
    wait_for(lambda: control(client.read()) == "law")
    manager.check()


def test_a_killed_deployment_leaves_its_manager_to_be_taken_over_or_ended(
    deploy: Callable[..., subprocess.Popen[bytes]],
    chain_file: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ("--options", f"folder={folder}")
    first = deploy("first", *own)
    with Client(folder) as client:
        manager = int(client.read().header["manager_pid"])
        assert end(first, signal.SIGKILL) == -signal.SIGKILL
        pages(client, lambda page: control(page) == "law")
        again = ["deploy", "--chain", str(chain_file), "--policy", "static", "--out", "never", *own]
        assert main(again) == 2
        assert f"--attach {folder}" in capsys.readouterr().err
        second = deploy("second", "--attach", str(folder))
        assert control(client.read()) == "controller"
        assert end(second, signal.SIGTERM) == 0
        pages(client, lambda page: control(page) == "law")
    assert alive(manager)
    assert main(["dataplane", "down", str(folder)]) == 0
    assert not alive(manager)


def test_a_deployment_that_ends_in_order_ends_the_manager_that_it_started(
    deploy: Callable[..., subprocess.Popen[bytes]], folder: Path
) -> None:
    process = deploy("run", "--options", f"folder={folder}")
    with Client(folder) as client:
        manager = int(client.read().header["manager_pid"])
    assert end(process, signal.SIGINT) == 0
    assert not alive(manager)
    with pytest.raises(BackendError):
        Client(folder)


def test_what_the_manager_was_started_with_is_not_changed_by_who_takes_it_over(
    manager: ManagerProcess, chain_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["deploy", "--policy", "static", "--out", str(tmp_path / "never")]
    here = ("--chain", str(chain_file), "--attach", str(manager.folder))
    for arguments, said in (
        (("--chain", "paper", "--attach", str(manager.folder)), "interval is 0.1 s"),
        (("--chain", "single", "--attach", str(manager.folder)), "interval is 0.1 s"),
        ((*here, "--scale", "1/20"), "option 'scale': the manager in"),
        ((*here, "--options", "pacing=false"), "option 'pacing'"),
        ((*here, "--options", "ports=null"), "option 'ports'"),
        (("--chain", "paper", "--attach", "/nowhere"), "--attach: no manager in /nowhere"),
    ):
        assert main([*command, *arguments]) == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1
    with Client(manager.folder) as other:
        other.hold()
        assert main([*command, *here]) == 2
        assert "somebody else decides for this manager" in capsys.readouterr().err
    assert not manager.client.read().header["law_enabled"]
    assert not (tmp_path / "never").exists()
