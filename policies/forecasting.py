"""What the rules that forecast share: a recursion, and a window of its errors.

The demand of a chain is one number here: the need of its most needed NF type, in instances (all
types see the same packets, so the needs of the others follow from it). Its logarithm is forecast
one interval ahead by exponential smoothing with a damped trend (Holt; the recursions stand in
Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., sections 8.1 and 8.2),
and the ratios of what came to what was forecast are kept for a window. Both cost the same at every
interval, however long the window.

All functions are plain loops over numpy arrays, compiled by `flexnfv.compiled`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.parameters import check
from flexnfv.policies.parking import check_park_timeout
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

OFFSET = 0.1
"""Instances added to a need before its logarithm is taken: a silent link has no logarithm, and
changes of a small share of one instance do not matter."""
MEMORY = 4096
"""Intervals that the mean need is taken over, once so many have passed."""
START = (0.7, 0.8, 0.9, 1.0, 1.0, 1.0, 1.1, 1.3, 1.7)
"""Errors that a window starts with, rising; they leave it as measured ones come in."""
FORGET = 0.998
"""What the newest error outweighs the one before by, in the autoregression."""
SPREAD = 0.1
"""Variance of the autoregression's weights around "as the last one" before anything is known."""
CLIP = 1.0
"""Largest error of a log need that the autoregression learns from."""
HIGHEST = 7.0
"""Highest log need that it forecasts: a thousand instances."""
LEAST = 1e-9


class Method(NamedTuple):
    """How each of R links is forecast.

    Attributes:
        smoothing, trend, damping: Holt's alpha, beta and phi, [R].
        order: needs that the autoregression weighs; 0 for exponential smoothing instead, [R].
        window: errors that are kept, [R].
    """

    smoothing: FloatArray
    trend: FloatArray
    damping: FloatArray
    order: IntArray
    window: IntArray


class Track(NamedTuple):
    """What is remembered of each of R links.

    Attributes:
        seen: intervals observed, [R].
        level, slope: of the smoothed log need, [R].
        ahead: log need forecast for the next interval, [R].
        mean: mean need so far, [R].
        ratios: (need + OFFSET) / forecast, a ring of W, [R, W].
        ordered: the same, rising, [R, W].
        origins: what each of these was forecast to be, with the offset; 0 of a start, [R, W].
        past: 1, and the newest log needs, the newest first, [R, P + 1].
        weights: of the past in the autoregression, [R, P + 1].
        spread: of the weights' estimates, [R, P + 1, P + 1].
    """

    seen: IntArray
    level: FloatArray
    slope: FloatArray
    ahead: FloatArray
    mean: FloatArray
    ratios: FloatArray
    ordered: FloatArray
    origins: FloatArray
    past: FloatArray
    weights: FloatArray
    spread: FloatArray


class Shape(NamedTuple):
    """What the rules need of a chain.

    Attributes:
        part: need of each type per need of the most needed one, [T].
        least, most: limits of the instances, [T].
        cores: of one instance, [T].
    """

    part: FloatArray
    least: IntArray
    most: IntArray
    cores: IntArray


def shape_of(chain: ServiceChain) -> Shape:
    """The shape of a chain."""
    need = chain.through / chain.capacity_pps
    return Shape(need / need.max(), *chain.limits, np.array(chain.cores_per_instance, np.int64))


def new_track(rows: int, window: int, order: int) -> Track:
    """The memory of links that nothing is known of yet.

    Args:
        rows: links, R.
        window: most errors that are kept of any, W.
        order: most needs that any autoregression weighs, P.
    """
    kept = max(window, len(START))
    ratios = np.ones((rows, kept))
    ratios[:, : len(START)] = START
    return Track(
        seen=np.zeros(rows, np.int64),
        level=np.zeros(rows),
        slope=np.zeros(rows),
        ahead=np.zeros(rows),
        mean=np.zeros(rows),
        ratios=ratios,
        ordered=ratios.copy(),
        origins=np.zeros((rows, kept)),
        past=np.zeros((rows, order + 1)),
        weights=np.zeros((rows, order + 1)),
        spread=np.zeros((rows, order + 1, order + 1)),
    )


def need_of(reading: Reading, chain: ServiceChain, part: FloatArray) -> FloatArray:
    """Need of the most needed NF type, in instances, [R]; R is 1 for a single reading."""
    need = reading.demand_pps(chain) / chain.capacity_pps
    of_types = np.divide(need, part, out=np.zeros_like(need), where=part > 0)
    return np.ascontiguousarray(np.atleast_1d(of_types.max(axis=-1)))


