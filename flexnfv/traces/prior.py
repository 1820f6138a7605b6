"""A wide prior of demand: what a link may carry that nobody has measured yet.

A series begins as a constant. Every component of `COMPONENTS` joins it with its probability, in
this order, each with parameters of its own drawn log-uniformly (times, rates, sizes) over the range
of the published statistic that it stands for. A series has a richness, 0.2 to 1, that every chance
is multiplied by: some links have one strong effect and nothing else, others many.

All times are in intervals, since the same shapes appear from 10 ms (frames, polling) to an hour
(shops, backbones). A series has a peak of 1; callers scale it to their chain's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from flexnfv.compiled import compiled
from flexnfv.errors import InputError
from flexnfv.traces.synthetic import fgn
from flexnfv.traces.trace import FloatArray

VERSION: Final = "prior-1"
"""Names the bits that a seed gives: whoever changes them changes it."""

_GRID: Final = 2.0**24
"""Rates are multiples of 1/2²⁴ of the peak, coarser than what mathematical libraries differ by."""

_LEAST_BUSY: Final = 8
"""Intervals that carry something, at least: with fewer there is no traffic to scale for."""

_DAYS: Final = (24.0, 24.0, 24.0, 48.0, 96.0, 144.0, 288.0, 288.0, 288.0, 1440.0, 1440.0, 1440.0)
"""Samples of a day at an hour, 30, 15, 10, 5 minutes and a minute; first, fifth, last are usual."""

Component = Callable[[np.random.Generator, FloatArray], FloatArray]
"""Takes the rates so far [intervals], of any scale, and returns those with one effect more."""


def draw(rng: np.random.Generator, intervals: int) -> FloatArray:
    """float64 [intervals]: one series of the prior, its peak 1; the generator's state decides all.

    Raises:
        InputError: fewer than 8 intervals.
    """
    if intervals < _LEAST_BUSY:
        raise InputError(
            f"a series of {intervals} intervals", where="prior", fix=f"draw at least {_LEAST_BUSY}"
        )
    while True:
        rate, richness = np.ones(intervals), rng.uniform(0.2, 1.0)
        for chance, component in COMPONENTS.values():
            if rng.random() < chance * richness:
                rate = component(rng, rate)
        series = np.rint(rate * (_GRID / max(rate.max(), 1e-300))) / _GRID
        if np.count_nonzero(series) >= _LEAST_BUSY and np.ptp(series) > 0.0:
            return np.asarray(series)


def draws(seed: int, count: int, intervals: int) -> FloatArray:
    """float64 [count, intervals]: series of the prior, each with a peak of 1.

    Row i depends on `seed`, i and `intervals` alone: a longer list begins with the shorter one.

    Raises:
        InputError: fewer than 8 intervals.
    """
    return np.stack([nth(seed, row, intervals) for row in range(count)])


def nth(seed: int, row: int, intervals: int) -> FloatArray:
    """float64 [intervals]: row `row` of `draws` with this seed.

    Raises:
        InputError: fewer than 8 intervals.
    """
    return draw(np.random.default_rng([seed, row]), intervals)


# --- components, in the order in which they join ----------------------------------------------


def slow_drift(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate wanders over 50–5,000 intervals (Ornstein-Uhlenbeck), spread 0.03–1.

    Rates of links are log-normal at every time scale: Alasmar et al., "Internet traffic volumes are
    not Gaussian – they are log-normal", IEEE/ACM Trans. Networking 29(3), 2021.
    """
    return rate * _exp(_wander(rng, rate.size, _between(rng, 50, 5000), _between(rng, 0.03, 1.0)))


