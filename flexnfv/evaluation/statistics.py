"""Intervals and paired differences over training seeds, evaluation seeds, segments and traces.

A policy's sums form an array [M, S, G, Q]: training seed (a heuristic has one), evaluation seed,
segment of a trace, quantity. A *run* is one training seed under one evaluation seed. A measure is
taken of every run on every trace; the estimate on a trace is the plain mean over the runs, and the
estimate over all traces the plain mean over the traces, each of which weighs the same.

The interval is a percentile interval of a hierarchical bootstrap: training seeds are drawn with
replacement, then evaluation seeds, then segments within every trace. That says how sure a figure is
*of these traces* (`over="segments"`). With `over="traces"` the traces are drawn with replacement
too, and the claim is about *traffic of this kind*: it takes many traces of unlike sources.
Segments, evaluation seeds and traces are drawn once per resample for every policy: they met the
same traffic, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.metrics import columns_of, quotient, ratio

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Over = Literal["segments", "traces"]
"""What a claim is about: these traces, or traffic of this kind."""

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
MARGIN: Final = 1e-4
"""Non-inferiority of drops: at most 0.01 percentage point above the baseline's."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; NaN where there is nothing to estimate from."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: float, samples: FloatArray, level: float = LEVEL) -> Interval:
        """The percentile interval of bootstrap samples."""
        usable = samples[np.isfinite(samples)]
        if usable.size == 0:
            return cls(estimate, float("nan"), float("nan"))
        tail = 50 * (1 - level)
        low, high = np.percentile(usable, [tail, 100 - tail])
        return cls(float(estimate), float(low), float(high))


@dataclass(frozen=True)
class Difference:
    """A policy against the baseline on the same traffic; below 0 means less than the baseline.

    Attributes:
        absolute, relative: means over the traces.
        worst: the highest relative difference on any trace; NaN where none is defined.
    """

    absolute: Interval
    relative: Interval
    worst: float


def mean(values: FloatArray, weights: npt.ArrayLike = 1.0, axis: int = -1) -> FloatArray:
    """Weighted mean over an axis of what is defined there; NaN where nothing is."""
    defined = np.isfinite(values)
    used = np.where(defined, np.broadcast_to(weights, values.shape), 0.0)
    below = used.sum(axis=axis)
    above = (used * np.where(defined, values, 0.0)).sum(axis=axis)
    return quotient(above, below)


