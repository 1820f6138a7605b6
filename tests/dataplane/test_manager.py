"""The manager for real: every packet counted, every instance accounted for, faults survived."""

from __future__ import annotations

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from flexnfv.flows import FlowSet
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions, memif_client
from flexnfv.mapping import BUCKETS, MappingKind, empty_table, update_table
from tests.dataplane.pcap_files import read_pcap, write_pcap
from tests.dataplane.running_manager import (
    BLOCKED,
    BUILD,
    DRAINING,
    FFI,
    LAUNCHING,
    RUNNING,
    STOPPED,
    Manager,
    Refused,
    alive,
    dropped,
    need_dataplane,
)

pytestmark = pytest.mark.dataplane

CHAIN = """
set law=0 core_budget=24 status_ms=20
type monitor function=monitor ring=4096 max=4
type forwarder function=forwarder ring=4096 max=4
type encryptor function=encryptor ring=4096 max=4
chain main types=monitor,forwarder,encryptor
"""
"""Three types of the paper; a port is added by the test."""

NF = BUILD / "scalib" / "flexnfv-nf"

LONG = (pytest.mark.soak, pytest.mark.timeout(3600))

Start = Callable[..., Manager]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(configuration, *options): a manager that is ended after the test."""
    need_dataplane()
    managers: list[Manager] = []

    def start(configuration: str, *options: str) -> Manager:
        folder = tmp_path / f"m{len(managers)}"
        folder.mkdir()
        managers.append(Manager(folder, configuration, *options))
        return managers[-1].__enter__()

    yield start
    for manager in managers:
        manager.end()


def memif(path: Path) -> str:
    """A port line: this side is the memif server."""
    return f"port net_memif0,role=server,id=0,socket={path}/memif.sock,socket-abstract=no peer=0\n"


def traffic(path: Path, pps: float, **more: Any) -> PktgenOptions:
    """Of a generator under control, at the other end of memif(path)."""
    return PktgenOptions(
        port=memif_client(path / "memif.sock"),
        rate_pps=pps,
        control=True,
        backlog_ms=60_000.0,
        **more,
    )


def settled(manager: Manager) -> Any:
    """A page when nothing is in flight any more."""

    def quiet() -> object:
        page = manager.page()
        return page if page.in_flight == 0 else None

    return manager.until(quiet, "an empty chain")


def same_again(manager: Manager, before: dict[str, Any]) -> None:
    """Nothing has leaked: the manager holds what it held before."""
    few = before.pop("descriptors") + 3  # connections that are about to be closed
    end = time.monotonic() + 20
    while True:
        now = manager.footprint()
        descriptors = now.pop("descriptors")
        if (now == before and descriptors <= few) or time.monotonic() > end:
            break
        time.sleep(0.01)  # a spare may still be on its way
    assert now == before
    assert descriptors <= few


def test_packets_pass_the_chain_and_are_all_counted(start: Start, tmp_path: Path) -> None:
    manager = start(CHAIN + memif(tmp_path))
    options = PktgenOptions(
        port=memif_client(tmp_path / "memif.sock"),
        rate_pps=20_000.0,
        duration_s=1.0,
        key="000102030405060708090a0b0c0d0e0f",
        backlog_ms=60_000.0,
    )
    with Pktgen(options) as pktgen:
        summary = pktgen.wait(60)
    assert summary.sent == summary.delivered == 20_000
    page = settled(manager)
    assert page.offered == page.delivered == 20_000
    assert [page.instance[page.type[t].first].served for t in range(3)] == [20_000] * 3
    assert dropped(page) == 0


def test_a_launched_instance_takes_flows_only_once_it_polls(start: Start) -> None:
    manager = start("set entry=hold\n" + CHAIN + "port net_null0 peer=0\n")
    reply = manager.command("LAUNCH", nf=0)
    assert reply.slot == 1
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
    instance = manager.instance(0, 1)
    assert instance.command_ns < instance.polling_ns < instance.mapped_ns
    assert instance.start_kind == 1


def test_block_drains_parks_and_rerun_wakes(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("LAUNCH", nf=1)
    manager.await_states(1, [RUNNING, RUNNING, STOPPED, STOPPED])
    for _ in range(20):
        manager.command("BLOCK", nf=1, slot=1)
        manager.await_states(1, [RUNNING, BLOCKED, STOPPED, STOPPED])
        instance = manager.instance(1, 1)
        assert instance.queue == 0
        served = instance.served
        assert manager.instance(1, 1).served == served
        manager.command("RERUN", nf=1, slot=1)
        manager.await_states(1, [RUNNING, RUNNING, STOPPED, STOPPED])
    page = manager.page()
    assert (page.type[1].blocks, page.type[1].reruns) == (20, 20)


def test_targets_rerun_before_they_launch(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[3, 1, 1])
    manager.await_states(0, [RUNNING, RUNNING, RUNNING, STOPPED])
    manager.command("DECISION", targets=[1, -1, -1])
    manager.until(lambda: manager.states(0).count(BLOCKED) == 2, "two parked instances")
    manager.command("DECISION", targets=[4])
    manager.await_states(0, [RUNNING] * 4)
    page = manager.page()
    assert (page.type[0].launches, page.type[0].reruns) == (4, 2)
    reply = manager.command("DECISION", targets=[9, 1, 1])
    assert reply.status == 2
    assert list(reply.clipped)[:3] == [5, 0, 0]


def test_a_spare_is_launched_by_waking_it(start: Start) -> None:
    manager = start("set spares=2\n" + CHAIN + "port net_null0 peer=0\n")
    manager.until(lambda: manager.page().spares_ready == 2, "two spares")
    manager.command("LAUNCH", nf=2)
    manager.await_states(2, [RUNNING, RUNNING, STOPPED, STOPPED])
    assert manager.instance(2, 1).start_kind == 2
    manager.until(lambda: manager.page().spares_ready == 2, "a new spare")


def test_bad_arguments_refuse_the_launch_and_leave_the_slot_usable(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("LAUNCH", nf=1, slot=1, text="nonsense")
    manager.until(lambda: manager.page().type[1].failed_launches == 1, "the failed launch")
    assert b"nonsense" in FFI.string(manager.page().type[1].last_failure)
    manager.await_states(1, [RUNNING, STOPPED, STOPPED, STOPPED])
    manager.command("LAUNCH", nf=1, slot=1)
    manager.await_states(1, [RUNNING, RUNNING, STOPPED, STOPPED])


def test_commands_that_make_no_sense_are_refused_with_a_reason(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    for kind, arguments, reason in (
        ("LAUNCH", {"nf": 7}, "no type 7"),
        ("BLOCK", {"nf": 0, "slot": 4}, "slots 0 to 3"),
        ("BLOCK", {"nf": 0, "slot": 1}, "is stopped"),
        ("BLOCK", {"nf": 0, "slot": 0}, "run at least"),
        ("STOP", {"nf": 0, "slot": 0}, "run at least"),
        ("RERUN", {"nf": 0, "slot": 0}, "is running"),
        ("STOP", {"nf": 0, "slot": 3}, "is stopped"),
        ("PACE", {"nf": 0, "value": float("nan")}, "pace"),
        ("MAPPING", {"nf": 0, "value": 9.0}, "value"),
        ("DECISION", {"targets": [-5]}, "targets[0]"),
        ("RULE", {"text": "rule"}, "one chain"),
    ):
        with pytest.raises(Refused, match=reason.replace("[", r"\[").replace("]", r"\]")):
            manager.command(kind, **arguments)  # type: ignore[arg-type]
    good = bytes(FFI.sizeof("struct fx_request"))
    for data in (b"x", good + b"x", good, os.urandom(len(good))):
        reply = manager.raw(data)
        assert reply.status == 1
        assert FFI.string(reply.reason)
    assert manager.page().refused_commands == 15


def test_garbage_on_the_control_socket_is_refused_or_harmless(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    chance = random.Random(3)
    size = FFI.sizeof("struct fx_request")
    head = bytes(FFI.buffer(FFI.new("struct fx_request *", {"abi_version": 1})))[:4]
    kind_at, text_at = (FFI.offsetof("struct fx_request", field) for field in ("kind", "text"))
    ends = (8, 14)  # KILL and SHUTDOWN do as they are told
    for _ in range(500):
        request = bytearray(head + chance.randbytes(size - 4))
        kind = chance.choice([0, 15, 2**31, *(k for k in range(1, 14) if k not in ends)])
        struct.pack_into("=I", request, kind_at, kind)
        if chance.random() < 0.5:  # else without an end
            request[text_at + chance.randrange(255)] = 0
        if chance.random() < 0.5:  # a type and slot that exist
            for field in ("type", "slot"):
                struct.pack_into(
                    "=i", request, FFI.offsetof("struct fx_request", field), chance.randrange(3)
                )
        reply = manager.raw(bytes(request))
        assert reply.status in (0, 1, 2)
        assert bool(FFI.string(reply.reason)) == (reply.status != 0)
    manager.command("PACE", value=0.0)
    manager.command("ENTRY", value=0.0)
    manager.command("DECISION", targets=[1, 1, 1])
    manager.until(
        lambda: [manager.states(t).count(RUNNING) for t in range(3)] == [1, 1, 1], "the targets"
    )
    page = manager.page()
    assert sum(page.type[t].deaths for t in range(3)) == 0
    manager.until(lambda: manager.page().delivered > page.delivered, "packets")


def test_the_control_socket_and_the_page_are_for_their_owner_only(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    for name in ("control.sock", "page"):
        assert stat.S_IMODE((manager.folder / name).stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("kills", [50, pytest.param(1000, marks=LONG)])
def test_killed_instances_cost_only_what_they_held(
    start: Start, tmp_path: Path, kills: int
) -> None:
    manager = start(CHAIN + memif(tmp_path))
    options = PktgenOptions(
        port=memif_client(tmp_path / "memif.sock"), rate_pps=100_000.0, control=True
    )
    chance = random.Random(1)
    with Pktgen(options) as pktgen:
        pktgen.begin()
        manager.command("DECISION", targets=[2, 2, 2])
        for t in range(3):
            manager.until(lambda t=t: manager.states(t).count(RUNNING) == 2, "two of each")
        for kill in range(kills):
            t = chance.randrange(3)
            slot = chance.choice(
                [s for s, state in enumerate(manager.states(t)) if state == RUNNING]
            )
            manager.command("KILL", nf=t, slot=slot)
            manager.until(
                lambda t=t, kill=kill: sum(manager.page().type[k].deaths for k in range(3)) > kill,
                "a death",
            )
            manager.command("DECISION", targets=[2, 2, 2])
            manager.until(lambda t=t: manager.states(t).count(RUNNING) == 2, "the new instance")
        pktgen.stop()
    page = settled(manager)
    assert sum(page.type[t].deaths for t in range(3)) == kills
    assert page.offered == page.delivered + dropped(page)
    assert page.dropped[4] <= kills * 64
    causes = list(page.dropped)
    assert causes[1] == causes[2] == causes[5] == causes[6] == 0
    lost = sum(page.instance[e].lost for e in range(12))
    assert lost == page.dropped[4]
    manager.until(lambda: manager.page().mbufs_free == page.mbufs, "every mbuf in the pool")


def test_the_last_instance_of_a_type_comes_back_at_once(start: Start) -> None:
    manager = start("set entry=hold\n" + CHAIN + "port net_null0 peer=0\n")
    for _ in range(5):
        before = manager.instance(0, 0)
        manager.command("KILL", nf=0, slot=0)
        manager.until(
            lambda before=before: (
                manager.instance(0, 0).generation > before.generation
                and manager.instance(0, 0).state == RUNNING
                and manager.instance(0, 0).served > before.served
            ),
            "the same slot, served again",
        )
    assert manager.page().dropped[1] == 0


def test_a_stopped_process_loses_nothing_but_by_its_full_ring(start: Start, tmp_path: Path) -> None:
    manager = start(CHAIN + memif(tmp_path))
    pid = manager.instance(1, 0).pid
    # A port that takes what a ring held, at once.
    port = memif_client(tmp_path / "memif.sock", ring_size_log2=13)
    with Pktgen(replace(traffic(tmp_path, 50_000.0), port=port)) as pktgen:
        pktgen.begin()
        os.kill(pid, signal.SIGSTOP)
        manager.until(lambda: manager.instance(1, 0).ring_dropped > 1000, "a full ring")
        os.kill(pid, signal.SIGCONT)
        served = manager.instance(1, 0).served
        manager.until(lambda: manager.instance(1, 0).served > served + 10_000, "service again")
        summary = pktgen.stop()
    page = settled(manager)
    assert page.offered == summary.sent
    assert page.delivered == summary.received == summary.sent - page.dropped[0]
    assert dropped(page) == page.dropped[0] > 1000
    manager.until(lambda: manager.page().mbufs_free == page.mbufs, "every mbuf in the pool")


def test_what_is_stopping_counts_as_nothing_and_is_killed_when_it_hangs(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[3, 1, 1])
    manager.await_states(0, [RUNNING, RUNNING, RUNNING, STOPPED])
    manager.command("BLOCK", nf=0, slot=2)
    manager.await_states(0, [RUNNING, RUNNING, BLOCKED, STOPPED])
    os.kill(manager.instance(0, 2).pid, signal.SIGSTOP)
    manager.command("STOP", nf=0, slot=2)
    manager.command("DECISION", targets=[1, 1, 1])
    manager.until(lambda: manager.states(0).count(RUNNING) == 1, "the target")
    reply = manager.command("DECISION", targets=[4, 1, 1])
    assert list(reply.clipped)[:3] == [1, 0, 0]  # its slot is not free yet
    assert manager.page().cores_held == 6
    manager.until(lambda: manager.page().type[0].stops == 1, "the end of what hangs")
    assert manager.states(0)[2] == STOPPED
    assert manager.page().cores_held == 5
    manager.command("DECISION", targets=[4, 1, 1])
    manager.await_states(0, [RUNNING] * 4)


def test_what_hangs_while_it_drains_is_killed_once_told_to_stop(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[2, 1, 1])
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
    os.kill(manager.instance(0, 1).pid, signal.SIGSTOP)
    manager.command("STOP", nf=0, slot=1)
    assert manager.states(0)[1] == DRAINING
    manager.await_states(0, [RUNNING, STOPPED, STOPPED, STOPPED])


def test_who_does_not_read_its_messages_is_told_nothing_that_would_be_lost(start: Start) -> None:
    manager = start("set entry=hold\n" + CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[2, 1, 1])
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
    os.kill(manager.instance(0, 1).pid, signal.SIGSTOP)
    taken = 0
    with pytest.raises(Refused, match="does not read its messages"):
        while taken < 1000:
            manager.command("RERUN" if taken % 2 else "BLOCK", nf=0, slot=1)
            taken += 1
    state, counts = manager.states(0)[1], manager.page().type[0]
    assert state == (DRAINING if taken % 2 else RUNNING)
    assert counts.blocks + counts.reruns == taken
    os.kill(manager.instance(0, 1).pid, signal.SIGCONT)
    manager.until(lambda: manager.states(0)[1] in (RUNNING, BLOCKED), "its messages read")
    manager.command("DECISION", targets=[2, 1, 1])
    served = manager.instance(0, 1).served
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
    manager.command("MAPPING", nf=0, value=1.0)  # net_null has one flow: it goes where it goes
    manager.command("BLOCK", nf=0, slot=0)
    manager.until(lambda: manager.instance(0, 1).served > served, "service of who was deaf")


def test_an_nf_of_another_manager_leaves_this_one_alone(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    pidfd, event = os.pidfd_open(manager.process.pid), os.eventfd(0)
    inherit = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4)"
    inherit += "; os.execv(a[3], a[3:])"
    nf = subprocess.run(
        [
            *(sys.executable, "-c", inherit, str(pidfd), str(event)),
            *(str(NF), manager.prefix, "50", "0"),
        ],
        pass_fds=(pidfd, event),
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(pidfd)
    os.close(event)
    assert nf.returncode == 3
    assert b"did not start this NF" in nf.stderr


def test_a_new_manager_waits_for_the_nfs_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_dataplane()
    with TemporaryDirectory(prefix="fx") as short:  # sockets have short paths
        monkeypatch.setenv("RUNTIME_DIRECTORY", short)
        orphan = subprocess.Popen(["sleep", "60"])
        try:
            # What DPDK would have left there for an NF, wherever it keeps its files.
            prefix = f"fxtest{os.getpid()}_{tmp_path.name[-20:]}"
            runtime = Path(short, "dpdk", prefix)
            runtime.mkdir(parents=True)
            (runtime / f"mp_socket_{orphan.pid}_1").touch()
            manager = Manager(tmp_path, CHAIN + "port net_null0 peer=0\n")
            assert manager.prefix == prefix
            time.sleep(1)
            found = [path.name for path in runtime.iterdir()]
        finally:
            orphan.kill()
            orphan.wait()
        with manager:
            assert found == [f"mp_socket_{orphan.pid}_1"]  # it waited
            manager.until(lambda: manager.page().delivered > 1000, "packets")


def test_an_nf_may_ask_for_more_of_its_type(start: Start) -> None:
    manager = start(
        CHAIN.replace("function=monitor", "function=burn").replace(
            "max=4\ntype forwarder", "max=4 args=ns=10 launches=2\ntype forwarder"
        )
        + "port net_null0 peer=0\n"
    )
    manager.await_states(0, [RUNNING, RUNNING, RUNNING, STOPPED])
    assert manager.page().type[0].target == 3
    manager.command("DECISION", targets=[-1, -1, -1])
    assert manager.states(0) == [RUNNING, RUNNING, RUNNING, STOPPED]


def test_an_empty_pool_loses_packets_that_are_counted(start: Start, tmp_path: Path) -> None:
    one = bytes(Ether() / IP(src="10.0.0.1", dst="10.1.0.1") / UDP())
    frames = [one[:34] + struct.pack(">H", port) + one[36:] for port in range(4000)]
    source = write_pcap(tmp_path / "in.pcap", frames)
    manager = start(
        "set law=0 mbufs=1024\ntype a function=monitor ring=4096\ntype b function=monitor "
        "ring=4096 pace=2000\nchain c types=a,b\n"
        f"port net_pcap0,rx_pcap={source},tx_pcap={tmp_path}/out.pcap peer=0\n"
    )
    manager.until(lambda: manager.page().offered + manager.page().port[0].missed >= 4000, "all")
    page = settled(manager)
    assert page.port[0].missed > 0
    assert page.offered + page.port[0].missed == 4000
    assert page.offered == page.delivered
    assert page.mbufs_free == page.mbufs == 1024


@pytest.mark.parametrize("threads", ["", "set tx_threads=2\n"])
def test_an_empty_pool_holds_a_memif_back_and_recovers(
    start: Start, tmp_path: Path, threads: str
) -> None:
    manager = start("set mbufs=1024\n" + threads + CHAIN + memif(tmp_path))
    pid = manager.instance(1, 0).pid
    options = traffic(tmp_path, 50_000.0)
    with Pktgen(options) as pktgen:
        pktgen.begin()
        os.kill(pid, signal.SIGSTOP)
        manager.until(lambda: manager.page().mbufs_free < 64, "an empty pool")
        offered = manager.page().offered
        os.kill(pid, signal.SIGCONT)
        manager.until(lambda: manager.page().offered > offered + 20_000, "packets again")
        summary = pktgen.stop()
    page = settled(manager)
    assert page.port[0].missed == 0  # what found no buffer waited in the peer's memory
    assert page.offered == summary.sent
    assert page.delivered == summary.received == summary.sent - dropped(page)
    manager.until(lambda: manager.page().mbufs_free == page.mbufs, "every mbuf in the pool")


@pytest.mark.parametrize("launches", [30, pytest.param(200, marks=LONG)])
def test_a_death_at_any_moment_of_a_launch_costs_nothing(
    start: Start, tmp_path: Path, launches: int
) -> None:
    manager = start(CHAIN + memif(tmp_path))
    chance = random.Random(4)

    def launch() -> float:
        """Launches one more; how long it took, seconds."""
        slot = manager.command("LAUNCH", nf=1).slot
        manager.until(lambda: manager.states(1)[slot] == RUNNING, "the launch")
        instance = manager.instance(1, slot)
        manager.command("STOP", nf=1, slot=slot)
        manager.until(lambda: manager.states(1)[slot] == STOPPED, "the stop")
        return float(instance.polling_ns - instance.command_ns) * 1e-9

    takes_s = launch()
    before = manager.footprint()
    for _ in range(launches):
        slot = manager.command("LAUNCH", nf=1).slot
        pid = manager.page(fresh=True).instance[4 + slot].pid
        time.sleep(chance.random() * 1.2 * takes_s)
        os.kill(pid, signal.SIGKILL)
        manager.until(lambda slot=slot: manager.states(1)[slot] == STOPPED, "the death")
        takes_s = min(launch(), 2 * takes_s)
    page = manager.page()
    assert page.type[1].failed_launches + page.type[1].deaths == launches
    assert page.type[1].failed_launches > 0
    same_again(manager, before)
    with Pktgen(traffic(tmp_path, 20_000.0)) as pktgen:
        pktgen.begin()
        manager.until(lambda: manager.page().delivered > 5000, "packets")
        summary = pktgen.stop()
    assert settled(manager).delivered == summary.sent == summary.received


def test_scaling_loses_nothing_and_reorders_only_flows_that_move(
    start: Start, tmp_path: Path
) -> None:
    manager = start(
        "set law=0 entry=hold core_budget=24 status_ms=20\n"
        + "".join(
            f"type {name} function=monitor ring=4096 max=2 mapping=rendezvous\n" for name in "abc"
        )
        + "chain main types=a,b,c\n"
        + memif(tmp_path)
    )
    flows = FlowSet(count=512)
    options = traffic(tmp_path, 30_000.0, flows=flows, write_to=tmp_path / "back.pcap")
    chance = random.Random(6)
    up = {STOPPED: "LAUNCH", BLOCKED: "RERUN"}
    with Pktgen(options) as pktgen:
        pktgen.begin()
        for _ in range(40):
            t = chance.randrange(3)
            state = manager.states(t)[1]
            command = up.get(state) or chance.choice(["BLOCK", "STOP"])
            manager.command(command, nf=t, slot=1)
            goals = {"BLOCK": BLOCKED, "STOP": STOPPED}
            goal = goals.get(command, RUNNING)
            manager.await_states(t, [RUNNING, goal])
            before = manager.page().delivered
            manager.until(lambda before=before: manager.page().delivered > before + 100, "packets")
        summary = pktgen.stop()
    page = settled(manager)
    assert min(page.type[t].launches + page.type[t].reruns for t in range(3)) > 2
    assert list(page.dropped) == [0] * 7
    assert summary.sent == summary.received == summary.delivered == page.delivered
    table = empty_table()
    update_table(MappingKind.RENDEZVOUS, np.array([RUNNING, RUNNING], np.int8), table)
    stays = table[flows.hashes % BUCKETS] == 0  # with slot 0, in every type, whatever slot 1 does
    assert 50 < np.count_nonzero(stays) < 450
    assert not stays[sorted(reordered_flows(tmp_path / "back.pcap"))].any()


def reordered_flows(capture: Path) -> set[int]:
    """Flows of which a packet came behind a later one, by what pktgen wrote into each."""
    newest: dict[int, int] = {}
    reordered = set()
    for frame in read_pcap(capture):
        mark, _, flow, number = struct.unpack_from(">HHII", frame, 42)
        assert mark == 0xF17E
        if number < newest.get(flow, -1):
            reordered.add(flow)
        newest[flow] = max(number, newest.get(flow, -1))
    return reordered


class Moments:
    """Moments of a manager's life at which a signal may come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chance = random.Random(8)
        self.configuration = "set spares=1\n" + CHAIN + "port net_null0 peer=0\n"

    def at_the_start(self, takes_s: float, number: int) -> None:
        """Somewhere between its first instruction and a little after its start."""
        manager = Manager(self.folder, self.configuration)
        time.sleep(self.chance.random() * 1.2 * takes_s)
        manager.process.send_signal(number)
        code = manager.process.wait(20)
        # Before main() blocks signals, they end any process.
        assert code in (0, 2, -number), manager.log.read_text()
        assert not manager.leftovers()

    def during_launches(self, takes_s: float, number: int) -> None:
        """While instances are launched and blocked under load."""
        manager = Manager(self.folder, self.configuration).__enter__()
        manager.command("DECISION", targets=[3, 2, 2])
        time.sleep(self.chance.random() * takes_s)
        manager.command("DECISION", targets=[1, 3, 1])
        time.sleep(self.chance.random() * takes_s)
        assert manager.end(number) == 0, manager.log.read_text()
        assert not manager.leftovers()


