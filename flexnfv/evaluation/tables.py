"""The comparison as text: cells of tables, shared by the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from flexnfv.evaluation.drop_targets import THE_RULE
from flexnfv.evaluation.gap import Gaps, Standing
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


def signed(value: float, digits: int) -> str:
    """A figure with its sign, or a dash where it is undefined."""
    return f"{value:+.{digits}f}" if math.isfinite(value) else "–"


def costs(gaps: Gaps) -> list[tuple[str, list[str], Rows]]:
    """Titles, headings and rows of the costs, a column for each drop cost, for a narrow terminal.

    Intervals are those for traffic of this kind.
    """
    heading = [f"{drop_cost:g}" for drop_cost in gaps.grid.drop_costs]

    def rows(cell: Callable[[Standing], str]) -> Rows:
        return [
            [name, *(cell(by_cost[drop_cost]) for drop_cost in gaps.grid.drop_costs)]
            for name, by_cost in gaps.standings.items()
        ]

    def against(at: Standing) -> str:
        mean, worst = at.mean["to_rule"].traces.estimate, at.worst[1].estimate
        return f"{signed(100 * mean, 0)}/{signed(100 * worst, 0)}"

    def closed(at: Standing) -> str:
        return signed(at.mean["gap"].traces.estimate, 2)

    parts = (
        ("J against the rule, %: mean/worst trace", against),
        ("95 % interval of the mean", lambda at: span(at.mean["to_rule"].traces, 0, 100)),
        ("better than the rule on so many traces", lambda at: f"{at.better}/{len(at.cost)}"),
        ("gap closed: mean", closed),
        ("95 % interval of the mean", lambda at: span(at.mean["gap"].traces, 1)),
        ("J / bound: mean", lambda at: number(at.mean["to_bound"].traces.estimate, 2)),
    )
    return [(title, ["drop cost", *heading], rows(cell)) for title, cell in parts]


def span(interval: Interval, digits: int, factor: float = 1.0) -> str:
    """The ends alone, `low..high`."""
    return f"{signed(interval.low * factor, digits)}..{signed(interval.high * factor, digits)}"


def costs_in_full(gaps: Gaps, drop_cost: float) -> tuple[list[str], Rows]:
    """The same with the setting, both kinds of intervals and the names of the worst traces."""
    heading = [
        "policy",
        "run as",
        "J / bound",
        "against the rule, % [these traces]",
        "[traffic of this kind]",
        "worst trace, %",
        "better on",
        "gap closed [these traces]",
        "[traffic of this kind]",
        "worst",
    ]
    names = [trace.name for trace in gaps.grid.traces]
    rows = []
    for name, by_cost in gaps.standings.items():
        at = by_cost[drop_cost]
        settings = set(at.settings)
        place, worst = at.worst
        rows.append(
            [
                name,
                settings.pop() if len(settings) == 1 else f"{len(settings)} settings",
                with_interval(at.mean["to_bound"].segments, 2),
                with_interval(at.mean["to_rule"].segments, 1, 100, "+"),
                span(at.mean["to_rule"].traces, 1, 100),
                f"{with_interval(worst, 1, 100, '+')} {names[place]}",
                f"{at.better} of {len(at.cost)}",
                with_interval(at.mean["gap"].segments, 2, 1, "+"),
                span(at.mean["gap"].traces, 2),
                signed(at.worst_gap, 2),
            ]
        )
    return heading, rows


def costs_by_trace(gaps: Gaps, drop_cost: float) -> tuple[list[str], Rows]:
    """Heading and a row per trace: J of bound and rule, then J / bound and gap closed of each."""
    heading = ["trace", "J of the bound", "of the rule"]
    standings = {name: by_cost[drop_cost] for name, by_cost in gaps.standings.items()}
    for name in standings:
        heading += [f"{name}: J / bound", "gap closed"]
    bound, rule = gaps.bound[drop_cost], gaps.rule_costs[drop_cost]
    rows = []
    for place, trace in enumerate(gaps.grid.traces):
        row = [trace.name, number(bound[place], 2), number(rule[place], 2)]
        for at in standings.values():
            row += [number(at.to_bound[place], 2), signed(at.gap[place], 2)]
        rows.append(row)
    return heading, rows


def common_targets(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows of the drop targets, each policy by one setting for all traces.

    A cell is cores, cost against the rule's in %, and on how many traces the target is kept.
    """
    found, count = result.drop_targets, len(result.grid.traces)
    heading = ["one setting"]
    rows = [[name] for name in found]
    for target in next(iter(found.values()), {}):
        heading.append(f"≤ {100 * target:g} %")
        rule = found[THE_RULE][target].common
        for row, by_target in zip(rows, found.values(), strict=True):
            kept = by_target[target].common
            cores = float(np.mean(kept.core_usage))
            cell = f"{cores:.1f} {signed(100 * kept.relative(rule), 0)}%"
            on = f"{kept.within(target)}/{count}"
            row.append(f"{cell} {on}" if math.isfinite(cores) else "–")
    return heading, rows


