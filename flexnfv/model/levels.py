"""An NF type as a stack of levels: what each loses where it does not run, and its cheapest life.

Level j of a type (from 0) stands for its instance number j + 1, whichever that is: it is held in an
interval if more than j instances are not stopped at the interval's end, and it runs if more than j
of them run. A level has a short life of its own: off, launching, running or parked, off. Its
cheapest life on known traffic is a dynamic programme over what it did before; what the sum of these
says of the model is proven in `flexnfv.model.bound`.

Plain functions, compiled by `flexnfv.compiled`: + - * /, comparisons and whole numbers only, so
that every machine finds the same bits. T NF types, J levels, N intervals.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.flows import splitmix64
from flexnfv.model.arrays import Constants, State, new_state
from flexnfv.model.chance import wobble
from flexnfv.model.constants import constants_of
from flexnfv.model.service import LEAVES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Choices = npt.NDArray[np.int8]

SLACK = 1e-9
"""Relative slack for rounding, always to the bound's disadvantage."""

OFF, PARKED, RUNS, FRESH = range(4)
"""What a level does in an interval. It is parked before it is off, and launched before it runs."""


class Launch(NamedTuple):
    """How a level that is off comes to be held.

    Attributes:
        intervals: intervals in which it costs a core for being launched.
        partly: whether it already serves in the last of them, as far as `Levels.fresh` says.
        late: when a launch completes within that interval, as a share of it.
    """

    intervals: int
    partly: bool
    late: float


class Levels(NamedTuple):
    """What the levels of every NF type lose, packets.

    Attributes:
        idle: what a level loses in an interval in which it does not run, [T, J, N].
        fresh: what it loses in the last interval of its launch, [T, J, N].
        beyond: what a type loses although all its levels run, [T, N].
        size: levels of each type, [T].
        least: levels that always run, [T].
        initial: levels that run in the first interval, [T].
        cost: cores of one instance, [T].
    """

    idle: FloatArray
    fresh: FloatArray
    beyond: FloatArray
    size: IntArray
    least: IntArray
    initial: IntArray
    cost: FloatArray


class Lives(NamedTuple):
    """The lives of all types' levels, [T, N] each.

    Attributes:
        lost: packets that are lost at a type or before it.
        running: levels that run or are launched.
        held: levels that are not off.
    """

    lost: FloatArray
    running: IntArray
    held: IntArray


class Scratch(NamedTuple):
    """Scratch space of `cheapest`.

    Attributes:
        off, parked, ran: what a level still has to pay from an interval on that it was off, was
            parked or ran before, [N + 1].
        choices: what it does then, by what it did before, [3, N].
    """

    off: FloatArray
    parked: FloatArray
    ran: FloatArray
    choices: Choices


