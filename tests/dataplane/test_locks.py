"""DPDK's locks in shared memory outlive no NF that dies with one."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataplane.running_manager import (
    RUNNING,
    STOPPED,
    Manager,
    need_dataplane,
)

pytestmark = pytest.mark.dataplane

CONFIGURATION = """
set law=0 status_ms=20
type monitor function=monitor max=3
chain main types=monitor
port net_null0 peer=0
"""

# Where they are in DPDK 22.11's "config" file, bytes.
ZONES, MAP = 16, 32
WAIT, WRITE, READ = 1, 2, 4


class Locks:
    """The words of a manager's locks, as any process of DPDK's could change them."""

    def __init__(self, prefix: str) -> None:
        with Path("/var/run/dpdk", prefix, "config").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def __getitem__(self, at: int) -> int:
        return int(struct.unpack_from("I", self._map, at)[0])

    def __setitem__(self, at: int, word: int) -> None:
        struct.pack_into("I", self._map, at, word)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    need_dataplane()
    with Manager(tmp_path, CONFIGURATION) as manager:
        yield manager


def launch(manager: Manager) -> tuple[int, int]:
    """Launches one more: its slot and its process."""
    slot = manager.command("LAUNCH", nf=0).slot
    return slot, manager.page(fresh=True).instance[slot].pid


def kill_at_start(manager: Manager, after_s: float = 0.0) -> None:
    slot, pid = launch(manager)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    manager.until(lambda: manager.states(0)[slot] == STOPPED, "the death")


@pytest.mark.parametrize(
    ("at", "word"), [(ZONES, WRITE), (MAP, READ | WAIT)], ids=["writer", "waiting-writer"]
)
def test_what_stops_the_next_launch_does_so_for_a_moment_only(
    manager: Manager, at: int, word: int
) -> None:
    locks = Locks(manager.prefix)
    locks[at] = word
    kill_at_start(manager)
    slot, _ = launch(manager)  # it waits for the lock, as anyone would
    manager.until(lambda: manager.states(0)[slot] == RUNNING, "the launch", 8.0)
    assert locks[at] == 0
    assert "had left DPDK's lock of the mem" in manager.log.read_text()


def test_read_locks_left_by_deaths_are_freed_once_nobody_starts(manager: Manager) -> None:
    locks = Locks(manager.prefix)
    locks[MAP] = 3 * READ
    kill_at_start(manager)
    manager.until(lambda: locks[MAP] == 0, "the lock's end")
    assert "lock of the memory map: freed" in manager.log.read_text()


def test_every_lock_has_its_own_time(manager: Manager) -> None:
    locks = Locks(manager.prefix)
    for _ in range(3):
        locks[ZONES] = WRITE
        kill_at_start(manager)
        time.sleep(0.3)  # fifteen of the manager's looks
        assert locks[ZONES] == WRITE
        manager.until(lambda: locks[ZONES] == 0, "the lock's end")


def test_after_deaths_at_any_moment_of_a_start_no_lock_stays_held(manager: Manager) -> None:
    locks = Locks(manager.prefix)
    chance = random.Random(4)
    for _ in range(20):
        kill_at_start(manager, 0.01 * chance.random())
    manager.until(lambda: locks[MAP] == locks[ZONES] == 0, "the locks' end")
    slot, _ = launch(manager)
    manager.until(lambda: manager.states(0)[slot] == RUNNING, "the launch", 8.0)


def test_a_lock_that_nobody_died_with_stays_its_holders(manager: Manager) -> None:
    locks = Locks(manager.prefix)
    locks[ZONES] = WRITE
    time.sleep(1.5)  # longer than the manager's limit
    assert locks[ZONES] == WRITE
    locks[ZONES] = 0


def test_locks_left_behind_do_not_keep_the_manager_from_its_end(manager: Manager) -> None:
    locks = Locks(manager.prefix)
    locks[ZONES] = locks[MAP] = WRITE
    assert manager.end() == 0
