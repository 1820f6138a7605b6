"""Observations: one row of features per NF type, over a window of past readings.

A row holds the type's own figures, those of its neighbours in the chain, and the drop cost (what a
lost packet costs), all as ratios, so that one policy serves types of any size in chains of any
length. Training and deployment encode with this very code. The features are those that a study of
many candidates found useful: a long window, log-ratios of the demand, the fraction that the need
leaves free, the last jump, and slow statistics of the jumps. `FEATURES` says what each is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import bound, writer
from flexnfv.interval import Between, FloatArray, IntArray, Measured, Types, look
from flexnfv.mapping import EVEN
from flexnfv.reading import Reading

WINDOW = 16
"""Readings that an observation looks back on."""
SLOW = 0.05
"""Step of the exponentially weighted slow statistics: about 20 intervals of memory."""
SLOWEST = 0.01
"""Step of the slowest average, that of the need: 100 intervals of memory once it is that old."""
DECAY = 0.98
"""Decay per interval of the largest jump seen: half gone after 34 intervals."""
JUMP = 0.1
"""Relative change of the demand that counts as a jump."""
FLOOR = 0.05
"""Demand in instances below which ratios are taken as if it were this much."""
CLIP = 3.0
"""Bound on every log-ratio: a factor of 20."""
BOUND = 4.0
"""Bound on every feature."""
BLOCK = 32
"""Chains that are observed together: what is known of them while that happens fits a cache."""
DROP_COST = -1
"""Column of the drop cost, the last."""


class Seen(NamedTuple):
    """What is seen of NF types after a reading, [rows] each, a row being a type of a chain.

    Attributes:
        need: instances that would carry the demand at 100 % utilisation.
        log_need: its natural logarithm, of `FLOOR` at least.
        ceiling, whole: the need as whole instances; the same, one at least.
        used: running instances, one at least.
        highest, lowest, spread: of earlier needs relative to this one, logarithmic.
        change: of the need's logarithm since the last reading.
        lost: share of the demand that was lost.
        dropped, utilisation, launching: what neighbours are shown: the square root of the share
            that was lost, the mean utilisation, and launching instances relative to `whole`.
        clipped: wanted instances that were refused.
        up_dropped .. down_launching: the same of the neighbours upstream and downstream, averaged.
        drop_cost: of the chain, logarithmic, 1 for 1,000.
        slowest: step of the slowest average.
        sum: of `ratios`.
        ratios: earlier needs relative to this one, logarithmic, newest first, [WINDOW - 1, rows].
    """

    need: FloatArray
    log_need: FloatArray
    ceiling: FloatArray
    whole: FloatArray
    used: FloatArray
    highest: FloatArray
    lowest: FloatArray
    spread: FloatArray
    change: FloatArray
    lost: FloatArray
    dropped: FloatArray
    utilisation: FloatArray
    launching: FloatArray
    clipped: FloatArray
    up_dropped: FloatArray
    up_utilisation: FloatArray
    up_launching: FloatArray
    down_dropped: FloatArray
    down_utilisation: FloatArray
    down_launching: FloatArray
    drop_cost: FloatArray
    slowest: FloatArray
    sum: FloatArray
    ratios: FloatArray

    @classmethod
    def of(cls, rows: int) -> Self:
        """Room for so many rows."""
        columns = [np.zeros(rows) for _ in cls._fields[:-1]]
        return cls(*columns, np.zeros((WINDOW - 1, rows)))  # type: ignore[call-arg]


class Known(NamedTuple):
    """What is known of NF types beforehand, [rows] each.

    Attributes:
        capacity_pps, ring, most: loss-free rate of an instance, size of its ring, most instances.
        near: averaging matrices of a chain's types to their neighbours upstream and downstream,
            [2, T, T].
        has_up, has_down: whether there are neighbours upstream and downstream, 1 or 0.
        launch, rerun: latencies in intervals, as log(1 + x).
        even: whether flows are spread evenly, 1 or 0.
    """

    capacity_pps: FloatArray
    ring: FloatArray
    most: FloatArray
    near: FloatArray
    has_up: FloatArray
    has_down: FloatArray
    launch: FloatArray
    rerun: FloatArray
    even: FloatArray

    @classmethod
    def of(cls, chain: ServiceChain) -> Self:
        """Of `BLOCK` chains of a kind."""
        near = np.array(_neighbours(chain))
        has_up, has_down = near.sum(axis=2) > 0
        latencies_s = np.array([chain.measured.launch_s, chain.measured.rerun_s])
        launch, rerun = np.log1p(latencies_s / chain.interval_s)

        def rows(values: npt.ArrayLike) -> FloatArray:
            of_types = np.broadcast_to(np.asarray(values, np.float64), chain.types)
            return np.tile(of_types, BLOCK)

        return cls(
            capacity_pps=rows(chain.capacity_pps),
            ring=rows(chain.ring_slots),
            most=rows(chain.max_instances),
            near=near,
            has_up=rows(has_up),
            has_down=rows(has_down),
            launch=rows(launch),
            rerun=rows(rerun),
            even=rows(chain.mapping_kinds == EVEN),
        )


class Memory(NamedTuple):
    """What is remembered of B chains.

    Attributes:
        history: logarithms of the last needs, newest first, [WINDOW, B * T].
        slow: mean change, rate of jumps, largest jump, mean loss and mean logarithm of the need
            over a longer time, [5, B * T].
        drops: shares lost in the last three intervals, newest first, [3, B * T].
        age: readings so far, [B].
    """

    history: FloatArray
    slow: FloatArray
    drops: FloatArray
    age: IntArray


class Past(NamedTuple):
    """What is remembered of the rows of a block, [rows] each; see `Memory`."""

    slow_change: FloatArray
    slow_jumps: FloatArray
    largest_jump: FloatArray
    slow_lost: FloatArray
    slow_need: FloatArray
    lost_0: FloatArray
    lost_1: FloatArray
    lost_2: FloatArray


class Look(NamedTuple):
    """All that features are made of: what an interval was like, is seen, known and remembered."""

    types: Types
    seen: Seen
    known: Known
    past: Past


class Feature(NamedTuple):
    """One feature of an NF type: its name, how it is made for row `r`, and within which bounds."""

    name: str
    of: Callable[[Look, int], float]
    low: float = -BOUND
    high: float = BOUND


def _past(age: int) -> Callable[[Look, int], float]:
    return lambda o, r: o.seen.ratios[age - 1, r]


FEATURES: tuple[Feature, ...] = (
    *(Feature(f"demand_log_ratio_{n}", _past(n), -CLIP, CLIP) for n in range(1, WINDOW)),
    Feature("need_log", lambda o, r: o.seen.log_need[r] / CLIP),
    Feature("need_slack", lambda o, r: o.seen.ceiling[r] - o.seen.need[r]),
    Feature("need_inverse", lambda o, r: 1.0 / o.seen.whole[r]),
    Feature("need_slow", lambda o, r: o.past.slow_need[r] / CLIP),
    Feature("window_max", lambda o, r: o.seen.highest[r]),
    Feature("window_min", lambda o, r: o.seen.lowest[r]),
    Feature("window_spread", lambda o, r: o.seen.spread[r]),
    Feature("jump", lambda o, r: o.seen.change[r], -CLIP, CLIP),
    Feature("slow_change", lambda o, r: o.past.slow_change[r]),
    Feature("slow_jump_rate", lambda o, r: o.past.slow_jumps[r]),
    Feature("slow_largest_jump", lambda o, r: o.past.largest_jump[r]),
    Feature("dropped_0", lambda o, r: o.seen.dropped[r]),
    Feature("dropped_1", lambda o, r: np.sqrt(o.past.lost_1[r])),
    Feature("dropped_2", lambda o, r: np.sqrt(o.past.lost_2[r])),
    Feature("dropped_slow", lambda o, r: np.sqrt(o.past.slow_lost[r])),
    Feature("queue_peak", lambda o, r: o.types.longest[r] / o.known.ring[r]),
    Feature("utilisation_mean", lambda o, r: o.seen.utilisation[r]),
    Feature(
        "utilisation_max", lambda o, r: o.types.busiest_pps[r] / o.known.capacity_pps[r], high=3.0
    ),
    Feature("running", lambda o, r: np.log(o.seen.used[r] / o.seen.whole[r]), -CLIP, CLIP),
    Feature("launching", lambda o, r: o.seen.launching[r]),
    Feature("parked", lambda o, r: o.types.parked[r] / o.seen.whole[r], high=CLIP),
    Feature("draining", lambda o, r: o.types.draining[r] / o.seen.whole[r], high=CLIP),
    Feature("headroom", lambda o, r: (o.known.most[r] - o.seen.need[r]) / o.known.most[r], -1.0),
    Feature("clipped", lambda o, r: o.seen.clipped[r] / o.seen.whole[r], high=CLIP),
    Feature("upstream_dropped", lambda o, r: o.seen.up_dropped[r]),
    Feature("upstream_utilisation", lambda o, r: o.seen.up_utilisation[r]),
    Feature("upstream_launching", lambda o, r: o.seen.up_launching[r]),
    Feature("downstream_dropped", lambda o, r: o.seen.down_dropped[r]),
    Feature("downstream_utilisation", lambda o, r: o.seen.down_utilisation[r]),
    Feature("downstream_launching", lambda o, r: o.seen.down_launching[r]),
    Feature("has_upstream", lambda o, r: o.known.has_up[r]),
    Feature("has_downstream", lambda o, r: o.known.has_down[r]),
    Feature("launch_latency", lambda o, r: o.known.launch[r]),
    Feature("rerun_latency", lambda o, r: o.known.rerun[r]),
    Feature("mapping_even", lambda o, r: o.known.even[r]),
    # The drop cost, by the name that bundles know it by.
    Feature("preference", lambda o, r: o.seen.drop_cost[r]),
)
"""Every feature, in the order of the rows. Bundles were trained with these names in this order."""

write_features = writer(__name__, FEATURES)


def _neighbours(chain: ServiceChain) -> tuple[FloatArray, FloatArray]:
    """Averaging matrices [T, T] from each type to its upstream and downstream neighbours."""
    up = np.zeros((chain.types, chain.types))
    down = np.zeros((chain.types, chain.types))
    for path, share in zip(chain.paths, chain.path_shares, strict=True):
        for before, after in pairwise(path):
            up[after, before] += share
            down[before, after] += share
    for matrix in (up, down):
        total = matrix.sum(axis=1, keepdims=True)
        np.divide(matrix, total, out=matrix, where=total > 0)
    return up, down


def observe_all(
    between: Between,
    known: Known,
    memory: Memory,
    types: Types,
    seen: Seen,
    measured: Measured,
    drop_cost: FloatArray,
    chains: IntArray,
    demand_pps: FloatArray,
    rows: npt.NDArray[np.float32],
) -> None:
    """Observe N chains, in blocks of those that lie side by side in the memory.

    Args:
        between, known: of the chain.
        memory: updated.
        types, seen: room for a block.
        measured: the chains' readings, [N].
        drop_cost: of each, [N].
        chains: which chains of the memory they are, [N].
        demand_pps: filled, [N * T].
        rows: filled, [N * T, features].
    """
    per_chain = measured.state.shape[1]
    first = 0
    while first < len(chains):
        count = side_by_side(chains, first)
        look(first, count, measured, between, types)
        for r in range(count * per_chain):
            demand_pps[first * per_chain + r] = types.demand_pps[r]
        observe(first, count, chains[first], measured, drop_cost, known, memory, types, seen, rows)
        first += count


def side_by_side(chains: IntArray, first: int) -> int:
    """How many chains from that one on lie side by side in the memory, `BLOCK` at most."""
    count = 1
    while (
        count < BLOCK
        and first + count < len(chains)
        and chains[first + count] == chains[first] + count
    ):
        count += 1
    return count


def observe(
    first: int,
    count: int,
    chain: int,
    measured: Measured,
    drop_cost: FloatArray,
    known: Known,
    memory: Memory,
    types: Types,
    seen: Seen,
    rows: npt.NDArray[np.float32],
) -> None:
    """Observe chains of a block that `look` has looked at, and remember it.

    Args:
        first, count: the first of their readings, and how many they are.
        chain: the first of them in the memory.
        measured, drop_cost, known, memory, types, seen, rows: see `observe_all`.
    """
    per_chain = measured.state.shape[1]
    size, place = count * per_chain, chain * per_chain
    past = recall(memory, place, place + size)
    see(size, types, known, seen)
    for each in range(count):
        logarithmic = np.log10(drop_cost[first + each]) / 3.0
        slowest = max(SLOWEST, 1.0 / (memory.age[chain + each] + 1.0))
        for t in range(per_chain):
            seen.drop_cost[each * per_chain + t] = logarithmic
            seen.slowest[each * per_chain + t] = slowest
            seen.clipped[each * per_chain + t] = measured.clipped[first + each, t]
        see_neighbours(each * per_chain, known.near, seen)
        if memory.age[chain + each] == 0:
            forget(memory, place, each * per_chain, per_chain, seen.log_need)
        memory.age[chain + each] += 1
    move_on(size, memory.history, place, seen.log_need)
    look_back(size, memory.history, place, seen)
    remember(size, seen, past)
    start = first * per_chain
    write_features(rows[start : start + size], Look(types, seen, known, past), size)


def recall(memory: Memory, start: int, end: int) -> Past:
    """What is remembered of some rows, as views."""
    slow, drops = memory.slow, memory.drops
    return Past(
        slow[0][start:end],
        slow[1][start:end],
        slow[2][start:end],
        slow[3][start:end],
        slow[4][start:end],
        drops[0][start:end],
        drops[1][start:end],
        drops[2][start:end],
    )


def forget(memory: Memory, place: int, start: int, count: int, log_need: FloatArray) -> None:
    """Begin anew with some rows: as if their need had always been this, and nothing been lost."""
    for r in range(start, start + count):
        for age in range(WINDOW):
            memory.history[age, place + r] = log_need[r]
        for row in range(memory.slow.shape[0]):
            memory.slow[row, place + r] = 0.0
        for row in range(memory.drops.shape[0]):
            memory.drops[row, place + r] = 0.0


def move_on(size: int, history: FloatArray, place: int, log_need: FloatArray) -> None:
    """Add the newest needs to the history, which forgets the oldest."""
    for age in range(WINDOW - 1, 0, -1):
        older, newer = history[age], history[age - 1]
        for r in range(place, place + size):
            older[r] = newer[r]
    for r in range(size):
        history[0, place + r] = log_need[r]


def see(size: int, types: Types, known: Known, seen: Seen) -> None:
    """Fill in what is seen of this interval alone."""
    for r in range(size):
        demand, capacity = types.demand_pps[r], known.capacity_pps[r]
        need = demand / capacity
        seen.need[r] = need
        seen.ceiling[r] = np.ceil(need)
        seen.whole[r] = max(np.ceil(need), 1.0)
        seen.used[r] = max(types.running[r], 1.0)
        seen.lost[r] = min(types.dropped_pps[r] / max(demand, capacity * FLOOR), 1.0)
        seen.dropped[r] = np.sqrt(seen.lost[r])
        seen.utilisation[r] = min(need / seen.used[r], 3.0)
        seen.launching[r] = min(types.launching[r] / seen.whole[r], CLIP)
    for r in range(size):
        seen.log_need[r] = np.log(max(seen.need[r], FLOOR))


def see_neighbours(start: int, near: FloatArray, seen: Seen) -> None:
    """Fill in what the neighbours of a chain's NF types show, from row `start` on."""
    per_chain = near.shape[1]
    for t in range(per_chain):
        r = start + t
        seen.up_dropped[r] = average(near[0, t], seen.dropped, start)
        seen.up_utilisation[r] = average(near[0, t], seen.utilisation, start)
        seen.up_launching[r] = average(near[0, t], seen.launching, start)
        seen.down_dropped[r] = average(near[1, t], seen.dropped, start)
        seen.down_utilisation[r] = average(near[1, t], seen.utilisation, start)
        seen.down_launching[r] = average(near[1, t], seen.launching, start)


