"""Run to completion for real: one process holds the functions of the whole chain."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from flexnfv.backend import Single
from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions, memif_client
from flexnfv.hw_backend.status import figures
from tests.dataplane.pcap_files import read_pcap, write_pcap
from tests.dataplane.running_manager import (
    BLOCKED,
    FFI,
    RUNNING,
    STOPPED,
    Manager,
    Refused,
    dropped,
    need_dataplane,
)
from tests.dataplane.test_nfs import any_packets, decrypted, everything

pytestmark = pytest.mark.dataplane

NF_VERDICT, DEATH = 2, 4
KEY = "2b7e151628aed2a6abf7158809cf4f3c"
NEXT_HOP = "02:00:00:00:00:99"

Start = Callable[..., Manager]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*statements): a manager of replicas, ended after the test."""
    need_dataplane()
    managers: list[Manager] = []

    def start(*statements: str) -> Manager:
        folder = tmp_path / f"m{len(managers)}"
        folder.mkdir()
        text = "\n".join(["set mode=run_to_completion law=0 status_ms=20", *statements, ""])
        managers.append(Manager(folder, text))
        return managers[-1].__enter__()

    yield start
    for manager in managers:
        manager.end()


def captures(source: Path, target: Path) -> str:
    """A port that reads a capture once and writes what comes back."""
    return f"port net_pcap0,rx_pcap={source},tx_pcap={target} peer=0"


def through(manager: Manager, frames: int) -> Any:
    """The page once so many packets came, and none is under way."""

    def quiet() -> Any:
        page = manager.page()
        return page if page.offered == frames and page.in_flight == 0 else None

    return manager.until(quiet, f"{frames} packets through the chain")


def test_one_process_runs_all_functions_and_packets_pass_byte_for_byte(
    start: Start, tmp_path: Path
) -> None:
    frames = everything()
    target = tmp_path / "out.pcap"
    manager = start(
        "set entry=hold",
        "type count function=monitor max=1",
        "type send function=forwarder",
        "chain main types=count,send",
        captures(write_pcap(tmp_path / "in.pcap", frames), target),
    )
    page = through(manager, len(frames))
    assert len(manager.nf_pids()) == 1
    assert page.instance[0].served == page.delivered == len(frames)
    assert (page.replicas, page.cores_held) == (1, 1)
    assert [page.chain[0].type[hop] for hop in range(page.chain[0].length)] == [0, 1]
    assert manager.end() == 0
    assert read_pcap(target) == frames


def test_each_function_has_its_own_args(start: Start, tmp_path: Path) -> None:
    packets = [bytes(packet) for packet in any_packets(random.Random(1), 300)]
    target = tmp_path / "out.pcap"
    manager = start(
        "set entry=hold",
        "type count function=monitor max=1",
        f"type send function=forwarder args=dst={NEXT_HOP}",
        f"type secret function=encryptor args=key={KEY} nonce=00c0ffee",
        "chain main types=count,send,secret",
        captures(write_pcap(tmp_path / "in.pcap", packets), target),
    )
    through(manager, len(packets))
    assert manager.end() == 0
    frames = read_pcap(target)
    assert [f[6:] for f in frames] != [p[6:] for p in packets]
    plain = [decrypted(frame, bytes.fromhex(KEY), 0x00C0FFEE) for frame in frames]
    next_hop = bytes.fromhex(NEXT_HOP.replace(":", ""))
    assert plain == [next_hop + packet[6:] for packet in packets]


def test_two_stages_of_one_function_are_apart(start: Start, tmp_path: Path) -> None:
    """An encryptor undoes another of the same key, and not one of another."""
    packets = [bytes(packet) for packet in any_packets(random.Random(2), 200)]
    source = write_pcap(tmp_path / "in.pcap", packets)
    passed = []
    for number, nonce in enumerate(("11", "22")):
        target = tmp_path / f"out{number}.pcap"
        manager = start(
            "set entry=hold",
            "type one function=encryptor max=1 args=nonce=00000011",
            f"type two function=encryptor args=nonce=000000{nonce}",
            "chain main types=one,two",
            captures(source, target),
        )
        through(manager, len(packets))
        assert manager.end() == 0
        passed.append(read_pcap(target))
    assert passed[0] == packets
    assert passed[1] != packets