@pytest.mark.parametrize("times", [4, pytest.param(60, marks=LONG)])
def test_a_signal_at_any_moment_ends_it_in_order(tmp_path: Path, times: int) -> None:
    need_dataplane()
    moments = Moments(tmp_path)
    began = time.monotonic()
    with Manager(tmp_path, moments.configuration):
        takes_s = time.monotonic() - began
    for _ in range(times):
        for number in (signal.SIGINT, signal.SIGTERM):
            moments.at_the_start(takes_s, number)
            moments.during_launches(takes_s, number)


@pytest.mark.parametrize("commands", [500, pytest.param(10_000, marks=LONG)])
def test_random_commands_leak_nothing(start: Start, tmp_path: Path, commands: int) -> None:
    manager = start("set spares=1 entry=hold\n" + CHAIN + memif(tmp_path))
    manager.until(lambda: manager.page().spares_ready == 1, "a spare")
    before = manager.footprint()
    chance = random.Random(2)
    with Pktgen(traffic(tmp_path, 50_000.0)) as pktgen:
        pktgen.begin()
        for _ in range(commands):
            kind = chance.choice(["LAUNCH", "BLOCK", "RERUN", "STOP", "DECISION"])
            try:
                if kind == "DECISION":
                    manager.command(kind, targets=[chance.randint(1, 4) for _ in range(3)])
                elif kind == "LAUNCH":
                    manager.command(kind, nf=chance.randrange(3))
                else:
                    manager.command(kind, nf=chance.randrange(3), slot=chance.randrange(4))
            except Refused:
                time.sleep(0.002)
        at_rest(manager)
        manager.command("DECISION", targets=[1, 1, 1])  # no launch under way: exactly these
        at_rest(manager)
        assert [manager.states(t).count(RUNNING) for t in range(3)] == [1, 1, 1]
        summary = pktgen.stop()
    page = settled(manager)
    assert summary.sent == summary.received == page.delivered
    assert dropped(page) == 0
    assert all(page.instance[e].bad_messages == 0 for e in range(12))
    assert sum(page.type[t].deaths + page.type[t].failed_launches for t in range(3)) == 0
    for t in range(3):
        for slot, state in enumerate(manager.states(t)):
            if state == BLOCKED:
                manager.command("STOP", nf=t, slot=slot)
    same_again(manager, before)
    assert manager.end() == 0
    assert not manager.leftovers()


