"""How a program of ours ends: the one place where failures become lines and exit codes."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr

from flexnfv.errors import BackendError, InputError

OK = 0
BACKEND_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # Shells report a death by SIGINT as 128 + 2.
TERMINATED = 143  # Shells report a death by SIGTERM as 128 + 15.


class Terminated(KeyboardInterrupt):
    """SIGTERM: it ends a program in order, as Ctrl-C does."""


def run_program(name: str, program: Callable[[], int | None]) -> int:
    """Run `program` and return its exit code; an expected failure is one line on stderr.

    Args:
        name: what the line starts with, such as "flexnfv" or "ppo.py".
        program: returns an exit code, or None for success.

    Returns:
        The program's own code (None counts as 0), 2 for bad input and a full disk, 1 for a
        backend that could not carry on, 130 after Ctrl-C, 143 after SIGTERM. Any other exception is
        a bug of ours and propagates with its traceback.
    """
    try:
        with _terminated_in_order():
            return program() or OK
    except InputError as error:
        _say(name, str(error))
        return BAD_INPUT
    except BackendError as error:
        _say(name, str(error))
        return BACKEND_FAILED
    except KeyboardInterrupt as stop:
        ended = isinstance(stop, Terminated)
        _say(name, "; ".join(filter(None, ("terminated" if ended else "interrupted", str(stop)))))
        return TERMINATED if ended else INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`flexnfv traces list | head`). Python flushes stdout
        # at exit and would complain once more, so stdout is pointed at /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        _say(name, f"no disk space left{where}; free some and run the command again")
        return BAD_INPUT


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """SIGTERM raises `Terminated`; only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(name: str, line: str) -> None:
    print(f"{name}: {' '.join(line.split())}", file=sys.stderr)


@contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Turn the box that tyro draws around a parsing error into one line.

    Raises:
        InputError: the arguments could not be parsed.
    """
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            yield
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise InputError(_first_message(box.getvalue()), fix=f"see {prog} --help") from None


def _first_message(box: str) -> str:
    """The text of a box up to its first divider."""
    words: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│| ")
        divider = text.startswith(("─", "---", "╰", "+-"))
        if words and (divider or not text):
            break
        if not divider:
            words.append(text)
    return " ".join(words) or "the arguments cannot be parsed"