def in_rows(
    value: npt.ArrayLike, like: FloatArray, dtype: npt.DTypeLike = np.float64
) -> npt.NDArray[Any]:
    """A parameter with one number for each row, [R] as another array has them."""
    made = np.empty(like.shape, dtype)
    made[:] = value
    return made


def observe(row: int, need: float, given: Method, track: Track) -> None:
    """Take in the need of one more interval, and forecast the next.

    Args:
        row: of the track.
        need: instances.
        given: how to forecast.
        track: changed.
    """
    value = math.log(need + OFFSET)
    seen = track.seen[row]
    track.mean[row] += (need - track.mean[row]) / min(seen + 1, MEMORY)
    if seen > 0:
        _keep(row, math.exp(value - track.ahead[row]), given.window[row], track)
    if given.order[row] > 0:
        _regress(row, value, given.order[row], track)
    else:
        _smooth(row, value, given, track)
    track.seen[row] = seen + 1


def _smooth(row: int, value: float, given: Method, track: Track) -> None:
    """Holt's recursion with a damped trend."""
    smoothing, trend, damping = given.smoothing[row], given.trend[row], given.damping[row]
    if track.seen[row] == 0:
        track.level[row] = value
    else:
        before, kept = track.level[row], damping * track.slope[row]
        track.level[row] = smoothing * value + (1.0 - smoothing) * (before + kept)
        track.slope[row] = trend * (track.level[row] - before) + (1.0 - trend) * kept
    track.ahead[row] = track.level[row] + damping * track.slope[row]


def _regress(row: int, value: float, order: int, track: Track) -> None:
    """An autoregression of the log need, fitted by recursive least squares that forget.

    It starts from "as the last one". An error counts with `CLIP` at most, so that one jump does not
    undo what a thousand intervals have taught.
    """
    size = order + 1
    past, weights, spread = track.past[row], track.weights[row], track.spread[row]
    if track.seen[row] == 0:
        past[0] = 1.0
        weights[1] = 1.0
        past[1:size] = value
        for i in range(size):
            spread[i, i] = SPREAD
    else:
        gain = np.zeros(size)
        for i in range(size):
            for j in range(size):
                gain[i] += spread[i, j] * past[j]
        unsure = FORGET
        for i in range(size):
            unsure += past[i] * gain[i]
        error = min(max(value - track.ahead[row], -CLIP), CLIP)
        total = 0.0
        for i in range(size):
            weights[i] += gain[i] / unsure * error
            for j in range(size):
                spread[i, j] -= gain[i] * gain[j] / unsure
            total += spread[i, i]
        if total < SPREAD * size:  # of a link that stands still nothing is forgotten
            for i in range(size):
                for j in range(size):
                    spread[i, j] /= FORGET
        for i in range(size - 1, 1, -1):
            past[i] = past[i - 1]
        past[1] = value
    ahead = 0.0
    for i in range(size):
        ahead += weights[i] * past[i]
    track.ahead[row] = min(max(ahead, math.log(OFFSET)), HIGHEST)


def errors(row: int, window: int, track: Track) -> int:
    """How many errors of a row's window there are, those of the start among them."""
    return min(int(track.seen[row]) + len(START) - 1, window)


def _keep(row: int, ratio: float, window: int, track: Track) -> None:
    """Put one more error into the window, in place of the oldest where it is full."""
    ring, ordered, origins = track.ratios[row], track.ordered[row], track.origins[row]
    made = track.seen[row] - 1 + len(START)
    last = min(made, window)
    if made >= window:
        old, last = ring[made % window], window - 1
        place = np.searchsorted(ordered[:window], old)
        for i in range(place, last):
            ordered[i] = ordered[i + 1]
            origins[i] = origins[i + 1]
    ring[made % window] = ratio
    while last > 0 and ordered[last - 1] > ratio:
        ordered[last] = ordered[last - 1]
        origins[last] = origins[last - 1]
        last -= 1
    ordered[last] = ratio
    origins[last] = math.exp(track.ahead[row])


def likeness(forecast: float, locality: float, origins: FloatArray) -> FloatArray:
    """Weights of errors: those of a like forecast count more, [n].

    Args:
        forecast: with the offset, instances.
        locality: a weight is the ratio of the smaller to the larger forecast, to this power.
        origins: forecasts of the errors; 0 counts as the same.
    """
    made = np.ones(origins.shape[0])
    if locality > 0.0:
        for i in range(origins.shape[0]):
            if origins[i] > 0.0:
                ratio = origins[i] / forecast
                made[i] = min(ratio, 1.0 / ratio) ** locality
    return made


