"""Policies against the rule and the bound: the cost of each on every trace, at every drop cost.

At a drop cost a policy is run as it is meant to be: told of the drop cost where it has such a knob
that its spec leaves open, else as it is. A rule is given the best of its settings for each drop
cost, one for all traces, chosen in hindsight on these very traces, which is generous to the rule.

While segments, seeds and traces are drawn for intervals, no other setting is chosen, and the bound
and the distance between rule and bound are held as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from flexnfv.evaluation.bounds import Bounds
from flexnfv.evaluation.candidates import BOUND, KNOB, Candidate, judged_by, knob_pairs
from flexnfv.evaluation.cost import FloatArray, best_setting, gap_closed, total
from flexnfv.evaluation.grid import Grid
from flexnfv.evaluation.statistics import Interval, Over, Sample, highest
from flexnfv.spec import with_pairs

HINDSIGHT: Final = "best rule of each trace"
"""The rules' best setting for every single trace: more than any rule could know."""
_PARTS: Final = ("core_usage", "parked_cores", "drop_rate")


class Means(NamedTuple):
    """A mean over the traces, with its interval as a claim about these and about such traces."""

    segments: Interval
    traces: Interval


@dataclass(frozen=True)
class Standing:
    """Where a policy stands at one drop cost.

    Attributes:
        settings: the candidate that ran on each trace, [K].
        cost: J, in cores, [K].
        to_bound: J / the bound's, [K].
        to_rule: J / the rule's - 1, [K]; below 0 the policy is cheaper.
        gap: share of the gap between rule and bound that it closes, [K]; NaN where there is none.
        mean: of `to_bound`, `to_rule` and `gap`, by these names.
        worst: where `to_rule` is highest: the trace's place and its interval.
        better: on how many traces it is cheaper than the rule.
    """

    settings: tuple[str, ...]
    cost: FloatArray
    to_bound: FloatArray
    to_rule: FloatArray
    gap: FloatArray
    mean: Mapping[str, Means]
    worst: tuple[int, Interval]
    better: int

    @property
    def worst_gap(self) -> float:
        """The least share of the gap that is closed on any trace; NaN where there is none."""
        return -highest(-self.gap)[1]

    def to_dict(self, traces: Sequence[str]) -> dict[str, Any]:
        """Plain values."""
        place, worst = self.worst
        return {
            "settings": sorted(set(self.settings)),
            **{name: getattr(self, name).tolist() for name in ("cost", "to_bound", "to_rule")},
            "gap_closed": self.gap.tolist(),
            "mean": {
                name: {over: vars(getattr(means, over)) for over in get_args(Over)}
                for name, means in self.mean.items()
            },
            "worst": {"trace": traces[place], **vars(worst)},
            "better_on": self.better,
        }


