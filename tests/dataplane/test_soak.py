"""The faults of the quick tests, for long: every packet counted through thousands of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import load_chain
from flexnfv.hw_backend.abi import Snapshot
from flexnfv.hw_backend.client import Refused
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions
from flexnfv.states import RUNNING
from flexnfv.traces import Trace

pytestmark = [pytest.mark.dataplane, pytest.mark.soak]

BURST = 64
"""Packets that an instance has in its hands at most."""
PATIENCE_S = 30.0


@pytest.fixture
def manager() -> Iterator[ManagerProcess]:
    options = ManagerOptions(scale=1 / 20, pacing=True, law=False, status_s=0.01)
    with ManagerProcess(load_chain("paper"), options=options) as manager:
        yield manager


@pytest.fixture
def traffic(manager: ManagerProcess) -> Iterator[Pktgen]:
    options = PktgenOptions(
        port=manager.peer, rate_pps=100_000.0, control=True, backlog_ms=60_000.0
    )
    with manager.generator(options) as generator:
        generator.begin()
        yield generator


def until_quiet(manager: ManagerProcess) -> Snapshot:
    deadline = time.monotonic() + PATIENCE_S
    while (snapshot := manager.client.snapshot()).header["in_flight"]:
        assert time.monotonic() < deadline, "packets stay in flight"
        time.sleep(0.01)
    return snapshot


def whole(manager: ManagerProcess, traffic: Pktgen) -> Snapshot:
    """Every packet that was sent is delivered or lost, and the counts of both sides agree."""
    summary = traffic.stop()
    snapshot = until_quiet(manager)
    lost = int(snapshot.header["dropped"].sum())
    assert summary.sent == int(snapshot.header["offered"])
    assert summary.received == int(snapshot.header["delivered"]) == summary.sent - lost
    return snapshot


def test_a_thousand_kills_cost_only_what_was_in_the_hands(
    manager: ManagerProcess, traffic: Pktgen
) -> None:
    client = manager.client
    client.decide([3, 3, 3])
    rng = np.random.default_rng(7)
    for kills in range(1000):
        deadline = time.monotonic() + PATIENCE_S
        while (client.snapshot().instances["state"] == RUNNING).sum() < 9:
            client.decide([3, 3, 3])
            assert time.monotonic() < deadline, f"not whole again after {kills} kills"
            time.sleep(0.005)
        os.kill(int(rng.choice(client.read().pids)), signal.SIGKILL)
        while int(client.snapshot().types["deaths"].sum()) <= kills:
            assert time.monotonic() < deadline, f"death {kills} is not noticed"
            time.sleep(0.002)
    snapshot = whole(manager, traffic)
    assert int(snapshot.types["deaths"].sum()) == 1000
    assert snapshot.dropped["death"] <= 1000 * BURST
    assert int(snapshot.instances["lost"].max()) <= int(snapshot.instances["deaths"].max()) * BURST


def test_ten_thousand_random_commands_leak_nothing(
    manager: ManagerProcess, traffic: Pktgen
) -> None:
    client = manager.client
    rng = np.random.default_rng(11)
    for _ in range(10_000):
        command = rng.choice(["launch", "block", "rerun", "stop"])
        with suppress(Refused):
            getattr(client, command)(int(rng.integers(3)), int(rng.integers(8)))
        time.sleep(0.002)
    client.decide([1, 1, 1])
    snapshot = whole(manager, traffic)
    assert snapshot.dropped["death"] == 0
    assert snapshot.header["mbufs_free"] == snapshot.header["mbufs"]


def test_ten_minutes_at_ten_decisions_a_second_miss_none() -> None:
    chain = load_chain("paper").replace(interval_s=0.1)
    rates = np.random.default_rng(3).uniform(1e6, 8e6, 600)
    backend = LiveBackend(chain, spares=2)
    rng = np.random.default_rng(5)
    try:
        offered = float(
            (r := Single(backend).reset(Trace("random", rates, 1.0))).offered_pps * r.interval_s
        )
        while Single(backend).remaining:
            reading = Single(backend).step(rng.integers(1, 4, 3))
            offered += float(reading.offered_pps * reading.interval_s)
        assert backend.late == 0
        assert np.percentile(backend.lag_s, 99) <= 0.002
        assert offered == pytest.approx(rates.sum(), rel=0.01)
    finally:
        backend.close()
