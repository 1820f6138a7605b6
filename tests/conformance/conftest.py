"""The backends that must all pass this suite, and the chain and traffic that it uses.

`model` and `dpdk` always; others by the names of their entry points in FLEXNFV_CONFORMANCE
(`docs/backends.md` says how). The chain is the paper's with a quick launch, so that a live run
takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from flexnfv.backend import Backend, IntArray, Single
from flexnfv.backends import make_backend
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import Decision
from flexnfv.reading import Reading
from flexnfv.traces import Trace

INTERVAL_S = 0.1
LAUNCH_S = 0.15
PATIENCE = 40
"""Intervals that a launch or a block may take on a busy machine."""

NAMES = ["model", "dpdk", *os.environ.get("FLEXNFV_CONFORMANCE", "").split()]


def chain(**changes: object) -> ServiceChain:
    """The paper's chain, quick to launch and decided upon ten times a second."""
    paper = load_chain("paper")
    quick = paper.measured.model_copy(update={"launch_s": LAUNCH_S})
    return paper.replace(interval_s=INTERVAL_S, **changes).with_calibration(quick)


def steady(pps: float, intervals: int, *, quiet: int = 0) -> Trace:
    """A constant rate, then silence."""
    rates = np.concatenate([np.full(intervals, pps), np.zeros(quiet)])
    return Trace("steady", rates, INTERVAL_S)


class Run:
    """One episode: steps, and every reading that came."""

    def __init__(self, backend: Backend, trace: Trace, seed: int = 0) -> None:
        self.backend = Single(backend)
        self.readings = [self.backend.reset(trace, seed).copy()]

    @property
    def last(self) -> Reading:
        """The newest reading."""
        return self.readings[-1]

    def step(self, *targets: int) -> Reading:
        """One step; its reading."""
        self.readings.append(self.backend.step(np.array(targets)).copy())
        return self.last

    def decide(self, targets: IntArray, **levers: IntArray) -> Reading:
        """One step with levers; its reading."""
        self.readings.append(self.backend.step(Decision(targets, **levers)).copy())
        return self.last

    def until(self, condition: Callable[[Reading], bool], *targets: int) -> Reading:
        """Steps until a reading meets the condition, at least one."""
        for _ in range(PATIENCE):
            if condition(self.step(*targets)):
                return self.last
        pytest.fail(f"not within {PATIENCE} intervals; {self.last}")

    def rest(self, *targets: int) -> None:
        """Steps to the end of the trace."""
        while self.backend.remaining:
            self.step(*targets)

    def packets(self, name: str) -> float:
        """A rate summed over the episode, packets."""
        return float(sum(getattr(r, name).sum() * r.interval_s for r in self.readings))


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.dataplane) if n == "dpdk" else n for n in NAMES]
)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Backend]]:
    """make(**changes): the backend on the suite's chain, with some keys changed."""
    made: list[Backend] = []

    def make(**changes: object) -> Backend:
        made.append(make_backend(request.param, chain(**changes)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
