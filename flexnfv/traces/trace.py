"""A trace: the offered rate over time.

Every operation is pure: it checks its arguments and returns a new `Trace`. A sample k holds over
[k·step, (k+1)·step): a coarse trace read at a finer step is held, never interpolated, because a
straight line between two samples would tell a policy the next one in advance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.errors import InputError

FRAME_OVERHEAD_BYTES = 20
"""Preamble, start delimiter and inter-frame gap of an Ethernet frame (IEEE 802.3)."""

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-9
"""Relative slack below which a duration counts as a whole number of steps."""


def gbps_to_pps(gbps: float, packet_bytes: float = 64.0) -> float:
    """Packets/s of a line rate: G·10⁹ / ((packet_bytes + 20)·8), as in the paper (2 → 2.976 M).

    Args:
        gbps: line rate in Gbit/s, frame overhead included.
        packet_bytes: frame length with its checksum, in bytes.

    Raises:
        InputError: a negative or non-finite rate, or a size that is not positive.
    """
    check_amount("gbps", gbps, zero_allowed=True)
    check_amount("packet_bytes", packet_bytes)
    return gbps * 1e9 / ((packet_bytes + FRAME_OVERHEAD_BYTES) * 8)


def pps_to_gbps(pps: float, packet_bytes: float = 64.0) -> float:
    """Line rate in Gbit/s, frame overhead included: the inverse of `gbps_to_pps`.

    Raises:
        InputError: a negative or non-finite rate, or a size that is not positive.
    """
    check_amount("pps", pps, zero_allowed=True)
    check_amount("packet_bytes", packet_bytes)
    return pps * (packet_bytes + FRAME_OVERHEAD_BYTES) * 8 / 1e9


@dataclass(frozen=True)
class Capture:
    """The packets that a trace's rates were counted from.

    Attributes:
        path: file of the packets, all of them.
        rate: factor of the trace's rates to the recorded ones.
        compress: factor by which the trace is shorter than the recording.
    """

    path: Path
    rate: float = 1.0
    compress: float = 1.0


@dataclass(frozen=True, eq=False)
class Trace:
    """Offered rate over time.

    Attributes:
        name: how reports call it.
        rate_pps: float64 [n], packets/s, each sample held for one step; read-only.
        step_s: seconds between samples.
        packet_bytes: mean packet size in bytes, or None where it is unknown.
        source: file, family with its parameters, or data set that it comes from.
        family: the kind of traffic, for reports by kind (`diurnal`, `flash_crowd`, `file` …).
        capture: the packets behind the rates, for whom they can still be replayed; None otherwise.

    Raises:
        InputError: no sample, a rate that is negative or not finite, a step or a packet size that
            is not positive.
    """

    name: str
    rate_pps: FloatArray
    step_s: float
    packet_bytes: float | None = None
    source: str = ""
    family: str = "file"
    capture: Capture | None = None

    def __post_init__(self) -> None:
        try:
            rate = np.array(self.rate_pps, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(
                "rates must be numbers", where=self._where, fix="give packets/s as float64 [n]"
            ) from None
        if rate.ndim != 1 or rate.size == 0:
            raise InputError(
                f"a trace needs at least one sample in one dimension, got shape {rate.shape}",
                where=self._where,
                fix="give packets/s as float64 [n]",
            )
        bad = np.flatnonzero(~(np.isfinite(rate) & (rate >= 0)))
        if bad.size:
            raise InputError(
                f"sample {bad[0]} is {rate[bad[0]]}",
                where=self._where,
                fix="rates must be finite and not negative",
            )
        check_amount("step_s", self.step_s, where=self._where)
        if self.packet_bytes is not None:
            check_amount("packet_bytes", self.packet_bytes, where=self._where)
        rate.flags.writeable = False
        object.__setattr__(self, "rate_pps", rate)
        object.__setattr__(self, "step_s", float(self.step_s))

    def __len__(self) -> int:
        return int(self.rate_pps.size)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.rate_pps, self.step_s, self.packet_bytes, self.source, self.family)
        return Trace, (self.name, *fields, self.capture)

    def __repr__(self) -> str:
        return (
            f"Trace({self.name!r}, {len(self)} samples of {self.step_s:g} s, "
            f"mean {self.mean_pps:.4g} pps, peak {self.peak_pps:.4g} pps)"
        )

    @property
    def duration_s(self) -> float:
        """Seconds that the trace lasts."""
        return len(self) * self.step_s

    @property
    def mean_pps(self) -> float:
        """Mean rate over the whole duration, packets/s."""
        return float(self.rate_pps.mean())

    @property
    def peak_pps(self) -> float:
        """Highest sample, packets/s."""
        return float(self.rate_pps.max())

    @property
    def times_s(self) -> FloatArray:
        """float64 [n]: the start of every sample, seconds from 0."""
        return np.arange(len(self), dtype=np.float64) * self.step_s

    def rates(self, step_s: float) -> FloatArray:
        """float64 [m]: mean rate in every whole interval of `step_s` seconds, packets/s.

        Packets are conserved: the mean over the m intervals is the trace's mean over the same
        time. What is left after the last whole interval is cut off.

        Raises:
            InputError: `step_s` is not positive, or longer than the trace.
        """
        check_amount("step_s", step_s, where=self._where)
        count = math.floor(self.duration_s / step_s * (1 + _ROUNDING))
        if count == 0:
            raise InputError(
                f"the trace lasts {self.duration_s:g} s, shorter than one interval of {step_s:g} s",
                where=self._where,
                fix="use a shorter step, a longer trace, or a compress factor below 1",
            )
        ratio = step_s / self.step_s
        if abs(ratio - 1) < _ROUNDING:
            return self.rate_pps
        per_interval = round(ratio)
        if per_interval > 1 and abs(ratio - per_interval) < _ROUNDING * ratio:
            whole = self.rate_pps[: count * per_interval]
            return np.asarray(whole.reshape(count, per_interval).mean(axis=1))
        held = round(1 / ratio)
        if held > 1 and abs(1 / ratio - held) < _ROUNDING * held:
            return np.repeat(self.rate_pps, held)[:count]
        return self._rates_by_integral(count, ratio)

    def _rates_by_integral(self, count: int, ratio: float) -> FloatArray:
        """Mean rate of `count` intervals of `ratio` samples each, `ratio` being any number."""
        edges = np.minimum(np.arange(count + 1) * ratio, len(self))
        packets = np.concatenate([[0.0], np.cumsum(self.rate_pps)])
        sent = np.interp(edges, np.arange(len(self) + 1), packets)
        # The difference of two large sums may fall below 0 by a rounding error.
        return np.asarray(np.maximum(np.diff(sent) / np.diff(edges), 0.0), dtype=np.float64)

    def mean_between(self, start_s: npt.ArrayLike, end_s: npt.ArrayLike) -> FloatArray:
        """float64: mean rate from `start_s` to a later `end_s`, packets/s; 0 beyond the trace."""
        edges = np.append(self.times_s, self.duration_s)
        sent = np.append(0.0, np.cumsum(self.rate_pps) * self.step_s)
        start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
        packets = np.interp(end, edges, sent) - np.interp(start, edges, sent)
        return np.asarray(packets / (end - start))

    def resample(self, step_s: float) -> Trace:
        """The same traffic in steps of `step_s`; see `rates` for what is kept.

        Raises:
            InputError: `step_s` is not positive, or longer than the trace.
        """
        return replace(self, rate_pps=self.rates(step_s), step_s=step_s)

    def compress(self, factor: float) -> Trace:
        """The same samples in `factor` times less time: a day of 60 s samples in 24 minutes.

        Raises:
            InputError: `factor` is not positive.
        """
        check_amount("compress factor", factor, where=self._where)
        capture = self.capture and replace(self.capture, compress=self.capture.compress * factor)
        return replace(self, step_s=self.step_s / factor, capture=capture)

    def scale(self, factor: float) -> Trace:
        """Every rate times `factor`.

        Raises:
            InputError: `factor` is negative or not finite.
        """
        check_amount("scale factor", factor, zero_allowed=True, where=self._where)
        return replace(self, rate_pps=self.rate_pps * factor, capture=self._captured(factor))

    def scale_to_peak(self, peak_pps: float) -> Trace:
        """The same shape with its highest sample at `peak_pps`.

        Raises:
            InputError: `peak_pps` is not positive, or the trace carries no packet.
        """
        check_amount("peak_pps", peak_pps, where=self._where)
        peak = self.peak_pps
        if peak == 0:
            raise InputError(
                "every sample is 0, so there is no peak to scale",
                where=self._where,
                fix="use a trace that carries packets",
            )
        capture = self._captured(peak_pps / peak)
        return replace(self, rate_pps=self.rate_pps / peak * peak_pps, capture=capture)

    def cut(self, start_s: float = 0.0, end_s: float | None = None) -> Trace:
        """The samples from `start_s` up to, not including, `end_s`, rounded to whole samples.

        Raises:
            InputError: the range is outside the trace or holds no sample.
        """
        end = self.duration_s if end_s is None else end_s
        check_amount("start_s", start_s, zero_allowed=True, where=self._where)
        check_amount("end_s", end, where=self._where)
        first, last = round(start_s / self.step_s), round(end / self.step_s)
        if first >= last or last > len(self):
            raise InputError(
                f"no samples from {start_s:g} s to {end:g} s",
                where=self._where,
                fix=f"choose a range of at least {self.step_s:g} s "
                f"between 0 and {self.duration_s:g} s",
            )
        capture = None if first else self.capture  # A replay cannot begin in the middle.
        return replace(self, rate_pps=self.rate_pps[first:last], capture=capture)

    def noise(self, sigma: float, seed: int = 0) -> Trace:
        """Multiplies every sample by an independent log-normal factor and keeps the mean.

        Args:
            sigma: standard deviation of the factor's logarithm; 0.05 is about 5 %.
            seed: of the numpy Generator.

        Raises:
            InputError: `sigma` is negative or not finite.
        """
        check_amount("noise sigma", sigma, zero_allowed=True, where=self._where)
        factors = np.exp(np.random.default_rng(seed).normal(0.0, sigma, len(self)))
        noisy = self.rate_pps * factors
        if (total := noisy.sum()) > 0:
            noisy *= self.rate_pps.sum() / total
        return replace(self, rate_pps=noisy, capture=None)

    def renamed(self, name: str) -> Trace:
        """The same trace under another name."""
        return replace(self, name=name)

    def _captured(self, factor: float) -> Capture | None:
        return self.capture and replace(self.capture, rate=self.capture.rate * factor)

    @property
    def _where(self) -> str:
        return f"trace {self.name!r}"


def check_amount(what: str, value: float, *, zero_allowed: bool = False, where: str = "") -> None:
    """Raises InputError unless `value` is finite and positive (or 0, where that is allowed)."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
        bound = "not negative" if zero_allowed else "positive"
        raise InputError(f"{what} is {value:g}", where=where, fix=f"it must be finite and {bound}")
