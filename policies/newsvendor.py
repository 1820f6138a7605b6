"""The empirical newsvendor: as many instances as the losses that they are expected to save pay for.

A newsvendor stocks up to the quantity at which one more no longer pays for itself (Arrow, Harris
and Marschak, "Optimal Inventory Policy", Econometrica 19(3), 1951). With the distribution of demand
taken from what was observed (Levi, Perakis and Uichanco, "The Data-Driven Newsvendor Problem",
Operations Research 63(6), 2015) nothing is assumed of its shape, and nothing is trained. Here an
interval is a day, an instance a newspaper, and the demand of the next interval is that of this one
times a change that the link has shown before. Changes that began at a like demand count more (Ban
and Rudin, "The Big Data Newsvendor", Operations Research 67(1), 2019, Sec. 2.3: kernel weights):
what follows on a peak is seldom what follows on a trough.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.decision import Decision
from flexnfv.parameters import check, whole_from_one
from flexnfv.policies.parking import check_park_timeout, decision
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading
from flexnfv.space import Choice, Real, Space, Times
from flexnfv.states import STOPPED

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PSEUDO_CHANGES: Final = (1.0, 0.9, 1.1, 0.8, 1.2, 0.7, 1.3, 1.7, 1.0)
"""Changes, as ratios, that every link counts as having shown when an episode starts."""
SILENCE: Final = 0.03
"""Instances: a lower need counts as this one, since a change from nothing has no ratio."""


class Limits(NamedTuple):
    """What the chain allows and charges, [T] each: fewest and most instances, cores of each."""

    least: IntArray
    most: IntArray
    cores: IntArray


class Preferences(NamedTuple):
    """What each row goes by, [B] each; see `Newsvendor`.

    Attributes:
        drop_cost: core intervals.
        kept_price: what running an instance that exists costs more than parking it, cores.
        memory: changes that are remembered.
        locality: see `Newsvendor`.
    """

    drop_cost: FloatArray
    kept_price: FloatArray
    memory: IntArray
    locality: FloatArray


class Walk(NamedTuple):
    """The steps from the fewest instances to the most, each at the tightest NF type, [L] each.

    Attributes:
        level: demand that the chain carries before the step, in instances of its tightest type.
        price: cores beyond those of the fewest instances, before the step.
        where: NF type that the step adds an instance to.
        mass, amount: weight, and weight x demand, of expected demands whose highest exceeded level
            is that of the step before; the first of one entry more are those that exceed none.
    """

    level: FloatArray
    price: FloatArray
    where: IntArray
    mass: FloatArray
    amount: FloatArray

    @classmethod
    def blank(cls, steps: int) -> Walk:
        """Room for that many steps."""
        levels = np.zeros(steps), np.zeros(steps), np.zeros(steps, np.int64)
        return cls(*levels, np.zeros(steps + 1), np.zeros(steps + 1))


def paid_for(
    limits: Limits,
    preferences: Preferences,
    walk: Walk,
    need: FloatArray,
    present: IntArray,
    changes: FloatArray,
    starts: FloatArray,
    mean: FloatArray,
    known: int,
    newest: int,
    counts: IntArray,
) -> None:
    """The instances that cost least with the losses that they are expected to leave, of each row.

    Types of a chain see the same packets, so that it carries what its tightest type carries, and
    its expected loss at a level q is the weighted mean of max(0, demand x change - q) over the
    remembered changes. Of all levels the one is taken with the least
    price + drop_cost x expected loss / mean demand.

    Args:
        limits, preferences: see there.
        walk: scratch.
        need: of every type in the last interval, instances, [B, T].
        present: instances that are not stopped, [B, T].
        changes: of the demand from one interval to the next, ratios, as a ring, [B, M].
        starts: demand before each of them, 0 for the pseudo-changes, [B, M].
        mean: demand so far, [B].
        known: changes that the ring holds.
        newest: place of the newest.
        counts: filled, [B, T].
    """
    for row in range(need.shape[0]):
        demand = need[row].max()
        steps = climb(
            limits, preferences.kept_price[row], need[row], present[row], demand, walk, counts[row]
        )
        remembered = min(preferences.memory[row], known)
        expect(
            changes[row],
            starts[row],
            newest,
            remembered,
            preferences.locality[row],
            demand,
            steps,
            walk,
        )
        best = cheapest(steps, preferences.drop_cost[row] / mean[row], walk)
        counts[row] = limits.least
        for step in range(best):
            counts[row, walk.where[step]] += 1


def climb(
    limits: Limits,
    kept_price: float,
    need: FloatArray,
    present: IntArray,
    demand: float,
    walk: Walk,
    counts: IntArray,
) -> int:
    """Write down the levels of one chain; how many there are. `counts` is scratch, [T]."""
    counts[:] = limits.least
    price = 0.0
    steps = 0
    while True:
        tightest = -1
        level = np.inf
        for t in range(need.shape[0]):
            carried = counts[t] * demand / need[t]
            if limits.most[t] > 0 and carried < level:
                tightest = t
                level = carried
        walk.level[steps] = level
        walk.price[steps] = price
        walk.where[steps] = tightest
        steps += 1
        if counts[tightest] >= limits.most[tightest]:
            return steps
        of_next = kept_price if counts[tightest] < present[tightest] else 1.0
        price += of_next * limits.cores[tightest]
        counts[tightest] += 1


def expect(
    changes: FloatArray,
    starts: FloatArray,
    newest: int,
    remembered: int,
    locality: float,
    demand: float,
    steps: int,
    walk: Walk,
) -> None:
    """Sort the demands that the remembered changes lead to by the levels that they exceed."""
    walk.mass[: steps + 1] = 0.0
    walk.amount[: steps + 1] = 0.0
    place = newest
    for _ in range(remembered):
        weight = 1.0
        if locality > 0.0 and starts[place] > 0.0:
            weight = min(starts[place] / demand, demand / starts[place]) ** locality
        expected = demand * changes[place]
        low, high = 0, steps
        while low < high:
            middle = (low + high) // 2
            if walk.level[middle] < expected:
                low = middle + 1
            else:
                high = middle
        walk.mass[low] += weight
        walk.amount[low] += weight * expected
        place = place - 1 if place > 0 else changes.shape[0] - 1


def cheapest(steps: int, worth: float, walk: Walk) -> int:
    """The step before which price and expected loss together are least, ties the fewest instances.

    Args:
        steps: of the walk.
        worth: cores that losing a demand of 1 costs.
        walk: see there.
    """
    total = walk.mass[: steps + 1].sum()
    mass = 0.0
    amount = 0.0
    best = steps - 1
    least = np.inf
    for step in range(steps - 1, -1, -1):
        mass += walk.mass[step + 1]
        amount += walk.amount[step + 1]
        lost = (amount - walk.level[step] * mass) / total
        cost = walk.price[step] + worth * lost
        if cost <= least:
            least = cost
            best = step
    return best


class Newsvendor(BasePolicy):
    """Runs as many instances as the losses that they are expected to save are worth.

    What the next interval brings is this one's demand times each of the link's last changes, the
    like ones weighted more. A core costs 1; running an instance that exists already costs
    1 - parked_weight more than leaving it parked. All numbers may be arrays with one for each row
    of a batch.

    Args:
        drop_cost: what losing one interval's mean traffic costs, in core intervals.
        memory: changes of demand that are remembered; an episode starts with nine of up to 70 %.
        locality: how much more those changes count that began at a like demand: their weight is
            the ratio of the smaller to the larger demand, to this power; 0: all count alike.
        parked_weight: what a parked core costs, relative to a running one; the chain's own if none.
        park_timeout: intervals that a parked instance is kept; for ever if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = (
        "drop_cost",
        "memory",
        "locality",
        "parked_weight",
        "park_timeout",
    )
    state_names: ClassVar[tuple[str, ...]] = ("changes", "starts", "before", "total", "seen")
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("drop_cost", (10, 20, 30, 60, 100, 200, 300, 600, 1000, 2000, 3000, 10000)),
        ("locality", (0.0, 2.0, 4.0)),
    )
    space: ClassVar[Space] = {
        "drop_cost": Times(0.2, 5.0, otherwise=Real(10.0, 30_000.0, log=True)),
        "memory": Choice((64, 128, 256, 512, 1024)),
        "locality": Real(0.0, 6.0),
        "park_timeout": Real(2.0, 1000.0, log=True),
    }

    changes: FloatArray | None
    starts: FloatArray | None
    before: FloatArray | None
    total: FloatArray | None
    seen: IntArray | None

    def __init__(
        self,
        drop_cost: float = 300.0,
        memory: int = 1024,
        locality: float = 2.0,
        parked_weight: float | None = None,
        park_timeout: float | None = None,
    ) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be a number above 0")
        check("memory", memory, whole_from_one, "be a whole number from 1")
        check("locality", locality, lambda v: (v >= 0) & (v <= 100), "lie in [0, 100]")
        if parked_weight is not None:
            check("parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        check_park_timeout(park_timeout)
        self.drop_cost = drop_cost
        self.memory = memory
        self.locality = locality
        self.parked_weight = parked_weight
        self.park_timeout = park_timeout

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the link, and compile now: that takes longer than an interval may."""
        super().reset(chain, seed)
        parked = chain.parked_weight if self.parked_weight is None else self.parked_weight
        settings = self.drop_cost, 1.0 - np.asarray(parked), self.memory, self.locality
        self._settings = [np.atleast_1d(setting) for setting in settings]
        self._limits = Limits(
            chain.min_instances.copy(), chain.max_instances.copy(), chain.cores_per_instance.copy()
        )
        self._walk = Walk.blank(int(chain.max_instances.sum()) + 1)
        rows = np.broadcast_shapes(*(setting.shape for setting in self._settings))
        self.decide(Reading.zeros(chain.types, chain.slots, rows))
        super().reset(chain, seed)

    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets that cost least, [..., T], and the spares if there is a park timeout."""
        chain = self.chain
        need = np.maximum(reading.demand_pps(chain) / chain.capacity_pps, SILENCE)
        need = plain(need).reshape(-1, chain.types)
        self._remember(need.max(axis=-1))
        present = (reading.state != STOPPED).sum(axis=-1)
        targets = self._targets(need, present.reshape(need.shape)).reshape(present.shape)
        return decision(targets, reading, chain, self.park_timeout)

    def _remember(self, demand: FloatArray) -> None:
        """Add this demand, [B], and the change that led to it."""
        first = len(PSEUDO_CHANGES)
        if (
            self.changes is None
            or self.starts is None
            or self.before is None
            or self.total is None
            or self.seen is None
        ):
            length = max(int(np.max(self.memory)), first)
            self.changes = np.zeros((len(demand), length))
            self.changes[:, :first] = PSEUDO_CHANGES
            self.starts = np.zeros_like(self.changes)
            self.total = demand.copy()
            self.seen = np.ones((), np.int64)
        else:
            place = (first + int(self.seen) - 1) % self.changes.shape[1]
            self.changes[:, place] = demand / self.before
            self.starts[:, place] = self.before
            self.total += demand
            self.seen = self.seen + 1
        self.before = demand

    def _targets(self, need: FloatArray, present: IntArray) -> IntArray:
        """The instances that cost least, [B, T]."""
        assert self.changes is not None
        assert self.starts is not None
        assert self.total is not None
        assert self.seen is not None
        known = len(PSEUDO_CHANGES) + int(self.seen) - 1
        length = self.changes.shape[1]
        drop_cost, kept_price, memory, locality = (
            np.broadcast_to(setting, len(need)) for setting in self._settings
        )
        counts = np.empty(need.shape, np.int64)
        compiled(paid_for)(
            self._limits,
            Preferences(
                drop_cost.astype(np.float64),
                kept_price.astype(np.float64),
                memory.astype(np.int64),
                locality.astype(np.float64),
            ),
            self._walk,
            need,
            present,
            self.changes,
            self.starts,
            self.total / int(self.seen),
            min(known, length),
            (known - 1) % length,
            counts,
        )
        return counts
