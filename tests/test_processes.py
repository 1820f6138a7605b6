"""The suite makes its own conditions: it may run where SIGINT is ignored."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.processes import default_sigint

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


@pytest.mark.parametrize("mended", [False, True])
def test_a_child_is_interrupted_although_sigint_was_ignored(mended: bool) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if mended:
            with default_sigint():
                child = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        else:
            child = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGINT)
        if mended:
            assert child.wait(30) in (130, -signal.SIGINT)
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
            child.kill()


def test_every_test_may_interrupt_itself() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