def average(weights: FloatArray, shown: FloatArray, start: int) -> float:
    """Weighted sum of what a chain's NF types show, from row `start` on."""
    total = 0.0
    for t in range(len(weights)):
        total += weights[t] * shown[start + t]
    return total


def look_back(size: int, history: FloatArray, place: int, seen: Seen) -> None:
    """Fill in earlier needs relative to the newest, and how they vary.

    Maximum and minimum include the newest, 0.
    """
    newest = history[0][place : place + size]
    for r in range(size):
        seen.sum[r] = seen.highest[r] = seen.lowest[r] = seen.spread[r] = 0.0
        seen.change[r] = newest[r] - history[1, place + r]
    for age in range(1, WINDOW):
        older = history[age][place : place + size]
        for r in range(size):
            ratio = min(max(older[r] - newest[r], -CLIP), CLIP)
            seen.ratios[age - 1, r] = ratio
            seen.sum[r] += ratio
            seen.highest[r] = max(seen.highest[r], ratio)
            seen.lowest[r] = min(seen.lowest[r], ratio)
    for age in range(WINDOW - 1):
        for r in range(size):
            off = seen.ratios[age, r] - seen.sum[r] / (WINDOW - 1)
            seen.spread[r] += off * off
    for r in range(size):
        seen.spread[r] = np.sqrt(seen.spread[r] / (WINDOW - 1))