def at_rest(manager: Manager) -> None:
    """Waits until every instance runs, is parked or is gone."""
    for t in range(3):
        manager.until(
            lambda t=t: not {DRAINING, LAUNCHING} & set(manager.states(t)), "a state of rest"
        )


def test_a_clean_end_leaves_no_file_and_no_process(start: Start) -> None:
    manager = start("set spares=1\n" + CHAIN + "port net_null0 peer=0\n")
    manager.until(lambda: manager.page().spares_ready == 1, "a spare")
    pids = manager.nf_pids()
    assert len(pids) == 4
    assert manager.end(signal.SIGINT) == 0
    assert not any(alive(pid) for pid in pids)
    assert not manager.leftovers()


def test_nfs_end_with_a_killed_manager_and_a_new_one_starts(tmp_path: Path) -> None:
    need_dataplane()
    first = Manager(tmp_path, "set spares=1\n" + CHAIN + "port net_null0 peer=0\n").__enter__()
    pids = first.nf_pids()
    first.end(signal.SIGKILL)
    end = time.monotonic() + 2
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)
    (tmp_path / "control.sock").unlink()
    with Manager(tmp_path, CHAIN + "port net_null0 peer=0\n") as second:
        assert second.prefix == first.prefix
        second.until(lambda: second.page().delivered > 1000, "packets")