def carry(need: float, utilisation: float, shape: Shape, targets: IntArray) -> None:
    """As many instances as carry a need.

    Args:
        need: of the most needed type, instances.
        utilisation: that an instance is planned for.
        shape: of the chain.
        targets: filled, [T].
    """
    for t in range(targets.shape[0]):
        wanted = math.ceil(min(need * shape.part[t] / utilisation, 1e6) - LEAST)
        targets[t] = min(max(wanted, shape.least[t]), shape.most[t])


def cheapest(
    ratios: FloatArray,
    weights: FloatArray,
    forecast: float,
    loss_cost: float,
    utilisation: float,
    shape: Shape,
    targets: IntArray,
) -> None:
    """The instances whose cores and expected losses cost least (the newsvendor's choice).

    The types are raised together, always the one that carries least: what one of them cannot carry
    is lost, whatever the others could.

    Args:
        ratios: of need to forecast, rising, [n].
        weights: how likely each is, up to a factor, [n].
        forecast: of the need (with the offset), instances.
        loss_cost: cost of losing what one instance of the most needed type carries, core intervals.
        utilisation: that an instance is planned for.
        shape: of the chain.
        targets: filled, [T].
    """
    types, count = targets.shape[0], ratios.shape[0]
    number = shape.least.copy()
    total = weights.sum()
    above, left, beyond = forecast * (ratios * weights).sum(), total, 0
    best = np.inf
    while True:
        carried, weakest = np.inf, 0
        for t in range(types):
            if shape.part[t] > 0.0 and number[t] * utilisation / shape.part[t] < carried:
                carried, weakest = number[t] * utilisation / shape.part[t], t
        while beyond < count and forecast * ratios[beyond] - OFFSET <= carried:
            above -= forecast * ratios[beyond] * weights[beyond]
            left -= weights[beyond]
            beyond += 1
        lost = max(above - (carried + OFFSET) * left, 0.0) / total
        cost = loss_cost * lost
        for t in range(types):
            cost += number[t] * shape.cores[t]
        if cost < best - LEAST:
            best = cost
            targets[:] = number
        if beyond == count or number[weakest] >= shape.most[weakest]:
            return
        number[weakest] += 1


class ForecastingPolicy(BasePolicy):
    """A policy with a `Track`: its state is the arrays of the track, and more where it says so."""

    batched: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = Track._fields

    @abstractmethod
    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets, [..., T], and spares where the policy gives some."""

    smoothing: float | FloatArray
    trend: float | FloatArray
    damping: float | FloatArray
    window: int | IntArray
    order: int | IntArray
    shape: Shape

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the link, and compile now: that takes longer than an interval may."""
        super().reset(chain, seed)
        self.shape = shape_of(chain)
        batch = np.broadcast_shapes(*(np.shape(getattr(self, name)) for name in self.vectorised))
        self.decide(Reading.zeros(chain.types, chain.slots, batch))
        super().reset(chain, seed)

    def method(self, like: FloatArray) -> Method:
        """The parameters of the forecast, one for each row."""
        return Method(
            in_rows(self.smoothing, like),
            in_rows(self.trend, like),
            in_rows(self.damping, like),
            in_rows(self.order, like, np.int64),
            in_rows(self.window, like, np.int64),
        )

    def track(self, rows: int) -> Track:
        """The memory of that many rows, made where there is none."""
        if getattr(self, Track._fields[0]) is None:
            fresh = new_track(rows, int(np.max(self.window)), int(np.max(self.order)))
            for name, value in fresh._asdict().items():
                setattr(self, name, value)
        return Track(*(getattr(self, name) for name in Track._fields))


def check_forecast(
    smoothing: npt.ArrayLike,
    trend: npt.ArrayLike,
    damping: npt.ArrayLike,
    order: npt.ArrayLike,
    window: npt.ArrayLike,
    utilisation: npt.ArrayLike,
    park_timeout: npt.ArrayLike | None,
) -> None:
    """See to it that the parameters that these policies share are right.

    Raises:
        ValueError: one is out of its range.
    """
    check("smoothing", smoothing, lambda v: (v > 0) & (v <= 1), "lie in (0, 1]")
    check("trend", trend, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
    check("damping", damping, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
    check("order", order, lambda v: (v >= 0) & (v <= 32) & (v == np.floor(v)), "be 0 to 32")
    check("window", window, _fits_window, f"be a whole number from {len(START)} to {MEMORY}")
    check("utilisation", utilisation, lambda v: (v > 0) & (v <= 2), "lie in (0, 2]")
    check_park_timeout(park_timeout)


def _fits_window(value: Any) -> npt.NDArray[np.bool_]:
    return np.asarray((value >= len(START)) & (value <= MEMORY) & (value == np.floor(value)))