class Draws:
    """The resamples that every policy of a comparison shares.

    Args:
        strata: the trace of every segment, [G].
        seeds: evaluation seeds, S.
        resamples: B.
        seed: of the draws.

    Attributes:
        segments: indices of the segments of each trace, K arrays.
        counts: how often each segment was drawn within its trace, [B, G].
        seeds: how often each evaluation seed was drawn, [B, S].
        traces: how often each trace was drawn, for claims about traffic of this kind, [B, K].
    """

    def __init__(
        self,
        strata: Sequence[int] | IntArray,
        seeds: int,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        labels = np.asarray(strata)
        rng = np.random.default_rng(seed)
        self.resamples = resamples
        self.entropy = seed
        self.segments = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.seeds = _counts(rng, seeds, resamples)
        self.counts = np.zeros((resamples, labels.size))
        for where in self.segments:
            self.counts[:, where] = _counts(rng, where.size, resamples)
        self.traces = _counts(rng, len(self.segments), resamples)

    def trainings(self, count: int, policy: str) -> FloatArray:
        """How often each training seed was drawn, [B, M]: each policy was trained by itself."""
        return _counts(
            np.random.default_rng([self.entropy, *policy.encode()]), count, self.resamples
        )

    def mean(self, values: FloatArray, over: Over) -> FloatArray:
        """Mean over the traces of every resample, [B, K] to [B]."""
        return mean(values, self.traces if over == "traces" else 1.0)

    def interval(self, estimates: FloatArray, resampled: FloatArray, over: Over) -> Interval:
        """Interval of the mean over traces, of estimates [K] and resamples [B, K]."""
        return Interval.of(float(mean(estimates)), self.mean(resampled, over))


def _counts(rng: np.random.Generator, size: int, resamples: int) -> FloatArray:
    """How often each of `size` was drawn by as many draws with replacement, [resamples, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.float64)


class Sample:
    """One policy's sums, and the same sums under every resample.

    Args:
        name: of the policy; it seeds the draws of its training seeds.
        sums: [M, S, G, Q].
        draws: shared with the policies it is compared to.
    """

    def __init__(self, name: str, sums: FloatArray, draws: Draws) -> None:
        self.name = name
        self.sums = sums
        self.draws = draws
        self._known: dict[tuple[str, Over], FloatArray] = {}

    def by_trace(self, measure: str) -> FloatArray:
        """Mean over the runs on each trace, [K]; runs without it (no reaction) are left out."""
        totals = [self.sums[:, :, where].sum(axis=2) for where in self.draws.segments]
        return mean(np.array([ratio(total, measure).ravel() for total in totals]))

    def by_trace_resamples(self, measure: str) -> FloatArray:
        """`by_trace` under every resample, [B, K]."""
        draws, (trainings, seeds) = self.draws, self.sums.shape[:2]
        columns = self.sums[..., columns_of(measure)]
        weights = draws.trainings(trainings, self.name)[:, :, None] * draws.seeds[:, None, :]
        weights = weights.reshape(draws.resamples, -1)
        found = np.empty((draws.resamples, len(draws.segments)))
        for trace, where in enumerate(draws.segments):
            flat = np.moveaxis(columns[:, :, where], 2, 0).reshape(where.size, -1)
            totals = (draws.counts[:, where] @ flat).reshape(-1, trainings * seeds, 2)
            found[:, trace] = mean(quotient(totals[..., 0], totals[..., 1]), weights)
        return found

    def estimate(self, measure: str) -> float:
        """Mean over the traces; those without it are left out."""
        return float(mean(self.by_trace(measure)))

    def resamples(self, measure: str, over: Over = "segments") -> FloatArray:
        """The estimate under every resample, [B]."""
        if (measure, over) not in self._known:
            by_trace = self.by_trace_resamples(measure)
            self._known[measure, over] = self.draws.mean(by_trace, over)
        return self._known[measure, over]

    def interval(self, measure: str, over: Over = "segments") -> Interval:
        """Estimate and 95 % interval of a measure."""
        return Interval.of(self.estimate(measure), self.resamples(measure, over))


def difference(
    policy: Sample, baseline: Sample, measure: str, over: Over = "segments"
) -> Difference:
    """`policy` less `baseline` on each trace, and the mean over the traces; paired.

    Args:
        policy, baseline: with the same draws.
        measure: name of one of `MEASURES`.
        over: what the claim is about.
    """
    one, other = policy.by_trace(measure), baseline.by_trace(measure)
    ones, others = policy.by_trace_resamples(measure), baseline.by_trace_resamples(measure)
    relative = quotient(one, other) - 1
    draws = policy.draws
    return Difference(
        draws.interval(one - other, ones - others, over),
        draws.interval(relative, quotient(ones, others) - 1, over),
        highest(relative)[1],
    )


def highest(values: FloatArray) -> tuple[int, float]:
    """Where the highest defined value is, and the value; -1 and NaN where none is defined."""
    if not np.isfinite(values).any():
        return -1, float("nan")
    place = int(np.nanargmax(np.where(np.isfinite(values), values, np.nan)))
    return place, float(values[place])


def non_inferior(drops: Difference, margin: float = MARGIN) -> bool:
    """Whether the drop rate is not above the baseline's by more than the margin.

    The upper end of the 95 % interval of the paired difference must lie at or below the margin.
    """
    return bool(drops.absolute.high <= margin)