def test_the_built_in_law_takes_over_and_hands_back(start: Start) -> None:
    manager = start(
        "set interval_ms=100 core_budget=24 status_ms=20\n"
        "type burner function=monitor ring=1024 max=4 pace=20000 cost_ns=50000 high=0.682 "
        "low=0.341\nchain main types=burner\nport net_null0 peer=0\n"
    )
    manager.until(lambda: manager.page().control == 2, "the law")
    manager.until(lambda: manager.states(0).count(RUNNING) >= 2, "a launch of the law")
    manager.command("HEARTBEAT")
    assert manager.page().control == 1
    manager.until(lambda: manager.page().control == 2, "the law again")
    assert manager.page().takeovers == 1


def test_a_paced_instance_serves_its_rate_and_declares_its_cost(start: Start) -> None:
    manager = start(
        CHAIN.replace("function=monitor", "function=monitor pace=50000 cost_ns=92")
        + "set scale=0.05\nport net_null0 peer=0\n"
    )
    rates = []
    for _ in range(10):  # a core that others use makes an instance slower, never faster
        page = manager.page()
        time.sleep(1.0)
        later = manager.page()
        served = later.instance[0].served - page.instance[0].served
        rates.append(served / ((later.time_ns - page.time_ns) * 1e-9))
        if rates[-1] == pytest.approx(50_000, rel=0.05):
            break
    assert rates[-1] == pytest.approx(50_000, rel=0.05)
    assert max(rates) < 60_000  # the bucket's 20 ms may be caught up within a second
    after = manager.instance(0, 0)
    assert after.declared
    assert after.processing_ns == pytest.approx(92 / 0.05)


