"""A manager's folder: one manager at a time, and cleaned only when that one is dead."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexnfv.errors import InputError
from flexnfv.hw_backend.client import PAGE_FILE, SOCKET_FILE
from flexnfv.hw_backend.config import MEMIF_SOCKET
from flexnfv.hw_backend.leftovers import is_ours, remove_dpdk_files
from flexnfv.hw_backend.power import put_back_governors
from flexnfv.hw_backend.processes import end_orphans, manager_in

PREFIX_FILE = "prefix"
"""Holds the DPDK file prefix, so that whoever finds a dead manager can clean up behind it."""


@contextmanager
def for_a_new_manager(folder: Path) -> Iterator[None]:
    """See to it that a folder is free and clean, and let nobody else in until the block ends.

    Raises:
        InputError: a manager lives there, whether it answers or not.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Of two that start at once the second waits here, and finds the first one's manager.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _clean(folder)
        yield
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove what a killed manager left in its folder, and of its huge pages.

    Raises:
        InputError: a manager lives there; nothing is removed.
    """
    with for_a_new_manager(folder):
        pass


def _clean(folder: Path) -> None:
    pid = manager_in(folder)
    if pid is not None:
        raise InputError(
            f"a manager runs there (process {pid})",
            where=str(folder),
            fix=f"take it over (`flexnfv deploy --attach {folder}`) or end it "
            f"(`flexnfv dataplane down {folder}`, or kill {pid})",
        )
    prefix = read_prefix(folder)
    if is_ours(prefix):
        end_orphans(prefix)
        remove_dpdk_files(prefix)
    leave_in_order(folder)


def leave_in_order(folder: Path) -> None:
    """After a manager: CPUs as they were, and its files removed but for its logs."""
    put_back_governors(folder)
    for name in (PAGE_FILE, SOCKET_FILE, f"{MEMIF_SOCKET}*", PREFIX_FILE):
        for path in folder.glob(name):
            path.unlink(missing_ok=True)


def read_prefix(folder: Path) -> str:
    """The DPDK file prefix of the manager in a folder; empty if it is not known."""
    try:
        return (folder / PREFIX_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def write_prefix(folder: Path, prefix: str) -> None:
    """Note the DPDK file prefix, whole or not at all."""
    draft = folder / f".{PREFIX_FILE}"
    draft.write_text(prefix, encoding="utf-8")
    draft.replace(folder / PREFIX_FILE)
