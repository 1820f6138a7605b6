"""Scheduling of a deployment's threads: some run before all others, one only on an idle core."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def go_first() -> bool:
    """Give the calling thread real-time priority; returns whether the system allowed it.

    The system allows it to root and with CAP_SYS_NICE. The thread must sleep nearly all the time,
    since nothing ordinary runs on its core while it does. Threads and processes that it starts are
    ordinary again.
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
    """Make sure that a killed process frees its memory only while its core is idle.

    The kernel frees the memory of a killed process in whichever of its threads ends last, which
    takes about five milliseconds. If that thread has real-time priority, a dataplane on the same
    core cannot serve its port meanwhile. So this process keeps one thread of the lowest priority
    that does nothing: the kernel schedules it last, and the memory is freed in it.
    """
    threading.Thread(target=_wait_for_the_end, name="flexnfv last", daemon=True).start()


def _wait_for_the_end() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # Linux applies this to the calling thread alone.
    threading.Event().wait()