def test_an_nf_of_another_version_is_refused(tmp_path: Path) -> None:
    need_dataplane()
    alien = BUILD / "scalib" / "flexnfv-nf-alien"
    manager = Manager(tmp_path, CHAIN + "port net_null0 peer=0\n", "--nf", str(alien))
    assert manager.process.wait(20) == 2
    assert "cannot be launched" in manager.log.read_text()
    assert "ABI version" in (tmp_path / "nf.log").read_text()


def test_a_second_manager_leaves_the_first_alone(start: Start) -> None:
    first = start(CHAIN + "port net_null0 peer=0\n")
    second = Manager(first.folder, CHAIN + "port net_null0 peer=0\n")
    assert second.process.wait(20) == 2
    third_folder = first.folder / "third"
    third_folder.mkdir()
    with Manager(third_folder, CHAIN + "port net_null0 peer=0\n"):
        delivered = first.page().delivered
        first.until(lambda: first.page().delivered > delivered, "packets of the first")


def test_chains_share_types_and_rules_choose_between_them(start: Start, tmp_path: Path) -> None:
    frames = [
        bytes(Ether() / IP(src=f"10.0.0.{n}", dst="10.1.0.1") / UDP(dport=53 + n % 2))
        for n in range(1, 201)
    ]
    source = write_pcap(tmp_path / "in.pcap", frames)
    manager = start(
        "set law=0\ntype a function=monitor\ntype b function=forwarder\ntype c function=monitor\n"
        "chain long types=a,b,c\nchain short types=c\nrule short dport=53\n"
        f"port net_pcap0,rx_pcap={source},tx_pcap={tmp_path}/out.pcap peer=0\n"
    )
    manager.until(lambda: manager.page().delivered == 200, "all packets")
    page = manager.page()
    assert [page.chain[c].delivered for c in range(2)] == [100, 100]
    assert [page.instance[page.type[t].first].served for t in range(3)] == [100, 100, 200]
    assert (page.flow_hits, page.flow_misses) == (0, 200)
    manager.command("RULE", text="long proto=17")
    with pytest.raises(Refused, match="unknown chain"):
        manager.command("RULE", text="nowhere")
    assert manager.end() == 0
    assert sorted(read_pcap(tmp_path / "out.pcap")) == sorted(frames)


