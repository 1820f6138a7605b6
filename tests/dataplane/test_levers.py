"""Decisions and their levers, live: what a manager and a live backend make of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flexnfv.backend import Clocked
from flexnfv.chain import load_chain
from flexnfv.decision import FIELDS, Decision
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import DECISION_FIELDS, LIMITS
from flexnfv.hw_backend.client import Client
from flexnfv.hw_backend.live import CARRIED_PPS, LiveBackend
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions, memif_client
from flexnfv.hw_backend.status import figures
from flexnfv.mapping import MappingKind
from flexnfv.traces import Trace
from tests.dataplane.running_manager import (
    BLOCKED,
    FFI,
    RUNNING,
    STOPPED,
    Manager,
    Refused,
    need_dataplane,
)

INTERVAL_S = 0.1
HEAD = "set law=0 entry=hold status_ms=20 core_budget=6\n"
TYPES = "".join(f"type {name} function=monitor max=4 mapping=rendezvous\n" for name in "abc")
CHAIN = HEAD + TYPES + "chain main types=a,b,c\n"


def start(folder: Path, configuration: str) -> Manager:
    need_dataplane()
    return Manager(folder, configuration)


def test_the_dataplane_knows_every_field_of_a_decision_in_its_order() -> None:
    assert DECISION_FIELDS == FIELDS
    assert LIMITS["FX_HIGHEST_COUNT"] == 10**9


@pytest.mark.dataplane
def test_surplus_spares_are_stopped_and_give_their_cores_back(tmp_path: Path) -> None:
    with start(tmp_path, CHAIN + "port net_null0 peer=0\n") as manager:
        manager.command("DECISION", targets=[3, 1, 1])
        manager.await_states(0, [RUNNING, RUNNING, RUNNING, STOPPED])
        for slot in (2, 1):  # so that the one in slot 2 is parked for longer
            manager.command("BLOCK", nf=0, slot=slot)
            manager.until(lambda slot=slot: manager.states(0)[slot] == BLOCKED, "the park")
        assert manager.page().cores_held == 5
        manager.command("DECISION", targets=[1, 1, 1], spares=[1, 0, -1])
        manager.await_states(0, [RUNNING, BLOCKED, STOPPED, STOPPED])
        page = manager.page()
        assert page.cores_held == 4
        assert [page.type[t].spares for t in range(3)] == [1, 0, -1]
        assert [page.type[t].stops for t in range(3)] == [1, 0, 0]
        manager.command("DECISION", targets=[1, 1, 1])
        assert manager.states(0)[1] == BLOCKED  # a wish for spares is one decision's
        assert manager.page().type[0].spares == -1
        reply = manager.command("DECISION", targets=[1, 4, 1], spares=[0])
        assert list(reply.clipped)[:3] == [0, 0, 0]  # the budget of 6 holds them now
        manager.await_states(1, [RUNNING] * 4)
        manager.await_states(0, [RUNNING, STOPPED, STOPPED, STOPPED])
        assert manager.ask("/flexnfv/type,0")["spares"] == 0
        assert manager.ask("/flexnfv/type,3") is None


@pytest.mark.dataplane
def test_a_new_mapping_moves_flows_and_loses_nothing(tmp_path: Path) -> None:
    port = f"port net_memif0,role=server,id=0,socket={tmp_path}/m,socket-abstract=no peer=0\n"
    options = PktgenOptions(
        port=memif_client(tmp_path / "m"),
        rate_pps=30_000.0,
        control=True,
        backlog_ms=60_000.0,
        flows=FlowSet(count=512),
    )
    with start(tmp_path, CHAIN + port) as manager, Pktgen(options) as pktgen:
        pktgen.begin()
        manager.command("DECISION", targets=[2, 2, 2])
        for t in range(3):
            manager.await_states(t, [RUNNING, RUNNING, STOPPED, STOPPED])
        for kind in (MappingKind.EVEN, MappingKind.ALGORITHM1, MappingKind.RENDEZVOUS):
            before = manager.page()
            manager.command("DECISION", mapping=[kind, -1, kind])
            after = manager.page()
            assert [after.type[t].mapping for t in range(3)] == [kind, MappingKind.RENDEZVOUS, kind]
            moved = [after.type[t].flows_moved - before.type[t].flows_moved for t in range(3)]
            assert moved[0] > 0.1
            assert moved[1] == 0
            manager.until(
                lambda after=after: manager.page().delivered > after.delivered + 1000, "packets"
            )
        assert manager.ask("/flexnfv/type,1")["mapping"] == MappingKind.RENDEZVOUS
        summary = pktgen.stop()
        manager.until(lambda: manager.page().in_flight == 0, "an empty chain")
        page = manager.page()
        assert summary.sent == summary.received == page.delivered
        assert list(page.dropped) == [0] * 7


@pytest.mark.dataplane
def test_a_decision_that_cannot_be_is_refused_as_a_whole(tmp_path: Path) -> None:
    nat = "type nat function=nat max=4 mapping=rendezvous "
    nat += "args=inside=10.0.0.0/8 outside=192.0.2.1\n"
    text = HEAD + TYPES + nat + "chain main types=a,nat\nport net_null0 peer=0\n"
    with start(tmp_path, text) as manager:
        for decision, reason in (
            ({"mapping": [-1, -1, -1, 2]}, "keeps state per flow"),
            ({"mapping": [3]}, r"mapping\[0\]: 3 is not -1 to 2"),
            ({"mapping": [-2]}, r"mapping\[0\]: -2"),
            ({"spares": [-2]}, r"spares\[0\]: -2"),
            ({"spares": [2**31 - 1]}, r"spares\[0\]"),
        ):
            with pytest.raises(Refused, match=reason):
                manager.command("DECISION", **{"targets": [2, 2, 2, 2], **decision})
        page = manager.page()
        assert [page.type[t].target for t in range(4)] == [1] * 4
        assert page.decisions == page.heartbeats == 0
        manager.command("DECISION", mapping=[-1, -1, -1, 1])  # as it is
        manager.command("DECISION", targets=[10**9])
        assert manager.page().type[0].target == 4
        with Client(tmp_path) as client:
            client.decide(Decision(np.array([1, 1, 1, 1]), spares=np.array([0, 0, 0, -1])))
            state = figures(client.read(), client.snapshot())
        assert [nf["spares"] for nf in state["types"]] == [0, 0, 0, -1]
        assert [nf["mapping"] for nf in state["types"]] == ["rendezvous"] * 4
        assert FFI.string(manager.page().type[3].name) == b"nat"


@pytest.fixture
def backend() -> Iterator[LiveBackend]:
    made = LiveBackend(load_chain("paper").replace(interval_s=INTERVAL_S))
    yield made
    made.close()


@pytest.mark.dataplane
def test_the_live_backend_is_a_batch_of_one_and_carries_out_levers(backend: LiveBackend) -> None:
    assert isinstance(backend, Clocked)
    trace = Trace("steady", np.full(200, 1.5e6), INTERVAL_S)
    with pytest.raises(InputError, match="2 traces at once"):
        backend.reset([trace, trace])
    reading = backend.reset([trace], rows=np.array([0]))
    assert reading.batch == (1,)
    assert reading.mapping.tolist() == backend.chain.mapping_kinds[None].tolist()
    assert backend.remaining.tolist() == [199]
    many = np.array([[3, 1, 1]])
    while reading.running[0, 0] < 3 and backend.remaining[0] > 50:
        reading = backend.step(many, rows=np.array([0]))
    one = np.array([[1, 1, 1]])
    keep = np.array([[0, -1, -1]])
    kinds = np.array([[-1, MappingKind.ALGORITHM1, MappingKind.RENDEZVOUS]])
    stops = np.zeros(3)
    while stops[0] < 2 and backend.remaining[0] > 1:
        reading = backend.step(Decision(one, mapping=kinds, spares=keep))
        stops += reading.stops[0]
    assert stops.tolist() == [2, 0, 0]
    assert reading.running.tolist() == [[1, 1, 1]]
    assert reading.mapping[0, 1:].tolist() == kinds[0, 1:].tolist()
    assert reading.mapping[0, 0] == backend.chain.mapping_kinds[0]
    for rows in ([1], [], [0, 0]):
        with pytest.raises(InputError, match="rows are"):
            backend.step(one, rows=np.array(rows, np.int64))
    with pytest.raises(InputError, match="spares must lie between -1"):
        backend.step(Decision(one, spares=one - 3))


def test_what_a_live_backend_is_and_carries_is_known_before_it_is_made() -> None:
    described = LiveBackend.description
    assert (described.name, described.batch) == ("dpdk", 1)
    assert described.clocked
    assert described.exclusive
    assert LiveBackend.carried_pps() == CARRIED_PPS * 20
    assert LiveBackend.carried_pps(max_pps=3e5, scale="1/10") == pytest.approx(3e6)
    with pytest.raises(InputError, match="no scale"):
        LiveBackend.carried_pps(scale="much")