def own_targets(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows of the drop targets, each policy by its cheapest setting on each trace.

    A cell is cores and cost against the rule's in %, means over the traces on which both keep the
    target, and on how many the policy does.
    """
    found, count = result.drop_targets, len(result.grid.traces)
    heading = ["own setting on each trace"]
    rows = [[name] for name in found]
    for target in next(iter(found.values()), {}):
        heading.append(f"lost ≤ {100 * target:g} %: cores, cost vs rule %")
        rule = found[THE_RULE][target].each
        for row, by_target in zip(rows, found.values(), strict=True):
            kept = by_target[target].each
            against = [
                signed(100 * kept.relative(rule, what), 1) for what in ("core_usage", "cost")
            ]
            row.append(f"{', '.join(against)} on {kept.within(target)}/{count}")
    return heading, rows


def comparison(result: Result) -> tuple[list[str], Rows]:
    """Heading and rows: drops and cores, means over the traces, and differences per trace."""
    heading = [
        "policy",
        "drops % [95 %]",
        "cores [95 %]",
        f"cores vs {result.grid.baseline} %",
        "worst trace %",
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
            row += ["baseline", "", "", ""]
        else:
            differences = result.differences[one.name]
            row += [
                with_interval(differences["core_usage"].relative, 1, 100, "+"),
                signed(100 * differences["core_usage"].worst, 1),
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

    parts: list[RenderableType] = [Text(scope(result)), *_costs(result)]
    for heading, rows in (comparison(result), details(result)):
        parts += [Text(""), Listing(heading, rows)]
    if any(len(front.points) > 1 for front in result.fronts.values()):
        (what, *fronts), rows = placements(result)
        parts += [Text(""), Listing(("", *fronts), rows, title=what)]
    if result.drop_targets:
        parts += [Text(""), Listing(*common_targets(result), title=_TARGETS)]
    parts += [Text(f"warning: {line}", style="yellow") for line in result.warnings]
    return Group(*parts)


_COSTS = (
    "cost J = cores + {weight:g} x parked cores + drop cost x drop rate, on each trace; intervals "
    "are for traffic of this kind; {bound}"
)
_BOUNDS = {
    True: "the bound is proven",
    False: "the bound is the clairvoyant's best, which is no proof",
}
_TARGETS = "cores at a drop target, cost against the rule, traces that keep it"


def bound_of(gaps: Gaps) -> str:
    """What the bound is."""
    return _BOUNDS[gaps.proven]


def _costs(result: Result) -> list[RenderableType]:
    from rich.text import Text

    gaps = result.gaps
    if gaps is None:
        return []
    parts: list[RenderableType] = [
        Text(""),
        Text(_COSTS.format(weight=gaps.parked_weight, bound=bound_of(gaps))),
        Text("the rule by drop cost:"),
        *(Text(f"  {drop_cost:g}: {name}") for drop_cost, name in gaps.rule.items()),
    ]
    for title, heading, rows in costs(gaps):
        parts += [Text(""), Listing(heading, rows, title=title)]
    return parts