class Gaps:
    """The costs of a grid's policies.

    Args:
        grid: that was run, with sweeps.
        samples: of every candidate.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.
        bounds: proven for that weight; None: the clairvoyant's best setting on each trace instead,
            which is no proof.
    """

    def __init__(
        self,
        grid: Grid,
        samples: Mapping[str, Sample],
        parked_weight: float | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.grid = grid
        self.parked_weight = grid.chain.parked_weight if parked_weight is None else parked_weight
        self.proven = bounds is not None
        self._bounds = bounds
        self._samples = samples
        self._draws = next(iter(samples.values())).draws
        self._estimates: dict[str, list[FloatArray]] = {}
        self._resamples: dict[str, list[FloatArray]] = {}

    @cached_property
    def bound(self) -> Bounds:
        """J that no policy beats, by drop cost, [K] each."""
        if self._bounds is not None:
            return self._bounds
        foreseeing = self._of_fronts(BOUND)
        return {
            drop_cost: self._costs(foreseeing, drop_cost).min(axis=0)
            for drop_cost in self.grid.drop_costs
        }

    @cached_property
    def rule(self) -> dict[float, str]:
        """The rules' best setting, one for all traces, by drop cost."""
        return {
            drop_cost: self._best(self._of_rules, drop_cost) for drop_cost in self.grid.drop_costs
        }

    @cached_property
    def rule_costs(self) -> dict[float, FloatArray]:
        """J of the rule, by drop cost, [K] each."""
        return {
            drop_cost: self._costs([name], drop_cost)[0] for drop_cost, name in self.rule.items()
        }

    @cached_property
    def standings(self) -> dict[str, dict[float, Standing]]:
        """By policy and drop cost: named ones, rules and clairvoyant at their best, hindsight."""
        count = len(self.grid.traces)
        chosen: dict[str, dict[float, list[str]]] = {}
        for one in self.grid.candidates:
            if not one.front:
                chosen[one.name] = {
                    drop_cost: [self._told(one, drop_cost)] * count
                    for drop_cost in self.grid.drop_costs
                }
        for front in dict.fromkeys((*self.grid.rules, BOUND)):
            names = self._of_fronts(front)
            chosen[f"{front}, best"] = {
                drop_cost: [self._best(names, drop_cost)] * count
                for drop_cost in self.grid.drop_costs
            }
        chosen[HINDSIGHT] = {
            drop_cost: self._best_of_each(drop_cost) for drop_cost in self.grid.drop_costs
        }
        return {
            name: {
                drop_cost: self._standing(settings, drop_cost)
                for drop_cost, settings in by_cost.items()
            }
            for name, by_cost in chosen.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        traces = [trace.name for trace in self.grid.traces]
        return {
            "parked_weight": self.parked_weight,
            "bound": "proven" if self.proven else "clairvoyant",
            "traces": traces,
            "drop_costs": [
                {
                    "drop_cost": drop_cost,
                    "rule": self.rule[drop_cost],
                    "bound": self.bound[drop_cost].tolist(),
                    "policies": {
                        name: found[drop_cost].to_dict(traces)
                        for name, found in self.standings.items()
                    },
                }
                for drop_cost in self.grid.drop_costs
            ],
        }

    # --- which setting ---------------------------------------------------------------------

    @cached_property
    def _of_rules(self) -> list[str]:
        return self._of_fronts(*self.grid.rules)

    def _of_fronts(self, *fronts: str) -> list[str]:
        return [one.name for one in self.grid.candidates if one.front in fronts]

    def _told(self, one: Candidate, drop_cost: float) -> str:
        """The candidate that was told the drop cost, or the nearest that it takes."""
        if not judged_by(one):
            return one.name
        told = {
            other.setting[KNOB]: other.name
            for other in self.grid.candidates
            if set(other.setting) == {KNOB}
            and other.specs
            == tuple(with_pairs(spec, {**knob_pairs(other.setting)}) for spec in one.specs)
        }
        nearest = min(told, key=lambda value: abs(np.log(value / drop_cost)), default=None)
        return one.name if nearest is None else told[nearest]

    def _best(self, names: Sequence[str], drop_cost: float) -> str:
        return names[best_setting(self._costs(names, drop_cost), self.bound[drop_cost])]

    def _best_of_each(self, drop_cost: float) -> list[str]:
        best = self._costs(self._of_rules, drop_cost).argmin(axis=0)
        return [self._of_rules[place] for place in best]

    # --- what it costs ---------------------------------------------------------------------

    def _costs(self, names: Sequence[str], drop_cost: float) -> FloatArray:
        """J of some candidates, [P, K]."""
        for name in names:
            if name not in self._estimates:
                sample = self._samples[name]
                self._estimates[name] = [sample.by_trace(part) for part in _PARTS]
        parts = np.array([self._estimates[name] for name in names])
        return total(parts[:, 0], parts[:, 1], parts[:, 2], drop_cost, self.parked_weight)

    def _resampled(self, name: str, drop_cost: float) -> FloatArray:
        """J of a candidate under every resample, [B, K]."""
        if name not in self._resamples:
            sample = self._samples[name]
            self._resamples[name] = [sample.by_trace_resamples(part) for part in _PARTS]
        cores, parked, drops = self._resamples[name]
        return total(cores, parked, drops, drop_cost, self.parked_weight)

    def _standing(self, settings: Sequence[str], drop_cost: float) -> Standing:
        distinct = list(dict.fromkeys(settings))
        traces = np.arange(len(settings))
        place = [distinct.index(name) for name in settings]
        cost = self._costs(distinct, drop_cost)[place, traces]
        drawn = np.empty((self._draws.resamples, len(settings)))
        for number, name in enumerate(distinct):
            mine = traces[np.array(place) == number]
            drawn[:, mine] = self._resampled(name, drop_cost)[:, mine]
        bound = self.bound[drop_cost]
        rule = self.rule_costs[drop_cost]
        rule_drawn = self._resampled(self.rule[drop_cost], drop_cost)
        gap = gap_closed(cost, rule, bound)
        # The distance to close stays that of the estimates: drawn anew it could come near 0.
        gap_drawn = np.where(np.isfinite(gap), (rule_drawn - drawn) / (rule - bound), np.nan)
        to_rule, to_rule_drawn = cost / rule - 1, drawn / rule_drawn - 1
        worst = highest(to_rule)[0]
        return Standing(
            tuple(settings),
            cost,
            cost / bound,
            to_rule,
            gap,
            {
                "to_bound": self._means(cost / bound, drawn / bound),
                "to_rule": self._means(to_rule, to_rule_drawn),
                "gap": self._means(gap, gap_drawn),
            },
            (worst, Interval.of(to_rule[worst], to_rule_drawn[:, worst])),
            int((to_rule < 0).sum()),
        )

    def _means(self, estimates: FloatArray, drawn: FloatArray) -> Means:
        segments, traces = (self._draws.interval(estimates, drawn, over) for over in get_args(Over))
        return Means(segments, traces)
