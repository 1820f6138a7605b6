"""The ranked table of the docs, from the submissions that the repository keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from flexnfv.errors import InputError
from flexnfv.evaluation.cost import LEAST_GAP
from flexnfv.suite.bound import Bound
from flexnfv.suite.definition import Definition
from flexnfv.suite.submission import Submission, label

SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "Public series": ("public",),
    "Measured data centre": ("measured",),
    "Synthetic traffic": ("families", "prior"),
    "Chain six": ("six",),
}
"""What is ranked apart, and the parts that it takes."""


class Figures(NamedTuple):
    """How a policy does on a scope at one parked weight.

    Attributes:
        relative: mean of J / bound over traces, by drop cost.
        gap: mean of the gap closed over traces, by drop cost; NaN without a gap.
        worst: gap closed on the worst trace, mean over drop costs.
        worst_trace: its name.
    """

    relative: dict[float, float]
    gap: dict[float, float]
    worst: float
    worst_trace: str

    @property
    def mean(self) -> float:
        """J / bound over all drop costs: what is ranked by."""
        return _mean(self.relative.values())


@dataclass(frozen=True)
class Ranking:
    """A scope at one parked weight.

    Attributes:
        rules: name of the best rule by drop cost.
        rows: policies with their figures, best first.
        missing: policies that have not run the scope, and why.
    """

    rules: dict[float, str]
    rows: tuple[tuple[str, Figures], ...]
    missing: dict[str, str]


def read_all(folder: Path) -> list[Submission]:
    """Every submission of a folder.

    Raises:
        InputError: a file that is none, or two of one name.
    """
    found = [Submission.read(path) for path in sorted(folder.glob("*.json"))]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two submissions are named {name!r}", where=str(folder), fix="rename one"
            )
    return found


def rank(
    submissions: Sequence[Submission],
    bound: Bound,
    definition: Definition,
    parts: Sequence[str],
    parked_weight: float,
) -> Ranking:
    """The order of the submissions on some parts.

    The rule of a drop cost is the submission without a bundle that has the lowest mean J / bound
    there. The gap closed of a trace is (J of the rule − J) / (J of the rule − bound).
    """
    places = [
        (part, item.trace)
        for part in parts
        for item in definition.of_part(part)
        if part in bound.costs
    ]
    run, missing = [], {}
    for one in submissions:
        lacking = [part for part in parts if part not in one.costs]
        if lacking:
            missing[one.name] = one.missing.get(lacking[0], "not run")
        else:
            run.append(one)
    rules = {}
    for drop_cost in definition.drop_costs:
        key = label((drop_cost, parked_weight))
        by_mean = {
            one.name: _mean(_relative(one, bound, place, key) for place in places)
            for one in run
            if one.bundle_sha256 is None
        }
        if by_mean:
            rules[drop_cost] = min(by_mean, key=lambda name: (by_mean[name], name))
    by_name = {one.name: one for one in run}
    rows = []
    for one in run:
        against = {cost: by_name[name] for cost, name in rules.items()}
        rows.append((one.name, _figures(one, against, bound, definition, places, parked_weight)))
    rows.sort(key=lambda row: (row[1].mean, row[0]))
    return Ranking(rules, tuple(rows), missing)


def _figures(
    one: Submission,
    rules: dict[float, Submission],
    bound: Bound,
    definition: Definition,
    places: Sequence[tuple[str, str]],
    parked_weight: float,
) -> Figures:
    relative, gaps = {}, {}
    by_trace: dict[str, list[float]] = {}
    for drop_cost in definition.drop_costs:
        key = label((drop_cost, parked_weight))
        relative[drop_cost] = _mean(_relative(one, bound, place, key) for place in places)
        closed = []
        for part, trace in places:
            gap = math.nan
            if drop_cost in rules:
                least = bound.costs[part][trace][key]
                rule = rules[drop_cost].costs[part][trace][key]
                if rule > least * (1 + LEAST_GAP):
                    gap = (rule - one.costs[part][trace][key]) / (rule - least)
            closed.append(gap)
            by_trace.setdefault(trace, []).append(gap)
        gaps[drop_cost] = _mean(closed)
    means = {trace: _mean(values) for trace, values in by_trace.items()}
    known = {trace: value for trace, value in means.items() if not math.isnan(value)}
    worst = min(known, key=lambda trace: known[trace], default="")
    return Figures(relative, gaps, known.get(worst, math.nan), worst)


def _relative(one: Submission, bound: Bound, place: tuple[str, str], key: str) -> float:
    part, trace = place
    return one.costs[part][trace][key] / bound.costs[part][trace][key]


def _mean(values: object) -> float:
    """The mean of what is no NaN; NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]  # type: ignore[attr-defined]
    return sum(known) / len(known) if known else math.nan


# --- text -----------------------------------------------------------------------------------------


def markdown(submissions: Sequence[Submission], bound: Bound, definition: Definition) -> str:
    """The tables as they stand in the docs."""
    blocks = [f"Bound: {bound.how}."]
    for scope, parts in SCOPES.items():
        blocks.append(f"### {scope}")
        if any(part not in bound.costs for part in parts):
            blocks.append("Missing: no bound is known.")
            continue
        count = sum(len(definition.of_part(part)) for part in parts)
        blocks.append(f"{count} traces.")
        for weight in definition.parked_weights:
            ranking = rank(submissions, bound, definition, parts, weight)
            blocks += [f"**Parked weight {weight:g}**", _table(ranking, definition)]
    trained = [f"- {one.name}: {one.trained_on or 'nothing declared'}" for one in submissions]
    blocks += ["### What each was trained or calibrated on", "\n".join(trained)]
    return "\n\n".join(blocks) + "\n"


def _table(ranking: Ranking, definition: Definition) -> str:
    costs = definition.drop_costs
    heading = [
        "",
        "policy",
        *(f"λ {cost:g}" for cost in costs),
        "mean",
        "gap closed",
        "worst trace",
    ]
    lines = [_line(heading), _line(["---"] * len(heading))]
    for place, (name, figures) in enumerate(ranking.rows, 1):
        cells = [f"{figures.relative[cost]:.2f} ({_signed(figures.gap[cost])})" for cost in costs]
        lines.append(
            _line(
                [
                    str(place),
                    name,
                    *cells,
                    f"{figures.mean:.3f}",
                    _signed(_mean(figures.gap.values())),
                    f"{_signed(figures.worst)} {figures.worst_trace}".strip(),
                ]
            )
        )
    for name, why in ranking.missing.items():
        lines.append(_line(["–", name, *["missing"] * len(costs), "missing", "", why]))
    rules = ", ".join(f"{name} at {cost:g}" for cost, name in ranking.rules.items())
    return "\n".join(lines) + (f"\n\nThe rule: {rules}." if rules else "")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.2f}".replace("-", "−")


def between_markers(page: str, version: str, table: str, where: str) -> str:
    """A page with its table replaced.

    Raises:
        InputError: the page has not both markers, once each.
    """
    begin, end = f"<!-- suite {version}: begin -->", f"<!-- suite {version}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise InputError(
            f"has no markers of suite {version}",
            where=where,
            fix=f"put {begin} and {end} where the table belongs",
        )
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}"
