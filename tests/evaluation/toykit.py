"""A third-party package in one file: a backend and policies found through entry points alone.

It is installed by `kit` (conftest.py): copied to a folder with a `.dist-info` beside it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from flexnfv.backend import Description
from flexnfv.decision import check_decision
from flexnfv.policy import BasePolicy
from flexnfv.reading import Reading
from flexnfv.states import RUNNING


class ToyBackend:
    """Instances appear and vanish at once; what exceeds their loss-free rate is lost."""

    description = Description("toy", machine="none", deterministic=True)

    def __init__(self, chain):
        self.chain = chain

    def reset(self, traces, seeds=None, rows=None):
        (trace,), (seed,) = traces, seeds or [None]
        self._rates = trace.rates(self.chain.interval_s)
        self._seed = seed or 0
        self._next = 0
        self._count = self.chain.initial_instances.copy()
        return self._read(np.zeros(self.chain.types, np.int64))

    def step(self, decision, rows=None):
        wanted = check_decision(decision, (1, self.chain.types)).targets[0]
        before = self._count
        self._count = np.clip(wanted, self.chain.min_instances, self.chain.max_instances)
        return self._read(np.maximum(self._count - before, 0))

    @property
    def remaining(self):
        return np.array([len(self._rates) - self._next])

    def close(self):
        self._rates = np.empty(0)

    def _read(self, launched):
        reading = Reading.zeros(self.chain.types, self.chain.slots)
        noise = np.random.default_rng([self._seed, self._next]).uniform(0.99, 1.01)
        flowing = offered = self._rates[self._next] * noise
        self._next += 1
        reading.time_s[...] = self._next * self.chain.interval_s
        reading.interval_s[...] = self.chain.interval_s
        reading.offered_pps[...] = offered
        reading.launches[...] = launched
        for t, count in enumerate(self._count):
            served = min(flowing, count * self.chain.capacity_pps[t])
            reading.state[t, :count] = RUNNING
            reading.arrived_pps[t, :count] = flowing / count
            reading.served_pps[t, :count] = served / count
            reading.ring_dropped_pps[t, :count] = (flowing - served) / count
            reading.processing_ns[t] = self.chain.processing_ns[t]
            flowing = served
        reading.delivered_pps[...] = flowing
        reading.dropped_pps[...] = offered - flowing
        reading.latency_s[...] = 1e-6
        reading.energy_j[...] = 10.0 * self._count.sum() * self.chain.interval_s
        return Reading.stack([reading])


class Ample(BasePolicy):
    """ceil(demand x spare / capacity) instances."""

    sweep = ("spare", (0.8, 1.0, 1.2, 1.5))

    def __init__(self, spare=1.1):
        if spare <= 0:
            raise ValueError(f"spare is {spare}, it must be positive")
        self.spare = spare

    def decide(self, reading):
        need = reading.demand_pps(self.chain) * self.spare / self.chain.capacity_pps
        return np.maximum(np.ceil(need), 1).astype(np.int64)


class Told(Ample):
    """Can be told what drops cost, and when to stop parked instances; makes nothing of it."""

    sweep = ("spare", (1.0, 1.2))

    def __init__(self, spare=1.1, drop_cost=100.0, park_timeout=None):
        super().__init__(spare)
        self.drop_cost, self.park_timeout = drop_cost, park_timeout


class Slow(Ample):
    """Takes its time, unless TOY_FAST is set."""

    def decide(self, reading):
        if "TOY_FAST" not in os.environ:
            time.sleep(0.02)
        return super().decide(reading)


class Mortal(Ample):
    """Kills its process at the first decision, once per flag file."""

    def __init__(self, flag):
        super().__init__()
        self.flag = Path(flag)

    def decide(self, reading):
        if not self.flag.exists():
            self.flag.touch()
            os._exit(1)
        return super().decide(reading)


class Oracle(BasePolicy):
    """Knows the trace, and refuses to work without it."""

    foresight = True

    def reset(self, chain, seed=None, *, trace=None):
        super().reset(chain, seed)
        self._rates = trace.rates(chain.interval_s)
        self._next = 0

    def decide(self, reading):
        self._next += 1
        return np.ceil(self._rates[self._next] * 1.02 / self.chain.capacity_pps).astype(np.int64)
