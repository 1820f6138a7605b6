"""Observations: one row of features per NF type, over a window of past readings.

A row holds the type's own figures, those of its neighbours in the chain, and the drop cost (what a
lost packet costs), all as ratios, so that one policy serves types of any size in chains of any
length. Training and deployment encode with this very code. The features are those that a study of
many candidates found useful: a long window, log-ratios of the demand, the fraction that the need
leaves free, the last jump, and slow statistics of the jumps.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.mapping import EVEN
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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
DROP_COST = -1
"""Column of the drop cost, the last."""


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


def add_losses(
    arrived: FloatArray,
    ring_dropped: FloatArray,
    unmapped: FloatArray,
    shed: float,
    through: FloatArray,
    upstream: FloatArray,
    demand: FloatArray,
    dropped: FloatArray,
) -> None:
    """Fill demand and losses of one chain's NF types, [T], as a reading derives them.

    Args:
        arrived, ring_dropped: as in a reading, [T, I].
        unmapped, shed: as in a reading, [T] and one.
        through, upstream: of the chain, [T] and [T, T].
        demand, dropped: filled.
    """
    types, slots = arrived.shape
    for t in range(types):
        demand[t] = unmapped[t] + shed * through[t]
        dropped[t] = unmapped[t]
        for i in range(slots):
            demand[t] += arrived[t, i]
            dropped[t] += ring_dropped[t, i]
    for t in range(types):
        for after in range(types):
            demand[after] += dropped[t] * upstream[t, after]


def observe(
    state: npt.NDArray[np.int8],
    arrived: FloatArray,
    ring_dropped: FloatArray,
    queue_peak: FloatArray,
    unmapped: FloatArray,
    clipped: IntArray,
    shed: FloatArray,
    drop_cost: FloatArray,
    which: IntArray,
    fixed: FloatArray,
    near: FloatArray,
    upstream: FloatArray,
    history: FloatArray,
    slow: FloatArray,
    drops: FloatArray,
    age: IntArray,
    demand: FloatArray,
    rows: npt.NDArray[np.float32],
) -> None:
    """Observe some chains, and remember it.

    A loop over plain arrays, to be compiled: a deployment's decision waits for it.

    Args:
        state, arrived, ring_dropped, queue_peak: as in a reading, [N, T, I].
        unmapped, clipped: as in a reading, [N, T].
        shed: as in a reading, [N].
        drop_cost: of every chain, [N].
        which: the chains of the memory that these are, [N].
        fixed: of every NF type, `ObservationEncoder._fixed`, [9, T].
        near: averaging matrices to the neighbours upstream and downstream, [2, T, T].
        upstream: of the chain, [T, T].
        history, slow, drops, age: the memory, [..., B, T] and [B]; updated.
        demand: of every NF type, packets/s, [N, T]; filled.
        rows: filled, [N, T, features].
    """
    types, slots = arrived.shape[1], arrived.shape[2]
    dropped = np.empty(types)
    shown = np.empty((types, 3))
    counts = np.empty(5)
    for n in range(demand.shape[0]):
        b = which[n]
        slowest = max(SLOWEST, 1.0 / (age[b] + 1.0))
        add_losses(
            arrived[n],
            ring_dropped[n],
            unmapped[n],
            shed[n],
            fixed[8],
            upstream,
            demand[n],
            dropped,
        )
        for t in range(types):
            row = rows[n, t]
            capacity, ring, most = fixed[0, t], fixed[1, t], fixed[2, t]
            need = demand[n, t] / capacity
            log_need = np.log(max(need, FLOOR))
            lost = min(dropped[t] / max(demand[n, t], capacity * FLOOR), 1.0)
            if age[b] == 0:
                history[:, b, t] = log_need
                slow[:, b, t] = 0.0
                drops[:, b, t] = 0.0

            for past in range(WINDOW - 1, 0, -1):
                history[past, b, t] = history[past - 1, b, t]
            history[0, b, t] = log_need
            change = min(max(log_need - history[1, b, t], -CLIP), CLIP)
            size = abs(change)
            slow[0, b, t] += SLOW * (size - slow[0, b, t])
            slow[1, b, t] += SLOW * ((1.0 if size > JUMP else 0.0) - slow[1, b, t])
            slow[2, b, t] = max(slow[2, b, t] * DECAY, change)
            slow[3, b, t] += SLOW * (lost - slow[3, b, t])
            slow[4, b, t] += slowest * (log_need - slow[4, b, t])
            drops[2, b, t], drops[1, b, t], drops[0, b, t] = drops[1, b, t], drops[0, b, t], lost

            total, highest, lowest = 0.0, 0.0, 0.0
            for past in range(1, WINDOW):
                ratio = min(max(history[past, b, t] - log_need, -CLIP), CLIP)
                row[past - 1] = ratio
                total += ratio
                highest, lowest = max(highest, ratio), min(lowest, ratio)
            mean, squares = total / (WINDOW - 1), 0.0
            for past in range(1, WINDOW):
                ratio = min(max(history[past, b, t] - log_need, -CLIP), CLIP)
                squares += (ratio - mean) * (ratio - mean)

            counts[:] = 0.0
            longest, busiest = 0.0, 0.0
            for i in range(slots):
                counts[state[n, t, i]] += 1.0
                longest = max(longest, queue_peak[n, t, i])
                busiest = max(busiest, arrived[n, t, i])
            ceiling = np.ceil(need)
            whole = max(ceiling, 1.0)
            used = max(counts[RUNNING], 1.0)
            utilisation = min(need / used, 3.0)
            launching = min(counts[LAUNCHING] / whole, CLIP)
            dropped_now = np.sqrt(drops[0, b, t])
            shown[t, 0], shown[t, 1], shown[t, 2] = dropped_now, utilisation, launching

            row[15] = log_need / CLIP
            row[16] = ceiling - need
            row[17] = 1.0 / whole
            row[18] = slow[4, b, t] / CLIP
            row[19] = highest
            row[20] = lowest
            row[21] = np.sqrt(squares / (WINDOW - 1))
            row[22] = change
            row[23] = slow[0, b, t]
            row[24] = slow[1, b, t]
            row[25] = slow[2, b, t]
            row[26] = dropped_now
            row[27] = np.sqrt(drops[1, b, t])
            row[28] = np.sqrt(drops[2, b, t])
            row[29] = np.sqrt(slow[3, b, t])
            row[30] = longest / ring
            row[31] = utilisation
            row[32] = min(busiest / capacity, 3.0)
            row[33] = min(max(np.log(used / whole), -CLIP), CLIP)
            row[34] = launching
            row[35] = min(counts[BLOCKED] / whole, CLIP)
            row[36] = min(counts[DRAINING] / whole, CLIP)
            row[37] = max((most - need) / most, -1.0)
            row[38] = min(clipped[n, t] / whole, CLIP)
            row[45:50] = fixed[3:8, t]
            row[50] = np.log10(drop_cost[n]) / 3.0
        for t in range(types):
            for k in range(3):
                up, down = 0.0, 0.0
                for other in range(types):
                    up += near[0, t, other] * shown[other, k]
                    down += near[1, t, other] * shown[other, k]
                rows[n, t, 39 + k] = up
                rows[n, t, 42 + k] = down
            for k in range(rows.shape[2]):
                rows[n, t, k] = min(max(rows[n, t, k], -BOUND), BOUND)
        age[b] += 1


@cache
def prepare() -> None:
    """Have `observe` compiled, or read from numba's cache: that may take several intervals."""
    one, slot, single = np.zeros(1), np.zeros((1, 1, 1)), np.zeros((1, 1))
    compiled(observe)(
        np.zeros((1, 1, 1), np.int8),
        slot,
        slot,
        slot,
        single,
        np.zeros((1, 1), np.int64),
        one,
        one + 1.0,
        np.zeros(1, np.int64),
        np.ones((9, 1)),
        np.zeros((2, 1, 1)),
        single,
        np.zeros((WINDOW, 1, 1)),
        np.zeros((5, 1, 1)),
        np.zeros((3, 1, 1)),
        np.zeros(1, np.int64),
        np.zeros((1, 1)),
        np.zeros((1, 1, len(ObservationEncoder.names)), np.float32),
    )


