"""Families of synthetic traffic, each fitted to the published statistics that it cites.

Every family is a function of keyword arguments that returns a `Trace`; all randomness comes from
one numpy Generator seeded with `seed`. Amplitudes are packets/s, times are seconds. A day or a
flash crowd is stated in trace time: the defaults are compressed, so that a policy that decides
once a second meets hundreds of decisions, not tens of thousands, between trough and peak.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from flexnfv.errors import InputError
from flexnfv.spec import Whole
from flexnfv.traces.trace import FloatArray, Trace, check_amount, gbps_to_pps

PAPER_PACKET_BYTES = 64.0
"""Packet size of every experiment of the paper (Sec. IV)."""

_DIURNAL_PHASES = (1.40, 0.22)
_DIURNAL_SECOND = 0.5
"""Phases of the daily and half-daily harmonics, and the second one's share of the first.

Fitted to the hours of Labovitz (see `diurnal`): a trough at 6, maxima in the afternoon and at 22.
"""


def constant(*, rate_pps: float = 5e6, duration_s: float = 512.0, step_s: float = 1.0) -> Trace:
    """A steady rate: the constant offered load of RFC 2544 sec. 26.1 and of the paper's Table I.

    Raises:
        InputError: a negative rate, or a time that is not positive.
    """
    check_amount("rate_pps", rate_pps, zero_allowed=True, where="synthetic/constant")
    count = _count("constant", duration_s, step_s)
    return _trace("constant", np.full(count, rate_pps), step_s)


def ramp(
    *,
    low_pps: float = gbps_to_pps(2.0),
    high_pps: float = gbps_to_pps(6.0),
    period_s: float = 256.0,
    duration_s: float = 512.0,
    step_s: float = 1.0,
) -> Trace:
    """Rises linearly from low to high and falls back, once a period.

    The default sweeps the input rates of the paper's Fig. 2 and Table I (2 to 6 Gbps, 64 bytes).

    Raises:
        InputError: a negative rate, or a time that is not positive.
    """
    check_amount("low_pps", low_pps, zero_allowed=True, where="synthetic/ramp")
    check_amount("high_pps", high_pps, zero_allowed=True, where="synthetic/ramp")
    check_amount("period_s", period_s, where="synthetic/ramp")
    time = _times("ramp", duration_s, step_s)
    phase = time / period_s % 1.0
    triangle = 1.0 - np.abs(2.0 * phase - 1.0)
    return _trace("ramp", low_pps + (high_pps - low_pps) * triangle, step_s)


def step(
    *,
    levels_pps: Sequence[float] = (gbps_to_pps(4.0), gbps_to_pps(2.0), gbps_to_pps(4.0)),
    at_s: Sequence[float] = (6.0, 14.0),
    duration_s: float = 20.0,
    step_s: float = 1.0,
) -> Trace:
    """Jumps between levels. The default is the paper's Fig. 3: 4 Gbps, 2 at 6 s, 4 at 14 s.

    Args:
        levels_pps: the level before each jump and after the last, packets/s.
        at_s: when the jumps are, ascending, seconds; one fewer than the levels.
        duration_s: seconds.
        step_s: seconds between samples.

    Raises:
        InputError: levels and jumps that do not fit one another, jumps out of order, a negative
            level, or a time that is not positive.
    """
    where = "synthetic/step"
    if len(levels_pps) != len(at_s) + 1:
        raise InputError(
            f"{len(levels_pps)} levels and {len(at_s)} jumps",
            where=where,
            fix="give one level more in levels_pps than times in at_s",
        )
    if any(later <= earlier for earlier, later in zip(at_s, list(at_s)[1:], strict=False)):
        raise InputError("the times in at_s are out of order", where=where, fix="sort them")
    for level in levels_pps:
        check_amount("a level", level, zero_allowed=True, where=where)
    # Half a step of slack puts a jump on the sample that it falls on in spite of rounding.
    time = _times("step", duration_s, step_s) + step_s * 1e-9
    levels = np.asarray(levels_pps, dtype=np.float64)
    return _trace("step", levels[np.searchsorted(np.asarray(at_s), time, side="right")], step_s)


def diurnal(
    *,
    peak_pps: float = 10e6,
    trough_ratio: float = 0.5,
    period_s: float = 512.0,
    phase: float = 0.0,
    noise_cv: float = 0.045,
    hurst: float = 0.8,
    duration_s: float = 1024.0,
    step_s: float = 1.0,
    seed: Whole = 0,
) -> Trace:
    """A day's rhythm, a daily and a half-daily harmonic, with long-range dependent noise.

    Labovitz (Arbor Networks, "The Internet after dark", 2009) reports for 40 North American
    providers 50 % of the daily peak at 6 h, a first maximum at 16 h, the peak at 23 h and more than
    60 % until 3 h: `trough_ratio` and the two harmonics. The noise is 4.5 % from sample to sample,
    the spread of the changes in the 5-minute series of a European ISP that Cortez et al. ("Multi-
    scale Internet traffic forecasting", Expert Systems 29(2), 2012) study.

    Args:
        peak_pps: peak of the rhythm without noise, packets/s.
        trough_ratio: lowest point of the rhythm ÷ its peak, 0 to 1.
        period_s: seconds that a day lasts in the trace.
        phase: hour at which the trace begins ÷ 24.
        noise_cv: coefficient of variation of the noise.
        hurst: Hurst parameter of the noise, 0.5 to 1.
        duration_s: seconds.
        step_s: seconds between samples.
        seed: of the numpy Generator.

    Raises:
        InputError: a value outside the ranges above.
    """
    where = "synthetic/diurnal"
    check_amount("peak_pps", peak_pps, where=where)
    check_amount("period_s", period_s, where=where)
    check_amount("noise_cv", noise_cv, zero_allowed=True, where=where)
    _check_hurst(hurst, where)
    _check_range("trough_ratio", trough_ratio, 0.0, 1.0, where)
    time = _times("diurnal", duration_s, step_s)
    fine = _rhythm(np.linspace(0.0, 1.0, 1440, endpoint=False))
    shape = (_rhythm(time / period_s + phase) - fine.min()) / (fine.max() - fine.min())
    rhythm = trough_ratio + (1.0 - trough_ratio) * np.clip(shape, 0.0, 1.0)
    disturbance = _positive(fgn(time.size, hurst, np.random.default_rng(seed)), noise_cv)
    return _trace("diurnal", peak_pps * rhythm * disturbance, step_s, seed)


def flash_crowd(
    *,
    base_pps: float = 4e6,
    shock: float = 4.5,
    ramp_s: float = 20.0,
    decay: float = 3.0,
    gap_s: float = 256.0,
    noise_cv: float = 0.05,
    hurst: float = 0.8,
    duration_s: float = 512.0,
    step_s: float = 1.0,
    seed: Whole = 0,
) -> Trace:
    """A base rate with flash crowds: quick ramp-up, sustained part, slower ramp-down.

    The three phases are those of Ari et al. ("Managing flash crowds on the Internet", MASCOTS
    2003): the ramp-up takes `ramp_s`, the sustained part log10(1 + shock) ramps, the ramp-down
    `decay` times the sustained part. The default shock is that of the World Cup 98 site (Arlitt
    and Jin, "A workload characterization study of the 1998 World Cup web site", IEEE Network
    14(3), 2000), whose busiest minute was 2.0 to 6.5 times the day's median during the first week.

    Args:
        base_pps: rate between the crowds, packets/s.
        shock: peak of a crowd ÷ base rate; each crowd's own is drawn from 0.6 to 1 of it, the
            first one has it whole.
        ramp_s: seconds of the ramp-up.
        decay: ramp-down ÷ sustained part.
        gap_s: mean seconds between crowds (exponential).
        noise_cv: coefficient of variation of the noise.
        hurst: Hurst parameter of the noise, 0.5 to 1.
        duration_s: seconds.
        step_s: seconds between samples.
        seed: of the numpy Generator.

    Raises:
        InputError: a value that is negative or not finite, or a shock below 1.
    """
    where = "synthetic/flash_crowd"
    check_amount("base_pps", base_pps, where=where)
    _check_range("shock", shock, 1.0, math.inf, where)
    for name, value in (("ramp_s", ramp_s), ("decay", decay), ("gap_s", gap_s)):
        check_amount(name, value, where=where)
    check_amount("noise_cv", noise_cv, zero_allowed=True, where=where)
    _check_hurst(hurst, where)
    time = _times("flash_crowd", duration_s, step_s)
    rng = np.random.default_rng(seed)
    level = np.ones(time.size)
    start, size = rng.uniform(0.0, min(gap_s, duration_s / 2)), shock
    while start < duration_s:
        sustained = ramp_s * math.log10(1.0 + size)
        corners = np.cumsum([start, ramp_s, sustained, decay * sustained])
        level = np.maximum(level, np.interp(time, corners, [1.0, size, size, 1.0]))
        start = corners[-1] + rng.exponential(gap_s)
        size = 1.0 + (shock - 1.0) * rng.uniform(0.6, 1.0)
    disturbance = _positive(fgn(time.size, hurst, rng), noise_cv)
    return _trace("flash_crowd", base_pps * level * disturbance, step_s, seed)


def on_off(
    *,
    mean_pps: float = 5e6,
    sources: int = 24,
    on_s: float = 4.0,
    off_s: float = 8.0,
    alpha_on: float = 1.7,
    alpha_off: float = 1.2,
    duration_s: float = 512.0,
    step_s: float = 1.0,
    seed: Whole = 0,
) -> Trace:
    """Superposed on/off sources with heavy-tailed (Pareto) periods.

    Willinger, Taqqu, Sherman and Wilson ("Self-similarity through high-variability", IEEE/ACM
    Trans. Networking 5(1), 1997) measure tail indices of about 1.7 for the on-periods and 1.2 for
    the off-periods of Ethernet sources, and show that many of them add up to self-similar traffic
    with H = (3 − min α)/2.

    Args:
        mean_pps: expected rate of all sources together, packets/s.
        sources: number of sources; fewer are burstier.
        on_s: mean seconds of an on-period.
        off_s: mean seconds of an off-period.
        alpha_on: tail index of the on-periods, above 1.
        alpha_off: tail index of the off-periods, above 1.
        duration_s: seconds.
        step_s: seconds between samples.
        seed: of the numpy Generator.

    Raises:
        InputError: a value that is not positive, or a tail index of 1 or less.
    """
    where = "synthetic/on_off"
    for name, value in (("mean_pps", mean_pps), ("on_s", on_s), ("off_s", off_s)):
        check_amount(name, value, where=where)
    for name, value in (("alpha_on", alpha_on), ("alpha_off", alpha_off)):
        if not 1.0 < value < math.inf:
            raise InputError(f"{name} is {value:g}", where=where, fix="it must be above 1")
    if sources < 1:
        raise InputError(f"sources is {sources}", where=where, fix="it must be at least 1")
    count = _count("on_off", duration_s, step_s)
    rng = np.random.default_rng(seed)
    edges = np.arange(count + 1, dtype=np.float64) * step_s
    busy = np.zeros(count + 1)
    for _ in range(sources):
        busy += _busy_seconds(rng, edges, (on_s, alpha_on), (off_s, alpha_off))
    peak_of_one = mean_pps * (on_s + off_s) / on_s / sources
    return _trace("on_off", np.diff(busy) / step_s * peak_of_one, step_s, seed)


def self_similar(
    *,
    mean_pps: float = 5e6,
    cv: float = 0.35,
    hurst: float = 0.8,
    duration_s: float = 512.0,
    step_s: float = 1.0,
    seed: Whole = 0,
) -> Trace:
    """Fractional Gaussian noise around a mean, with a stated Hurst parameter.

    Leland, Taqqu, Willinger and Wilson ("On the self-similar nature of Ethernet traffic", IEEE/ACM
    Trans. Networking 2(1), 1994) find H near 0.8 in the Bellcore traces; Norros ("A storage model
    with self-similar input", Queueing Systems 16, 1994) gives the model: mean plus fGn. In the
    40 s of that data that R's longmemo ships, the coefficient of variation at 1 s is 0.6, and the
    slope of the variance over time scales gives H = 0.76. The default `cv` is lower: more sources
    share the links in front of a service chain than that LAN.

    Args:
        mean_pps: mean rate, packets/s.
        cv: coefficient of variation of a sample. The marginal is log-normal, so that no rate is
            negative; the Hurst parameter is that of the Gaussian noise beneath.
        hurst: Hurst parameter, 0.5 to 1.
        duration_s: seconds.
        step_s: seconds between samples.
        seed: of the numpy Generator.

    Raises:
        InputError: a value outside these ranges.
    """
    where = "synthetic/self_similar"
    check_amount("mean_pps", mean_pps, where=where)
    check_amount("cv", cv, zero_allowed=True, where=where)
    _check_hurst(hurst, where)
    count = _count("self_similar", duration_s, step_s)
    gaussian = fgn(count, hurst, np.random.default_rng(seed))
    return _trace("self_similar", mean_pps * _positive(gaussian, cv), step_s, seed)


FAMILIES: dict[str, Callable[..., Trace]] = {
    "constant": constant,
    "diurnal": diurnal,
    "flash_crowd": flash_crowd,
    "on_off": on_off,
    "ramp": ramp,
    "self_similar": self_similar,
    "step": step,
}
"""Every family by its name."""


def fgn(count: int, hurst: float, rng: np.random.Generator) -> FloatArray:
    """float64 [count]: fractional Gaussian noise of mean 0 and variance 1, exact in distribution.

    Circulant embedding after Davies and Harte ("Tests for Hurst effect", Biometrika 74(1), 1987).

    Raises:
        InputError: `hurst` is outside [0.5, 1).
    """
    _check_hurst(hurst, "fgn")
    lag = np.arange(count + 1, dtype=np.float64)
    power = 2.0 * hurst
    covariance = 0.5 * ((lag + 1) ** power - 2 * lag**power + np.abs(lag - 1) ** power)
    eigenvalues = np.fft.rfft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    size = 2 * count
    # Rounding may leave an eigenvalue a hair below 0; the exact ones are never negative.
    spectrum = np.sqrt(np.maximum(eigenvalues, 0.0) * size)
    draws = rng.normal(size=(2, count + 1)) * math.sqrt(0.5)
    white = draws[0] + 1j * draws[1]
    white[0], white[-1] = draws[0, 0] * math.sqrt(2), draws[0, -1] * math.sqrt(2)
    return np.asarray(np.fft.irfft(spectrum * white, size)[:count])


def _positive(gaussian: FloatArray, cv: float) -> FloatArray:
    """Log-normal factors of mean 1 and coefficient of variation `cv` from standard Gaussians."""
    variance = math.log1p(cv * cv)
    return np.asarray(np.exp(math.sqrt(variance) * gaussian - variance / 2), dtype=np.float64)


def _rhythm(day: FloatArray) -> FloatArray:
    first, second = _DIURNAL_PHASES
    daily = np.cos(2 * np.pi * day + first)
    rhythm = daily + _DIURNAL_SECOND * np.cos(4 * np.pi * day + second)
    return np.asarray(rhythm, dtype=np.float64)


def _busy_seconds(
    rng: np.random.Generator,
    edges: FloatArray,
    on: tuple[float, float],
    off: tuple[float, float],
) -> FloatArray:
    """float64 [edges]: seconds that one source was on from the start up to each edge.

    `on` and `off` are (mean seconds, tail index). The source starts in equilibrium: the period
    under way at 0 is drawn in proportion to its length and has a uniform part of it left.
    """
    span = float(edges[-1])
    starts_on = rng.random() < on[0] / (on[0] + off[0])
    begin = 0.0 if starts_on else _equilibrium_rest(rng, off)
    first = _equilibrium_rest(rng, on) if starts_on else float(_pareto(rng, on, 1)[0])
    starts, ends, clock = [np.array([begin])], [np.array([begin + first])], begin + first
    cycles = 16 + math.ceil(1.5 * span / (on[0] + off[0]))
    while clock < span:
        periods = np.empty(2 * cycles)
        periods[0::2] = _pareto(rng, off, cycles)
        periods[1::2] = _pareto(rng, on, cycles)
        times = clock + np.cumsum(periods)
        starts.append(times[0::2])
        ends.append(times[1::2])
        clock = float(times[-1])
    started = _seconds_after(np.concatenate(starts), edges)
    return started - _seconds_after(np.concatenate(ends), edges)


def _equilibrium_rest(rng: np.random.Generator, period: tuple[float, float]) -> float:
    """What is left of a Pareto period that a random moment falls into."""
    mean, alpha = period
    minimum = mean * (alpha - 1.0) / alpha
    # Choosing in proportion to length lowers the tail index by one.
    length = minimum * math.pow(1.0 - rng.random(), -1.0 / (alpha - 1.0))
    return float(length * rng.random())


def _pareto(rng: np.random.Generator, period: tuple[float, float], count: int) -> FloatArray:
    mean, alpha = period
    minimum = mean * (alpha - 1.0) / alpha
    return np.asarray(minimum * (1.0 + rng.pareto(alpha, count)), dtype=np.float64)


def _seconds_after(moments: FloatArray, edges: FloatArray) -> FloatArray:
    """Sum over the ascending moments of the seconds that have passed since each, at every edge."""
    passed = np.searchsorted(moments, edges, side="right")
    sums = np.concatenate([[0.0], np.cumsum(moments)])
    return np.asarray(passed * edges - sums[passed], dtype=np.float64)


def _count(family: str, duration_s: float, step_s: float) -> int:
    where = f"synthetic/{family}"
    check_amount("step_s", step_s, where=where)
    check_amount("duration_s", duration_s, where=where)
    count = round(duration_s / step_s)
    if count == 0:
        raise InputError(
            f"duration_s is {duration_s:g}, shorter than one step of {step_s:g} s",
            where=where,
            fix="give a longer duration_s or a shorter step_s",
        )
    return count


def _times(family: str, duration_s: float, step_s: float) -> FloatArray:
    return np.arange(_count(family, duration_s, step_s), dtype=np.float64) * step_s


def _trace(family: str, rate_pps: FloatArray, step_s: float, seed: int | None = None) -> Trace:
    name = family if seed is None else f"{family}-{seed}"
    return Trace(
        name=name,
        rate_pps=np.maximum(rate_pps, 0.0),
        step_s=step_s,
        packet_bytes=PAPER_PACKET_BYTES,
        source=f"synthetic/{family}",
        family=family,
    )


def _check_range(what: str, value: float, low: float, high: float, where: str) -> None:
    if not low <= value <= high or not math.isfinite(value):
        fix = f"it must be finite and at least {low:g}"
        if high < math.inf:
            fix = f"it must be from {low:g} to {high:g}"
        raise InputError(f"{what} is {value:g}", where=where, fix=fix)


def _check_hurst(hurst: float, where: str) -> None:
    if not 0.5 <= hurst < 1.0:
        raise InputError(
            f"hurst is {hurst:g}", where=where, fix="it must be at least 0.5 and below 1"
        )