def new_lives(types: int, intervals: int) -> Lives:
    """Room for lives."""
    shape = types, intervals
    return Lives(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def new_scratch(intervals: int) -> Scratch:
    """Scratch space for that many intervals."""
    off, parked, ran = np.zeros((3, intervals + 1))
    return Scratch(off, parked, ran, np.zeros((3, intervals), np.int8))


def launch_of(chain: ServiceChain) -> Launch:
    """A launch at its quickest, in whole intervals.

    Where launches and reruns complete within the interval in which they are commanded, what a
    launched instance serves in it counts. Otherwise the latency is rounded down.
    """
    measured = chain.measured
    quickest = measured.launch_s * (1.0 - measured.launch_spread) / chain.interval_s
    rerun = measured.rerun_s * (1.0 + measured.rerun_spread) / chain.interval_s
    whole = math.floor(quickest * (1.0 + SLACK))
    if whole == 0 and rerun < 1.0 - SLACK:
        return Launch(1, True, quickest * (1.0 - SLACK))
    return Launch(whole, False, 0.0)


def levels_of(
    chain: ServiceChain, offered: FloatArray, seed: int | None, substeps: int = 10
) -> Levels:
    """The levels of a chain under known traffic.

    Args:
        chain: T NF types.
        offered: offered packets/s, [N, R]: R rates per interval, a divisor of `substeps`.
        seed: of the episode, which tells its jitter; None: whatever the jitter.
        substeps: of the model.
    """
    constants = constants_of(chain, substeps=substeps, count_flows=False, death_rate_per_s=0.0)
    state = new_state(chain, 1)
    if seed is not None:
        state.stream[0] = splitmix64(seed % (1 << 64), 1)[0]
    count = chain.own_slots
    most = int(count.max())
    shape = chain.types, most, len(offered)
    levels = Levels(
        idle=np.zeros(shape),
        fresh=np.zeros(shape),
        beyond=np.zeros((chain.types, len(offered))),
        size=np.array(count, np.int64),
        least=np.array(chain.min_instances, np.int64),
        initial=np.array(chain.initial_instances, np.int64),
        cost=np.array(chain.cores_per_instance, np.float64),
    )
    compiled(fill)(
        np.ascontiguousarray(offered),
        np.array(chain.through),
        _upstream(constants),
        launch_of(chain).late,
        seed is not None,
        constants,
        state,
        np.empty((most + 1, 2)),
        np.empty((2, 2, most)),
        levels,
    )
    return levels


def _upstream(c: Constants) -> FloatArray:
    """Packets that wait upstream of each NF type at most, in rings or on their way back, [T]."""
    found = np.zeros(c.order.size)
    for t in range(c.order.size):
        rings: set[int] = set()
        for p, first in enumerate(c.entry):
            passed, at = [], int(first)
            while at != LEAVES and at != t:
                passed.append(at)
                at = int(c.following[p, at])
            if at == t:
                rings |= set(passed)
                found[t] += sum(
                    c.max_instances[u] * c.capacity_pps[u] * (1.0 + c.jitter[u]) * c.substep_s
                    for u in passed
                    if c.back[p, u]
                )
        found[t] += sum(c.max_instances[u] * c.ring_packets[u] for u in rings)
    return found


def fill(
    offered: FloatArray,
    through: FloatArray,
    upstream: FloatArray,
    late: float,
    seeded: bool,
    c: Constants,
    s: State,
    sums: FloatArray,
    found: FloatArray,
    levels: Levels,
) -> None:
    """Fill in what levels lose.

    An interval with several rates is looked at as a whole and sub-step by sub-step, since what
    rings hold counts once or every time, and rates differ or not: what says more counts.

    Args:
        offered: packets/s, [N, R].
        through: share of the packets that pass each type, [T].
        upstream: packets that wait upstream of each type at most, [T].
        late: see `Launch`.
        seeded: whether the jitter is known.
        c, s: the kernel's constants; a state whose stream and interval tell the jitter.
        sums, found: scratch space, [J + 1, 2] and [2, 2, J].
        levels: filled.
    """
    intervals, rates = offered.shape
    for n in range(intervals):
        s.interval[0] = n
        for t in range(levels.size.shape[0]):
            count = levels.size[t]
            if through[t] <= 0.0 or count == 0:
                continue
            best = -1.0
            for parts in (1, c.substeps):
                if parts > 1 and rates == 1:
                    continue
                found[:] = 0.0
                beyond = 0.0
                for part in range(parts):
                    packets = 0.0
                    if parts == 1:
                        for rate in range(rates):
                            packets += offered[n, rate] * (c.interval_s / rates)
                    else:
                        packets = offered[n, part // (c.substeps // rates)] * c.substep_s
                    abilities(t, part, parts, late, seeded, c, s, sums, count)
                    demand = packets * through[t] * (1.0 - SLACK) - upstream[t]
                    beyond += split(demand, count, count - levels.least[t], sums, found[0])
                total = beyond
                for j in range(count):
                    total += (j + 1) * found[0, 0, j]
                if total > best:
                    best = total
                    levels.beyond[t, n] = beyond
                    for j in range(count):
                        levels.idle[t, j, n] = found[0, 0, j]
                        levels.fresh[t, j, n] = found[0, 1, j]


def abilities(
    t: int,
    part: int,
    parts: int,
    late: float,
    seeded: bool,
    c: Constants,
    s: State,
    sums: FloatArray,
    count: int,
) -> None:
    """What the ablest of a type's instances serve and keep in their rings in a part of an interval.

    Args:
        t: the type.
        part, parts: number of the part, and how many the interval has: 1 or its sub-steps.
        late, seeded, c, s: see `fill`.
        sums: filled, [J + 1, 2]: of the j ablest instances together; of one that has been launched,
            in the first row.
        count: instances.
    """
    span_s = c.interval_s / parts
    able = c.capacity_pps[t] * span_s
    for i in range(count):
        factor = 1.0 + c.jitter[t]
        if seeded and c.jitter[t] > 0.0:
            total = 0.0
            for k in range(c.substeps // parts):
                total += wobble(0, t, i, part + k, c, s)
            factor = 1.0 + c.jitter[t] * total / (c.substeps // parts)
        place = i + 1
        while place > 1 and sums[place - 1, 0] < factor:
            sums[place, 0] = sums[place - 1, 0]
            place -= 1
        sums[place, 0] = factor
    awake = min(1.0, max(0.0, (part + 1) - late * parts))
    sums[0, 1] = 0.0
    if awake > 0.0:
        sums[0, 1] = (awake * able * (1.0 + c.jitter[t]) + c.ring_packets[t]) * (1.0 + SLACK)
    sums[0, 0] = 0.0
    for j in range(1, count + 1):
        own = (sums[j, 0] * able + c.ring_packets[t]) * (1.0 + SLACK)
        sums[j, 0] = sums[j - 1, 0] + own


def split(demand: float, count: int, launches: int, sums: FloatArray, found: FloatArray) -> float:
    """Split what a type loses in a part of an interval over its levels.

    Args:
        demand: packets that the type's own instances must take.
        count: levels.
        launches: instances that one decision launches at most.
        sums: see `abilities`.
        found: what an idle and what a fresh level loses, added to, [2, J].

    Returns:
        What is lost if all levels run.
    """
    launched = sums[0, 1]
    for j in range(count):
        own = sums[j + 1, 0] - sums[j, 0]
        found[0, j] += min(max(demand - sums[j, 0], 0.0), own)
        helped = min(max(demand - launched * launches - sums[j, 0], 0.0), own)
        found[1, j] += min(helped, max(0.0, own - launched))
    return float(max(0.0, demand - sums[count, 0]))


def cheapest(
    t: int,
    levels: Levels,
    price: FloatArray,
    parked: float,
    launch: Launch,
    x: Scratch,
    lives: Lives,
) -> float:
    """The cheapest lives of a type's levels, each by itself.

    Args:
        t: the type.
        levels: see `Levels`.
        price: of a packet that is lost in each interval, in core intervals, [N].
        parked: weight of a parked core.
        launch: see `Launch`.
        x: scratch space.
        lives: the type's row is filled.

    Returns:
        What they cost, in core intervals.
    """
    least = levels.least[t]
    total = 0.0
    for n in range(price.shape[0]):
        lives.lost[t, n] = levels.beyond[t, n]
        lives.running[t, n] = least
        lives.held[t, n] = least
        total += price[n] * levels.beyond[t, n] + levels.cost[t] * least
    for j in range(least, levels.size[t]):
        starts = j < levels.initial[t]
        total += cheapest_of_level(t, j, starts, levels, price, parked, launch, x)
        follow(t, j, starts, levels, launch, x.choices, lives)
    return total


def cheapest_of_level(
    t: int,
    j: int,
    starts: bool,
    levels: Levels,
    price: FloatArray,
    parked: float,
    launch: Launch,
    x: Scratch,
) -> float:
    """What the cheapest life of a level costs; see `cheapest`.

    Args:
        starts: whether it runs in the first interval, which nothing can change.
        x: filled with what is still to be paid from each interval on, after it did what in the one
            before, and with what it does then; FRESH: it begins to be launched.
    """
    intervals = price.shape[0]
    idle = levels.idle[t, j]
    runs = levels.cost[t]
    kept = parked * runs
    after_launch = x.ran if launch.partly else x.parked
    x.off[intervals] = 0.0
    x.parked[intervals] = 0.0
    x.ran[intervals] = 0.0
    launching = 0.0
    for n in range(intervals - 1, 0, -1):
        loss = price[n] * idle[n]
        x.ran[n] = runs + x.ran[n + 1]
        x.choices[RUNS, n] = RUNS
        if kept + loss + x.parked[n + 1] < x.ran[n]:
            x.ran[n] = kept + loss + x.parked[n + 1]
            x.choices[RUNS, n] = PARKED
        x.off[n] = loss + x.off[n + 1]
        x.choices[OFF, n] = OFF
        x.parked[n] = x.off[n]
        x.choices[PARKED, n] = OFF
        if x.ran[n] < x.parked[n]:
            x.parked[n] = x.ran[n]
            x.choices[PARKED, n] = x.choices[RUNS, n]
        # While it is launched it loses all of its part, except in the launch's last interval.
        launching += loss
        if n + launch.intervals < intervals:
            launching -= price[n + launch.intervals] * idle[n + launch.intervals]
        last = n + launch.intervals - 1
        if launch.intervals == 0:
            if x.ran[n] < x.off[n]:
                x.off[n] = x.ran[n]
                x.choices[OFF, n] = x.choices[RUNS, n]
        elif last < intervals:
            cost = launch.intervals * runs + launching + after_launch[last + 1]
            if launch.partly:
                cost += price[last] * (levels.fresh[t, j, last] - idle[last])
            if cost < x.off[n]:
                x.off[n] = cost
                x.choices[OFF, n] = FRESH
    total = runs + x.ran[1]
    if not starts:
        total = price[0] * idle[0] + x.off[1]
    return float(total)


def follow(
    t: int,
    j: int,
    starts: bool,
    levels: Levels,
    launch: Launch,
    choices: Choices,
    lives: Lives,
) -> None:
    """Follow a level's cheapest life: add what it loses and where it runs; see `cheapest`."""
    idle = levels.idle[t, j]
    intervals = idle.shape[0]
    lost, running, held = lives.lost[t], lives.running[t], lives.held[t]
    before = OFF
    if starts:
        before = RUNS
        running[0] += 1
        held[0] += 1
    else:
        lost[0] += idle[0]
    n = 1
    while n < intervals:
        choice = choices[before, n]
        if choice == FRESH:
            for k in range(n, n + launch.intervals):
                running[k] += 1
                held[k] += 1
                is_last = launch.partly and k == n + launch.intervals - 1
                lost[k] += levels.fresh[t, j, k] if is_last else idle[k]
            n += launch.intervals
            before = RUNS if launch.partly else PARKED
            continue
        if choice == RUNS:
            running[n] += 1
        else:
            lost[n] += idle[n]
        if choice != OFF:
            held[n] += 1
        before = choice
        n += 1
