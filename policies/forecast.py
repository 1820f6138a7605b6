"""Forecast: the next need by exponential smoothing, plus what its errors of late call for.

The textbook rule of predictive autoscaling: a forecast, the distribution of its own errors over a
window, and the instances that pay for themselves by it (the newsvendor's choice: Arrow, Harris and
Marschak, "Optimal Inventory Policy", 1951) or that cover a stated quantile.
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
    cheapest,
    check_forecast,
    errors,
    in_rows,
    likeness,
    need_of,
    observe,
)
from flexnfv.policies.parking import decision
from flexnfv.reading import Reading
from flexnfv.space import Choice, Real, Space, Times

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Numbers(NamedTuple):
    """Parameters, one for each row, [R]; see `Forecast`. A quantile of 0 is none."""

    drop_cost: FloatArray
    quantile: FloatArray
    utilisation: FloatArray
    locality: FloatArray


def forecast_and_cover(
    need: FloatArray,
    method: Method,
    given: Numbers,
    shape: Shape,
    track: Track,
    targets: IntArray,
) -> None:
    """Decide for every row.

    Args:
        need: of the most needed NF type, instances, [R].
        method, given: parameters.
        shape: of the chain.
        track: changed.
        targets: filled, [R, T].
    """
    for row in range(need.shape[0]):
        observe(row, need[row], method, track)
        known = track.ordered[row, : errors(row, method.window[row], track)]
        forecast, use = math.exp(track.ahead[row]), given.utilisation[row]
        if given.quantile[row] > 0.0:
            covered = forecast * known[int(given.quantile[row] * known.shape[0])] - OFFSET
            carry(covered, use, shape, targets[row])
        else:
            loss_cost = given.drop_cost[row] / max(track.mean[row], OFFSET)
            origins = track.origins[row, : known.shape[0]]
            likely = likeness(forecast, given.locality[row], origins)
            cheapest(known, likely, forecast, loss_cost, use, shape, targets[row])


class Forecast(ForecastingPolicy):
    """Forecasts the next need, and covers as much of its usual error as pays.

    The log need is forecast by exponential smoothing with a damped trend. The ratios of what came
    to what was forecast, over a window, say how likely every need is. The numbers may be arrays
    with one for each row of a batch.

    Args:
        drop_cost: what losing one interval's mean traffic costs, core intervals. As many instances
            run as cost least, cores and expected losses together.
        quantile: instead of that, the quantile of the errors that is covered.
        smoothing: weight of the newest need in the level; 1 is the newest itself.
        trend: weight of the newest change in the trend; 0 is no trend.
        damping: what is left of the trend after each interval.
        order: log needs that an autoregression weighs, fitted as it goes, instead of the
            smoothing; 0 for none.
        window: errors that count, intervals.
        utilisation: that an instance is planned for.
        locality: how much more the errors of a like forecast count: their weight is the ratio of
            the smaller to the larger forecast, to this power; 0: all count alike.
        park_timeout: intervals after which a parked instance that was not wanted is stopped.

    Raises:
        ValueError: a parameter out of its range.
    """

    vectorised: ClassVar[tuple[str, ...]] = (
        *Method._fields,
        *Numbers._fields,
        "park_timeout",
    )
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("drop_cost", (10, 30, 100, 300, 1000, 3000)),
        ("smoothing", (0.6, 1.0)),
        ("window", (64, 256, 1024)),
    )
    space: ClassVar[Space] = {
        "drop_cost": Times(0.2, 5.0, otherwise=Real(10.0, 30_000.0, log=True)),
        "order": Choice((4, 8, 16)),
        "window": Choice((64, 128, 256, 512, 1024)),
        "utilisation": Real(0.8, 1.05),
        "locality": Real(0.0, 6.0),
        "park_timeout": Real(2.0, 1000.0, log=True),
    }

    def __init__(
        self,
        drop_cost: float = 300.0,
        quantile: float | None = None,
        smoothing: float = 0.9,
        trend: float = 0.1,
        damping: float = 0.8,
        order: int = 8,
        window: int = 256,
        utilisation: float = 1.0,
        locality: float = 2.0,
        park_timeout: float | None = None,
    ) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be a number above 0")
        if quantile is not None:
            check("quantile", quantile, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        check("locality", locality, lambda v: (v >= 0) & (v <= 100), "lie in [0, 100]")
        check_forecast(smoothing, trend, damping, order, window, utilisation, park_timeout)
        self.drop_cost = drop_cost
        self.quantile = quantile
        self.smoothing = smoothing
        self.trend = trend
        self.damping = damping
        self.order = order
        self.window = window
        self.utilisation = utilisation
        self.locality = locality
        self.park_timeout = park_timeout

    def decide(self, reading: Reading) -> Decision | IntArray:
        """As many instances as pay, or as cover the quantile, [..., T]."""
        need = need_of(reading, self.chain, self.shape.part)
        targets = np.empty((need.size, self.chain.types), np.int64)
        given = Numbers(
            in_rows(self.drop_cost, need),
            in_rows(0.0 if self.quantile is None else self.quantile, need),
            in_rows(self.utilisation, need),
            in_rows(self.locality, need),
        )
        track = self.track(need.size)
        compiled(forecast_and_cover)(need, self.method(need), given, self.shape, track, targets)
        shaped = targets.reshape(reading.unsettled.shape)
        return decision(shaped, reading, self.chain, self.park_timeout)
