"""Target tracking: the rule of the Kubernetes Horizontal Pod Autoscaler (HPA).

The rule is that of the HPA's documentation ("Algorithm details" and "Stabilization window"), v2 of
the autoscaling API; https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from flexnfv.compiled import compiled
from flexnfv.decision import Decision
from flexnfv.parameters import check, per_type, whole_from_one
from flexnfv.policies.parking import check_park_timeout, decision
from flexnfv.policy import BasePolicy
from flexnfv.reading import Reading
from flexnfv.space import Choice, Real, Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SMOOTHING: Final = 0.3
"""Weight of the newest change in the slope."""


def desired(
    need: FloatArray,
    running: IntArray,
    launching: IntArray,
    target: float | FloatArray,
    tolerance: float | FloatArray,
) -> IntArray:
    """Instances that would bring the utilisation to the target.

    desired = ceil(current x (need / current) / target) = ceil(need / target), unless utilisation /
    target is within the tolerance of 1. Launching instances are the HPA's unready pods: towards
    more they count at 0 % utilisation (so that a launch under way is not asked for twice, and if
    they alone bring the ratio to 1 or below nothing changes), towards fewer they do not count.

    Args:
        need: offered rate / loss-free rate of one instance, in instances, [..., T].
        running: running instances, [..., T].
        launching: launching instances, [..., T].
        target: wanted utilisation of an instance, a number or [..., 1].
        tolerance: relative distance from the target that is let be, a number or [..., 1].

    Returns:
        Wanted instances, at least 1, [..., T].
    """
    here = running + launching
    wanted = np.ceil(need / target).astype(np.int64)
    up = need / (np.maximum(here, 1) * target) > 1.0 + tolerance
    down = need / (np.maximum(running, 1) * target) < 1.0 - tolerance
    return np.maximum(np.where(up | down, wanted, here), 1)


def stabilise(highest: IntArray, newest: IntArray, here: IntArray) -> IntArray:
    """Follow the newest desire up at once, and down to the highest desire of the window only.

    Args:
        highest: highest desire of the window, the newest among them, [..., T].
        newest: the newest desire, [..., T].
        here: running plus launching instances, [..., T].

    Returns:
        Targets, [..., T].
    """
    return np.minimum(np.maximum(here, newest), highest)


def highest_desires(
    desires: IntArray, newest: int, window: npt.NDArray[np.int64], highest: IntArray
) -> None:
    """The highest desire of each row's own window.

    Args:
        desires: the last desires, as many as the longest window holds, as a ring, [W, B, T].
        newest: index of the newest.
        window: desires that a row's window holds, [B].
        highest: filled, [B, T].
    """
    length, rows, types = desires.shape
    highest[:] = desires[newest]
    for age in range(1, length):
        desire = desires[(newest - age) % length]
        for row in range(rows):
            if age < window[row]:
                for t in range(types):
                    highest[row, t] = max(highest[row, t], desire[row, t])


class TargetTracking(BasePolicy):
    """Keeps the utilisation of every NF type at a target, as the Kubernetes HPA does.

    desired = ceil(current x metric / target) with a tolerance, up at once, down to the highest
    desire within a stabilisation window. The numbers may be arrays with one for each row of a
    batch.

    Args:
        target: utilisation to keep an instance at.
        tolerance: relative distance from the target that is let be (HPA: 0.1).
        window: scale-down stabilisation window, in intervals. The HPA's default of 300 s is 20 of
            its sync periods of 15 s, so here 20 intervals; 1 is no window.
        metric: what the utilisation is taken of: `demand` (what the type would be offered if
            nothing upstream were lost) or `arrived` (what it was offered).
        trend: how much of the smoothed change of the need is added to the need, in intervals of
            it: 1 extrapolates to the end of the next interval, 0 not at all. The slope is smoothed
            exponentially, as the trend of Holt's method is (Holt, "Forecasting seasonals and
            trends by exponentially weighted moving averages", 1957).
        park_timeout: intervals that a parked instance is kept; for ever if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = (
        "target",
        "tolerance",
        "window",
        "trend",
        "park_timeout",
    )
    state_names: ClassVar[tuple[str, ...]] = ("desires", "seen", "before", "slope")
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("target", (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)),
        ("window", (1, 5, 20, 60)),
    )
    space: ClassVar[Space] = {
        "target": Real(0.3, 1.1),
        "window": Choice((1, 3, 5, 10, 20, 60, 300)),
        "trend": Real(0.0, 2.0),
        "park_timeout": Real(2.0, 1000.0, log=True),
    }

    desires: IntArray | None
    seen: IntArray | None
    before: FloatArray | None
    slope: FloatArray | None

    def __init__(
        self,
        target: float = 0.7,
        tolerance: float = 0.1,
        window: int = 20,
        metric: Literal["demand", "arrived"] = "demand",
        trend: float = 0.0,
        park_timeout: float | None = None,
    ) -> None:
        check("target", target, lambda v: (v > 0) & (v <= 2), "lie in (0, 2]")
        check("tolerance", tolerance, lambda v: (v >= 0) & (v < 1), "lie in [0, 1)")
        check("window", window, whole_from_one, "be a whole number from 1")
        check("trend", trend, lambda v: (v >= 0) & (v <= 10), "lie in [0, 10]")
        check_park_timeout(park_timeout)
        if metric not in ("demand", "arrived"):
            raise ValueError(f"metric is {metric!r}, it must be one of demand, arrived")
        self.target = target
        self.tolerance = tolerance
        self.window = int(window) if np.ndim(window) == 0 else np.asarray(window, np.int64)
        self.metric = metric
        self.trend = trend
        self.park_timeout = park_timeout

    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets by the rule, [..., T], and the spares if there is a park timeout."""
        demand = self.metric == "demand"
        rate = reading.demand_pps(self.chain) if demand else reading.type_arrived_pps
        need = self._extrapolated(rate / self.chain.capacity_pps)
        here = reading.running + reading.launching
        target, tolerance = per_type(self.target), per_type(self.tolerance)
        newest = desired(need, reading.running, reading.launching, target, tolerance)
        length = int(np.max(self.window))
        if self.desires is None or self.seen is None:
            # The HPA starts from what it finds: the current count opens the window.
            self.desires = np.repeat(here[None], length, axis=0)
            self.seen = np.zeros((), np.int64)
        at = int(self.seen) % length
        self.desires[at] = newest
        self.seen = self.seen + 1
        if np.ndim(self.window) == 0:
            highest = self.desires.max(axis=0)
        else:
            highest = np.empty_like(newest)
            compiled(highest_desires)(self.desires, at, self.window, highest)
        targets = stabilise(highest, newest, here)
        return decision(targets, reading, self.chain, self.park_timeout)

    def _extrapolated(self, need: FloatArray) -> FloatArray:
        """The need plus `trend` times Holt's slope, [..., T]."""
        if not np.any(self.trend):
            return need
        if self.before is None or self.slope is None:
            self.before, self.slope = need, np.zeros_like(need)
        change = need - self.before
        self.slope = self.slope + SMOOTHING * (change - self.slope)
        self.before = need
        return np.maximum(need + per_type(self.trend) * self.slope, 0.0)
