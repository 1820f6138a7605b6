"""A progress bar with rate and remaining time, where somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flexnfv.evaluation.episodes import Tick


@contextmanager
def bar(label: str, total: int, *, unit: str = "intervals", shown: bool = True) -> Iterator[Tick]:
    """A bar on standard error, if that is a terminal; gives what it is told of its advance with.

    Args:
        label: what is done.
        total: units to do.
        unit: what is counted, in the plural.
        shown: whether there is a bar at all.
    """
    if not shown:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as Row
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Row) -> Text:
            speed = task.finished_speed or task.speed
            if speed is None:
                return Text("")
            return Text(f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        Rate(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        row = progress.add_task(label, total=total)
        yield lambda count: progress.advance(row, count)


def from_totals(tick: Tick) -> Callable[[int], None]:
    """Moves a bar for whoever knows only how much is done in all."""
    before = 0

    def reach(done: int) -> None:
        nonlocal before
        tick(done - before)
        before = done

    return reach
