"""Examples of exceedance: what a link has been like, and what of its demand came next.

Every series is drawn anew from the wide prior (`flexnfv.traces.prior`), looked at by levels drawn
at random, and read once by `flexnfv.memory`; examples are intervals of it picked at random.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from math import exp, log
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.compiled import compiled
from flexnfv.memory import (
    LEVEL,
    LEVELS,
    TRAFFIC,
    Levels,
    Memory,
    describe_levels,
    describe_traffic,
    remember,
)
from flexnfv.provision import HORIZONS
from flexnfv.traces import prior

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

INTERVALS: Final = 3000
"""Intervals of a series that examples are picked from."""
PICKS: Final = 400
"""Intervals that are picked of a series."""
EACH: Final = 4
"""Levels that are picked of such an interval."""
TOP: Final = (0.8, 5.0)
"""The most that a chain carries, relative to the series' peak: log-uniform between these."""
RANGE: Final = (3.0, 60.0)
"""What a chain carries at most relative to at least: log-uniform between these."""
NEAR: Final = 0.6
"""Share of the levels that is picked near the demand, and their distance's deviation there."""


class Examples(NamedTuple):
    """Examples, a row of `traffic` for `EACH` of the others.

    Attributes:
        traffic: features of the links, [N, features].
        level: features of levels, [N, EACH, features].
        exceeded: whether the demand exceeded the level in the next interval and within each
            horizon, [N, EACH, 1 + H].
    """

    traffic: FloatRows
    level: FloatRows
    exceeded: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, count: int) -> Examples:
        """Room for so many."""
        return cls(
            np.empty((count, len(TRAFFIC)), np.float32),
            np.empty((count, EACH, len(LEVEL)), np.float32),
            np.zeros((count, EACH, 1 + len(HORIZONS)), np.uint8),
        )


def read_series(
    series: FloatArray,
    levels: Levels,
    memory: Memory,
    picked: IntArray,
    picked_levels: IntArray,
    examples: Examples,
    start: int,
) -> None:
    """Remember a series, and describe the picked intervals and levels of it.

    Args:
        series: demand, packets/s, [T]; the last horizon's intervals are looked ahead to only.
        levels: that it is looked at by.
        memory: of one link that has seen nothing.
        picked: intervals, rising, [P].
        picked_levels: of each, [P, EACH].
        examples: rows from `start` on are filled.
        start: see `examples`.
    """
    upcoming = 0
    for at in range(picked[-1] + 1):
        remember(memory, 0, series[at], levels)
        if at != picked[upcoming]:
            continue
        row = start + upcoming
        describe_traffic(memory, 0, levels, examples.traffic[row])
        describe_levels(memory, 0, picked_levels[upcoming], levels, examples.level[row])
        for each in range(EACH):
            j = picked_levels[upcoming, each]
            exceeded = examples.exceeded[row, each]
            exceeded[0] = 1 if series[at + 1] > levels.rate[j] else 0
            ahead = 2
            for i in range(len(HORIZONS)):
                exceeded[1 + i] = exceeded[i] if i > 0 else 0
                while exceeded[1 + i] == 0 and ahead <= HORIZONS[i]:
                    if series[at + ahead] > levels.rate[j]:
                        exceeded[1 + i] = 1
                    ahead += 1
        upcoming += 1
        if upcoming == len(picked):
            break


def draw_examples(seed: int, number: int, count: int) -> Examples:
    """Examples of `count` series, those of a batch with this number under this seed."""
    rng = np.random.default_rng([seed, number])
    horizon = int(HORIZONS[-1])
    examples = Examples.of(count * PICKS)
    read = compiled(read_series)
    if not count:
        read(*_nothing())
    for i in range(count):
        series = prior.draw(rng, INTERVALS + horizon + 1)
        highest = log_uniform(rng, *TOP)
        levels = Levels.between(highest / log_uniform(rng, *RANGE), highest)
        picked = np.sort(rng.choice(INTERVALS, PICKS, replace=False))
        now = np.log(np.maximum(series[picked], levels.rate[0]))[:, None]
        span = levels.log_rate[-1] - levels.log_rate[0]
        around = (now + rng.normal(0.0, NEAR, (PICKS, EACH)) - levels.log_rate[0]) / span
        near = np.clip(np.rint(around * (LEVELS - 1)), 0, LEVELS - 1).astype(np.int64)
        anywhere = rng.integers(LEVELS, size=(PICKS, EACH))
        chosen = np.where(rng.random((PICKS, EACH)) < NEAR, near, anywhere)
        read(series, levels, Memory.of(1), picked, chosen, examples, i * PICKS)
    return examples


def _nothing() -> tuple[Any, ...]:
    """Arguments for which `read_series` does next to nothing."""
    levels, one = Levels.between(1.0, 2.0), np.zeros(1, np.int64)
    series = np.ones(int(HORIZONS[-1]) + 2)
    return series, levels, Memory.of(1), one, np.zeros((1, EACH), np.int64), Examples.of(1), 0


def batches(seed: int, numbers: Sequence[int], size: int, processes: int) -> Iterator[Examples]:
    """Batches of examples of `size` series each, drawn ahead by other processes if there are any.

    Args:
        seed: of all.
        numbers: which batches.
        size: series of each.
        processes: that draw; 0: this one does, when it is asked.
    """
    if processes < 1:
        yield from (draw_examples(seed, number, size) for number in numbers)
        return
    draw_examples(seed, 0, 0)  # What is compiled is on the disk when the processes begin.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_quiet)
    try:
        ahead: deque[Future[Examples]] = deque()
        waiting = iter(numbers)
        for number in islice(waiting, 2 * processes):
            ahead.append(pool.submit(draw_examples, seed, number, size))
        while ahead:
            examples = ahead.popleft().result()
            for number in islice(waiting, 1):
                ahead.append(pool.submit(draw_examples, seed, number, size))
            yield examples
    finally:
        pool.shutdown(cancel_futures=True)


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's.


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of two."""
    return exp(rng.uniform(log(low), log(high)))
