"""A thread that is woken at once where others keep the cores busy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def punctual() -> Iterator[bool]:
    """Run the calling thread before all ordinary ones, where the system lets us.

    It must sleep nearly all the time. Threads and processes that it starts are ordinary again.
    Yields whether the system lets us (it takes root or CAP_SYS_NICE).
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy, priority)