def test_backpressure_sheds_at_the_entry_instead_of_downstream(start: Start) -> None:
    text = CHAIN.replace("function=forwarder", "function=forwarder pace=20000")
    manager = start("set entry=shed\n" + text + "port net_null0 peer=0\n")
    manager.until(lambda: manager.page().dropped[5] > 10_000, "shed packets")
    before = manager.page()
    manager.until(lambda: manager.page().delivered > before.delivered + 2_000, "deliveries")
    after = manager.page()
    lost_downstream = after.instance[after.type[1].first].ring_dropped
    assert after.chain[0].shed == after.dropped[5]
    assert lost_downstream == before.instance[before.type[1].first].ring_dropped
    manager.command("ENTRY", value=0.0)
    manager.until(
        lambda: manager.instance(1, 0).ring_dropped > lost_downstream, "drops at the full ring"
    )


def test_telemetry_tells_the_same_figures(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.until(lambda: manager.page().delivered > 0, "packets")
    assert manager.ask("/flexnfv/instances") == [0, 4, 8]
    told = manager.ask("/flexnfv/instance,4")
    assert (told["type"], told["slot"], told["state"]) == ("forwarder", 0, RUNNING)
    totals = manager.ask("/flexnfv/totals")
    lost = sum(value for key, value in totals.items() if key.startswith("dropped"))
    assert totals["offered"] == totals["delivered"] + totals["in_flight"] + lost > 0
    assert manager.ask("/flexnfv/instance,99") is None


def test_a_mapping_can_be_changed_while_packets_flow(start: Start) -> None:
    manager = start(CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[3, 3, 3])
    for t in range(3):
        manager.until(lambda t=t: manager.states(t).count(RUNNING) == 3, "three of each")
    for kind in (1.0, 2.0, 0.0, 2.0):
        for t in range(3):
            manager.command("MAPPING", nf=t, value=kind)
            assert manager.page().type[t].mapping == kind
    page = manager.page()
    assert page.dropped[1] == 0
    assert all(page.type[t].flows_moved > 0 for t in range(3))


@pytest.mark.parametrize(
    ("threads", "workers"),
    [("tx_threads=2", 3), ("rx_threads=2", 2), ("rx_threads=2 tx_threads=2", 4)],
)
def test_rx_and_tx_threads_of_their_own_count_as_exactly(
    start: Start, threads: str, workers: int
) -> None:
    manager = start(f"set {threads} entry=hold\n" + CHAIN + "port net_null0 peer=0\n")
    manager.command("DECISION", targets=[2, 2, 2])
    manager.await_states(1, [RUNNING, RUNNING, STOPPED, STOPPED])
    manager.until(lambda: manager.page().delivered > 100_000, "packets")
    for slot in range(2):
        manager.command("KILL", nf=1, slot=slot)
    manager.until(lambda: manager.page().type[1].deaths == 2, "two deaths")
    manager.command("DECISION", targets=[1, 2, 1])
    delivered = manager.page().delivered
    manager.until(lambda: manager.page().delivered > delivered + 10_000, "packets again")
    assert manager.page().workers == workers
    assert manager.end() == 0
    page = manager.last_page()
    assert page.stopping
    assert page.offered == page.delivered + dropped(page) > 100_000
    assert page.in_flight == page.mbufs - page.mbufs_free == 0
    assert page.dropped[1] == page.dropped[2] == page.dropped[5] == 0


def test_tx_threads_of_their_own_deliver_every_packet(start: Start, tmp_path: Path) -> None:
    manager = start("set tx_threads=2 entry=hold\n" + CHAIN + memif(tmp_path))
    manager.command("DECISION", targets=[2, 2, 2])
    with Pktgen(traffic(tmp_path, 50_000.0)) as pktgen:
        pktgen.begin()
        manager.until(lambda: manager.page().delivered > 50_000, "packets")
        summary = pktgen.stop()
    page = settled(manager)
    assert summary.sent == summary.received == page.offered == page.delivered > 50_000
    assert dropped(page) == 0


def test_what_is_left_at_the_end_is_counted(start: Start, tmp_path: Path) -> None:
    manager = start(CHAIN + memif(tmp_path))
    os.kill(manager.instance(1, 0).pid, signal.SIGSTOP)
    with Pktgen(traffic(tmp_path, 20_000.0)) as pktgen:
        pktgen.begin()
        manager.until(lambda: manager.instance(1, 0).queue >= 1000, "a queue")
        summary = pktgen.stop()
    assert manager.end() == 0
    page = manager.last_page()
    assert page.stopping
    assert page.dropped[6] >= 1000  # still in a ring
    assert page.offered == summary.sent == page.delivered + dropped(page)
    assert page.in_flight == page.mbufs - page.mbufs_free == 0


def test_power_goes_down_with_a_block_and_up_with_a_rerun(tmp_path: Path) -> None:
    need_dataplane()
    script = Path(__file__).with_name("fake_cpufreq.sh")
    manager = Manager(
        tmp_path,
        CHAIN.replace("max=4", "min=0 max=4") + "port net_null0 peer=0\n",
        "--cores",
        "0",
        wrapper=["unshare", "-m", "sh", str(script), str(tmp_path)],
    )
    with manager:
        manager.until(lambda: manager.page().power == 1, "a managed core")
        speed = tmp_path / "speed"
        for t in range(2):  # the last one has the core for itself
            manager.command("STOP", nf=t, slot=0)
            manager.until(lambda t=t: manager.states(t)[0] == STOPPED, "a stopped instance")
        manager.command("BLOCK", nf=2, slot=0)
        manager.await_states(2, [BLOCKED, STOPPED, STOPPED, STOPPED])
        manager.until(lambda: speed.read_text().startswith("800000"), "the lowest frequency")
        manager.command("RERUN", nf=2, slot=0)
        manager.until(lambda: speed.read_text().startswith("2100000"), "the old frequency")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("type a function=nothing", "no NF function 'nothing'"),
        ("type a function=monitor ring=100", "power of two"),
        ("type a function=monitor max=0", "max"),
        ("type a function=monitor colour=red", "unknown key 'colour'"),
        ("chain c types=x", "unknown type 'x'"),
        ("paint it", "unknown statement 'paint'"),
        ("set scale=nan", "scale"),
        ("set mbufs=262145", "mbufs"),
        ("type n function=nat mapping=even", "keeps state per flow"),
        ("rule nowhere", "unknown chain"),
        ("port net_nothing9", "cannot be opened"),
    ],
)
def test_wrong_configurations_are_refused_in_one_line(
    tmp_path: Path, line: str, reason: str
) -> None:
    need_dataplane()
    manager = Manager(tmp_path, CHAIN + "port net_null0 peer=0\n" + line + "\n")
    assert manager.process.wait(20) == 2
    text = manager.log.read_text()
    assert reason in text
    assert text.count("flexnfv-manager:") == 1
