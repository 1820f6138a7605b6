"""Intervals and paired differences over training seeds, evaluation seeds and trace segments.

A policy's sums form an array [M, S, G, Q]: training seed (a heuristic has one), evaluation seed,
segment of a trace, quantity. A *run* is one training seed under one evaluation seed; its measure is
pooled over all traces with one setting for all. The estimate is the interquartile mean
over the runs (the mean of the middle half; with fewer than four runs nothing is trimmed).

The interval is a percentile interval of a hierarchical bootstrap: training seeds are drawn with
replacement, then evaluation seeds, then segments within every trace, so that each trace keeps its
weight and the claim is about these traces. Segments and evaluation seeds are drawn once per
resample for every policy: they met the same traffic, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.metrics import ratio

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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
    """A policy against the baseline on the same traffic; below 0 means less than the baseline."""

    absolute: Interval
    relative: Interval


def interquartile_mean(values: FloatArray, axis: int = -1) -> FloatArray:
    """Mean of the middle half: a quarter of the values is cut off at each end."""
    cut = values.shape[axis] // 4
    if cut == 0:
        return np.asarray(values.mean(axis=axis))
    sorted_values = np.moveaxis(np.sort(values, axis=axis), axis, -1)
    return np.asarray(sorted_values[..., cut:-cut].mean(axis=-1))


class Draws:
    """The resamples that every policy of a comparison shares.

    Args:
        strata: the trace of every segment, [G].
        seeds: evaluation seeds, S.
        resamples: B.
        seed: of the draws.
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
        self.seeds = rng.integers(seeds, size=(resamples, seeds))
        self.counts = np.zeros((resamples, labels.size))
        """How often each segment was drawn, [B, G]."""
        for label in np.unique(labels):
            where = np.flatnonzero(labels == label)
            chances = np.full(where.size, 1 / where.size)
            self.counts[:, where] = rng.multinomial(where.size, chances, size=resamples)

    def trainings(self, count: int, policy: str) -> IntArray:
        """Training seeds drawn for one policy, [B, M]: each policy was trained by itself."""
        rng = np.random.default_rng([self.entropy, *policy.encode()])
        return rng.integers(count, size=(self.resamples, count))


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
        self._known: dict[str, FloatArray] = {}

    @cached_property
    def _resampled(self) -> FloatArray:
        """Sums of every run under every resample, [B, M, S, Q]."""
        pooled = np.einsum("bg,msgq->bmsq", self.draws.counts, self.sums, optimize=True)
        chosen = self.draws.trainings(self.sums.shape[0], self.name)
        rows = np.arange(self.draws.resamples)[:, None, None]
        return np.asarray(pooled[rows, chosen[:, :, None], self.draws.seeds[:, None, :]])

    def runs(self, measure: str) -> FloatArray:
        """The measure of every run, pooled over traces, [M, S]."""
        return ratio(self.sums.sum(axis=2), measure)

    def estimate(self, measure: str) -> float:
        """Interquartile mean over the runs; runs without it (no reaction) are left out."""
        runs = self.runs(measure)
        usable = runs[np.isfinite(runs)]
        return float(interquartile_mean(usable)) if usable.size else float("nan")

    def resamples(self, measure: str) -> FloatArray:
        """The estimate under every resample, [B]."""
        if measure not in self._known:
            self._known[measure] = self._resamples(measure)
        return self._known[measure]

    def _resamples(self, measure: str) -> FloatArray:
        runs = ratio(self._resampled, measure).reshape(self.draws.resamples, -1)
        if np.isfinite(runs).all():
            return interquartile_mean(runs)
        usable = [row[np.isfinite(row)] for row in runs]
        return np.array([interquartile_mean(row) if row.size else np.nan for row in usable])

    def interval(self, measure: str) -> Interval:
        """Estimate and 95 % interval of a measure."""
        return Interval.of(self.estimate(measure), self.resamples(measure))


def difference(policy: Sample, baseline: Sample, measure: str) -> Difference:
    """`policy` less `baseline`, paired.

    Args:
        policy, baseline: with the same draws.
        measure: name of one of `MEASURES`.
    """
    one, other = policy.estimate(measure), baseline.estimate(measure)
    ones, others = policy.resamples(measure), baseline.resamples(measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.float64(one) / other - 1)
        relatives = ones / others - 1
    return Difference(Interval.of(one - other, ones - others), Interval.of(relative, relatives))


def non_inferior(drops: Difference, margin: float = MARGIN) -> bool:
    """Whether the drop rate is not above the baseline's by more than the margin.

    The upper end of the 95 % interval of the paired difference must lie at or below the margin.
    """
    return bool(drops.absolute.high <= margin)