class ObservationEncoder:
    """Turns the readings of one chain, or of a batch of chains, into observations.

    Args:
        chain: the chain that the readings are of.
        batch: batch dimensions of the readings, () for single ones.

    Attributes:
        demand_pps: `Reading.demand_pps` of the reading that was encoded last.
    """

    names: tuple[str, ...] = (
        *(f"demand_log_ratio_{age}" for age in range(1, WINDOW)),
        "need_log",
        "need_slack",
        "need_inverse",
        "need_slow",
        "window_max",
        "window_min",
        "window_spread",
        "jump",
        "slow_change",
        "slow_jump_rate",
        "slow_largest_jump",
        "dropped_0",
        "dropped_1",
        "dropped_2",
        "dropped_slow",
        "queue_peak",
        "utilisation_mean",
        "utilisation_max",
        "running",
        "launching",
        "parked",
        "draining",
        "headroom",
        "clipped",
        "upstream_dropped",
        "upstream_utilisation",
        "upstream_launching",
        "downstream_dropped",
        "downstream_utilisation",
        "downstream_launching",
        "has_upstream",
        "has_downstream",
        "launch_latency",
        "rerun_latency",
        "mapping_even",
        "preference",  # the drop cost, by the name that bundles know it by
    )
    """Names of the features, in order; all lie within about -3 .. 3."""

    state_names = ("history", "slow", "drops", "age")

    def __init__(self, chain: ServiceChain, batch: tuple[int, ...] = ()) -> None:
        self.chain = chain
        self.batch = batch
        self.history = np.zeros((WINDOW, *batch, chain.types))
        self.slow = np.zeros((5, *batch, chain.types))
        self.drops = np.zeros((3, *batch, chain.types))
        self.age = np.zeros(batch, dtype=np.int64)
        self.demand_pps = np.zeros((*batch, chain.types))
        self._all = np.arange(self.age.size)
        self._near = np.array(_neighbours(chain))
        latencies = np.array([chain.measured.launch_s, chain.measured.rerun_s])
        self._upstream = np.array(chain.upstream)
        self._fixed = np.zeros((9, chain.types))
        self._fixed[0] = chain.capacity_pps
        self._fixed[1] = chain.ring_slots
        self._fixed[2] = chain.max_instances
        self._fixed[3:5] = self._near.sum(axis=2) > 0
        self._fixed[5:7] = np.log1p(latencies / chain.interval_s)[:, None]
        self._fixed[7] = chain.mapping_kinds == EVEN
        self._fixed[8] = chain.through

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
        count = len(which)
        found = np.empty((count, types, len(self.names)), dtype=np.float32)
        demand = np.empty((count, types))
        of_types, of_slots, memory = (count, types), (count, types, -1), (-1, self.age.size, types)
        compiled(observe)(
            reading.state.reshape(of_slots),
            reading.arrived_pps.reshape(of_slots),
            reading.ring_dropped_pps.reshape(of_slots),
            reading.queue_peak.reshape(of_slots),
            reading.unmapped_pps.reshape(of_types),
            reading.clipped.reshape(of_types),
            reading.shed_pps.reshape(count),
            np.full(batch, drop_cost, dtype=np.float64).reshape(count),
            which,
            self._fixed,
            self._near,
            self._upstream,
            self.history.reshape(memory),
            self.slow.reshape(memory),
            self.drops.reshape(memory),
            self.age.reshape(-1),
            demand,
            found,
        )
        self.demand_pps = demand.reshape(*batch, types)
        return found.reshape(*batch, types, len(self.names))

    def export_state(self) -> dict[str, npt.NDArray[Any]]:
        """What `encode` remembers, as arrays."""
        return {name: getattr(self, name).copy() for name in self.state_names}

    def restore_state(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: arrays of another shape.
        """
        for name in self.state_names:
            mine = getattr(self, name)
            if state[name].shape != mine.shape:
                raise ValueError(f"{name} has shape {state[name].shape}, expected {mine.shape}")
            mine[...] = state[name]
