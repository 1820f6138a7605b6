"""From how likely the demand is to exceed what to what a chain should run.

The network of `flexnfv.memory`'s features says how likely the demand of a chain is to exceed each
of some levels in the next interval, and within the next 2 to 256. From there it is a newsvendor's
problem for what runs, and a ski rental's for what stays parked:

- What runs. A packet is lost at the tightest NF type, so capacities are chosen together: of all
  capacities c that the available instances can have, the one whose cores and expected loss,
  cores(c) + drop cost x E[(demand - c)+] / mean demand, cost least. The expected loss is the area
  under the exceedance above c. (Newsvendor: Arrow, Harris, Marschak 1951, for one item.)
- What stays parked. An instance that is stopped takes a launch to come back, and what it would have
  carried meanwhile is lost. It is kept while that, times the probability that it is needed within h
  intervals, exceeds what h intervals of parking cost, for any h. (Ski rental with predictions:
  Purohit, Svitkina, Kumar 2018.)
- What is launched ahead: the same comparison, against the launch's own cores as well.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.memory import LEVELS, Levels, entry_capacity

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

HORIZONS: Final = (2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
"""Intervals that exceedances look ahead beside the next one: the 2nd to this one."""
EPSILON: Final = 1e-9
_NEVER: Final = 1e300


class Types(NamedTuple):
    """The NF types of a chain, as planning sees them, [T] each.

    Attributes:
        capacity: rate at the chain's entry that an instance carries, packets/s.
        cores: of an instance.
        fewest, most: instances.
    """

    capacity: FloatArray
    cores: FloatArray
    fewest: IntArray
    most: IntArray

    @classmethod
    def of(cls, chain: ServiceChain) -> Self:
        """Of a chain."""
        return cls(
            entry_capacity(chain),
            np.asarray(chain.cores_per_instance, np.float64),
            np.asarray(chain.min_instances, np.int64),
            np.asarray(chain.max_instances, np.int64),
        )


class Prices(NamedTuple):
    """What things cost, in core intervals.

    Attributes:
        drop_cost: losing one interval's mean demand.
        mean: that demand, packets/s, as far as it is known.
        usual: the same with what links usually carry in it, which decides what is kept and
            launched: a link that has been silent so far must not keep all that a jump could need.
        parked: a parked core for an interval.
        launch: intervals that a launch takes.
        first_use: share of the highest use within a horizon that is lost to a launch that comes
            when it is needed.
        regret: launches that coming back costs, times the probability of it.
        stay: intervals that a demand which needs an instance is thought to stay.
    """

    drop_cost: float
    mean: float
    usual: float
    parked: float
    launch: float
    first_use: float
    regret: float
    stay: float


def areas(exceedance: FloatArray, levels: Levels, area: FloatArray) -> None:
    """Make exceedances fall with the level, and fill in the area under them above each level.

    Args:
        exceedance: of each level and horizon, [LEVELS, 1 + H]; made monotone.
        levels: of the chain.
        area: filled, packets/s, [LEVELS, 1 + H].
    """
    for i in range(exceedance.shape[1]):
        for j in range(1, LEVELS):
            exceedance[j, i] = min(exceedance[j, i], exceedance[j - 1, i])
        area[LEVELS - 1, i] = 0.0
        for j in range(LEVELS - 2, -1, -1):
            width = levels.rate[j + 1] - levels.rate[j]
            area[j, i] = area[j + 1, i] + 0.5 * width * (exceedance[j, i] + exceedance[j + 1, i])


def place_of(rate: float, levels: Levels) -> tuple[int, float]:
    """Where a rate lies: the level below it, and the share of the way down from the next one.

    Returns:
        Number of the level and share, 0 to 1; above the highest level `LEVELS` - 1, below the
        lowest -1, and packets/s below it in place of the share.
    """
    if rate >= levels.rate[LEVELS - 1]:
        return LEVELS - 1, 0.0
    if rate <= levels.rate[0]:
        return -1, float(levels.rate[0] - rate)
    start, end = levels.log_rate[0], levels.log_rate[LEVELS - 1]
    j = min(int((log(rate) - start) / (end - start) * (LEVELS - 1)), LEVELS - 2)
    width = levels.rate[j + 1] - levels.rate[j]
    return j, min(max((levels.rate[j + 1] - rate) / width, 0.0), 1.0)


def area_above(
    rate: float, i: int, exceedance: FloatArray, area: FloatArray, levels: Levels
) -> float:
    """Expected demand above a rate, packets/s, by the exceedances of horizon `i`."""
    return area_at(place_of(rate, levels), i, exceedance, area, levels)


def area_at(
    place: tuple[int, float], i: int, exceedance: FloatArray, area: FloatArray, levels: Levels
) -> float:
    """`area_above` of a rate that lies there, for several horizons at one place."""
    j, share = place
    if j == LEVELS - 1:
        return 0.0
    if j < 0:
        return float(area[0, i] + share)
    width = levels.rate[j + 1] - levels.rate[j]
    here = exceedance[j + 1, i] + share * (exceedance[j, i] - exceedance[j + 1, i])
    return float(area[j + 1, i] + 0.5 * share * width * (here + exceedance[j + 1, i]))


def needed(rate: float, t: int, types: Types) -> int:
    """Instances of a type that carry a rate at the entry, as few as it may have at least."""
    return int(max(ceil(rate / types.capacity[t] - EPSILON), types.fewest[t]))


def best_capacity(
    available: IntArray,
    exceedance: FloatArray,
    area: FloatArray,
    levels: Levels,
    types: Types,
    prices: Prices,
) -> float:
    """The capacity, packets/s at the entry, at which cores and expected loss cost least."""
    count = len(available)
    best, chosen = _NEVER, 0.0
    for t in range(count):
        for instances in range(types.fewest[t], available[t] + 1):
            rate = instances * types.capacity[t]
            lost = area_above(rate, 0, exceedance, area, levels)
            cost = prices.drop_cost * lost / prices.mean
            for other in range(count):
                wanted = needed(rate, other, types)
                if wanted > available[other]:
                    cost = _NEVER
                    break
                cost += (1.0 - prices.parked) * types.cores[other] * wanted
            if cost < best:
                best, chosen = cost, rate
    return chosen


def worth(
    t: int,
    instance: int,
    here: bool,
    exceedance: FloatArray,
    area: FloatArray,
    levels: Levels,
    types: Types,
    prices: Prices,
    full_use: float,
) -> float:
    """What having one more instance is worth beyond its cost, per core, in core intervals.

    Args:
        t, instance: the type, and how many of its instances stand before this one.
        here: whether it is there (running or parked) or would have to be launched.
        exceedance, area, levels, types, prices: see `provide`.
        full_use: cost of losing what a core carries.
    """
    capacity = types.capacity[t]
    low = place_of(instance * capacity, levels)
    high = place_of((instance + 1) * capacity, levels)
    missed = prices.first_use * min(prices.launch, 1.0) * max(0.5 * (prices.launch + 1.0), 1.0)
    gain, soon = -_NEVER, 0.0
    for i in range(len(HORIZONS)):
        use = (
            area_at(low, i + 1, exceedance, area, levels)
            - area_at(high, i + 1, exceedance, area, levels)
        ) / capacity
        value = use * missed * full_use
        if i == 0:
            soon = prices.stay * (full_use * use - 1.0)
        if here:
            value += use * prices.regret * min(prices.launch, 1.0)
        wait = HORIZONS[i] - (1.0 if here else 2.0)
        gain = max(gain, value - prices.parked * wait)
    next_use = (
        area_at(low, 0, exceedance, area, levels) - area_at(high, 0, exceedance, area, levels)
    ) / capacity
    if here:
        return float(gain + max(full_use * next_use - 1.0, -prices.parked))
    return float(max(gain, soon) + max(1.0 - prices.launch, 0.0) * full_use * next_use - 1.0)


def provide(
    running: IntArray,
    parked: IntArray,
    launching: IntArray,
    exceedance: FloatArray,
    area: FloatArray,
    levels: Levels,
    types: Types,
    prices: Prices,
    targets: IntArray,
    spares: IntArray,
) -> float:
    """Decide for one chain.

    Args:
        running, parked, launching: instances of each type now; draining ones count as parked, [T].
        exceedance, area: how likely the demand is to exceed each level in the next interval and
            within each horizon, and the areas under it, [LEVELS, 1 + H]; see `areas`.
        levels, types: of the chain.
        prices: what things cost.
        targets, spares: filled, [T].

    Returns:
        The capacity that will run, packets/s at the entry.
    """
    cores = 0.0
    for t in range(len(targets)):
        cores += types.cores[t] / types.capacity[t]
    full_use = prices.drop_cost / (prices.usual * cores)
    capacity = best_capacity(running + parked, exceedance, area, levels, types, prices)
    for t in range(len(targets)):
        here = running[t] + parked[t]
        run = min(needed(capacity, t, types), types.most[t])
        pool = run
        for instance in range(types.most[t] - 1, 0, -1):
            if instance < pool:
                break
            is_here = instance < here + launching[t]
            if worth(t, instance, is_here, exceedance, area, levels, types, prices, full_use) > 0.0:
                pool = instance + 1
                break
        if pool > here + launching[t]:
            # What is parked is rerun before anything is launched.
            targets[t], spares[t] = pool, 0
        else:
            targets[t] = min(run, here) + launching[t] if run <= here else run
            spares[t] = max(pool - launching[t] - max(run, running[t]), 0)
    return capacity


def imagine(
    demand: float,
    prices: Prices,
    types: Types,
    running: IntArray,
    parked: IntArray,
    launching: IntArray,
    left: IntArray,
) -> float:
    """Let an interval pass in a chain that is only imagined: a fluid without queues.

    Args:
        demand: of the interval, packets/s at the entry.
        prices, types: of the chain.
        running, parked, launching: instances during it; what has been launched runs after it, [T].
        left: intervals that the launches still take; updated, [T].

    Returns:
        What it cost, core intervals.
    """
    carried, cost = _NEVER, 0.0
    for t in range(len(running)):
        carried = min(carried, running[t] * types.capacity[t])
        cores = running[t] + launching[t] + prices.parked * parked[t]
        cost += types.cores[t] * cores
        if launching[t] > 0:
            left[t] -= 1
            if left[t] <= 0:
                running[t] += launching[t]
                launching[t] = 0
    return cost + prices.drop_cost * max(demand - carried, 0.0) / prices.mean


def follow(
    targets: IntArray,
    spares: IntArray,
    launch: float,
    running: IntArray,
    parked: IntArray,
    launching: IntArray,
    left: IntArray,
) -> None:
    """Carry out a decision in a chain that is only imagined; see `imagine`.

    Args:
        targets, spares: the decision, [T].
        launch: intervals that a launch takes.
        running, parked, launching, left: updated, [T].
    """
    for t in range(len(targets)):
        wanted = targets[t] - launching[t]
        if wanted >= running[t]:
            rerun = min(wanted - running[t], parked[t])
            parked[t] = min(parked[t] - rerun, spares[t])
            if wanted - running[t] - rerun > 0:
                launching[t] += wanted - running[t] - rerun
                left[t] = max(ceil(launch), 1)
            running[t] += rerun
        else:
            kept = min(parked[t], spares[t])
            parked[t] = kept + running[t] - wanted
            running[t] = wanted
