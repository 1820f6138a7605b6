"""Conditions that tests make for the processes they start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def default_sigint() -> Iterator[None]:
    """Ctrl-C interrupts this process and every one that it starts meanwhile.

    A shell starts what it puts into the background (`nohup make test &`) with SIGINT ignored, and
    whatever is ignored is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
