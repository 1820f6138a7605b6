"""The comparison as text: cells of tables, shared by the terminal and the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flexnfv.evaluation.metrics import MEASURES
from flexnfv.evaluation.result import Result
from flexnfv.evaluation.statistics import Interval
from flexnfv.terminal import Listing

if TYPE_CHECKING:
    from rich.console import RenderableType

Rows = list[list[str]]

_DETAILS = (
    "throughput_pps",
    "parked_cores",
    "cost",
    "launches_per_min",
    "reruns_per_min",
    "blocks_per_min",
    "flows_moved_per_min",
    "reaction_s",
    "latency_s",
    "power_w",
    "decision_s",
)


def number(value: float, digits: int) -> str:
    """A figure, or a dash where it is undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def with_interval(interval: Interval, digits: int, factor: float = 1.0, sign: str = "") -> str:
    """`estimate [low, high]`."""
    values = [interval.estimate * factor, interval.low * factor, interval.high * factor]
    if not math.isfinite(values[0]):
        return "–"
    shown = [f"{value:{sign}.{digits}f}" if math.isfinite(value) else "–" for value in values]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def comparison(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows of the main table: drops and cores, and their differences."""
    heading = [
        "policy",
        "drops % [95 %]",
        "cores [95 %]",
        f"cores vs {result.grid.baseline} %",
        "drops vs it, %-points",
        "no more drops",
    ]
    rows = []
    for one in result.named:
        found = result.intervals[one.name]
        row = [
            one.name if len(one.specs) == 1 else f"{one.name} ({len(one.specs)} seeds)",
            with_interval(found["drop_rate"], 3, 100),
            with_interval(found["core_usage"], 2),
        ]
        if one.name == result.grid.baseline:
            row += ["baseline", "", ""]
        else:
            differences = result.differences[one.name]
            row += [
                with_interval(differences["core_usage"].relative, 1, 100, "+"),
                with_interval(differences["drop_rate"].absolute, 3, 100, "+"),
                "yes" if result.no_more_drops(one.name) else "no",
            ]
        rows.append(row)
    return heading, rows


def details(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows of the other figures."""
    heading = ["policy"]
    for name in _DETAILS:
        heading.append(MEASURES[name].title)
        if name == "reaction_s":
            heading.append("p95 s")
    rows = []
    for one in result.named:
        row = [one.name]
        for name in _DETAILS:
            figure = MEASURES[name]
            estimate = result.intervals[one.name][name].estimate
            row.append(number(estimate * figure.factor, figure.digits))
            if name == "reaction_s":
                row.append(number(result.reaction_p95[one.name], 1))
        rows.append(row)
    return heading, rows


def placements(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows of the policies against the swept fronts."""
    fronts = [name for name, front in result.fronts.items() if len(front.points) > 1]
    heading = ["cores saved at the same drops, %"]
    heading += [f"{name} ({len(result.fronts[name].points)} settings)" for name in fronts]
    rows = []
    for one in result.named:
        row = [one.name]
        for name in fronts:
            at = result.placements[one.name][name]
            text = with_interval(at.saved, 1, 100, "+")
            row.append("out of its range" if text == "–" else text)
        rows.append(row)
    return heading, rows


def scope(result: Result) -> str:
    """One line on what was run."""
    grid = result.grid
    episodes = sum(1 for _ in grid.cells())
    return (
        f"chain {grid.chain.name} ({grid.chain.calibration}), backend {grid.backend}, "
        f"{len(grid.traces)} traces x {len(grid.seeds)} seeds, {episodes:,} episodes"
    )


def tables(result: Result) -> RenderableType:
    """The comparison for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(scope(result))]
    for heading, rows in (comparison(result), details(result)):
        parts += [Text(""), Listing(heading, rows)]
    if any(len(front.points) > 1 for front in result.fronts.values()):
        (what, *fronts), rows = placements(result)
        parts += [Text(""), Listing(("", *fronts), rows, title=what)]
    parts += [Text(f"warning: {line}", style="yellow") for line in result.warnings]
    return Group(*parts)