def test_what_the_first_stage_drops_is_counted_and_later_stages_do_not_see_it(
    start: Start, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("deny udp any any any 53\ndefault allow\n")
    frames = [
        bytes(Ether() / IP(src=f"10.0.{n % 7}.{n % 250}", dst="10.1.0.1") / UDP(dport=dport))
        for n, dport in enumerate([53, 80, 53, 53, 443] * 60)
    ]
    target = tmp_path / "out.pcap"
    manager = start(
        "set entry=hold",
        f"type guard function=firewall max=1 args=rules={rules}",
        "type count function=monitor",
        "chain main types=guard,count",
        captures(write_pcap(tmp_path / "in.pcap", frames), target),
    )
    page = through(manager, len(frames))
    assert page.instance[0].served == 300
    assert page.instance[0].nf_dropped == page.dropped[NF_VERDICT] == dropped(page) == 180
    assert page.delivered == 120
    assert manager.end() == 0
    assert read_pcap(target) == [frame for frame in frames if Ether(frame)[UDP].dport != 53]
    seen = (manager.folder / "nf.log").read_text()
    assert "count.0: 120 packets, " in seen
    assert "count.0: 180" not in seen


def test_packets_of_different_chains_pass_different_functions(start: Start, tmp_path: Path) -> None:
    """In one burst, too; and a chain need not pass the first type."""
    packets = [
        bytes(Ether() / IP(src=f"10.0.0.{n % 250}") / UDP(dport=53 + n % 2) / Raw(b"secret" * 9))
        for n in range(400)
    ]
    target = tmp_path / "out.pcap"
    manager = start(
        "set entry=hold",
        f"type send function=forwarder max=1 args=dst={NEXT_HOP}",
        f"type secret function=encryptor args=key={KEY}",
        "type count function=monitor",
        "chain plain types=send,count",
        "chain hidden types=count,secret",
        "rule hidden dport=53",
        captures(write_pcap(tmp_path / "in.pcap", packets), target),
    )
    page = through(manager, len(packets))
    assert [page.chain[c].delivered for c in range(2)] == [200, 200]
    assert [page.chain[1].type[hop] for hop in range(page.chain[1].length)] == [2, 1]
    assert manager.end() == 0
    next_hop = bytes.fromhex(NEXT_HOP.replace(":", ""))
    for before, after in zip(packets, read_pcap(target), strict=True):
        if Ether(before)[UDP].dport == 53:
            assert after[:42] == before[:42]
            assert after != before
            assert decrypted(after, bytes.fromhex(KEY)) == before
        else:
            assert after == next_hop + before[6:]
    assert "count.0: 400 packets, " in (manager.folder / "nf.log").read_text()


PAPER = (
    "type count function=monitor max=4",
    "type send function=forwarder max=4",
    "type secret function=encryptor max=4",
    "chain main types=count,send,secret",
)


def memif(folder: Path) -> str:
    return f"port net_memif0,role=server,id=0,socket={folder}/memif.sock,socket-abstract=no peer=0"


def test_replicas_are_launched_blocked_rerun_and_killed_and_every_packet_is_counted(
    start: Start, tmp_path: Path
) -> None:
    manager = start(*PAPER, memif(tmp_path))
    options = PktgenOptions(
        port=memif_client(tmp_path / "memif.sock"),
        rate_pps=50_000.0,
        control=True,
        key="000102030405060708090a0b0c0d0e0f",
        backlog_ms=60_000.0,
    )
    with Pktgen(options) as pktgen:
        pktgen.begin()
        manager.command("DECISION", targets=[2, 1, 1])
        manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
        served = manager.instance(0, 1).served
        manager.until(lambda: manager.instance(0, 1).served > served, "packets of the second")
        assert len(manager.nf_pids()) == 2
        for _ in range(3):
            manager.command("DECISION", targets=[1, 1, 1])
            manager.until(lambda: sorted(manager.states(0))[-1] == BLOCKED, "a parked replica")
            manager.command("DECISION", targets=[2, 1, 1])
            manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
        page = manager.page()
        assert (page.type[0].launches, page.type[0].reruns, page.type[0].blocks) == (2, 3, 3)
        for kill in range(6):
            slot = kill % 2
            manager.command("KILL", nf=0, slot=slot)
            manager.until(lambda kill=kill: manager.page().type[0].deaths > kill, "a death")
            manager.command("DECISION", targets=[2, 1, 1])
            manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
        pktgen.stop()
        summary = pktgen.wait(60)
    page = manager.until(
        lambda: page if (page := manager.page()).in_flight == 0 else None, "an empty chain"
    )
    assert page.offered == page.delivered + dropped(page) == summary.sent
    assert page.delivered == summary.received
    assert page.dropped[DEATH] == sum(page.instance[e].lost for e in range(4)) <= 6 * 64
    assert dropped(page) - page.dropped[DEATH] == page.dropped[0]  # else only full rings
    assert [page.type[t].max_instances for t in range(3)] == [4, 0, 0]
    manager.until(lambda: manager.page().mbufs_free == page.mbufs, "every mbuf in the pool")


def test_the_built_in_law_scales_replicas(start: Start) -> None:
    slow = PAPER[0] + " pace=5000 cost_ns=100000 high=0.35 low=0.17"
    manager = start(
        "set law=1 interval_ms=100 entry=hold", slow, *PAPER[1:], "port net_null0 peer=0"
    )
    manager.until(lambda: manager.states(0) == [RUNNING] * 4, "four replicas")
    assert len(manager.nf_pids()) == 4


def test_a_live_backend_attaches_to_replicas_with_a_chain_of_that_mode_alone(
    tmp_path: Path,
) -> None:
    need_dataplane()
    pipeline = load_chain("paper").replace(interval_s=0.1)
    chain = pipeline.replace(mode="run_to_completion")
    options = ManagerOptions(scale=1 / 20, pacing=True, law=False, status_s=0.02)
    with ManagerProcess(chain, folder=tmp_path / "m", options=options) as manager:
        backend = LiveBackend(chain, attach=tmp_path / "m")
        assert Single(backend).reset(None).running.tolist() == [1, 0, 0]
        pid = manager.client.read().pids[0]
        os.kill(pid, signal.SIGKILL)
        readings = [Single(backend).step(np.array([1, 1, 1])).copy() for _ in range(20)]
        assert sum(reading.deaths for reading in readings).tolist() == [1, 0, 0]
        assert readings[-1].running.tolist() == [1, 0, 0]
        backend.close()
        with pytest.raises(InputError, match=r"the manager runs NF1 \(max 8\), NF2 \(max 0\)"):
            LiveBackend(pipeline, attach=tmp_path / "m")
        state = figures(manager.client.read(), manager.client.snapshot())
        assert state["run_to_completion"]


def test_a_spare_becomes_a_replica(start: Start) -> None:
    manager = start("set spares=1 entry=hold", *PAPER, "port net_null0 peer=0")
    manager.until(lambda: manager.page().spares_ready == 1, "a spare")
    manager.command("LAUNCH", nf=0)
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])
    assert manager.page().type[0].spare_launches == 1


