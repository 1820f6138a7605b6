"""What it takes to lose at most a given share: cores and cost of each policy at drop targets.

A policy keeps a target by the cheapest setting of its front that does: chosen for each trace by
itself, or one setting for all traces whose mean drop rate is within the target. A policy that can
be told the target is also shown as what it makes of being told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from flexnfv.evaluation.candidates import BOUND, TARGET_KNOB
from flexnfv.evaluation.cost import DROP_TARGETS, FloatArray, cheapest_within
from flexnfv.evaluation.grid import Grid
from flexnfv.evaluation.statistics import Sample, mean

THE_RULE: Final = "the rule"
"""The settings of all rules together."""


@dataclass(frozen=True)
class Kept:
    """How a policy keeps a drop target.

    Attributes:
        settings: that were chosen, one for each trace, [K]; "" where none keeps the target.
        core_usage: cores, [K]; NaN where no setting was chosen.
        cost: cores and weighted parked cores, [K]; likewise.
        drop_rate: lost / offered packets, [K]; likewise.
    """

    settings: tuple[str, ...]
    core_usage: FloatArray
    cost: FloatArray
    drop_rate: FloatArray

    def within(self, target: float) -> int:
        """On how many traces the target is kept."""
        return int((self.drop_rate <= target).sum())

    def relative(self, rule: Kept, what: str = "cost") -> float:
        """Mean over the traces that both keep of `what` relative to the rule's, less 1."""
        return float(mean(getattr(self, what) / getattr(rule, what) - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "settings": sorted({name for name in self.settings if name}),
            "core_usage": self.core_usage.tolist(),
            "cost": self.cost.tolist(),
            "drop_rate": self.drop_rate.tolist(),
        }


@dataclass(frozen=True)
class AtTarget:
    """A policy at a drop target: by a setting for each trace, and by one for all of them."""

    each: Kept
    common: Kept


def drop_targets(
    grid: Grid,
    samples: Mapping[str, Sample],
    parked_weight: float | None = None,
    targets: Sequence[float] = DROP_TARGETS,
) -> dict[str, dict[float, AtTarget]]:
    """Every front, the rule and the policies that can be told, by name and target.

    Args:
        grid: that was run, with sweeps.
        samples: of every candidate.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.
        targets: shares that may be lost.
    """
    weight = grid.chain.parked_weight if parked_weight is None else parked_weight
    fronts: dict[str, list[str]] = {}
    told: dict[str, dict[float, str]] = {}
    for one in grid.candidates:
        if one.front:
            fronts.setdefault(one.front, []).append(one.name)
        if set(one.setting) == {TARGET_KNOB}:
            told.setdefault(one.front, {})[one.setting[TARGET_KNOB]] = one.name
    bound = {BOUND: fronts.pop(BOUND)} if BOUND in fronts else {}
    rules = [name for front in grid.rules for name in fronts[front]]
    found = {
        name: {target: _at(settings, samples, weight, target) for target in targets}
        for name, settings in {THE_RULE: rules, **fronts, **bound}.items()
    }
    for front, by_target in told.items():
        if set(targets) <= set(by_target):
            found[f"{front}, told the target"] = {
                target: _as_told(by_target[target], samples, weight) for target in targets
            }
    return found


def _at(
    names: Sequence[str], samples: Mapping[str, Sample], weight: float, target: float
) -> AtTarget:
    cores, spent, drops = _figures(names, samples, weight)
    each = cheapest_within(spent, drops, target)
    common = cheapest_within(
        spent.mean(axis=1, keepdims=True), drops.mean(axis=1, keepdims=True), target
    )
    return AtTarget(
        _kept(names, cores, spent, drops, each),
        _kept(names, cores, spent, drops, np.repeat(common, len(each))),
    )


def _as_told(name: str, samples: Mapping[str, Sample], weight: float) -> AtTarget:
    """A policy that was told the target, kept or not."""
    figures = _figures([name], samples, weight)
    kept = _kept([name], *figures, np.zeros(figures[0].shape[1], np.int64))
    return AtTarget(kept, kept)


def _figures(
    names: Sequence[str], samples: Mapping[str, Sample], weight: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cores, cost without drops and drop rate of every setting, [P, K] each."""
    found = np.array(
        [
            [samples[name].by_trace(part) for part in ("core_usage", "parked_cores", "drop_rate")]
            for name in names
        ]
    )
    return found[:, 0], found[:, 0] + weight * found[:, 1], np.nan_to_num(found[:, 2])


def _kept(
    names: Sequence[str],
    cores: FloatArray,
    spent: FloatArray,
    drops: FloatArray,
    chosen: Any,
) -> Kept:
    traces = np.arange(len(chosen))
    cores, spent, drops = (
        np.where(chosen < 0, np.nan, figure[chosen, traces]) for figure in (cores, spent, drops)
    )
    return Kept(tuple(names[at] if at >= 0 else "" for at in chosen), cores, spent, drops)