def remember(size: int, seen: Seen, past: Past) -> None:
    """Add the newest changes and losses to what is remembered of them."""
    for r in range(size):
        change = min(max(seen.change[r], -CLIP), CLIP)
        past.slow_change[r] += SLOW * (abs(change) - past.slow_change[r])
        past.slow_jumps[r] += SLOW * ((1.0 if abs(change) > JUMP else 0.0) - past.slow_jumps[r])
        past.largest_jump[r] = max(past.largest_jump[r] * DECAY, change)
        past.slow_lost[r] += SLOW * (seen.lost[r] - past.slow_lost[r])
        past.slow_need[r] += seen.slowest[r] * (seen.log_need[r] - past.slow_need[r])
        past.lost_2[r], past.lost_1[r] = past.lost_1[r], past.lost_0[r]
        past.lost_0[r] = seen.lost[r]


@cache
def prepare() -> None:
    """Have `observe_all` compiled, or read from numba's cache: that may take several intervals."""
    ObservationEncoder(load_chain("single")).encode(Reading.zeros(1, 8))


class ObservationEncoder:
    """Turns the readings of one chain, or of a batch of chains, into observations.

    Args:
        chain: the chain that the readings are of.
        batch: batch dimensions of the readings, () for single ones.

    Attributes:
        demand_pps: `Reading.demand_pps` of the reading that was encoded last.
    """

    names: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
    """Names of the features, in order; all lie within about -3 .. 3."""

    state_names = Memory._fields

    def __init__(self, chain: ServiceChain, batch: tuple[int, ...] = ()) -> None:
        self.chain = chain
        self.batch = batch
        types, count = chain.types, int(np.prod(batch, dtype=np.int64))
        self.memory = Memory(
            np.zeros((WINDOW, count * types)),
            np.zeros((5, count * types)),
            np.zeros((3, count * types)),
            np.zeros(count, np.int64),
        )
        self.demand_pps = np.zeros((*batch, types))
        self.between, self.known = Between.of(chain), Known.of(chain)
        self._all = np.arange(count)
        self._bind()

    def _bind(self) -> None:
        """Let compiled code know the encoder's arrays."""
        rows = BLOCK * self.chain.types
        tables = self.between, self.known, self.memory, Types.of(rows), Seen.of(rows)
        self._observe = bound(observe_all, *tables, inline=True)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_observe"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    @property
    def age(self) -> IntArray:
        """Readings so far, [...]."""
        return self.memory.age.reshape(self.batch)

    def reset(self, which: npt.NDArray[np.bool_ | np.int64] | None = None) -> None:
        """Forget the past, of all chains or of those that `which` marks or lists."""
        self.age[... if which is None else which] = 0

    def encode(
        self,
        reading: Reading,
        drop_cost: float | FloatArray = 1000.0,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The observation after `reading`, and remember it.

        Args:
            reading: the newest reading, of this encoder's batch dimensions (or of `rows`).
            drop_cost: cost of losing one interval's mean traffic, in core intervals, [...].
            rows: which chains of a one-dimensional batch the reading is of; None: all.

        Returns:
            Features per NF type, [..., T, len(names)].
        """
        batch, types = self.batch if rows is None else rows.shape, self.chain.types
        which = self._all if rows is None else rows
        found = np.empty((len(which) * types, len(FEATURES)), np.float32)
        demand = np.empty(len(which) * types)
        costs = np.full(batch, drop_cost, np.float64).reshape(-1)
        self._observe(Measured.of(reading), costs, which, demand, found)
        self.demand_pps = demand.reshape(*batch, types)
        return found.reshape(*batch, types, len(FEATURES))

    def export_state(self) -> dict[str, npt.NDArray[Any]]:
        """What `encode` remembers, as arrays: [..., T] behind a dimension of its own, age [...]."""
        return {
            name: array.reshape(self._shape(array)).copy()
            for name, array in self.memory._asdict().items()
        }

    def restore_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: arrays of another shape.
        """
        for name, mine in self.memory._asdict().items():
            shape = self._shape(mine)
            if state[name].shape != shape:
                raise ValueError(f"{name} has shape {state[name].shape}, expected {shape}")
            mine[...] = state[name].reshape(mine.shape)

    def _shape(self, array: npt.NDArray[Any]) -> tuple[int, ...]:
        batch = self.batch
        return batch if array.ndim == 1 else (len(array), *batch, self.chain.types)
