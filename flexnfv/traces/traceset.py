"""A set of traces: what training draws from and what an evaluation goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flexnfv.errors import InputError
from flexnfv.suggest import known
from flexnfv.traces.trace import FloatArray, Trace, check_amount


@dataclass(frozen=True, eq=False)
class TraceSet:
    """Traces with distinct names, read at one step and, if so stated, at one peak.

    Training draws segments: a family with equal probability, a trace of it with equal probability,
    a start and a peak uniformly. A whole trace is scaled, not the segment: a segment of the night
    stays low. An evaluation goes through `names` and takes each trace with `get`.

    Attributes:
        name: how reports call the set.
        traces: at least one.
        step_s: seconds of one interval.
        peak_pps: lowest and highest peak, packets/s, that a drawn trace is scaled to; `get` scales
            to the highest. None leaves every trace as it is.

    Raises:
        InputError: no trace, a name twice, a peak range that is empty or not positive, or a trace
            that is shorter than a step or carries no packet that could be scaled.
    """

    name: str
    traces: tuple[Trace, ...]
    step_s: float = 1.0
    peak_pps: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        if not self.traces:
            raise InputError("holds no trace", where=self._where, fix="give at least one")
        names = [trace.name for trace in self.traces]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"two traces are named {twice[0]!r}", where=self._where, fix="rename one"
            )
        check_amount("step_s", self.step_s, where=self._where)
        if self.peak_pps is not None:
            low, high = self.peak_pps
            check_amount("the lowest peak", low, where=self._where)
            check_amount("the highest peak", high, where=self._where)
            if low > high:
                raise InputError(
                    f"peaks from {low:g} to {high:g}", where=self._where, fix="swap the two"
                )
        _ = self._pool  # Building the pool refuses a trace that cannot be resampled or scaled.

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the traces, in order."""
        return tuple(trace.name for trace in self.traces)

    @property
    def families(self) -> dict[str, str]:
        """Family of every trace by its name."""
        return {trace.name: trace.family for trace in self.traces}

    @property
    def shortest_s(self) -> float:
        """Seconds of the shortest trace: the longest segment that can be drawn."""
        return int(self._pool.lengths.min()) * self.step_s

    def get(self, name: str) -> Trace:
        """The whole trace at the set's step, scaled to the highest peak of the range.

        Raises:
            InputError: no trace has this name; the nearest one is offered.
        """
        known(name, self.names, kind="trace", where=self._where)
        trace = self.traces[self.names.index(name)].resample(self.step_s)
        return trace if self.peak_pps is None else trace.scale_to_peak(self.peak_pps[1])

    def at(
        self, *, step_s: float | None = None, peak_pps: float | tuple[float, float] | None = None
    ) -> TraceSet:
        """The same traces at another step or peak; what is not given stays.

        Raises:
            InputError: see the class.
        """
        step = self.step_s if step_s is None else step_s
        if step == self.step_s and peak_pps is None:
            return self
        return replace(self, step_s=step, peak_pps=peak_range(peak_pps) or self.peak_pps)

    def sample_batch(
        self, rng: np.random.Generator, count: int, length: int, out: FloatArray | None = None
    ) -> FloatArray:
        """float64 [count, length]: rates of random segments, packets/s.

        Args:
            rng: the only source of randomness: the same state gives the same bytes.
            count: number of segments.
            length: intervals in each.
            out: float64 [count, length] to write into; None makes a new array.

        Raises:
            InputError: a trace of the set is shorter than `length` intervals.
        """
        _, starts, peaks = self._draw(rng, count, length)
        windows = np.lib.stride_tricks.sliding_window_view(self._pool.rates, length)
        segments: FloatArray = np.multiply(windows[starts], peaks[:, None], out=out)
        return segments

    def sample(self, rng: np.random.Generator, length: int) -> Trace:
        """One random segment of `length` intervals; its name tells where it comes from.

        It is the first row of `sample_batch(rng, 1, length)` with the same generator state.

        Raises:
            InputError: a trace of the set is shorter than `length` intervals.
        """
        places, starts, peaks = self._draw(rng, 1, length)
        pool, trace, start = self._pool, self.traces[int(places[0])], int(starts[0])
        inside = start - int(pool.offsets[int(places[0])])
        return replace(
            trace,
            name=f"{trace.name}@{inside * self.step_s:g}s",
            rate_pps=pool.rates[start : start + length] * peaks[0],
            step_s=self.step_s,
            capture=None,
        )

    def _draw(
        self, rng: np.random.Generator, count: int, length: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
        """Which trace, which start in the pool, which peak: [count] each."""
        pool = self._pool
        if not 1 <= length <= pool.shortest:
            shortest = self.traces[int(pool.lengths.argmin())]
            raise InputError(
                f"segments of {length} intervals cannot be drawn from {shortest.name!r}, "
                f"which has {pool.shortest}",
                where=self._where,
                fix=f"use a length from 1 to {pool.shortest}, or longer traces",
            )
        chance = rng.random((3, count))
        places = np.searchsorted(pool.cumulative, chance[0], side="right")
        room = pool.lengths[places] - (length - 1)
        starts = pool.offsets[places] + (chance[1] * room).astype(np.int64)
        low, high = self.peak_pps or (1.0, 1.0)
        return places, starts, low + (high - low) * chance[2]

    @cached_property
    def _pool(self) -> _Pool:
        series = [trace.rates(self.step_s) for trace in self.traces]
        if self.peak_pps is not None:
            series = [
                trace.resample(self.step_s).scale_to_peak(1.0).rate_pps for trace in self.traces
            ]
        lengths = np.array([rates.size for rates in series], dtype=np.int64)
        families = [trace.family for trace in self.traces]
        weights = np.array([1.0 / families.count(family) for family in families])
        cumulative = np.cumsum(weights / weights.sum())
        cumulative[-1] = 1.0
        return _Pool(
            rates=np.concatenate(series),
            offsets=np.cumsum(lengths) - lengths,
            lengths=lengths,
            shortest=int(lengths.min()),
            cumulative=cumulative,
        )

    @property
    def _where(self) -> str:
        return f"trace set {self.name!r}"


def peak_range(peak_pps: float | Sequence[float] | None) -> tuple[float, float] | None:
    """A peak, or the lowest and the highest one, as the range that `TraceSet` takes."""
    if peak_pps is None:
        return None
    if isinstance(peak_pps, (int, float)):
        return float(peak_pps), float(peak_pps)
    low, high = peak_pps
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class _Pool:
    """Every trace of a set, end to end, resampled once: a segment is a slice.

    Attributes:
        rates: float64 [total], scaled to a peak of 1 where the set states peaks.
        offsets: int64 [traces], where each begins.
        lengths: int64 [traces], samples of each.
        shortest: the least of them.
        cumulative: float64 [traces], probability of this trace or one before it.
    """

    rates: FloatArray
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    shortest: int
    cumulative: FloatArray
