"""A third party's simulator: instances appear and vanish at once, what exceeds them is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexnfv.backend import Description, IntArray
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision, check_decision
from flexnfv.reading import Reading
from flexnfv.states import RUNNING
from flexnfv.traces import Trace


class Toy:
    """Any number of chains at once; nothing of FlexNFV's model is used."""

    description = Description("toy", batch=None, deterministic=True)

    def __init__(self, chain: ServiceChain, boost: float = 1.0) -> None:
        self.chain = chain
        self.capacity_pps = chain.capacity_pps * boost
        self.closed = False

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        if rows is None:
            batch = len(traces)
            self.rates: list[np.ndarray] = [np.zeros(0)] * batch
            self.next = np.zeros(batch, np.int64)
            self.count = np.ones((batch, self.chain.types), np.int64)
            self.reading = Reading.zeros(self.chain.types, self.chain.slots, (batch,))
        chosen = np.arange(len(traces)) if rows is None else rows
        for row, trace in zip(chosen.tolist(), traces, strict=True):
            assert trace is not None
            self.rates[row] = trace.rates(self.chain.interval_s)
        self.next[chosen] = 0
        self.count[chosen] = self.chain.initial_instances
        return self._read(chosen)

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        chosen = np.arange(len(self.next)) if rows is None else rows
        wanted = check_decision(decision, (len(chosen), self.chain.types)).targets
        self.count[chosen] = np.clip(wanted, self.chain.min_instances, self.chain.max_instances)
        return self._read(chosen)

    @property
    def remaining(self) -> IntArray:
        return np.array([len(rates) for rates in self.rates]) - self.next

    def close(self) -> None:
        self.closed = True

    def _read(self, rows: IntArray) -> Reading:
        r = self.reading
        for row in rows.tolist():
            flowing = offered = self.rates[row][self.next[row]]
            for t, count in enumerate(self.count[row]):
                served = min(flowing, count * self.capacity_pps[t])
                r.state[row, t] = np.where(np.arange(self.chain.slots) < count, RUNNING, 0)
                r.arrived_pps[row, t] = np.where(r.state[row, t], flowing / count, 0.0)
                r.ring_dropped_pps[row, t] = np.where(
                    r.state[row, t], (flowing - served) / count, 0.0
                )
                flowing = served
            r.offered_pps[row] = offered
            r.delivered_pps[row] = flowing
            r.dropped_pps[row] = offered - flowing
            self.next[row] += 1
            r.time_s[row] = self.next[row] * self.chain.interval_s
        return r
