"""Tables for a terminal or a log file of any width: nothing in them is ever cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

_GAP = 2
_LEAST_PROSE = 24
"""Columns of text that a sentence needs at least to be read."""


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, as COLUMNS says, or 80 columns where neither is known."""
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


class Listing:
    """Rows under a heading: a table where it fits the width, else one block a row.

    A block is the row's first cell and below it every other one that is not empty, as heading and
    value, side by side where they are short.

    Args:
        heading: of every column; all blank for none.
        rows: cells as plain text, as many as there are headings.
        prose: columns that hold sentences; they may run over several lines.
        title: above it.
    """

    def __init__(
        self,
        heading: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        prose: Iterable[str] = (),
        title: str = "",
    ) -> None:
        self.heading = tuple(heading)
        self.rows = [tuple(row) for row in rows]
        self.prose = frozenset(prose)
        self.title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's own protocol: what to draw, for the width at hand."""
        from rich.text import Text

        if self.title:
            yield Text(self.title, style="bold italic")
        widths = self._widths()
        if sum(widths) + _GAP * (len(widths) - 1) <= options.max_width:
            yield self._table(widths)
        else:
            for row in self.rows:
                yield from self._block(row, options.max_width)

    def _widths(self) -> list[int]:
        """Columns of text that each column of the table needs."""
        from rich.cells import cell_len

        widths = []
        for name, cells in zip(self.heading, self._columns(), strict=True):
            longest = max(map(cell_len, (name, *cells)))
            if name in self.prose:
                words = [word for cell in (name, *cells) for word in cell.split()]
                longest = min(longest, max(_LEAST_PROSE, *map(cell_len, words), 0))
            widths.append(longest)
        return widths

    def _columns(self) -> list[tuple[str, ...]]:
        return [tuple(row[place] for row in self.rows) for place in range(len(self.heading))]

    def _table(self, widths: list[int]) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=None,
            padding=(0, _GAP, 0, 0),
            pad_edge=False,
            show_header=any(name.strip() for name in self.heading),
            header_style="bold",
        )
        for name, width in zip(self.heading, widths, strict=True):
            if name in self.prose:
                table.add_column(name, min_width=width, overflow="fold")
            else:
                table.add_column(name, min_width=width, no_wrap=True)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _block(self, row: Sequence[str], width: int) -> Iterable[RenderableType]:
        from rich.text import Text

        yield Text(row[0], style="bold", overflow="fold")
        pairs = [
            Text.assemble((name, "dim"), f" {cell}")
            for name, cell in zip(self.heading[1:], row[1:], strict=True)
            if cell
        ]
        longest = max((pair.cell_len for pair in pairs), default=0)
        side_by_side = max(1, width // (longest + _GAP))
        for first in range(0, len(pairs), side_by_side):
            yield self._line(pairs[first : first + side_by_side], longest)

    def _line(self, pairs: list[Text], width: int) -> RenderableType:
        from rich.padding import Padding
        from rich.text import Text

        line = Text(overflow="fold")
        for pair in pairs[:-1]:
            line.append_text(pair).append(" " * (width - pair.cell_len + _GAP))
        return Padding(line.append_text(pairs[-1]), (0, 0, 0, _GAP))
