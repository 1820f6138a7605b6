"""Threads that run at once where others keep the cores busy, and one that runs when none does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def go_first() -> bool:
    """Let the calling thread run before all ordinary ones; whether the system lets us.

    It takes root or CAP_SYS_NICE. The thread must sleep nearly all the time. Threads and processes
    that it starts are ordinary again.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        return False
    return True


@contextmanager
def punctual() -> Iterator[bool]:
    """`go_first` for the length of a block."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    allowed = go_first()
    try:
        yield allowed
    finally:
        if allowed:
            os.sched_setscheduler(0, policy, priority)


def go_last() -> None:
    """Have this process, should it be killed, give its memory back when nobody needs the core.

    The kernel does that in the last thread: some five milliseconds, for which one that goes
    first would keep a dataplane on the same core from its port. So one thread does nothing, at the
    lowest priority.
    """
    threading.Thread(target=_wait_for_the_end, name="flexnfv last", daemon=True).start()


def _wait_for_the_end() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # on Linux: of this thread alone
    threading.Event().wait()
