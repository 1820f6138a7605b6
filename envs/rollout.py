"""A batch of episodes on a backend: what every view of the environment is a view of.

It steps all episodes at once, resets those that a view names, and sums up statistics in place. What
auto-reset means is the view's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.backend import ENDLESS, Backend
from flexnfv.decision import Decision
from flexnfv.envs.task import Task
from flexnfv.errors import BackendError
from flexnfv.interval import FloatArray
from flexnfv.model import ModelBackend
from flexnfv.observation import ObservationEncoder
from flexnfv.reading import Reading
from flexnfv.traces import Trace

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Rollout:
    """Episodes of one task, stepped together.

    An episode ends with its traffic, or before its time: where the backend dies, all do; on a
    backend with a clock one also ends where an instance of its chain dies, since what follows a
    fault of the machine is not the chain's dynamics. (The model's deaths are: they come by a rate
    that somebody asked for.)

    Args:
        task: the scaling task.
        batch: number of episodes, B.
        backend: what they run on; None: the model, which does not count moved flows then.
        model_options: of the model.

    Attributes:
        reading: the last reading, [B].
        observation: after it, [B, T, F].
        drop_cost, mean_pps: of each episode, [B].
        left: steps until each episode ends at the latest, [B].
        decision: what was last decided, [B, T].
        terms: of the last step's reward, [B, T] each.
        why: why episodes ended before their time in the last step, by their row.
        broken: whether the backend died in the last step: there is no reading of it.
    """

    reading: Reading
    decision: Decision

    def __init__(
        self, task: Task, batch: int, backend: Backend | None = None, **model_options: Any
    ) -> None:
        self.task = task
        self.batch = batch
        self.backend: Backend = backend or ModelBackend(
            task.chain, **{"count_flows": False, **model_options}
        )
        self.encoder = ObservationEncoder(task.chain, (batch,))
        self.drop_cost = np.full(batch, task.drop_cost[0])
        self.mean_pps = np.ones(batch)
        self.left = np.zeros(batch, dtype=np.int64)
        self.rng = np.random.default_rng(0)
        self.observation = np.zeros((batch, task.chain.types, task.features), dtype=np.float32)
        self.terms: dict[str, FloatArray] = {}
        self.why: dict[int, str] = {}
        self.broken = False
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
        step_s = task.traces.step_s
        traces = [Trace("episode", each, step_s, source="a training episode") for each in rates]
        self.begin(rows, traces, drop_cost, seeds.tolist(), left)

    def begin(
        self,
        rows: IntArray,
        traces: Sequence[Trace],
        drop_cost: FloatArray,
        seeds: Sequence[int],
        left: IntArray | None = None,
    ) -> None:
        """Start given episodes: what `reset` does with those that it draws.

        Args:
            rows: which chains, [n].
            traces: the traffic of each, [n].
            drop_cost: cost of losing one interval's mean traffic, in core intervals, [n].
            seeds: of each chain's randomness, [n].
            left: steps until each episode ends, [n]; None: with its traffic.
        """
        self.left[rows] = ENDLESS if left is None else left
        self.mean_pps[rows] = [max(trace.mean_pps, 1e-9) for trace in traces]
        self.drop_cost[rows] = drop_cost
        every = len(rows) == self.batch and bool((rows[1:] > rows[:-1]).all())
        self.reading = self.backend.reset(traces, seeds, None if every else rows)
        self.broken = False
        self.encoder.reset(rows)
        self.observation[rows] = self.encoder.encode(self.reading[rows], self.drop_cost[rows], rows)

    def step(
        self, action: IntArray, ended: BoolArray | None = None
    ) -> tuple[FloatArray, BoolArray]:
        """Apply actions for one interval.

        Args:
            action: what each chain does, [B, T], or with levers [B, (1 + levers) * T].
            ended: rows that are to be left alone because their episode is over, [B].

        Returns:
            Reward per NF type, [B, T] (of no meaning for rows left alone, 0 where the backend
            died), and which episodes have no interval left, [B].
        """
        self.decision = self.task.decode(action, self.reading)
        rows = np.flatnonzero(~ended) if ended is not None and ended.any() else None
        self.left[... if rows is None else rows] -= 1
        try:
            self.reading = self._advance(rows)
        except BackendError as error:
            self.why = dict.fromkeys(range(self.batch), str(error))
            self.broken = True
            self.terms = {}
            return np.zeros((self.batch, self.task.chain.types)), np.ones(
                self.batch, dtype=np.bool_
            )
        self.why = self._deaths(rows)
        self.observation = self.encoder.encode(self.reading, self.drop_cost)
        value, self.terms = self.task.reward(self.reading, self.mean_pps, self.drop_cost)
        self.statistics.add(self.reading, self.task, self.terms)
        ended = (self.left <= 0) | (self.backend.remaining <= 0)
        ended[list(self.why)] = True
        return value, ended

    def _advance(self, rows: IntArray | None) -> Reading:
        if rows is None:
            return self.backend.step(self.decision)
        return self.backend.step(self.decision[rows], rows) if rows.size else self.reading

    def _deaths(self, rows: IntArray | None) -> dict[int, str]:
        """In which chains on a clock an instance died, and of what type."""
        deaths = self.reading.deaths
        if not self.backend.description.clocked or not deaths.any():
            return {}
        names = self.task.chain.nf_names
        return {
            row: f"an instance of {', '.join(names[t] for t in np.flatnonzero(deaths[row]))} died"
            for row in (range(self.batch) if rows is None else rows.tolist())
            if deaths[row].any()
        }


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
