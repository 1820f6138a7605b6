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
        rows = (*batch, chain.types)
        self.history = np.zeros((*rows, WINDOW))
        self.slow = np.zeros((*rows, 5))
        self.drops = np.zeros((*rows, 3))
        self.age = np.zeros(batch, dtype=np.int64)
        self._up, self._down = _neighbours(chain)
        measured = chain.measured
        self._constants = (
            (self._up.sum(axis=1) > 0) * 1.0,
            (self._down.sum(axis=1) > 0) * 1.0,
            np.log1p(measured.launch_s / chain.interval_s),
            np.log1p(measured.rerun_s / chain.interval_s),
            (chain.mapping_kinds == EVEN) * 1.0,
        )

    def reset(self, which: npt.NDArray[np.bool_] | None = None) -> None:
        """Forget the past, of all chains or of those that `which` marks."""
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

        running = reading.running
        whole = np.maximum(np.ceil(need), 1.0)
        used = np.where(running > 0, running, 1)
        utilisation = np.minimum(need / used, 3.0)
        highest = np.minimum(reading.utilisation(chain).max(axis=-1), 3.0)
        launching = np.minimum(reading.launching / whole, CLIP)
        ratios = np.clip(history[..., 1:] - history[..., :1], -CLIP, CLIP)

        out = np.empty((*need.shape, len(self.names)), dtype=np.float32)
        out[..., : WINDOW - 1] = ratios
        out[..., PREFERENCE] = (np.log10(np.asarray(preference, dtype=np.float64)) / 3.0)[..., None]
        column = iter(range(WINDOW - 1, len(self.names) + PREFERENCE))
        spread = ratios - ratios.mean(axis=-1, keepdims=True)
        dropped = np.sqrt(drops)
        for value in (
            log_need / CLIP,
            np.ceil(need) - need,
            1.0 / whole,
            slow[..., 4] / CLIP,
            np.maximum(ratios.max(axis=-1), 0.0),
            np.minimum(ratios.min(axis=-1), 0.0),
            np.sqrt((spread * spread).mean(axis=-1)),
            -ratios[..., 0],
            slow[..., 0],
            slow[..., 1],
            slow[..., 2],
            dropped[..., 0],
            dropped[..., 1],
            dropped[..., 2],
            np.sqrt(slow[..., 3]),
            (reading.queue_peak / chain.ring_slots[:, None]).max(axis=-1),
            utilisation,
            highest,
            np.clip(np.log(used / whole), -CLIP, CLIP),
            launching,
            np.minimum(reading.blocked / whole, CLIP),
            np.minimum(reading.draining / whole, CLIP),
            np.maximum((chain.max_instances - need) / chain.max_instances, -1.0),
            np.minimum(reading.clipped / whole, CLIP),
            dropped[..., 0] @ self._up.T,
            utilisation @ self._up.T,
            launching @ self._up.T,
            dropped[..., 0] @ self._down.T,
            utilisation @ self._down.T,
            launching @ self._down.T,
            *self._constants,
        ):
            out[..., next(column)] = value
        return np.clip(out, -BOUND, BOUND, out=out)

    def _remember(
        self, log_need: FloatArray, lost: FloatArray, rows: Any
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        history, slow, drops, age = (getattr(self, name)[rows] for name in self.state_names)
        fresh = age == 0
        if fresh.any():
            history[fresh] = log_need[fresh][..., None]
            slow[fresh] = 0.0
            drops[fresh] = 0.0
        history[..., 1:] = history[..., :-1]
        history[..., 0] = log_need
        change = np.clip(history[..., 0] - history[..., 1], -CLIP, CLIP)
        size = np.abs(change)
        slow[..., 0] += SLOW * (size - slow[..., 0])
        slow[..., 1] += SLOW * ((size > JUMP) - slow[..., 1])
        slow[..., 2] = np.maximum(slow[..., 2] * DECAY, change)
        slow[..., 3] += SLOW * (np.minimum(lost, 1.0) - slow[..., 3])
        step = np.maximum(SLOWEST, 1.0 / (age + 1.0))[..., None]
        slow[..., 4] += step * (log_need - slow[..., 4])
        drops[..., 1:] = drops[..., :-1]
        drops[..., 0] = np.minimum(lost, 1.0)
        if rows is not ...:
            self.history[rows], self.slow[rows], self.drops[rows] = history, slow, drops
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
