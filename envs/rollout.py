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
from flexnfv.envs.outcome import SUMS, Found, Outcomes
from flexnfv.envs.task import Task
from flexnfv.errors import BackendError
from flexnfv.interval import FloatArray, IntArray
from flexnfv.model import ModelBackend
from flexnfv.reading import Reading
from flexnfv.reward import TERMS
from flexnfv.traces import Trace

BoolArray = npt.NDArray[np.bool_]


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
        observation: after it, [B, T, F]; every step and every reset of all makes a new array.
        left: steps until each episode ends at the latest, [B].
        decision: what was last decided, [B, T].
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
        self._all = np.arange(batch)
        self.backend: Backend = backend or ModelBackend(
            task.chain, **{"count_flows": False, **model_options}
        )
        self.outcomes = Outcomes(task, batch)
        self.left = np.zeros(batch, dtype=np.int64)
        self.rng = np.random.default_rng(0)
        self.observation = np.zeros((batch, task.chain.types, task.features), dtype=np.float32)
        self.why: dict[int, str] = {}
        self.broken = False
        self.statistics = Statistics(self)

    @property
    def drop_cost(self) -> FloatArray:
        """Cost of losing one interval's mean traffic, in core intervals, of each episode, [B]."""
        return self.outcomes.episodes.drop_cost

    @property
    def mean_pps(self) -> FloatArray:
        """Mean offered rate of each episode, packets/s, [B]."""
        return self.outcomes.episodes.mean_pps

    @property
    def found(self) -> Found:
        """What the last step brought."""
        return self.outcomes.found

    @property
    def need(self) -> IntArray:
        """Instances that would carry the last interval's demand, [B, T]."""
        return self.outcomes.found.need

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
        every = len(rows) == self.batch
        self.reading = self.backend.reset(traces, seeds, None if every else rows)
        self.broken = False
        self.outcomes.encoder.reset(rows)
        if every:
            self.observation = np.empty_like(self.observation)  # that of a step is the caller's
        self.outcomes.find(self.reading, rows, self.observation, counts=False)

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
        self.decision = self.task.decode(action, self.need)
        rows = np.flatnonzero(~ended) if ended is not None and ended.any() else None
        self.left[... if rows is None else rows] -= 1
        try:
            self.reading = self._advance(rows)
        except BackendError as error:
            self.why = dict.fromkeys(range(self.batch), str(error))
            self.broken = True
            self.found.value[:] = 0.0
            return self.found.value.copy(), np.ones(self.batch, dtype=np.bool_)
        self.why = self._deaths(rows) if self.backend.description.clocked else {}
        self.observation = np.empty_like(self.observation)
        self.outcomes.find(self.reading, self._all, self.observation, counts=True)
        self.statistics.steps += 1
        over = (self.left <= 0) | (self.backend.remaining <= 0)
        if self.why:
            over[list(self.why)] = True
        return self.found.value.copy(), over

    def _advance(self, rows: IntArray | None) -> Reading:
        if rows is None:
            return self.backend.step(self.decision)
        return self.backend.step(self.decision[rows], rows) if rows.size else self.reading

    def _deaths(self, rows: IntArray | None) -> dict[int, str]:
        """In which chains an instance died, and of what type."""
        deaths = self.reading.deaths
        names = self.task.chain.nf_names
        return {
            row: f"an instance of {', '.join(names[t] for t in np.flatnonzero(deaths[row]))} died"
            for row in (range(self.batch) if rows is None else rows.tolist())
            if deaths[row].any()
        }


class Statistics:
    """Means over steps and episodes since the last `take`, for logging.

    Args:
        rollout: what adds them up.
    """

    def __init__(self, rollout: Rollout) -> None:
        self._sums = rollout.found.sums
        self._chains = rollout.batch
        self._used = rollout.task.weights.used
        self.steps = 0

    def take(self) -> dict[str, float]:
        """Means per interval since the last call, with the drop rate; empty if nothing ran."""
        if self.steps == 0:
            return {}
        values = (self._sums / (self.steps * self._chains)).tolist()
        means = dict(zip((*SUMS, *(f"reward/{name}" for name in TERMS)), values, strict=True))
        means = {
            name: value
            for name, value in means.items()
            if not name.startswith("reward/") or name.removeprefix("reward/") in self._used
        }
        dropped, offered = means.pop("dropped_pps"), means.pop("offered_pps")
        self._sums[:] = 0.0
        self.steps = 0
        return means | {"drop_rate": dropped / max(offered, 1e-9)}
