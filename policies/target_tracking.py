"""Target tracking: the rule of the Kubernetes Horizontal Pod Autoscaler (HPA).

The rule is that of the HPA's documentation ("Algorithm details" and "Stabilization window"), v2 of
the autoscaling API; https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from flexnfv.policy import BasePolicy
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def desired(
    need: FloatArray, running: IntArray, launching: IntArray, target: float, tolerance: float
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
        target: wanted utilisation of an instance.
        tolerance: relative distance from the target that is let be.

    Returns:
        Wanted instances, at least 1, [..., T].
    """
    here = running + launching
    wanted = np.ceil(need / target).astype(np.int64)
    up = need / (np.maximum(here, 1) * target) > 1.0 + tolerance
    down = need / (np.maximum(running, 1) * target) < 1.0 - tolerance
    return np.maximum(np.where(up | down, wanted, here), 1)


def stabilise(desires: IntArray, newest: IntArray, here: IntArray) -> IntArray:
    """Follow the newest desire up at once, and down to the highest desire of the window only.

    Args:
        desires: desires of the window, the newest among them, [window, ..., T].
        newest: the newest desire, [..., T].
        here: running plus launching instances, [..., T].

    Returns:
        Targets, [..., T].
    """
    return np.asarray(np.minimum(np.maximum(here, newest), desires.max(axis=0)))


class TargetTracking(BasePolicy):
    """Keeps the utilisation of every NF type at a target, as the Kubernetes HPA does.

    desired = ceil(current x metric / target) with a tolerance, up at once, down to the highest
    desire within a stabilisation window.

    Args:
        target: utilisation to keep an instance at.
        tolerance: relative distance from the target that is let be (HPA: 0.1).
        window: scale-down stabilisation window, in intervals. The HPA's default of 300 s is 20 of
            its sync periods of 15 s, so here 20 intervals; 1 is no window.
        metric: what the utilisation is taken of: `demand` (what the type would be offered if
            nothing upstream were lost) or `arrived` (what it was offered).

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("desires", "seen")
    front: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("target", (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)),
        ("window", (1, 5, 20, 60)),
    )

    desires: IntArray | None
    seen: IntArray | None

    def __init__(
        self,
        target: float = 0.7,
        tolerance: float = 0.1,
        window: int = 20,
        metric: Literal["demand", "arrived"] = "demand",
    ) -> None:
        if not 0 < target <= 2:
            raise ValueError(f"target is {target}, it must lie in (0, 2]")
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance is {tolerance}, it must lie in [0, 1)")
        if window < 1 or window != int(window):
            raise ValueError(f"window is {window}, it must be a whole number from 1")
        if metric not in ("demand", "arrived"):
            raise ValueError(f"metric is {metric!r}, it must be one of demand, arrived")
        self.target = target
        self.tolerance = tolerance
        self.window = int(window)
        self.metric = metric

    def decide(self, reading: Reading) -> IntArray:
        """Targets by the rule, [..., T]."""
        demand = self.metric == "demand"
        rate = reading.demand_pps(self.chain) if demand else reading.type_arrived_pps
        need = rate / self.chain.capacity_pps
        here = reading.running + reading.launching
        newest = desired(need, reading.running, reading.launching, self.target, self.tolerance)
        if self.desires is None or self.seen is None:
            # The HPA starts from what it finds: the current count opens the window.
            self.desires = np.repeat(here[None], self.window, axis=0)
            self.seen = np.zeros((), np.int64)
        self.desires[int(self.seen) % self.window] = newest
        self.seen = self.seen + 1
        return stabilise(self.desires, newest, here)
