"""Receding horizon: plans over scenarios from the link's own past, carries out the first interval.

Model-predictive control under chance (Mesbah, "Stochastic Model Predictive Control", IEEE Control
Systems Magazine 36(6), 2016, reviews the field): the forecast errors of the past, kept as whole
paths over the horizon, make the scenarios of the next intervals. The plan is made level by level: a
type's k-th instance is off, parked or running, whatever the others are. Running it costs a core,
parking it costs the parked weight, and launching it takes an interval in which it serves nothing.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.compiled import compiled
from flexnfv.decision import KEEP, Decision
from flexnfv.parameters import check
from flexnfv.policies.forecasting import (
    HIGHEST,
    LEAST,
    OFFSET,
    START,
    ForecastingPolicy,
    Method,
    Shape,
    Track,
    carry,
    cheapest,
    check_forecast,
    in_rows,
    likeness,
    need_of,
    observe,
)
from flexnfv.reading import Reading
from flexnfv.space import Choice, Real, Space, Times

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MARGIN = 10.0
"""Most that what is run is thought to exceed the forecast by, as a factor."""


class Numbers(NamedTuple):
    """Parameters, one for each row, [R]; see `RecedingHorizon`. An overflow of 0 is none."""

    drop_cost: FloatArray
    overflow: FloatArray
    parked_weight: FloatArray
    utilisation: FloatArray
    locality: FloatArray


class Paths(NamedTuple):
    """What came of past outlooks over a horizon of H intervals.

    Attributes:
        outlooks: log needs that were expected, a ring of W, [R, W, H].
        outcomes: need to expectation, each with the offset, at the same places, [R, W, H].
    """

    outlooks: FloatArray
    outcomes: FloatArray


def plan_ahead(
    need: FloatArray,
    there: IntArray,
    method: Method,
    given: Numbers,
    shape: Shape,
    track: Track,
    paths: Paths,
    targets: IntArray,
    spares: IntArray,
) -> None:
    """Decide for every row.

    Args:
        need: of the most needed NF type, instances, [R].
        there: instances that are not stopped, [R, T].
        method, given: parameters.
        shape: of the chain.
        track, paths: changed.
        targets, spares: filled, [R, T].
    """
    types = there.shape[1]
    now, later = np.empty(types, np.int64), np.empty(types, np.int64)
    for row in range(need.shape[0]):
        observe(row, need[row], method, track)
        learn(row, need[row], method.window[row], track, paths)
        outlook = paths.outlooks[row, (track.seen[row] - 1) % method.window[row]]
        look_ahead(row, method, track, outlook)
        window = method.window[row]
        loss_cost = given.drop_cost[row] / max(track.mean[row], OFFSET)
        # A parked instance costs its weight anyway: to run it costs what is missing to a core.
        price = 1.0 - given.parked_weight[row]
        worth = loss_cost / max(price, LEAST)
        ratios, origins = of_interval(row, 0, window, track, paths)
        enough(row, outlook[0], ratios, origins, worth, given, shape, now)
        ratios, origins = of_interval(row, 1, window, track, paths)
        enough(row, outlook[1], ratios, origins, loss_cost, given, shape, later)
        left = False
        for t in range(types):
            # What is launched now serves from the interval after the next.
            targets[row, t] = later[t] if later[t] > there[row, t] else min(now[t], there[row, t])
            targets[row, t] = max(targets[row, t], shape.least[t])
            left = left or there[row, t] > targets[row, t]
        spares[row, :] = KEEP
        if left and given.parked_weight[row] > 0.0:
            needs, origins = drawn(row, window, outlook, track, paths)
            likely = likeness(math.exp(outlook[0]), given.locality[row], origins)
            keep_what_pays(
                row, needs, likely, outlook, loss_cost, there, given, shape, targets, spares
            )


def learn(row: int, need: float, window: int, track: Track, paths: Paths) -> None:
    """Compare the newest need with what each earlier outlook expected of it."""
    value, newest = math.log(need + OFFSET), track.seen[row] - 1
    for h in range(min(paths.outcomes.shape[2], newest)):
        place = (newest - 1 - h) % window
        paths.outcomes[row, place, h] = math.exp(value - paths.outlooks[row, place, h])


def look_ahead(row: int, method: Method, track: Track, outlook: FloatArray) -> None:
    """Log needs expected over the horizon, filled, [H]."""
    order = method.order[row]
    if order == 0:
        damped, ahead = 1.0, track.level[row]
        for h in range(outlook.shape[0]):
            damped *= method.damping[row]
            ahead += damped * track.slope[row]
            outlook[h] = min(max(ahead, math.log(OFFSET)), HIGHEST)
        return
    past, weights = track.past[row, : order + 1].copy(), track.weights[row]
    for h in range(outlook.shape[0]):
        ahead = 0.0
        for i in range(order + 1):
            ahead += weights[i] * past[i]
        outlook[h] = min(max(ahead, math.log(OFFSET)), HIGHEST)
        for i in range(order, 1, -1):
            past[i] = past[i - 1]
        past[1] = outlook[h]


def of_interval(
    row: int, ahead: int, window: int, track: Track, paths: Paths
) -> tuple[FloatArray, FloatArray]:
    """Ratios of need to outlook so many intervals ahead (0: the next), rising, and the outlooks.

    The newest is among them: after a jump it says most. Those to start with are while they are few.
    """
    newest = track.seen[row] - 1
    known = min(max(newest - ahead, 0), window - 1 - ahead)
    added = len(START) if known < window - 1 - ahead else 0
    ratios, origins = np.empty(known + added), np.zeros(known + added)
    for s in range(known):
        place = (newest - 1 - ahead - s) % window
        ratios[s] = paths.outcomes[row, place, ahead]
        origins[s] = math.exp(paths.outlooks[row, place, ahead])
    for s in range(added):
        ratios[known + s] = START[s]
    order = np.argsort(ratios)
    return ratios[order], origins[order]


def drawn(
    row: int, window: int, outlook: FloatArray, track: Track, paths: Paths
) -> tuple[FloatArray, FloatArray]:
    """Needs of every scenario, the outlook times a complete path, [S, H], and origins, [S]."""
    horizon = paths.outcomes.shape[2]
    newest = track.seen[row] - 1
    complete = min(max(newest - horizon + 1, 0), window - horizon)
    added = len(START) if complete < window - horizon else 0
    made, origins = np.empty((complete + added, horizon)), np.zeros(complete + added)
    expected = np.exp(outlook)
    for s in range(complete + added):
        place = (newest - horizon - s) % window
        if s < complete:
            origins[s] = math.exp(paths.outlooks[row, place, 0])
        for h in range(horizon):
            ratio = paths.outcomes[row, place, h] if s < complete else START[s - complete]
            made[s, h] = max(expected[h] * ratio - OFFSET, 0.0)
    return made, origins


def enough(
    row: int,
    ahead: float,
    ratios: FloatArray,
    origins: FloatArray,
    loss_cost: float,
    given: Numbers,
    shape: Shape,
    counts: IntArray,
) -> None:
    """The instances for one interval of the plan: the cheapest, or few enough overflows.

    Args:
        row: of the parameters.
        ahead: log need expected of the interval.
        ratios: of need to expectation, rising, [n].
        origins: what was expected then, [n].
        loss_cost: see `cheapest`.
        given: parameters.
        shape: of the chain.
        counts: filled, [T].
    """
    expected, use = math.exp(ahead), given.utilisation[row]
    if given.overflow[row] > 0.0:
        rank = int((1.0 - given.overflow[row]) * ratios.shape[0])
        covered = expected * ratios[min(rank, ratios.shape[0] - 1)] - OFFSET
        carry(covered, use, shape, counts)
    else:
        likely = likeness(expected, given.locality[row], origins)
        cheapest(ratios, likely, expected, loss_cost, use, shape, counts)


def keep_what_pays(
    row: int,
    needs: FloatArray,
    likely: FloatArray,
    outlook: FloatArray,
    loss_cost: float,
    there: IntArray,
    given: Numbers,
    shape: Shape,
    targets: IntArray,
    spares: IntArray,
) -> None:
    """Keep the parked instances that are worth their weight.

    A scenario calls for a level as soon as its need, with the margin that the targets leave now,
    reaches it. A parked instance then serves from the next interval on, one that must be launched
    an interval later: the difference is what keeping it saves. It waits at the parked weight until
    then, or until it is given up: it is kept if for some time of giving up it saves more, on
    average over the scenarios, than its waiting costs.

    Args:
        row: of the parameters.
        needs: of the scenarios, [S, H].
        likely: weight of each, [S].
        outlook: log needs, [H].
        loss_cost: of losing what an instance of the most needed type carries, core intervals.
        there: instances that are not stopped, [R, T].
        given: parameters.
        shape: of the chain.
        targets: of the decision, [R, T].
        spares: filled, [R, T].
    """
    weight, use = given.parked_weight[row], given.utilisation[row]
    types, count, horizon = there.shape[1], needs.shape[0], needs.shape[1]
    carried, per_need = np.inf, 0.0
    for t in range(types):
        if shape.part[t] > 0.0:
            carried = min(carried, targets[row, t] * use / shape.part[t])
            per_need += shape.part[t] * shape.cores[t]
    expected = max(math.exp(outlook[0]) - OFFSET, OFFSET)
    margin = min(max(carried / expected, 1.0), MARGIN)
    saved, waiting = np.empty(horizon), np.empty(horizon)
    for t in range(types):
        spares[row, t] = 0
        # Losses are shared by the types as their cores are: all of them together save a packet.
        gain = loss_cost * shape.cores[t] / per_need
        for level in range(targets[row, t], there[row, t]):
            called = level * use / max(shape.part[t], LEAST) / margin
            saved[:] = 0.0
            waiting[:] = 0.0
            for s in range(count):
                h = 0
                while h < horizon - 1 and needs[s, h] <= called:
                    waiting[h] += likely[s]
                    h += 1
                waiting[h] += likely[s]
                if h < horizon - 1:
                    used = needs[s, h + 1] * shape.part[t] / use - level
                    saved[h] += likely[s] * min(max(used, 0.0), 1.0)
            best, balance = -1.0, 0.0
            for h in range(horizon - 1):
                balance += gain * saved[h] - weight * shape.cores[t] * waiting[h]
                best = max(best, balance)
            if best < 0.0:
                break
            spares[row, t] += 1


class RecedingHorizon(ForecastingPolicy):
    """Plans targets and spares over scenarios of the next intervals, anew at every reading.

    The numbers, but for the horizon, may be arrays with one for each row of a batch.

    Args:
        drop_cost: what losing one interval's mean traffic costs, core intervals.
        overflow: chance, in an interval, of a need above what runs, that is allowed; none: what
            costs least runs.
        parked_weight: what a parked core costs; the chain's own if none.
        horizon: intervals that are planned.
        smoothing: weight of the newest need in the forecast's level, without an autoregression.
        trend: weight of the newest change in its trend.
        damping: what is left of the trend after each interval.
        order: log needs that an autoregression weighs, fitted as it goes; 0: smoothing instead.
        window: outlooks that are remembered, intervals.
        utilisation: that an instance is planned for.
        locality: how much more the paths of a like forecast count: their weight is the ratio of the
            smaller to the larger forecast, to this power; 0: all count alike.

    Raises:
        ValueError: a parameter out of its range.
    """

    vectorised: ClassVar[tuple[str, ...]] = (*Method._fields, *Numbers._fields)
    state_names: ClassVar[tuple[str, ...]] = (*Track._fields, *Paths._fields)
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("drop_cost", (10, 30, 100, 300, 1000, 3000)),
        ("window", (64, 256)),
    )
    space: ClassVar[Space] = {
        "drop_cost": Times(0.2, 5.0, otherwise=Real(10.0, 30_000.0, log=True)),
        "order": Choice((4, 8, 16)),
        "window": Choice((128, 256, 512)),
        "utilisation": Real(0.8, 1.05),
        "locality": Real(0.0, 6.0),
    }

    def __init__(
        self,
        drop_cost: float = 300.0,
        overflow: float | None = None,
        parked_weight: float | None = None,
        horizon: int = 8,
        smoothing: float = 0.9,
        trend: float = 0.1,
        damping: float = 0.8,
        order: int = 8,
        window: int = 256,
        utilisation: float = 1.0,
        locality: float = 2.0,
    ) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be a number above 0")
        if overflow is not None:
            check("overflow", overflow, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        if parked_weight is not None:
            check("parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        if not (isinstance(horizon, int) and 2 <= horizon <= 64):
            raise ValueError(f"horizon is {horizon}, it must be a whole number from 2 to 64")
        check("locality", locality, lambda v: (v >= 0) & (v <= 100), "lie in [0, 100]")
        check_forecast(smoothing, trend, damping, order, window, utilisation, None)
        check("window", window, lambda v: v >= 2 * horizon, "be twice the horizon at least")
        self.drop_cost = drop_cost
        self.overflow = overflow
        self.parked_weight = parked_weight
        self.horizon = horizon
        self.smoothing = smoothing
        self.trend = trend
        self.damping = damping
        self.order = order
        self.window = window
        self.utilisation = utilisation
        self.locality = locality

    def decide(self, reading: Reading) -> Decision:
        """The plan's first interval, [..., T]."""
        need = need_of(reading, self.chain, self.shape.part)
        there = reading.running + reading.launching + reading.draining + reading.blocked
        flat = need.size, self.chain.types
        targets, spares = np.empty(flat, np.int64), np.empty(flat, np.int64)
        weight = self.chain.parked_weight if self.parked_weight is None else self.parked_weight
        given = Numbers(
            in_rows(self.drop_cost, need),
            in_rows(0.0 if self.overflow is None else self.overflow, need),
            in_rows(weight, need),
            in_rows(self.utilisation, need),
            in_rows(self.locality, need),
        )
        compiled(plan_ahead)(
            need,
            np.ascontiguousarray(there.reshape(flat)),
            self.method(need),
            given,
            self.shape,
            self.track(need.size),
            self._paths(need.size),
            targets,
            spares,
        )
        shape = reading.unsettled.shape
        return Decision(targets.reshape(shape), spares=spares.reshape(shape))

    def _paths(self, rows: int) -> Paths:
        if getattr(self, Paths._fields[0]) is None:
            for name in Paths._fields:
                setattr(self, name, np.zeros((rows, int(np.max(self.window)), self.horizon)))
        return Paths(*(getattr(self, name) for name in Paths._fields))
