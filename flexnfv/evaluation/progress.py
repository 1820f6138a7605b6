"""What is being done, how fast and for how long still: bars on a terminal, else lines.

Both go to standard error. A bar moves at once; where nobody looks at a terminal, such as in a log
file, a line comes every few seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from flexnfv.evaluation.episodes import Tick

EVERY_S: Final = 5.0
"""Seconds between two lines."""


class Begin(Protocol):
    """Begins a phase of the work."""

    def __call__(
        self, label: str, total: int, unit: str = ..., *, stays: bool = ...
    ) -> AbstractContextManager[Tick]:
        """A context that gives what the phase is told of its advance with.

        Args:
            label: what is done.
            total: units to do.
            unit: what is counted, in the plural.
            stays: whether its bar is still seen when the phase is over.
        """
        ...


@contextmanager
def phases() -> Iterator[Begin]:
    """Gives what begins the phases of one piece of work; they may lie within one another."""
    from rich.console import Console

    console = Console(stderr=True)
    with _bars(console) if console.is_terminal else _lines() as begin:
        yield begin


@contextmanager
def bar(label: str, total: int, *, unit: str = "intervals", shown: bool = True) -> Iterator[Tick]:
    """One phase alone; gives what it is told of its advance with.

    Args:
        label: what is done.
        total: units to do.
        unit: what is counted, in the plural.
        shown: whether anything is shown at all.
    """
    if not shown:
        yield lambda count: None
        return
    with phases() as begin, begin(label, total, unit) as tick:
        yield tick


def rate_of(per_s: float, unit: str) -> str:
    """A rate for people."""
    return f"{per_s:,.0f} {unit}/s" if per_s >= 10 else f"{per_s:.2g} {unit}/s"


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- bars on a terminal ---------------------------------------------------------------------------


@contextmanager
def _bars(console: object) -> Iterator[Begin]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as Row
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Row) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else rate_of(speed, task.fields["unit"]))

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f} %"),
        Rate(),
        TimeRemainingColumn(),
    )
    assert isinstance(console, Console)
    with Progress(*columns, console=console) as progress:

        @contextmanager
        def begin(
            label: str, total: int, unit: str = "intervals", *, stays: bool = True
        ) -> Iterator[Tick]:
            row = progress.add_task(label, total=total, unit=unit)
            try:
                yield lambda count: progress.advance(row, count)
            finally:
                if not stays:
                    progress.remove_task(row)

        yield begin


# --- lines in a log -------------------------------------------------------------------------------


class _Phase:
    """One phase as a line tells of it."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.told = False
        self._start: tuple[float, int] | None = None

    def advance(self, count: int) -> None:
        """Count what was done."""
        self.done += count
        if self._start is None:
            # What comes before the first advance, such as compiling, tells nothing of the rate.
            self._start = time.monotonic(), self.done

    def line(self) -> str:
        """Where the phase stands now."""
        done = min(self.done, self.total)  # a last batch may reach beyond
        share = 100 * done / max(self.total, 1)
        line = f"{self.label}: {share:.0f} %, {done:,} of {self.total:,} {self.unit}"
        if self._start is None:
            return line
        begun, first = self._start
        rate = (self.done - first) / max(time.monotonic() - begun, 1e-9)
        if rate > 0:
            left = duration((self.total - done) / rate)
            line += f", {rate_of(rate, self.unit)}, {left} left"
        return line


@contextmanager
def _lines() -> Iterator[Begin]:
    running: list[_Phase] = []
    over = threading.Event()

    def tell() -> None:
        while not over.wait(EVERY_S):
            for phase in list(running):
                phase.told = True
                print(phase.line(), file=sys.stderr, flush=True)

    @contextmanager
    def begin(
        label: str, total: int, unit: str = "intervals", *, stays: bool = True
    ) -> Iterator[Tick]:
        phase = _Phase(label, total, unit)
        running.append(phase)
        try:
            yield phase.advance
        finally:
            running.remove(phase)
            if phase.told and stays:
                print(phase.line(), file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield begin
    finally:
        over.set()
        teller.join()
