"""Does the prior hold a given series? Where its statistics lie among those of the prior's draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.errors import InputError
from flexnfv.traces import prior
from flexnfv.traces.trace import FloatArray

RANGE: Final = (2.0, 98.0)
"""Percentiles of the prior between which a series counts as covered."""

BLOCK: Final = 100
"""Intervals of a block for the index of dispersion."""


def mean_to_peak(rate: FloatArray) -> float:
    """Mean ÷ highest rate."""
    return float(rate.mean() / rate.max())


def variation(rate: FloatArray) -> float:
    """Coefficient of variation: standard deviation ÷ mean."""
    return float(rate.std() / rate.mean())


def correlation(rate: FloatArray, lag: int) -> float:
    """Autocorrelation at a lag, over the variance of the whole; 1 for a series that is constant."""
    error = rate - rate.mean()
    power = float(error @ error)
    return float(error[lag:] @ error[:-lag]) / power if power else 1.0


def largest_jump(rate: FloatArray) -> float:
    """Highest rate[i+1] ÷ max(rate[i], mean/10)."""
    return float((rate[1:] / np.maximum(rate[:-1], rate.mean() / 10)).max())


def silence(rate: FloatArray) -> float:
    """Share of the intervals that carry nothing."""
    return float((rate == 0).mean())


def dispersion(rate: FloatArray) -> float:
    """Index of dispersion of sums over 100 intervals, of a series in units of its mean.

    Variance of the sums ÷ their mean: 100 · CV² of the block means. It is CV² for independent
    samples and up to 100 CV² for a series that hardly changes within a block (Gusella,
    "Characterizing the variability of arrival processes with indexes of dispersion", IEEE JSAC
    9(2), 1991, takes counts for the rates).
    """
    blocks = rate[: rate.size // BLOCK * BLOCK].reshape(-1, BLOCK).sum(axis=1) / rate.mean()
    return float(blocks.var() / blocks.mean()) if blocks.any() else 0.0


STATISTICS: Final[dict[str, Callable[[FloatArray], float]]] = {
    "mean/peak": mean_to_peak,
    "CV": variation,
    "lag 1": lambda rate: correlation(rate, 1),
    "lag 60": lambda rate: correlation(rate, 60),
    "jump": largest_jump,
    "silence": silence,
    "disp.": dispersion,
}
"""What a series is compared by, under the name that a table gives it."""


def statistics(rate: FloatArray) -> FloatArray:
    """float64 [statistics]: of rates of any scale, [intervals].

    Raises:
        InputError: fewer than two blocks of 100 intervals, or nothing but silence.
    """
    if rate.size < 2 * BLOCK or not rate.any():
        raise InputError(
            f"{rate.size} intervals, {np.count_nonzero(rate)} of which carry traffic",
            where="coverage",
            fix=f"give at least {2 * BLOCK} intervals, not all silent",
        )
    return np.array([of(rate) for of in STATISTICS.values()])


@dataclass(frozen=True)
class Coverage:
    """Series among the draws of the prior.

    Attributes:
        names: of the series, [n].
        values: their statistics, float64 [n, statistics].
        percentiles: where each lies among the draws, 0 to 100, float64 [n, statistics]; of draws
            that are equal (as silence often is) half lie below.
        limits: the prior's values at the two percentiles of `RANGE`, float64 [2, statistics].
    """

    names: tuple[str, ...]
    values: FloatArray
    percentiles: FloatArray
    limits: FloatArray

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """bool [n, statistics]: within `RANGE`."""
        low, high = RANGE
        return np.asarray((self.percentiles >= low) & (self.percentiles <= high))


def coverage(
    names: Sequence[str],
    series: Sequence[FloatArray],
    *,
    count: int,
    intervals: int,
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
) -> Coverage:
    """Compares series with `count` draws of the prior that are `intervals` long.

    Args:
        names: of the series, [n].
        series: rates of any scale, at least 200 intervals each, [n].
        count: draws of the prior.
        intervals: length of a draw. Statistics depend on it: give that of the series.
        seed: of the draws.
        tick: told of every draw that is done.

    Raises:
        InputError: see `statistics`; no series, or no draw.
    """
    if not series or count < 1:
        raise InputError(
            f"{len(series)} series among {count} draws", where="coverage", fix="give at least one"
        )
    values = np.stack([statistics(rate) for rate in series])
    drawn = np.empty((count, len(STATISTICS)))
    for row in range(count):
        drawn[row] = statistics(prior.nth(seed, row, intervals))
        tick(1)
    below = (drawn < values[:, None]).mean(axis=1)
    equal = (drawn == values[:, None]).mean(axis=1)
    limits = np.percentile(drawn, RANGE, axis=0)
    return Coverage(tuple(names), values, 100.0 * (below + 0.5 * equal), limits)