def test_the_other_types_have_no_instances_and_say_so(start: Start) -> None:
    manager = start(*PAPER, "port net_null0 peer=0")
    for command in ("LAUNCH", "BLOCK"):
        with pytest.raises(Refused, match="send runs inside the instances of count"):
            manager.command(command, nf=1, slot=0)
    reply = manager.command("DECISION", targets=[2, 1, 3])
    assert list(reply.clipped)[:3] == [0, 1, 3]
    manager.await_states(0, [RUNNING, RUNNING, STOPPED, STOPPED])


def test_a_launch_with_other_args_gives_them_to_the_function_of_its_type(start: Start) -> None:
    manager = start(*PAPER, "port net_null0 peer=0")
    manager.command("LAUNCH", nf=0, slot=2, text="no=such")
    manager.until(lambda: manager.page().type[0].failed_launches == 1, "the refusal")
    reason = FFI.string(manager.page().type[0].last_failure).decode()
    assert reason == "count: monitor takes no arguments, got 'no=such'"


NAT = "inside=10.0.0.0/8 outside=203.0.113.5"


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (
            ("type a function=monitor", "type b function=encryptor args=key=short"),
            "a cannot be launched: b: key: give 32 hexadecimal digits",
        ),
        (("type a function=monitor", "type b function=nothing"), "type b: there is no NF function"),
        (
            ("type a function=monitor", f"type b function=nat mapping=rendezvous args={NAT}"),
            "type a: nat keeps state per flow: give it mapping=rendezvous or max=1",
        ),
    ],
    ids=["args", "function", "state"],
)
def test_a_stage_that_cannot_be_is_named_in_one_line(
    tmp_path: Path, statements: tuple[str, ...], reason: str
) -> None:
    need_dataplane()
    lines = (
        "set mode=run_to_completion law=0",
        *statements,
        "chain main types=a,b",
        "port net_null0 peer=0",
    )
    manager = Manager(tmp_path, "\n".join([*lines, ""]))
    assert manager.process.wait(20) == 2
    told = manager.log.read_text()
    assert reason in told
    assert told.count("flexnfv-manager:") == 1


def test_a_replica_with_state_keeps_its_flows(start: Start) -> None:
    manager = start(
        "type a function=monitor mapping=rendezvous",
        f"type b function=nat args={NAT}",
        "chain main types=a,b",
        "port net_null0 peer=0",
    )
    with pytest.raises(Refused, match="a keeps state per flow"):
        manager.command("MAPPING", nf=0, value=2)
    manager.command("MAPPING", nf=0, value=1)
