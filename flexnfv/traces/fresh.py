"""A trace set that never runs out: every episode is a new series of the prior."""

from __future__ import annotations

from typing import Final

import numpy as np

from flexnfv.errors import InputError
from flexnfv.traces import prior
from flexnfv.traces.trace import FloatArray, Trace
from flexnfv.traces.traceset import TraceSet

SERIES_INTERVALS: Final = 3000
"""Of a listed series, and of the one that an episode is cut from: it gives the scale."""


class FreshSet(TraceSet):
    """Draws every segment from a series that nobody has seen before.

    A series of `SERIES_INTERVALS` (or the segment's length) comes from `flexnfv.traces.prior`; its
    peak is log-uniform within `peak_pps`; the segment begins anywhere in it where anything comes.
    `traces` are what an evaluation on this set goes through.
    """

    def sample_batch(
        self, rng: np.random.Generator, count: int, length: int, out: FloatArray | None = None
    ) -> FloatArray:
        """As `TraceSet.sample_batch`; a segment may be longer than the listed traces.

        Raises:
            InputError: `length` is below 1.
        """
        segments = np.empty((count, length)) if out is None else out
        for row in segments:
            row[:] = self._segment(rng, length)
        return segments

    def sample(self, rng: np.random.Generator, length: int) -> Trace:
        """One new segment, the first row of `sample_batch(rng, 1, length)`.

        Raises:
            InputError: `length` is below 1.
        """
        rates = self._segment(rng, length)
        return Trace(self.name, rates, self.step_s, source=prior.VERSION, family="prior")

    def _segment(self, rng: np.random.Generator, length: int) -> FloatArray:
        if length < 1:
            raise InputError(
                f"segments of {length} intervals", where=self._where, fix="use at least 1"
            )
        series = prior.draw(rng, max(length, SERIES_INTERVALS))
        low, high = np.log(self.peak_pps or (1.0, 1.0))
        peak = float(np.exp(rng.uniform(low, high)))
        while True:
            start = rng.integers(series.size - length, endpoint=True)
            segment = series[start : start + length]
            if segment.any():
                return segment * peak


def listed(name: str, seed: int, count: int, step_s: float) -> tuple[Trace, ...]:
    """Fixed series of the prior, peak 1, as traces `NAME/0`, `NAME/1` … of the family `prior`."""
    source = f"{prior.VERSION}, seed {seed}"
    return tuple(
        Trace(f"{name}/{number}", rates, step_s, source=source, family="prior")
        for number, rates in enumerate(prior.draws(seed, count, SERIES_INTERVALS))
    )
