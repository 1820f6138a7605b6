"""A batch of episodes on the calibrated model: the engine under every batched view.

It steps all episodes at once, resets those that a view names, and sums up statistics in place. What
auto-reset means is the view's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.envs.engine import BackendEngine
from flexnfv.envs.task import Task
from flexnfv.model import BatchModel
from flexnfv.observation import ObservationEncoder
from flexnfv.reading import Reading
from flexnfv.reward import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Rollout:
    """Episodes of one task, stepped together.

    Args:
        task: the scaling task.
        batch: number of episodes, B.
        engine: a single backend to run on instead of the model; the batch is then 1.
        model_options: handed to `BatchModel`.
    """

    def __init__(
        self, task: Task, batch: int, engine: BackendEngine | None = None, **model_options: Any
    ) -> None:
        if engine is not None and batch != 1:
            raise ValueError(f"a single backend runs one episode at a time, not {batch}")
        self.task = task
        self.batch = batch
        self.engine = engine
        self.model = engine or BatchModel(task.chain, batch, **model_options)
        self.encoder = ObservationEncoder(task.chain, (batch,))
        self.drop_cost = np.full(batch, task.drop_cost[0])
        self.mean_pps = np.ones(batch)
        self.left = np.zeros(batch, dtype=np.int64)
        self.rng = np.random.default_rng(0)
        self.reading: Reading
        self.observation = np.zeros((batch, task.chain.types, task.features), dtype=np.float32)
        self.statistics = Statistics()

    def seed(self, seed: int | None) -> None:
        """Start the stream of traces and drop costs anew."""
        self.rng = np.random.default_rng(seed)

    def reset(self, which: BoolArray | None = None, *, stagger: bool = False) -> None:
        """Start new episodes: of all rows, or of those that `which` marks, [B].

        Args:
            which: rows to reset; None: all.
            stagger: give each row an episode of another length, so that they end apart.
        """
        rows = np.arange(self.batch) if which is None else np.flatnonzero(which)
        if rows.size == 0:
            return
        task = self.task
        rates = task.traces.sample_batch(self.rng, rows.size, task.episode)
        left = np.full(rows.size, task.episode - 1)
        if stagger:
            left = self.rng.integers(1, task.episode, rows.size)
        drop_cost = task.draw_drop_cost(self.rng, rows.size)
        seeds = self.rng.integers(1 << 63, size=rows.size, dtype=np.uint64)
        self.begin(rows, rates, drop_cost, seeds, left)

    def begin(
        self,
        rows: IntArray,
        rates: FloatArray,
        drop_cost: FloatArray,
        seeds: npt.NDArray[np.uint64],
        left: IntArray | None = None,
    ) -> None:
        """Start given episodes: what `reset` does with those that it draws.

        Args:
            rows: which chains, [n].
            rates: offered packets/s of every interval, [n, intervals].
            drop_cost: cost of losing one interval's mean traffic, in core intervals, [n].
            seeds: of the model's randomness, [n].
            left: steps until each episode ends, [n]; None: as many as `rates` allow.
        """
        self.left[rows] = rates.shape[1] - 1 if left is None else left
        self.mean_pps[rows] = np.maximum(rates.mean(axis=1), 1e-9)
        self.drop_cost[rows] = drop_cost
        self.reading = self.model.reset_envs(rows, rates, seeds)
        self.encoder.reset(rows)
        self.observation[rows] = self.encoder.encode(self.reading[rows], self.drop_cost[rows], rows)

    def step(
        self, action: IntArray, ended: BoolArray | None = None
    ) -> tuple[FloatArray, BoolArray]:
        """Apply actions [B, T] for one interval.

        Args:
            action: what each chain does, [B, T].
            ended: rows that are to be left alone because their episode is over, [B].

        Returns:
            Reward per NF type, [B, T] (of no meaning for rows left alone), and which episodes
            have no interval left, [B].
        """
        targets = self.task.decode(action, self.reading)
        if ended is not None and ended.any():
            rows = np.flatnonzero(~ended)
            self.reading = self.model.step(targets[rows], rows)
            self.left[rows] -= 1
        else:
            self.reading = self.model.step(targets)
            self.left -= 1
        self.observation = self.encoder.encode(self.reading, self.drop_cost)
        value, terms = self.task.reward(self.reading, self.mean_pps, self.drop_cost)
        self.statistics.add(self.reading, self.task, terms)
        if self.engine is not None and self.engine.over:
            self.left[:] = 0
        return value, self.left <= 0


class Statistics:
    """Sums over steps and episodes since the last `take`, for logging."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0

    def add(self, reading: Reading, task: Task, terms: dict[str, FloatArray]) -> None:
        """Count one step of every episode."""
        chain = task.chain
        figures = {
            "offered_pps": reading.offered_pps,
            "dropped_pps": reading.dropped_pps,
            "throughput_pps": reading.delivered_pps,
            "core_usage": reading.core_usage(chain),
            "parked_cores": reading.parked_cores(chain),
            "launches": reading.launches,
            "reruns": reading.reruns,
        }
        figures |= {f"reward/{name}": term for name, term in terms.items()}
        for name, values in figures.items():
            mean = float(values.sum()) / len(values)
            self._sums[name] = self._sums.get(name, 0.0) + mean
        self._steps += 1

    def take(self) -> dict[str, float]:
        """Means per interval since the last call, with the drop rate; empty if nothing ran."""
        steps, sums = max(self._steps, 1), self._sums
        means = {name: value / steps for name, value in sums.items()}
        if means:
            dropped, offered = means.pop("dropped_pps"), means.pop("offered_pps")
            means["drop_rate"] = dropped / max(offered, 1e-9)
        self._sums, self._steps = {}, 0
        return means
