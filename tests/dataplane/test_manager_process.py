"""The manager for real: starts, ends, faults, and nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.build import MANAGER, NF, built
from flexnfv.hw_backend.client import PAGE_FILE, SOCKET_FILE, Client, Refused
from flexnfv.hw_backend.config import MEMIF_SOCKET, ManagerOptions, configuration
from flexnfv.hw_backend.folder import read_prefix, write_prefix
from flexnfv.hw_backend.manager_process import ManagerProcess, Placement, check_huge_pages, place
from flexnfv.hw_backend.pktgen import PktgenOptions
from flexnfv.hw_backend.processes import alive
from flexnfv.hw_backend.running import end
from flexnfv.mapping import MappingKind
from flexnfv.states import BLOCKED, RUNNING, STOPPED

pytestmark = pytest.mark.dataplane

PACED = ManagerOptions(scale=1 / 20, pacing=True, law=False, status_s=0.005)
PATIENCE_S = 20.0

Start = Callable[..., ManagerProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """start(chain=..., ...): a manager that is ended after the test."""
    managers: list[ManagerProcess] = []

    def start(chain: ServiceChain | str = "paper", **options: object) -> ManagerProcess:
        values: dict[str, object] = {"options": PACED, **options}
        managers.append(ManagerProcess(load_chain(chain), **values))  # type: ignore[arg-type]
        return managers[-1].start()

    yield start
    for manager in managers:
        manager.close()


def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def states(manager: ManagerProcess, nf_type: int) -> list[int]:
    return manager.client.snapshot().of_type(nf_type)["state"].tolist()  # type: ignore[no-any-return]


def leftovers(prefix: str) -> list[Path]:
    """Files that DPDK keeps under a prefix."""
    return [
        path
        for folder in (Path("/var/run/dpdk"), Path("/dev/hugepages"))
        for path in folder.glob(f"{prefix}*")
    ]


def test_nothing_is_left_behind(start: Start) -> None:
    manager = start()
    pids = [manager.pid, *manager.client.read().pids]
    assert len(pids) == 4
    assert leftovers(manager.prefix)
    manager.close()
    assert not any(alive(pid) for pid in pids)
    assert not leftovers(manager.prefix)
    assert not manager.folder.exists()
    manager.close()


def test_a_killed_manager_is_told_and_cleaned_up(start: Start, tmp_path: Path) -> None:
    manager = start(folder=tmp_path / "m")
    nfs = manager.client.read().pids
    os.kill(manager.pid, signal.SIGKILL)
    with pytest.raises(BackendError, match="was killed by SIGKILL"):
        manager.check(PATIENCE_S)
    with pytest.raises(BackendError, match="has ended"):
        manager.client.heartbeat()
    until(lambda: not any(alive(pid) for pid in nfs))
    manager.close()
    assert not leftovers(manager.prefix)
    assert not (tmp_path / "m" / SOCKET_FILE).exists()
    start(folder=tmp_path / "m")  # a new one starts in the same folder


def test_the_manager_ends_with_the_process_that_started_it() -> None:
    program = (
        "from flexnfv.chain import load_chain\n"
        "from flexnfv.hw_backend.manager_process import ManagerProcess\n"
        "import time\n"
        "manager = ManagerProcess(load_chain('paper')).start()\n"
        "print(manager.pid, manager.prefix, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, prefix = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.kill()
    until(lambda: not alive(int(pid)))
    until(lambda: not leftovers(prefix))


def test_a_manager_that_is_kept_outlives_its_starter(tmp_path: Path) -> None:
    manager = ManagerProcess(load_chain("paper"), folder=tmp_path / "kept", keep=True).start()
    with pytest.raises(InputError, match="a manager runs there"):
        ManagerProcess(load_chain("paper"), folder=tmp_path / "kept").start()
    with Client(tmp_path / "kept") as other:
        assert other.read().names == ("NF1", "NF2", "NF3")
    assert end(tmp_path / "kept")
    until(lambda: not alive(manager.pid))
    assert not leftovers(manager.prefix)
    manager.close()


def test_two_who_start_at_one_moment_in_one_folder_make_one_manager(tmp_path: Path) -> None:
    managers = [ManagerProcess(load_chain("paper"), folder=tmp_path / "m") for _ in range(2)]
    refused = []

    def start(manager: ManagerProcess) -> None:
        try:
            manager.start()
        except InputError as error:
            refused.append((manager, str(error)))

    threads = [threading.Thread(target=start, args=(manager,)) for manager in managers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [(loser, reason)] = refused
        [winner] = [manager for manager in managers if manager is not loser]
        assert f"a manager runs there (process {winner.pid})" in reason
        loser.close()
        winner.client.heartbeat()
        assert leftovers(winner.prefix)
    finally:
        for manager in managers:
            manager.close()


def page_of_another_version(manager: ManagerProcess) -> None:
    (manager.folder / PAGE_FILE).rename(manager.folder / "page.kept")
    (manager.folder / PAGE_FILE).write_bytes(b"x")


def stopped(manager: ManagerProcess) -> None:
    os.kill(manager.pid, signal.SIGSTOP)


@pytest.mark.parametrize("make_silent", [page_of_another_version, stopped])
def test_a_living_manager_keeps_its_files_whether_it_answers_or_not(
    start: Start, tmp_path: Path, make_silent: Callable[[ManagerProcess], None]
) -> None:
    manager = start(folder=tmp_path / "m")
    files = leftovers(manager.prefix)
    make_silent(manager)
    with pytest.raises(InputError, match=rf"a manager runs there \(process {manager.pid}\)"):
        start(folder=tmp_path / "m")
    assert alive(manager.pid)
    assert leftovers(manager.prefix) == files
    assert (tmp_path / "m" / SOCKET_FILE).exists()
    os.kill(manager.pid, signal.SIGCONT)
    assert end(tmp_path / "m")
    assert not alive(manager.pid)
    assert not leftovers(manager.prefix)
    assert not (tmp_path / "m" / PAGE_FILE).exists()


def test_a_manager_that_still_starts_keeps_its_files(tmp_path: Path) -> None:
    slow = tmp_path / "slow-nf"  # knows its functions, and never polls
    slow.write_text(f'#!/bin/sh\n[ "$1" = --list ] && exec {built(NF)} --list\nexec sleep 600\n')
    slow.chmod(0o700)
    prefix = f"flexnfv_{os.getpid()}_starting"
    write_prefix(tmp_path, prefix)
    text = configuration(load_chain("paper"), ["null"], tmp_path, PACED)
    (tmp_path / "manager.conf").write_text(text)
    command = [built(MANAGER), "--config", "manager.conf", "--dir", ".", f"--prefix={prefix}"]
    with subprocess.Popen([*command, "--nf", slow], cwd=tmp_path) as manager:
        try:
            until(lambda: (tmp_path / PAGE_FILE).exists())
            files = leftovers(prefix)
            assert len(files) > 1
            with pytest.raises(InputError, match=rf"\(process {manager.pid}\)"):
                ManagerProcess(load_chain("paper"), folder=tmp_path).start()
            assert leftovers(prefix) == files
            assert end(tmp_path)
            assert manager.wait(PATIENCE_S) == 0
            assert not leftovers(prefix)
        finally:
            manager.kill()


def test_an_nf_launched_late_does_not_survive_its_killed_manager(start: Start) -> None:
    manager = start()
    manager.client.launch(0)
    until(lambda: states(manager, 0)[:2] == [RUNNING, RUNNING])
    late = int(manager.client.snapshot().of_type(0)["pid"][1])
    os.kill(late, signal.SIGSTOP)  # or else it leaves by itself
    os.kill(manager.pid, signal.SIGKILL)
    manager.close()
    assert not alive(late)
    assert not leftovers(manager.prefix)


def test_who_closes_late_leaves_a_newer_manager_its_files(start: Start, tmp_path: Path) -> None:
    first = start(folder=tmp_path / "m")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not alive(first.pid))
    second = start(folder=tmp_path / "m")
    first.close()
    assert (tmp_path / "m" / SOCKET_FILE).exists()
    assert (tmp_path / "m" / MEMIF_SOCKET).exists()
    Client(tmp_path / "m").close()
    assert read_prefix(tmp_path / "m") == second.prefix


def test_page_and_socket_are_for_their_owner(start: Start) -> None:
    folder = start().folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("page", SOCKET_FILE):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_commands_do_what_they_say(start: Start) -> None:
    manager = start()
    client = manager.client
    reply = client.launch(0)
    assert (reply.slot, reply.instance) == (1, 1)
    until(lambda: states(manager, 0)[:2] == [RUNNING, RUNNING])
    client.block(0, 1)
    until(lambda: states(manager, 0)[:2] == [RUNNING, BLOCKED])
    client.rerun(0, 1)
    assert states(manager, 0)[:2] == [RUNNING, RUNNING]
    client.stop(0, 1)
    until(lambda: states(manager, 0)[:2] == [RUNNING, STOPPED])
    client.mapping(2, MappingKind.EVEN)
    client.pace(12_345.0, 1)
    client.entry("shed")
    client.law(True)
    snapshot = client.snapshot()
    assert snapshot.types["mapping"].tolist() == [0, 0, int(MappingKind.EVEN)]
    assert snapshot.types["pace_pps"][1] == 12_345.0
    assert (snapshot.header["entry"], snapshot.header["law_enabled"]) == (1, 1)
    clipped = client.decide([100, 1, 1])
    assert clipped.clipped[0] == 92
    assert "NF1" in clipped.reason


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (lambda c: c.launch(7), "no type 7"),
        (lambda c: c.block(0, 5), "stopped"),
        (lambda c: c.rerun(0, 0), "running"),
        (lambda c: c.pace(-1.0), "pace"),
        (lambda c: c.entry("ajar"), "nan"),
        (lambda c: c.rule("nonsense"), "rules"),
        (lambda c: c.launch(0, 1, "x" * 300), "at most 255"),
        (lambda c: c.decide([-2, 1, 1]), r"targets\[0\]"),
    ],
    ids=["type", "block", "rerun", "pace", "entry", "rule", "text", "targets"],
)
def test_what_is_refused_is_refused_with_a_reason(
    start: Start, command: Callable[[Client], object], reason: str
) -> None:
    client = start().client
    with pytest.raises(Refused, match=reason):
        command(client)
    client.heartbeat()


def test_every_snapshot_is_whole_while_the_manager_writes(start: Start) -> None:
    """Its totals are made from its counters, so half an old and half a new page would show."""
    manager = start(
        ports=("null",),
        options=ManagerOptions(law=False, status_s=0.001, hold=True, ring_size=16_384),
    )
    seen = set()
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        snapshot = manager.client.read()
        header, instances = snapshot.header, snapshot.instances
        seen.add(int(header["snapshots"]))
        gone = int(header["delivered"]) + int(header["dropped"].sum())
        assert int(header["offered"]) == gone + int(header["in_flight"])
        assert int(header["dropped"][0]) == int(instances["ring_dropped"].sum())
        assert int(header["offered"]) == int(snapshot.ports["received"].sum())
    assert len(seen) > 50


def test_several_threads_may_command(start: Start) -> None:
    client = start().client
    replies: list[int] = []

    def beat() -> None:
        replies.extend(client.heartbeat().time_ns for _ in range(200))

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(replies)) == 800
    assert client.snapshot().header["heartbeats"] == 800


def test_offered_is_delivered_dropped_or_in_flight_through_launch_block_and_rerun(
    start: Start,
) -> None:
    manager = start()
    client = manager.client
    options = PktgenOptions(
        port=manager.peer, rate_pps=100_000.0, duration_s=3.0, backlog_ms=60_000.0
    )
    rng = np.random.default_rng(1)
    with manager.generator(options) as generator:
        for _ in range(12):
            client.decide(rng.integers(1, 4, 3).tolist())
            time.sleep(0.1)
            header = client.snapshot().header
            gone = int(header["delivered"]) + int(header["dropped"].sum())
            assert int(header["offered"]) == gone + int(header["in_flight"])
        summary = generator.wait(60)
    until(lambda: client.snapshot().header["in_flight"] == 0)
    header = client.snapshot().header
    assert summary.sent == int(header["offered"]) == 300_000
    assert summary.received == int(header["delivered"])
    assert summary.sent == summary.received + int(header["dropped"].sum())


def test_chains_that_share_types_take_their_shares(start: Start) -> None:
    manager = start("two-paths")
    with manager.generator(
        PktgenOptions(port=manager.peer, rate_pps=50_000.0, count=20_000, backlog_ms=60_000.0)
    ) as generator:
        generator.wait(30)
    offered = manager.client.snapshot().chains["offered"].astype(float)
    assert offered.sum() == 20_000
    np.testing.assert_allclose(offered / offered.sum(), [0.5, 0.5], atol=0.05)


def test_the_built_in_law_takes_over_and_hands_back(start: Start) -> None:
    chain = load_chain("paper").replace(interval_s=0.1)
    manager = start(chain, options=ManagerOptions(status_s=0.01))
    client = manager.client
    client.heartbeat()
    assert client.snapshot().header["control"] == 1
    until(lambda: client.snapshot().header["control"] == 2)
    assert client.snapshot().header["takeovers"] == 1
    until(lambda: client.snapshot().header["law_decisions"] > 0)
    client.decide([2, 1, 1])
    assert client.snapshot().header["control"] == 1


@pytest.mark.parametrize(
    ("nf", "ports", "reason"),
    [
        ({"args": "key=short"}, ("null",), "key"),
        ({}, ("af_packet:there-is-none",), "af_packet"),
        ({}, ("whatever",), "unknown port"),
        ({}, ("null:1",), "unknown port"),
    ],
    ids=["args", "interface", "port", "argument"],
)
def test_what_the_user_can_mend_is_an_input_error(
    nf: dict[str, object], ports: tuple[str, ...], reason: str
) -> None:
    chain = load_chain("paper")
    types = [one.model_dump() for one in chain.nf]
    types[2] |= nf
    manager = ManagerProcess(chain.replace(nf=types), ports=ports)
    with pytest.raises(InputError, match=reason):
        manager.start()
    assert not leftovers(manager.prefix)


def test_without_huge_pages_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    pages = tmp_path / "nr_hugepages"
    for text in ("0\n", None):
        if text is not None:
            pages.write_text(text)
        with pytest.raises(InputError, match=r"sysctl vm\.nr_hugepages=1024"):
            check_huge_pages(pages)
        pages.unlink(missing_ok=True)
    pages.write_text("8\n")
    check_huge_pages(pages)


def test_where_no_manager_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no manager in"):
        Client(tmp_path)


@pytest.mark.parametrize(
    ("cpus", "threads", "placement"),
    [
        ([3], 1, Placement((3,), (3,), (3,))),
        ([0, 1], 1, Placement((0,), (1,), (0,))),
        ([0, 1], 4, Placement((0,), (1,), (0,))),
        ([2, 0, 1], 1, Placement((0,), (1,), (2,))),
        (range(8), 1, Placement((0,), (1, 2, 3, 4, 5, 6), (7,))),
        (range(8), 2, Placement((0, 1), (2, 3, 4, 5, 6), (7,))),
        (range(3), 5, Placement((0,), (1,), (2,))),
    ],
)
def test_who_runs_where(cpus: list[int], threads: int, placement: Placement) -> None:
    assert place(cpus, threads) == placement
