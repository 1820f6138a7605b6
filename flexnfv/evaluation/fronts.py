"""The trade-off of core usage against drop rate: one setting of a heuristic is no fair opponent.

Each heuristic is run over the values of its own parameter (its class attribute `sweep`, see
`axes`); every setting is one point (core usage, drop rate) pooled over all traces. The Pareto
front is what no other setting of the same heuristic beats in both. Another policy is placed
against it by reading off the cores that the heuristic would need at the same drops, on straight
lines between neighbouring points with the drops on a logarithmic axis: drops span decades, and on
a linear axis the line would follow the worst setting alone. Drop rates below `DROP_FLOOR` count as
`DROP_FLOOR`. Nothing is extrapolated: where a front does not reach a policy's drops, there is no
distance (NaN).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.statistics import Interval, Sample

FloatArray = npt.NDArray[np.float64]
Setting = Mapping[str, Any]

DROP_FLOOR: Final = 1e-6
"""One lost packet in a million counts as none."""


@dataclass(frozen=True)
class Point:
    """One setting of a heuristic.

    Attributes:
        setting: parameter values.
        core_usage: cores.
        drop_rate: lost / offered packets.
    """

    setting: Setting
    core_usage: float
    drop_rate: float


@dataclass(frozen=True)
class Front:
    """A heuristic swept over its own parameter.

    Attributes:
        policy: the heuristic's name.
        points: every setting that was run, in the order of the sweep.
        best: indices of the Pareto-optimal points by rising core usage.
    """

    policy: str
    points: tuple[Point, ...]
    best: tuple[int, ...]

    @classmethod
    def of(cls, policy: str, points: Sequence[Point]) -> Front:
        """The front of some points."""
        cores = np.array([point.core_usage for point in points])
        drops = np.array([point.drop_rate for point in points])
        return cls(policy, tuple(points), tuple(pareto(cores, drops).tolist()))


@dataclass(frozen=True)
class Placement:
    """Where a policy lies relative to a front, with bootstrap intervals.

    Attributes:
        front_cores: what the front needs at the policy's drops, cores; NaN if it does not reach
            them.
        saved: (front_cores - cores) / front_cores; above 0 the policy lies under the front.
        front_drops: the front's drop rate at the policy's core usage; NaN if out of its range.
        reached: share of the resamples in which the front reaches the policy's drops; the
            interval of `saved` is over these.
    """

    front_cores: float
    saved: Interval
    front_drops: float
    reached: float


def axes(sweep: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The swept parameters of a policy class's `sweep`.

    `("high", (0.5, 0.6))` is one parameter, `(("target", (...)), ("window", (...)))` a grid.
    """
    if sweep and isinstance(sweep[0], str):
        sweep = (sweep,)
    return tuple((str(name), tuple(values)) for name, values in sweep)


def settings(sweep: Any) -> list[dict[str, Any]]:
    """Every combination of the swept parameters' values."""
    names, values = zip(*axes(sweep), strict=True)
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def pareto(cores: FloatArray, drops: FloatArray) -> npt.NDArray[np.int64]:
    """Indices of the points that no other point beats in one without losing in the other.

    Args:
        cores, drops: [P]; points with NaN are never optimal.

    Returns:
        Indices by strictly rising cores, hence strictly falling drops.
    """
    order = np.lexsort((drops, cores))
    order = order[np.isfinite(cores[order]) & np.isfinite(drops[order])]
    sorted_drops = drops[order]
    least_before = np.minimum.accumulate(np.concatenate([[np.inf], sorted_drops]))[:-1]
    return np.asarray(order[sorted_drops < least_before], dtype=np.int64)


def cores_at(cores: FloatArray, drops: FloatArray, wanted: npt.ArrayLike) -> FloatArray:
    """Cores that the Pareto front of these points needs for a drop rate; NaN out of its range.

    A policy that drops less than the front's best point is out of range, and so is one that drops
    more than its cheapest; drops at or below `DROP_FLOOR` are all alike.

    Args:
        cores, drops: of the points of each front, [..., P].
        wanted: drop rate for each front, [...].
    """
    usable = np.isfinite(cores) & np.isfinite(drops)
    x, y = np.where(usable, drops, np.inf), np.where(usable, cores, np.inf)
    order = np.lexsort((x, y), axis=-1)
    x, y = np.take_along_axis(x, order, axis=-1), np.take_along_axis(y, order, axis=-1)
    least = np.minimum.accumulate(x, axis=-1)
    least_before = np.concatenate([np.full_like(x[..., :1], np.inf), least[..., :-1]], axis=-1)
    x = _log(x)
    # Points below the floor collapse into the cheapest of them.
    best = x < _log(least_before)
    at = _log(np.asarray(wanted))[..., None]
    # The neighbours on either side: drops fall along the front.
    above, below = best & (x >= at), best & (x <= at)
    last = best.shape[-1] - 1 - above[..., ::-1].argmax(axis=-1)[..., None]
    first = below.argmax(axis=-1)[..., None]
    x0, x1 = (np.take_along_axis(x, index, axis=-1) for index in (last, first))
    y0, y1 = (np.take_along_axis(y, index, axis=-1) for index in (last, first))
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.where(x0 == x1, y1, y1 + (y0 - y1) / (x0 - x1) * (at - x1))
    inside = above.any(axis=-1) & below.any(axis=-1)
    return np.asarray(np.where(inside, between[..., 0], np.nan))


def drops_at(cores: FloatArray, drops: FloatArray, wanted: float) -> float:
    """Drop rate that the Pareto front of these points has at a core usage; NaN out of its range."""
    best = pareto(cores, drops)
    if best.size == 0:
        return float("nan")
    found = np.interp(wanted, cores[best], _log(drops[best]), left=np.nan, right=np.nan)
    return float(10**found)


def place(policy: Sample, front: Sequence[Sample]) -> Placement:
    """Where a policy lies relative to the front of a heuristic's settings.

    The interval recomputes front and distance under every resample of the shared draws.

    Args:
        policy: with the same draws as the settings.
        front: one sample per setting.
    """
    cores = np.array([sample.estimate("core_usage") for sample in front])
    drops = np.array([sample.estimate("drop_rate") for sample in front])
    own_cores, own_drops = policy.estimate("core_usage"), policy.estimate("drop_rate")
    needed = float(cores_at(cores, drops, own_drops))

    all_cores = np.stack([sample.resamples("core_usage") for sample in front], axis=1)
    all_drops = np.stack([sample.resamples("drop_rate") for sample in front], axis=1)
    policy_cores, policy_drops = policy.resamples("core_usage"), policy.resamples("drop_rate")
    saved = 1 - policy_cores / cores_at(all_cores, all_drops, policy_drops)
    reached = float(np.isfinite(saved).mean())
    estimate = 1 - own_cores / needed
    # An interval is that of its estimate; without one the resamples say nothing.
    interval = Interval.of(estimate, saved if np.isfinite(estimate) else np.empty(0))
    return Placement(needed, interval, drops_at(cores, drops, own_cores), reached)


def _log(drops: npt.ArrayLike) -> FloatArray:
    return np.asarray(np.log10(np.maximum(drops, DROP_FLOOR)))
