"""Conformal: a forecast whose safety margin is driven by what the drop target has left to lose.

Budget-aware calibration and control (BACC: Farkiani, Liu, Li and Crowley, arXiv 2606.20575) keeps
three things apart: a forecaster, a calibration of its errors under adaptive conformal inference
(Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021), and a
proportional-integral (PI) controller that paces the budget of violations. Here the budget is lost
traffic, not intervals that violate a threshold, and both corrections work on the logarithm of the
miss rate: rates of 0.01 % leave no room for steps of a fixed size.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.compiled import compiled
from flexnfv.decision import Decision
from flexnfv.parameters import check
from flexnfv.policies.forecasting import (
    OFFSET,
    ForecastingPolicy,
    Method,
    Shape,
    Track,
    carry,
    check_forecast,
    errors,
    in_rows,
    need_of,
    observe,
)
from flexnfv.policies.parking import decision
from flexnfv.reading import Reading
from flexnfv.space import Choice, Real, Space, Times

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RATIO = 5.0
"""Miss rate for each lost share, to start from: an interval that misses loses a fifth or so."""
RECENT = 1.0 / 32
"""Weight of the newest interval in the controller's proportional term."""
PERIOD = 4096
"""Intervals over which a budget is forgotten."""
REACH = 3.0
"""Most that the integral counts, in paces."""
SHIFT = 2.0
"""Most that the calibration moves the logarithm of the miss rate."""
RAREST, OFTENEST = 1e-6, 0.5
"""Bounds of the miss rate."""
TAIL = 16
"""Largest errors, at most, that the tail beyond the window is estimated from."""


class Numbers(NamedTuple):
    """Parameters, one for each row, [R]; see `Conformal`."""

    drop_target: FloatArray
    proportional: FloatArray
    integral: FloatArray
    pace: FloatArray
    adaptation: FloatArray
    utilisation: FloatArray


class Pacing(NamedTuple):
    """Where each row stands, [R].

    Attributes:
        traffic: mean offered traffic so far, packets/s.
        left: budget that is saved (or overdrawn), in intervals of the drop target.
        recent: the same over the last intervals, each.
        shift: what the calibration adds to the logarithm of the miss rate.
        rate: miss rate of the last decision.
        covered: need that the last decision was to cover, instances; 0 before the first.
    """

    traffic: FloatArray
    left: FloatArray
    recent: FloatArray
    shift: FloatArray
    rate: FloatArray
    covered: FloatArray


def pace_and_cover(
    need: FloatArray,
    offered: FloatArray,
    lost: FloatArray,
    method: Method,
    given: Numbers,
    shape: Shape,
    track: Track,
    pacing: Pacing,
    targets: IntArray,
) -> None:
    """Decide for every row.

    Args:
        need: of the most needed NF type, instances, [R].
        offered, lost: traffic of the chain, packets/s, [R].
        method, given: parameters.
        shape: of the chain.
        track, pacing: changed.
        targets: filled, [R, T].
    """
    for row in range(need.shape[0]):
        observe(row, need[row], method, track)
        calibrate(row, need[row], given.adaptation[row], pacing)
        spend(row, offered[row], lost[row], given, track.seen[row], pacing)
        control = given.proportional[row] * pacing.recent[row] + given.integral[row] * min(
            max(pacing.left[row] / given.pace[row], -REACH), REACH
        )
        base = math.log(RATIO * given.drop_target[row])
        rate = math.exp(base + control)
        pacing.rate[row] = min(max(rate, RAREST), OFTENEST)
        asked = min(max(rate * math.exp(pacing.shift[row]), RAREST), OFTENEST)
        known = track.ordered[row, : errors(row, method.window[row], track)]
        covered = math.exp(track.ahead[row]) * upper(known, asked) - OFFSET
        pacing.covered[row] = covered
        carry(covered, given.utilisation[row], shape, targets[row])


def calibrate(row: int, need: float, adaptation: float, pacing: Pacing) -> None:
    """Adaptive conformal inference: misses more often than wanted ask for a rarer quantile.

    With the wanted miss rate a and m = 1 for a miss or else 0, the logarithm of the quantile's rate
    moves by step x (a - m): it stands still on average where a share a misses.
    """
    if pacing.covered[row] > 0.0:
        missed = 1.0 if need > pacing.covered[row] else 0.0
        moved = pacing.shift[row] + adaptation * (pacing.rate[row] - missed)
        pacing.shift[row] = min(max(moved, -SHIFT), SHIFT)


def spend(row: int, offered: float, lost: float, given: Numbers, seen: int, pacing: Pacing) -> None:
    """Charge the last interval's losses to the budget, which grows by the same every interval."""
    pacing.traffic[row] += (offered - pacing.traffic[row]) / min(seen, PERIOD)
    allowed = given.drop_target[row] * max(pacing.traffic[row], 1.0)
    saved = 1.0 - lost / allowed
    pacing.left[row] += saved - pacing.left[row] / PERIOD
    pacing.recent[row] += RECENT * (max(saved, -1.0 / RECENT) - pacing.recent[row])


