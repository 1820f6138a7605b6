"""The dataplane's processes, found by their command lines: no file need tell of them.

So a manager is known to live while it starts, when it hangs, and when it is of another version;
and NFs are found whenever they were launched.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from flexnfv.hw_backend.build import MANAGER, NF

_ORPHANS_S = 5.0
_EXEC_S = 1.0
_POLL_S = 0.005


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def manager_in(folder: Path) -> int | None:
    """The process id of the manager that has a folder; None if there is none."""
    for pid, arguments in _running(MANAGER.name):
        named = _option("--dir", arguments)
        with suppress(OSError):
            if named and Path(f"/proc/{pid}/cwd", named).samefile(folder):
                return pid
    return None


def nfs_of(prefix: str) -> list[int]:
    """Process ids of the NFs that a manager of this DPDK file prefix has started."""
    return [pid for pid, arguments in _running(NF.name) if arguments[1:2] == [prefix]]


def end_orphans(prefix: str) -> None:
    """Wait for the NFs of a dead manager: they leave by themselves; who does not is killed."""
    for kill in (False, True):
        deadline = time.monotonic() + _ORPHANS_S
        while (left := nfs_of(prefix)) and time.monotonic() < deadline:
            for pid in left if kill else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_S)


def _running(program: str) -> Iterator[tuple[int, list[str]]]:
    """Process ids and command lines of a program's processes; a zombie has none."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # Where the program was built anew since, its name is that of a deleted file.
            name = (process / "exe").readlink().name.removesuffix(" (deleted)")
            arguments = _arguments(process) if name == program else []
        except OSError:  # the process has ended, or is another user's
            continue
        if arguments:
            yield int(process.name), arguments


def _arguments(process: Path) -> list[str]:
    """A process's command line; for a moment, while the kernel starts its program, it has none."""
    deadline = time.monotonic() + _EXEC_S
    while not (line := (process / "cmdline").read_bytes()) and time.monotonic() < deadline:
        (process / "exe").readlink()  # fails for a zombie, which has no command line any more
        time.sleep(_POLL_S)
    return line.decode(errors="replace").split("\0")[:-1]


def _option(name: str, arguments: list[str]) -> str:
    """What an option was given, in one word or in two; empty if it was not."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""
