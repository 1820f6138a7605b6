"""Observations: one row of features per NF type, over a window of past readings.

A row holds the type's own figures, those of its neighbours in the chain, and the preference (what a
lost packet costs), all as ratios, so that one policy serves types of any size in chains of any
length. Training and deployment encode with this very code. The features are those that a study of
many candidates found useful: a long window, log-ratios of the demand, the fraction that the need
leaves free, the last jump, and slow statistics of the jumps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.mapping import EVEN
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]

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
PREFERENCE = -1
"""Column of the preference, the last."""


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


def _highest(values: FloatArray) -> FloatArray:
    """Maximum over the instances, [..., T, I] -> [..., T]."""
    if values.ndim == 2:
        return np.asarray(np.maximum.reduce(values, axis=-1))
    # A batch: numpy takes a quarter of the time along a leading axis, the copy included.
    return np.asarray(np.maximum.reduce(np.moveaxis(values, -1, 0).copy()))


class ObservationEncoder:
    """Turns the readings of one chain, or of a batch of chains, into observations.

    Args:
        chain: the chain that the readings are of.
        batch: batch dimensions of the readings, () for single ones.
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
        "preference",
    )
    """Names of the features, in order; all lie within about -3 .. 3."""

    state_names = ("history", "slow", "drops", "age")

    def __init__(self, chain: ServiceChain, batch: tuple[int, ...] = ()) -> None:
        self.chain = chain
        self.batch = batch
        # Features lead: numpy works through long rows much faster than through short columns.
        self.history = np.zeros((WINDOW, *batch, chain.types))
        self.slow = np.zeros((5, *batch, chain.types))
        self.drops = np.zeros((3, *batch, chain.types))
        self.age = np.zeros(batch, dtype=np.int64)
        self._features_last = (*range(1, len(batch) + 2), 0)
        up, down = _neighbours(chain)
        self._from_up, self._from_down = up.T.copy(), down.T.copy()
        latencies = np.array([chain.measured.launch_s, chain.measured.rerun_s])
        constants = np.zeros((5, chain.types))
        constants[0] = up.sum(axis=1) > 0
        constants[1] = down.sum(axis=1) > 0
        constants[2:4] = np.log1p(latencies / chain.interval_s)[:, None]
        constants[4] = chain.mapping_kinds == EVEN
        self._constants = constants.reshape(5, *(1 for _ in batch), chain.types)

    def reset(self, which: npt.NDArray[np.bool_ | np.int64] | None = None) -> None:
        """Forget the past, of all chains or of those that `which` marks or lists."""
        self.age[... if which is None else which] = 0

    def encode(
        self,
        reading: Reading,
        preference: float | FloatArray = 1000.0,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The observation after `reading`, and remember it.

        Args:
            reading: the newest reading, of this encoder's batch dimensions (or of `rows`).
            preference: cost of losing one interval's mean traffic, in core intervals, [...].
            rows: which chains of a one-dimensional batch the reading is of; None: all.

        Returns:
            Features per NF type, [..., T, len(names)].
        """
        chain = self.chain
        demand = reading.demand_pps(chain)
        need = demand / chain.capacity_pps
        log_need = np.log(np.maximum(need, FLOOR))
        lost = reading.type_dropped_pps / np.maximum(demand, chain.capacity_pps * FLOOR)
        history, slow, drops = self._remember(log_need, lost, ... if rows is None else rows)

        ceiling = np.ceil(need)
        whole = np.maximum(ceiling, 1.0)
        used = np.maximum(reading.running, 1)
        dropped = np.sqrt(drops)
        counts = np.array([reading.launching, reading.blocked, reading.draining, reading.clipped])
        launching, parked, draining, clipped = np.minimum(counts / whole, CLIP)
        utilisation = np.minimum(need / used, 3.0)
        ratios = np.clip(history[1:] - history[0], -CLIP, CLIP)
        spread = ratios - np.add.reduce(ratios) / len(ratios)
        near = np.array([dropped[0], utilisation, launching])

        columns = np.empty((len(self.names), *need.shape), dtype=np.float32)
        columns[:15] = ratios
        columns[15] = log_need / CLIP
        columns[16] = ceiling - need
        columns[17] = 1.0 / whole
        columns[18] = slow[4] / CLIP
        columns[19] = np.maximum(np.maximum.reduce(ratios), 0.0)
        columns[20] = np.minimum(np.minimum.reduce(ratios), 0.0)
        columns[21] = np.sqrt(np.add.reduce(spread * spread) / len(spread))
        columns[22] = -ratios[0]
        columns[23:26] = slow[:3]
        columns[26:29] = dropped
        columns[29] = np.sqrt(slow[3])
        columns[30] = _highest(reading.queue_peak) / chain.ring_slots
        columns[31] = utilisation
        columns[32] = np.minimum(_highest(reading.arrived_pps) / chain.capacity_pps, 3.0)
        columns[33] = np.clip(np.log(used / whole), -CLIP, CLIP)
        columns[34] = launching
        columns[35] = parked
        columns[36] = draining
        columns[37] = np.maximum((chain.max_instances - need) / chain.max_instances, -1.0)
        columns[38] = clipped
        columns[39:42] = near @ self._from_up
        columns[42:45] = near @ self._from_down
        columns[45:50] = self._constants
        columns[PREFERENCE] = (np.log10(np.asarray(preference, dtype=np.float64)) / 3.0)[..., None]
        np.maximum(columns, -BOUND, out=columns)
        np.minimum(columns, BOUND, out=columns)
        return np.ascontiguousarray(columns.transpose(self._features_last))

    def _remember(
        self, log_need: FloatArray, lost: FloatArray, rows: Any
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        history, slow, drops = self.history[:, rows], self.slow[:, rows], self.drops[:, rows]
        age = self.age[rows]
        fresh = age == 0
        if fresh.any():
            history[:, fresh] = log_need[fresh]
            slow[:, fresh] = 0.0
            drops[:, fresh] = 0.0
        lost = np.minimum(lost, 1.0)
        history[1:] = history[:-1]
        history[0] = log_need
        change = np.clip(log_need - history[1], -CLIP, CLIP)
        size = np.abs(change)
        slow[0] += SLOW * (size - slow[0])
        slow[1] += SLOW * ((size > JUMP) - slow[1])
        slow[2] = np.maximum(slow[2] * DECAY, change)
        slow[3] += SLOW * (lost - slow[3])
        step = np.maximum(SLOWEST, 1.0 / (age + 1.0))[..., None]
        slow[4] += step * (log_need - slow[4])
        drops[1:] = drops[:-1]
        drops[0] = lost
        if rows is not ...:
            self.history[:, rows], self.slow[:, rows], self.drops[:, rows] = history, slow, drops
            self.age[rows] = age + 1
        else:
            self.age += 1
        return history, slow, drops

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
