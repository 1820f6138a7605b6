"""A deployment on the dataplane: the manager's own law has the chain whenever nobody else does."""

from __future__ import annotations

import os
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
from flexnfv.deploy.status import read_status
from flexnfv.hw_backend.abi import CONTROLS
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.pktgen import PktgenOptions
from flexnfv.hw_backend.testbed import Testbed
from flexnfv.traces import Trace

pytestmark = pytest.mark.dataplane

SCALE = 0.05


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    """The paper's chain at 100 ms."""
    shipped = (resources.files("flexnfv") / "chains" / "paper.toml").read_text(encoding="utf-8")
    path = tmp_path / "quick.toml"
    path.write_text(shipped.replace("interval_s = 1.0", "interval_s = 0.1"))
    return path


@pytest.fixture
def testbed(chain_file: Path, tmp_path: Path) -> Iterator[Testbed]:
    """A manager with a law of its own, under traffic that one instance of each type carries."""
    options = ManagerOptions(scale=SCALE, pacing=True, law=True, status_s=0.02)
    with Testbed(load_chain(chain_file), folder=tmp_path / "m", options=options) as started:
        trace = Trace("steady", np.full(600, 1e6), 0.1)
        started.generator(PktgenOptions(port=started.peer, trace=trace, rate_scale=SCALE)).start()
        yield started


def in_charge(testbed: Testbed) -> str:
    return CONTROLS[int(testbed.client.read().header["control"])]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def deployed(chain_file: Path, testbed: Testbed, out: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "flexnfv.cli", "deploy", "--chain", str(chain_file)),
            *("--policy", "target_tracking", "--shadow", "static", "--backend", "dpdk"),
            *("--attach", str(testbed.folder), "--out", str(out), "--json"),
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(lambda: process.poll() is not None or in_charge(testbed) == "controller")
    assert process.poll() is None
    return process


def test_a_killed_deployment_leaves_the_chain_to_the_law_and_a_new_one_takes_over(
    chain_file: Path, testbed: Testbed, tmp_path: Path
) -> None:
    first = deployed(chain_file, testbed, tmp_path / "first")
    try:
        time.sleep(0.5)
        lost = testbed.client.snapshot().dropped
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    wait_for(lambda: in_charge(testbed) == "law")
    assert read_status(tmp_path / "first")["state"] == "died"
    time.sleep(0.5)
    assert testbed.client.snapshot().dropped == lost

    second = deployed(chain_file, testbed, tmp_path / "second")
    wait_for(lambda: (tmp_path / "second" / "status.json").exists())
    time.sleep(0.5)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=30)
    assert second.returncode == 0
    status = read_status(tmp_path / "second")
    assert status["state"] == "stopped"
    assert status["now"]["offered_pps"] > 0
    wait_for(lambda: in_charge(testbed) == "law")
    testbed.check()