def upper(known: FloatArray, rate: float) -> float:
    """The error that is exceeded at a rate, of errors in rising order.

    Within the window it is read off between two errors. Beyond, the tail is taken to fall as a
    power of the error, whose exponent is estimated from the largest ones (Hill, "A Simple General
    Approach to Inference About the Tail of a Distribution", 1975).
    """
    count = known.shape[0]
    rank = rate * (count + 1)  # errors that are expected at or above it
    if rank >= 1.0:
        whole = int(rank)
        high = known[count - whole]
        low = known[max(count - whole - 1, 0)]
        return float(high + (rank - whole) * (low - high))
    tail = min(TAIL, max(count // 8, 2))
    least = max(known[count - tail], OFFSET)
    slope = 0.0
    for i in range(1, tail):
        slope += math.log(max(known[count - i], least) / least) / (tail - 1)
    return float(max(known[count - 1], least * (tail / rank) ** min(slope, 1.0)))


class Conformal(ForecastingPolicy):
    """Loses no more than the drop target: the forecast's margin follows the budget that is left.

    The numbers may be arrays with one for each row of a batch.

    Args:
        drop_target: share of the offered traffic that may be lost, 0 to 1.
        proportional: of the controller: what a budget that was not touched lately adds to the
            logarithm of the miss rate.
        integral: what a saved budget of one `pace` adds to it.
        pace: intervals over which a saved or overdrawn budget is made up for.
        adaptation: step of the conformal calibration.
        smoothing: weight of the newest need in the forecast's level, without an autoregression.
        trend: weight of the newest change in its trend.
        damping: what is left of the trend after each interval.
        order: log needs that an autoregression weighs, fitted as it goes; 0: smoothing instead.
        window: errors that count, intervals.
        utilisation: that an instance is planned for.
        park_timeout: intervals after which a parked instance is stopped; never if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    vectorised: ClassVar[tuple[str, ...]] = (
        *Method._fields,
        *Numbers._fields,
        "park_timeout",
    )
    state_names: ClassVar[tuple[str, ...]] = (*Track._fields, *Pacing._fields)
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("drop_target", (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03)),
        ("pace", (64, 256, 1024)),
    )
    space: ClassVar[Space] = {
        "drop_target": Times(0.2, 2.0, otherwise=Real(1e-4, 0.1, log=True)),
        "proportional": Real(0.0, 2.0),
        "integral": Real(0.1, 3.0),
        "pace": Real(16.0, 2048.0, log=True),
        "adaptation": Real(0.0, 1.0),
        "order": Choice((4, 8, 16)),
        "window": Choice((128, 256, 512)),
        "utilisation": Real(0.9, 1.05),
        "park_timeout": Real(2.0, 1000.0, log=True),
    }

    def __init__(
        self,
        drop_target: float = 0.001,
        proportional: float = 0.5,
        integral: float = 1.0,
        pace: float = 64.0,
        adaptation: float = 0.3,
        smoothing: float = 0.9,
        trend: float = 0.1,
        damping: float = 0.8,
        order: int = 8,
        window: int = 256,
        utilisation: float = 1.0,
        park_timeout: float | None = None,
    ) -> None:
        check("drop_target", drop_target, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        check("proportional", proportional, lambda v: (v >= 0) & (v <= 10), "lie in [0, 10]")
        check("integral", integral, lambda v: (v >= 0) & (v <= 10), "lie in [0, 10]")
        check("pace", pace, lambda v: (v >= 1) & (v < np.inf), "be 1 or more intervals")
        check("adaptation", adaptation, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        check_forecast(smoothing, trend, damping, order, window, utilisation, park_timeout)
        self.drop_target = drop_target
        self.proportional = proportional
        self.integral = integral
        self.pace = pace
        self.adaptation = adaptation
        self.smoothing = smoothing
        self.trend = trend
        self.damping = damping
        self.order = order
        self.window = window
        self.utilisation = utilisation
        self.park_timeout = park_timeout

    def decide(self, reading: Reading) -> Decision | IntArray:
        """As many instances as cover the calibrated quantile, [..., T]."""
        need = need_of(reading, self.chain, self.shape.part)
        targets = np.empty((need.size, self.chain.types), np.int64)
        given = Numbers(*(in_rows(getattr(self, name), need) for name in Numbers._fields))
        compiled(pace_and_cover)(
            need,
            in_rows(reading.offered_pps, need),
            in_rows(reading.dropped_pps, need),
            self.method(need),
            given,
            self.shape,
            self.track(need.size),
            self._pacing(need.size),
            targets,
        )
        shaped = targets.reshape(reading.unsettled.shape)
        return decision(shaped, reading, self.chain, self.park_timeout)

    def _pacing(self, rows: int) -> Pacing:
        if getattr(self, Pacing._fields[0]) is None:
            for name in Pacing._fields:
                setattr(self, name, np.zeros(rows))
        return Pacing(*(getattr(self, name) for name in Pacing._fields))