def fast_noise(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate wanders over 0.7–30 intervals (Ornstein-Uhlenbeck), spread 0.005–0.6.

    Antoniou et al., "On the log-normal distribution of network traffic", Physica D 167, 2002.
    """
    return rate * _exp(_wander(rng, rate.size, _between(rng, 0.7, 30), _between(rng, 0.005, 0.6)))


def rhythm(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """A day of 20–20,000 intervals with harmonics, peak ÷ trough 1.2–15, weekends in a third.

    Half of the days last as long as a usual sampling makes them (24, 48, 96, 144, 288, 1,440).
    Thompson, Miller and Wilder, "Wide-area Internet traffic patterns and characteristics", IEEE
    Network 11(6), 1997: day and week on the links of a backbone.
    """
    period = float(rng.choice(_DAYS)) if rng.random() < 0.5 else _between(rng, 20, 20_000)
    day = np.arange(rate.size) / period + rng.random()
    order = np.arange(1, 5)
    weights = np.where(order == 1, 1.0, rng.random(4) / order ** _between(rng, 0.7, 3.0))
    phases = rng.uniform(0.0, 2 * np.pi, 4)
    wave: FloatArray = np.cos(2 * np.pi * day[:, None] * order + phases) @ (weights / weights.sum())
    if rng.random() < 0.33:
        weekend = (day + rng.uniform(0.0, 7.0)) % 7.0 >= 5.0
        wave = np.where(weekend, (1.0 + wave) * rng.uniform(0.2, 1.0) - 1.0, wave)
    ratio = _between(rng, 1.2, 15)
    if rng.random() < 0.5:
        return rate * _exp(0.5 * np.log(ratio) * wave)
    return rate * (1.0 + (ratio - 1.0) * 0.5 * (1.0 + wave))


def long_memory(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Fractional Gaussian noise in the log-rate, Hurst 0.6–0.95, spread 0.03–0.6.

    Leland et al., "On the self-similar nature of Ethernet traffic", IEEE/ACM Trans. Networking
    2(1), 1994 (H about 0.8); Crovella and Bestavros, IEEE/ACM Trans. Networking 5(6), 1997 (web).
    """
    noise = fgn(rate.size, rng.uniform(0.6, 0.95), rng)
    return rate * _exp(_between(rng, 0.03, 0.6) * noise)


def jumps(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate jumps once in 10–2,000 intervals by 0.1–1.2, and reverts within 10–2,000 or stays.

    Barford, Kline, Plonka and Ron, "A signal analysis of network traffic anomalies", IMW 2002:
    failures and attacks change the level at once, for minutes to days.
    """
    at = rng.random(rate.size) < 1.0 / _between(rng, 10, 2000)
    sizes = _between(rng, 0.1, 1.2) * rng.normal(size=rate.size)
    if rng.random() < 0.5:
        return rate * _exp(_decaying(at * sizes, _between(rng, 10, 2000)))
    return rate * _exp(sizes[np.maximum.accumulate(np.where(at, np.arange(rate.size), 0))])


def growth(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Grows by 1.5–10 or shrinks, all the time or between two times, or starts from silence.

    Labovitz et al., "Internet inter-domain traffic", SIGCOMM 2010 (×1.45 a year); a service that
    goes live starts from nothing.
    """
    time = np.linspace(0.0, 1.0, rate.size)
    first, last = np.sort(rng.random(2))
    ramp = np.clip((time - first) / max(last - first, 1.0 / rate.size), 0.0, 1.0)
    kind = rng.random()
    if kind < 0.4:
        risen = 1.0 - rng.random() * (1.0 - ramp)
        return np.where(time >= first, rate * risen, 0.0)
    log_factor = np.log(_between(rng, 1.5, 10)) * rng.choice((-1.0, 1.0, 1.0))
    return rate * _exp(log_factor * (time if kind < 0.7 else ramp))


def alternation(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """What one interval sends more the next one sends less (lag-1 correlation below 0).

    Windows and pacing move packets across an interval's edge: Jiang and Dovrolis, "Why is the
    Internet traffic bursty in short time scales?", SIGMETRICS 2005. Spread 0.1–1.
    """
    noise = rng.normal(size=rate.size + 1)
    moved = noise[1:] - rng.uniform(0.5, 1.0) * noise[:-1]
    return rate * _exp(_between(rng, 0.1, 1.0) * moved)


def shots(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Flash crowds once in 5–500 intervals, ×0.5–10 and rarely ×100, fading within 0.5–30.

    Poisson shot noise: Barakat et al., "Modeling Internet backbone traffic at the flow level", IEEE
    Trans. Signal Processing 51(8), 2003. Heavy-tailed heights and a quick rise: Wendell and
    Freedman, "Going viral: flash crowds in an open CDN", IMC 2011.
    """
    at = rng.random(rate.size) < 1.0 / _between(rng, 5, 500)
    tail = _pareto(rng, rate.size, _between(rng, 1.2, 6.0))
    heights = np.minimum(_between(rng, 0.5, 10) * tail, 100.0)
    return rate * (1.0 + _decaying(np.where(at, heights, 0.0), _between(rng, 0.5, 30)))


def storms(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """One to three surges of ×5–100 that rise at once and fade within 3–300 intervals.

    Worms and news: Lad et al., "Analysis of BGP update surge during Slammer worm attack", IWDC
    2003; Jung, Krishnamurthy and Rabinovich, "Flash crowds and denial of service attacks", WWW
    2002.
    """
    surge = np.zeros(rate.size)
    for place in rng.integers(0, rate.size, rng.integers(1, 4)):
        surge[place] += _between(rng, 5, 100)
    noise = _factors(rng, 0.1, 1.0, (rate.size,))
    return rate * (1.0 + _decaying(surge, _between(rng, 3, 300)) * noise)


def elephants(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Single transfers of ×1–20 the calm rate, once in 20–2,000 intervals, for 1–20 of them.

    Sarvotham, Riedi and Baraniuk, "Connection-level analysis and modeling of network traffic", IMW
    2001: bursts come from a few fast connections over calm traffic.
    """
    starts = np.flatnonzero(rng.random(rate.size) < 1.0 / _between(rng, 20, 2000))
    ends = np.minimum(starts + rng.geometric(1.0 / _between(rng, 1, 20), starts.size), rate.size)
    heights = _between(rng, 1, 20) * _factors(rng, 0.1, 0.7, starts.shape)
    steps = np.bincount(starts, heights, rate.size + 1) - np.bincount(ends, heights, rate.size + 1)
    return rate + np.median(rate) * np.maximum(np.cumsum(steps)[:-1], 0.0)


def frames(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Bursts of one to three clocks, every 2–100 intervals, exactly or with jitter.

    They hold 40–100 % of the traffic; half of the sources keep a steady rate. Video and XR: 3GPP TR
    38.838 (frames at 30–120 Hz, jitter of 2 ms, sizes varying by 10 % and more). Polling: Barbosa,
    Sadre and Pras, "Exploiting traffic periodicity in industrial control networks", Int. J.
    Critical Infrastructure Protection 13, 2016.
    """
    clocks = int(rng.choice((1, 1, 1, 1, 2, 3)))
    bursts: FloatArray = np.mean([_clock(rng, rate.size) for _ in range(clocks)], axis=0)
    share = 1.0 if rng.random() < 0.5 else rng.uniform(0.4, 1.0)
    base = rate if rng.random() < 0.5 else np.full(rate.size, rate.mean())
    return base * (1.0 - share + share * bursts)


def on_off(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """On for 1–100 intervals at a time, silent or nearly so 5–98 % of the time, Pareto periods.

    Tail indices 1.1–2: Willinger et al., "Self-similarity through high-variability", IEEE/ACM
    Trans. Networking 5(1), 1997. Many links of a data centre idle most of the time: Benson, Akella
    and Maltz, "Network traffic characteristics of data centers in the wild", IMC 2010.
    """
    silent, on = rng.uniform(0.05, 0.98), _between(rng, 1, 100)
    off = max(on * silent / (1.0 - silent), 1.0)
    pairs = int(rate.size / (on + off)) + 8
    periods = np.stack([_periods(rng, pairs, on), _periods(rng, pairs, off)], axis=1)
    edges = np.cumsum(periods.ravel())
    edges -= rng.random() * (edges[-1] - rate.size)
    place = np.searchsorted(edges, np.arange(rate.size), side="right")
    levels = _factors(rng, 0.001, 1.0, (edges.size + 1,))[place]
    rest = 0.0 if rng.random() < 0.6 else _between(rng, 0.002, 0.2)
    return rate * np.where(place % 2 == 0, levels, rest)


def outages(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Once in 100–3,000 intervals the rate falls to 0–50 % for 1–30 of them.

    Markopoulou et al., "Characterization of failures in an operational IP backbone network",
    IEEE/ACM Trans. Networking 16(4), 2008: most failures last less than ten minutes.
    """
    down = rng.random(rate.size) < 1.0 / _between(rng, 100, 3000)
    length = round(_between(rng, 1, 30))
    down = np.convolve(down, np.ones(length))[: rate.size] > 0
    left = 0.0 if rng.random() < 0.5 else rng.uniform(0.0, 0.5)
    return np.where(down, rate * left, rate)


def saturation(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Never above a capacity of 0.3–3 times the mean, fixed or reconfigured every 10–2,000.

    Mohan et al., "A multifaceted look at Starlink performance", WWW 2024: a saturated satellite
    link takes a new level every 15 s.
    """
    capacity = np.full(rate.size, _between(rng, 0.3, 3.0) * rate.mean())
    if rng.random() < 0.7:
        slot = np.arange(rate.size) / _between(rng, 10, 2000) + rng.random()
        levels = _factors(rng, 0.05, 0.5, (int(slot[-1]) + 1,))
        capacity *= levels[slot.astype(np.int64)] * _factors(rng, 0.01, 0.4, (rate.size,))
    return np.asarray(np.minimum(rate, capacity))


def held(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Known every 2–60 intervals only, held or interpolated in between.

    Counters are polled more coarsely than a policy decides: Roughan, "A case study of the accuracy
    of SNMP measurements", J. Electrical and Computer Engineering, 2010.
    """
    every, now = round(_between(rng, 2, 60)), np.arange(rate.size)
    if rng.random() < 0.5:
        return rate[now // every * every]
    return np.asarray(np.interp(now, now[::every], rate[::every]))


def counting(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Whole packets or requests, 0.3–10,000 an interval on average; over-dispersed in half.

    Poisson at short times: Karagiannis, Molle, Faloutsos and Broido, "A nonstationary Poisson view
    of Internet traffic", INFOCOM 2004. Batches make it negative binomial (shape 0.3–30): Paxson and
    Floyd, "Wide area traffic: the failure of Poisson modeling", IEEE/ACM Trans. Networking 3(3),
    1995.
    """
    expected = rate * (_between(rng, 0.3, 1e4) / max(rate.mean(), 1e-300))
    if rng.random() < 0.5:
        shape = _between(rng, 0.3, 30)
        expected = expected * rng.gamma(shape, 1.0 / shape, rate.size)
    return np.asarray(rng.poisson(expected), dtype=np.float64)


class Entry(NamedTuple):
    """A component and its chance.

    Attributes:
        chance: a series of richness r has the component with probability min(1, r · chance).
        component: the function.
    """

    chance: float
    component: Component


COMPONENTS: Final[dict[str, Entry]] = {
    "slow drift": Entry(0.9, slow_drift),
    "fast noise": Entry(1.6, fast_noise),
    "rhythm": Entry(1.2, rhythm),
    "long memory": Entry(0.3, long_memory),
    "jumps": Entry(0.35, jumps),
    "growth": Entry(0.45, growth),
    "alternation": Entry(0.2, alternation),
    "shots": Entry(0.25, shots),
    "storms": Entry(0.16, storms),
    "elephants": Entry(0.25, elephants),
    "frames": Entry(0.3, frames),
    "on/off": Entry(0.25, on_off),
    "outages": Entry(0.15, outages),
    "saturation": Entry(0.12, saturation),
    "held": Entry(0.15, held),
    "counting": Entry(0.7, counting),
}
"""Every component by its name, in the order in which they join."""


def summary(component: Component) -> str:
    """The first line of what a component says of itself."""
    return (inspect.getdoc(component) or "").partition("\n")[0]


# --- arithmetic -------------------------------------------------------------------------------


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from low to high, log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _exp(log_factors: FloatArray) -> FloatArray:
    return np.asarray(np.exp(log_factors), dtype=np.float64)


def _factors(
    rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]
) -> FloatArray:
    """float64 [shape]: independent log-normal factors of one spread from low to high."""
    return _exp(_between(rng, low, high) * rng.normal(size=shape))


def _wander(rng: np.random.Generator, count: int, time: float, spread: float) -> FloatArray:
    """float64 [count]: an Ornstein-Uhlenbeck process of mean 0, in equilibrium from the start."""
    noise = spread * rng.normal(size=count)
    noise[1:] *= np.sqrt(-np.expm1(-2.0 / time))
    return _decaying(noise, time)


def _decaying(impulses: FloatArray, time: float) -> FloatArray:
    """float64 [n]: what is left of all impulses so far when each fades exponentially."""
    return np.asarray(compiled(leaky)(impulses, float(np.exp(-1.0 / time))))


def leaky(inflow: FloatArray, keep: float) -> FloatArray:
    """float64 [n]: level[i] = keep · level[i-1] + inflow[i]."""
    level = np.empty(inflow.size)
    last = 0.0
    for i in range(inflow.size):
        last = keep * last + inflow[i]
        level[i] = last
    return level


def _pareto(rng: np.random.Generator, count: int, tail: float) -> FloatArray:
    """float64 [count]: Pareto numbers from 1 upwards of a tail index."""
    return 1.0 + rng.pareto(tail, count)


def _periods(rng: np.random.Generator, count: int, mean: float) -> FloatArray:
    """float64 [count]: Pareto periods of a tail index from 1.1 to 2, together `count` means."""
    periods = _pareto(rng, count, rng.uniform(1.1, 2.0))
    return periods * (mean / float(periods.mean()))


def _clock(rng: np.random.Generator, count: int) -> FloatArray:
    """float64 [count]: a burst per period, of any width up to 0.4 periods, mean about 1."""
    period = _between(rng, 2, 5) if rng.random() < 0.7 else _between(rng, 2, 100)
    period = float(round(period)) if rng.random() < 0.5 else period
    width = period * _between(rng, 0.02, 0.4)
    bursts, parts = int(count / period) + 3, 8 if width > 1.5 else 1
    jitter = _between(rng, 0.01, 0.5) * rng.normal(size=(bursts, 1))
    starts = (np.arange(bursts)[:, None] - 1.0 + rng.random()) * period + jitter
    at = np.floor(starts + width * np.arange(parts) / parts).astype(np.int64)
    sizes = np.broadcast_to(_factors(rng, 0.03, 0.8, (bursts, 1)) * period / parts, at.shape)
    inside = (at >= 0) & (at < count)
    return np.bincount(at[inside], sizes[inside], count).astype(np.float64)
