"""Validation: how a policy does on held-out traces, for every drop cost at once.

All traces and drop costs run as one batch on the model. A policy is scored by the cores that it
needs for the drop rate of the paper's law: read off its own curve of cores against drop rate, which
the drop cost moves it along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.action import decode_offsets, need
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.evaluation.episodes import Tick
from flexnfv.model import BatchModel
from flexnfv.observation import ObservationEncoder
from flexnfv.policy import Policy
from flexnfv.reading import Reading
from flexnfv.traces import TraceSet

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Act = Callable[[npt.NDArray[np.float32]], IntArray]


@dataclass(frozen=True)
class Score:
    """Cores and drop rate of a run: means over the traces, one entry per drop cost, [P]."""

    core_usage: FloatArray
    drop_rate: FloatArray
    throughput_pps: FloatArray

    def cores_at(self, drop_rate: float) -> float:
        """Cores at a drop rate, interpolated over log10 of the drop rate.

        Outside the curve: the most cores if even they lose more (plus a core for every tenfold
        excess, so that scores stay ordered), the fewest if they lose less.
        """
        order = np.argsort(self.drop_rate)
        lost = np.log10(np.maximum(self.drop_rate[order], 1e-7))
        cores = np.minimum.accumulate(self.core_usage[order])
        wanted = np.log10(max(drop_rate, 1e-7))
        excess = max(0.0, float(lost[0] - wanted))
        return float(np.interp(wanted, lost, cores)) + excess

    def drop_cost_for(self, drop_rate: float, drop_costs: FloatArray) -> float:
        """The drop cost that loses `drop_rate`, interpolated over the logarithms of both.

        Where even the highest one loses more it is the highest, where all lose less the lowest.
        """
        lost = np.log(np.maximum(np.minimum.accumulate(self.drop_rate), 1e-7))
        steady = lost - np.arange(lost.size) * 1e-9
        return float(np.exp(np.interp(-np.log(max(drop_rate, 1e-7)), -steady, np.log(drop_costs))))


class Validation:
    """A fixed set of episodes.

    Args:
        chain: the chain.
        traces: held-out traces.
        drop_costs: the drop costs to try, [P].
        seed: of the model's randomness.
        warmup: intervals at an episode's start that do not count.
    """

    def __init__(
        self,
        chain: ServiceChain,
        traces: TraceSet,
        drop_costs: npt.ArrayLike,
        *,
        seed: int = 0,
        warmup: int = 0,
        **model_options: Any,
    ) -> None:
        self.chain = chain
        self.drop_costs = np.asarray(drop_costs, dtype=np.float64)
        self.warmup = warmup
        self.seed = seed
        self.model_options = model_options
        series = [traces.get(name).rates(chain.interval_s) for name in traces.names]
        self.lengths = np.array([len(rates) for rates in series])
        self.rates = np.zeros((len(series), int(self.lengths.max())))
        for row, rates in zip(self.rates, series, strict=True):
            row[:] = np.resize(rates, row.size)

    @property
    def intervals(self) -> int:
        """Intervals of a run: those of the longest trace but the first."""
        return self.rates.shape[1] - 1

    def run_actor(self, act: Act, tick: Tick = lambda count: None) -> Score:
        """Score an actor (observation rows [N, F] -> actions [N]) for every drop cost."""
        count = self.drop_costs.size
        drop_cost = np.repeat(self.drop_costs, len(self.lengths))
        encoder = ObservationEncoder(self.chain, (drop_cost.size,))

        def decide(reading: Reading) -> IntArray:
            rows = encoder.encode(reading, drop_cost)
            action = act(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape[:-1])
            return decode_offsets(action, need(reading, self.chain), self.chain)

        return self._run(decide, count, tick)

    def run_policy(self, policy: Policy) -> Score:
        """Score a batched policy, once for all drop_costs (P = 1)."""
        policy.reset(self.chain, self.seed)
        return self._run(policy.decide, 1)

    def _run(
        self,
        decide: Callable[[Reading], Decision | IntArray],
        copies: int,
        tick: Tick = lambda count: None,
    ) -> Score:
        rates = np.tile(self.rates, (copies, 1))
        lengths = np.tile(self.lengths, copies)
        rows = np.arange(len(lengths))
        model = BatchModel(self.chain, len(lengths), **self.model_options)
        seeds = np.resize(np.arange(len(self.lengths)), rows.size) + np.uint64(self.seed)
        reading = model.reset_envs(rows, rates, seeds.astype(np.uint64))
        sums = np.zeros((4, len(lengths)))
        for interval in range(1, rates.shape[1]):
            reading = model.step(Decision.of(decide(reading)).targets)
            tick(1)
            if interval < self.warmup:
                continue
            counted = interval < lengths
            sums[0] += np.where(counted, reading.core_usage(self.chain).sum(axis=-1), 0.0)
            sums[1] += np.where(counted, reading.dropped_pps, 0.0)
            sums[2] += np.where(counted, reading.offered_pps, 0.0)
            sums[3] += np.where(counted, reading.delivered_pps, 0.0)
        intervals = lengths - max(self.warmup, 1)

        def mean(values: FloatArray) -> FloatArray:
            return np.asarray(values.reshape(copies, -1).mean(axis=1))

        return Score(
            core_usage=mean(sums[0] / intervals),
            drop_rate=mean(sums[1] / np.maximum(sums[2], 1e-9)),
            throughput_pps=mean(sums[3] / intervals),
        )
