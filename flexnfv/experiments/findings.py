"""What an experiment found: its data, its claims, and how its figure is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = str | int | float
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Claim:
    """One thing that must hold.

    Attributes:
        name: what is claimed, in a few words.
        measured: what was found, with its unit.
        wanted: what it is held to, with its unit.
        holds: whether it does.
    """

    name: str
    measured: str
    wanted: str
    holds: bool

    def line(self) -> str:
        """The claim as one line that begins with PASS or FAIL."""
        verdict = "PASS" if self.holds else "FAIL"
        return f"{verdict}  {self.name}: {self.measured} (wanted {self.wanted})"


@dataclass(frozen=True)
class Finding:
    """The outcome of one experiment on one backend.

    Attributes:
        name: file name without suffix, such as `table1`.
        title: heading, with the paper's number of the figure.
        rows: the data, one mapping per row with the same keys; rates in packets/s unless the key
            says otherwise.
        claims: what must hold.
        draw: draws the figure into an empty matplotlib figure.
        notes: what a reader must know to judge the figures.
    """

    name: str
    title: str
    rows: Sequence[Row]
    claims: tuple[Claim, ...]
    draw: Callable[[Figure], None]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)
