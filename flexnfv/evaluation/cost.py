"""The cost that policies are compared by, and what it is relative to.

J(drop cost, parked weight) = core usage + parked weight x parked cores + drop cost x drop rate,

in cores. The drop rate is lost / offered packets of the episode, so losing one interval's mean
traffic costs `drop_cost` core intervals. A cost is that of one trace; costs of unlike traces are
not added up, but each divided by a cost on the same trace: the rule's (the best setting of all
calibrated rules, one for all traces) or the bound's (what no policy can beat).

*Gap closed* = (rule - own) / (rule - bound), per trace: 0 is the rule, 1 the bound, and below 0 the
policy loses to the rule.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.metrics import ratio

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DROP_COSTS: Final = (30.0, 100.0, 300.0, 1_000.0, 3_000.0)
"""What losing one interval's mean traffic costs, in core intervals."""
DROP_TARGETS: Final = (0.01, 0.003, 0.001, 0.0003)
"""Shares of the offered packets that may be lost."""
LEAST_GAP: Final = 0.01
"""A rule within 1 % of the bound leaves nothing to close: the gap closed is undefined there."""


def cost(
    table: FloatArray, drop_cost: npt.ArrayLike, parked_weight: npt.ArrayLike = 0.0
) -> FloatArray:
    """J of every episode, in cores.

    Args:
        table: sums over each episode (add up its segments first), [..., Q].
        drop_cost: core intervals for one interval's mean traffic, a number or [...].
        parked_weight: cost of a parked core relative to a running one, a number or [...].

    Returns:
        [...]; an episode without traffic loses nothing.
    """
    return total(
        ratio(table, "core_usage"),
        ratio(table, "parked_cores"),
        ratio(table, "drop_rate"),
        drop_cost,
        parked_weight,
    )


def total(
    core_usage: FloatArray,
    parked_cores: FloatArray,
    drop_rate: FloatArray,
    drop_cost: npt.ArrayLike,
    parked_weight: npt.ArrayLike,
) -> FloatArray:
    """J of its parts, which broadcast; a drop rate of NaN (nothing was offered) counts as 0."""
    lost = np.asarray(drop_cost) * np.nan_to_num(drop_rate)
    parked: FloatArray = np.asarray(parked_weight) * parked_cores
    return np.asarray(core_usage + parked + lost)


def gap_closed(own: FloatArray, rule: FloatArray, bound: FloatArray) -> FloatArray:
    """Share of the way from the rule's cost to the bound's, per trace.

    Args:
        own, rule, bound: J on the same traces, [..., K].

    Returns:
        [..., K]; NaN where the rule lies within `LEAST_GAP` of the bound.
    """
    left = rule - bound
    usable = left > LEAST_GAP * bound
    return np.divide(rule - own, left, out=np.full_like(rule - own, np.nan), where=usable)


def best_setting(costs: FloatArray, bound: FloatArray) -> int:
    """The setting whose mean over traces of J relative to the bound is lowest.

    Args:
        costs: J of every setting on every trace, [P, K].
        bound: [K].
    """
    return int(np.argmin((costs / bound).mean(axis=1)))


def cheapest_within(spent: FloatArray, drop_rate: FloatArray, target: float) -> IntArray:
    """The cheapest setting that keeps a drop target, on each trace by itself.

    Args:
        spent: cost without drops of every setting, [P, K].
        drop_rate: of every setting, [P, K].
        target: share that may be lost.

    Returns:
        The setting's index for each trace, [K]; -1 where none keeps the target.
    """
    kept = np.where(np.nan_to_num(drop_rate) <= target, spent, np.inf)
    return np.where(np.isfinite(kept).any(axis=0), kept.argmin(axis=0), -1)
