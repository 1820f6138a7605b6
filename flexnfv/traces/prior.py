"""A wide prior of demand: what a link may carry that nobody has measured yet.

A series begins as a constant. Every component of `COMPONENTS` joins it with its probability, in
this order, each with parameters of its own drawn log-uniformly (times, rates, sizes) over the range
of the published statistic that it stands for. Most draws hold three to six components, most of them
small: real links mix many weak effects and one or two strong ones.

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

_DAYS: Final = (24.0, 48.0, 96.0, 144.0, 288.0, 1440.0)
"""Samples of a day at an hour, 30, 15, 10, 5 minutes and a minute."""

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
        rate = np.ones(intervals)
        for chance, component in COMPONENTS.values():
            if rng.random() < chance:
                rate = component(rng, rate)
        series = np.rint(rate * (_GRID / max(rate.max(), 1e-300))) / _GRID
        if np.count_nonzero(series) >= _LEAST_BUSY:
            return np.asarray(series)


def draws(seed: int, count: int, intervals: int) -> FloatArray:
    """float64 [count, intervals]: series of the prior, each with a peak of 1.

    Row i depends on `seed`, i and `intervals` alone: a longer list begins with the shorter one.

    Raises:
        InputError: fewer than 8 intervals.
    """
    return np.stack([draw(np.random.default_rng([seed, row]), intervals) for row in range(count)])


# --- components, in the order in which they join ----------------------------------------------


def slow_drift(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate wanders over 50–5,000 intervals (Ornstein-Uhlenbeck), spread 0.05–1.2.

    Rates of links are log-normal at every time scale: Alasmar et al., "Internet traffic volumes are
    not Gaussian – they are log-normal", IEEE/ACM Trans. Networking 29(3), 2021.
    """
    return rate * np.exp(_ou(rng, rate.size, _between(rng, 50, 5000), _between(rng, 0.05, 1.2)))


def fast_noise(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate wanders over 0.7–30 intervals (Ornstein-Uhlenbeck), spread 0.005–0.8.

    Antoniou et al., "On the log-normal distribution of network traffic", Physica D 167, 2002.
    """
    return rate * np.exp(_ou(rng, rate.size, _between(rng, 0.7, 30), _between(rng, 0.005, 0.8)))


def rhythm(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """A day of 20–20,000 intervals with harmonics, peak ÷ trough 1.2–30, weekends in a third.

    Half of the days last as long as a usual sampling makes them (24, 48, 96, 144, 288, 1,440).
    Thompson, Miller and Wilder, "Wide-area Internet traffic patterns and characteristics", IEEE
    Network 11(6), 1997: day and week on a backbone, night at a quarter to a half of the day.
    """
    period = float(rng.choice(_DAYS)) if rng.random() < 0.5 else _between(rng, 20, 20_000)
    day = np.arange(rate.size) / period + rng.random()
    order = np.arange(1, 5)
    weights = np.where(order == 1, 1.0, rng.random(4) / order ** _between(rng, 0.5, 3.0))
    phases = rng.uniform(0.0, 2 * np.pi, 4)
    wave = (weights * np.cos(2 * np.pi * day[:, None] * order + phases)).sum(axis=1)
    half_range = 0.5 * np.log(_between(rng, 1.2, 30.0))
    if rng.random() < 0.3:
        weekend = (day + rng.uniform(0.0, 7.0)) % 7.0 >= 5.0
        wave = np.where(weekend, wave * rng.uniform(0.2, 1.0) - rng.uniform(0.0, 1.0), wave)
    return rate * np.exp(half_range * wave)


def long_memory(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Fractional Gaussian noise in the log-rate, Hurst 0.6–0.95, spread 0.03–0.8.

    Leland et al., "On the self-similar nature of Ethernet traffic", IEEE/ACM Trans. Networking
    2(1), 1994 (H about 0.8); Crovella and Bestavros, IEEE/ACM Trans. Networking 5(6), 1997 (web).
    """
    noise = fgn(rate.size, rng.uniform(0.6, 0.95), rng)
    return rate * np.exp(_between(rng, 0.03, 0.8) * noise)


def jumps(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Log-rate jumps once in 10–2,000 intervals by 0.1–1.5, and reverts within 10–2,000 or stays.

    Barford, Kline, Plonka and Ron, "A signal analysis of network traffic anomalies", IMW 2002:
    outages and attacks change the level at once, for minutes to days.
    """
    at = rng.random(rate.size) < 1.0 / _between(rng, 10, 2000)
    sizes = _between(rng, 0.1, 1.5) * rng.normal(size=rate.size)
    if rng.random() < 0.5:
        return rate * np.exp(_decaying(at * sizes, _between(rng, 10, 2000)))
    return rate * np.exp(sizes[np.maximum.accumulate(np.where(at, np.arange(rate.size), 0))])


def growth(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Grows or shrinks by 1.5–10 in all, or starts from silence, or ramps between two times.

    Labovitz et al., "Internet inter-domain traffic", SIGCOMM 2010 (×1.45 a year); a service that
    goes live starts from nothing.
    """
    time = np.linspace(0.0, 1.0, rate.size)
    first, last = np.sort(rng.random(2))
    log_factor = np.log(_between(rng, 1.5, 10)) * rng.choice((-1.0, 1.0, 1.0))
    kind = rng.random()
    if kind < 0.4:
        return rate * np.exp(log_factor * time)
    ramp = np.clip((time - first) / max(last - first, 1.0 / rate.size), 0.0, 1.0)
    if kind < 0.7:
        return rate * np.exp(log_factor * ramp)
    return rate * (time >= first) * (0.2 + 0.8 * ramp)


def alternation(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """What one interval sends more the next one sends less: lag-1 correlation below 0.

    Windows and pacing move packets across an interval's edge: Jiang and Dovrolis, "Why is the
    Internet traffic bursty in short time scales?", SIGMETRICS 2005. Spread 0.1–0.8.
    """
    noise = rng.normal(size=rate.size + 1)
    return rate * np.exp(_between(rng, 0.1, 0.8) * (noise[1:] - rng.uniform(0.5, 1) * noise[:-1]))


def shots(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Flash crowds once in 5–500 intervals, ×0.5–10 and rarely ×100, fading within 0.5–30.

    Poisson shot noise: Barakat et al., "Modeling Internet backbone traffic at the flow level", IEEE
    Trans. Signal Processing 51(8), 2003. Heavy-tailed heights and a quick rise: Wendell and
    Freedman, "Going viral: flash crowds in an open CDN", IMC 2011.
    """
    at = rng.random(rate.size) < 1.0 / _between(rng, 5, 500)
    tail = (1.0 - rng.random(rate.size)) ** (-1.0 / _between(rng, 1.1, 4.0))
    heights = np.minimum(_between(rng, 0.5, 10) * tail, 100.0)
    return rate * (1.0 + _decaying(at * heights, _between(rng, 0.5, 30)))


def storm(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """One to three surges of ×5–100 that rise at once and fade within 3–300 intervals.

    Worms, outages and news: Lad, Zhao, Zhang, Massey and Zhang, "Analysis of BGP update surge
    during Slammer worm attack", IWDC 2003; Jung, Krishnamurthy and Rabinovich, "Flash crowds and
    denial of service attacks", WWW 2002.
    """
    surge = np.zeros(rate.size)
    for place in rng.integers(0, rate.size, rng.integers(1, 4)):
        surge[place] += _between(rng, 5, 100)
    noise = np.exp(_between(rng, 0.1, 1.0) * rng.normal(size=rate.size))
    return rate * (1.0 + _decaying(surge, _between(rng, 3, 300)) * noise)


def elephants(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Single transfers of ×1–20 the calm rate, once in 20–2,000 intervals, for 1–20 of them.

    Sarvotham, Riedi and Baraniuk, "Connection-level analysis and modeling of network traffic", IMW
    2001: bursts come from a few fast connections over calm traffic.
    """
    starts = np.flatnonzero(rng.random(rate.size) < 1.0 / _between(rng, 20, 2000))
    lengths = rng.geometric(1.0 / _between(rng, 1, 20), starts.size)
    heights = _between(rng, 1, 20) * np.exp(0.5 * rng.normal(size=starts.size))
    steps = np.zeros(rate.size + 1)
    np.add.at(steps, starts, heights)
    np.add.at(steps, np.minimum(starts + lengths, rate.size), -heights)
    return rate + np.median(rate) * np.maximum(np.cumsum(steps)[:-1], 0.0)


def on_off(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """On for 1–100 intervals at a time, silent or nearly so 5–98 % of the time, Pareto periods.

    Tail indices 1.1–2: Willinger et al., "Self-similarity through high-variability", IEEE/ACM
    Trans. Networking 5(1), 1997. Most links of a data centre idle most of the time: Benson, Akella
    and Maltz, "Network traffic characteristics of data centers in the wild", IMC 2010.
    """
    silent = rng.uniform(0.05, 0.98)
    on = _between(rng, 1, 100)
    off = max(on * silent / (1.0 - silent), 1.0)
    count = int(2 * rate.size / (on + off)) + 8
    periods = np.empty((count, 2))
    periods[:, 0] = _pareto(rng, on, count)
    periods[:, 1] = _pareto(rng, off, count)
    edges = np.cumsum(periods.ravel()) - rng.random() * (on + off)
    place = np.searchsorted(edges, np.arange(rate.size), side="right")
    levels = np.exp(_between(rng, 0.01, 1.0) * rng.normal(size=edges.size + 1))
    rest = 0.0 if rng.random() < 0.6 else _between(rng, 0.002, 0.2)
    return rate * np.where(place % 2 == 0, levels[place], rest)


def frames(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """A burst every 2–100 intervals, exactly or with jitter, that holds 30–100 % of the traffic.

    Video and XR: 3GPP TR 38.838 (frames at 30–120 Hz, jitter of 2 ms, sizes varying by 10 % and
    more). Polling of industrial devices: Barbosa, Sadre and Pras, "Exploiting traffic periodicity
    in industrial control networks", Int. J. Critical Infrastructure Protection 13, 2016.
    """
    period = _between(rng, 2, 100)
    period = float(round(period)) if rng.random() < 0.5 else period
    width = max(1.0, period * _between(rng, 0.02, 0.4))
    count = int(rate.size / period) + 2
    jitter = _between(rng, 0.01, 0.5) * rng.normal(size=(count, 1))
    clock = (np.arange(count)[:, None] - 1.0 + rng.random()) * period
    parts = 1 if width < 2 else 8
    at = np.floor(clock + jitter + width * np.arange(parts) / parts).astype(np.int64)
    sizes = np.exp(_between(rng, 0.03, 0.8) * rng.normal(size=(count, 1))) * (period / parts)
    inside = (at >= 0) & (at < rate.size)
    bursts = np.bincount(at[inside], np.broadcast_to(sizes, at.shape)[inside], rate.size)
    share = 1.0 if rng.random() < 0.3 else rng.uniform(0.3, 1.0)
    return rate * (1.0 - share + share * bursts)


def saturation(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Never above a capacity of 0.3–3 times the mean, fixed or reconfigured every 10–2,000.

    Mohan et al., "A multifaceted look at Starlink performance", WWW 2024: a saturated satellite
    link takes a new level every 15 s.
    """
    capacity = _between(rng, 0.3, 3.0) * rate.mean()
    if rng.random() < 0.3:
        return np.minimum(rate, capacity)
    slot = (np.arange(rate.size) / _between(rng, 10, 2000) + rng.random()).astype(np.int64)
    levels = np.exp(_between(rng, 0.05, 0.5) * rng.normal(size=slot[-1] + 1))
    jitter = np.exp(_between(rng, 0.01, 0.4) * rng.normal(size=rate.size))
    return np.minimum(rate, capacity * levels[slot] * jitter)


def held(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Known every 2–60 intervals only, held or interpolated in between.

    Counters are polled more coarsely than a policy decides: Roughan, "A case study of the accuracy
    of SNMP measurements", J. Electrical and Computer Engineering, 2010.
    """
    every = round(_between(rng, 2, 60))
    if rng.random() < 0.5:
        return rate[np.arange(rate.size) // every * every]
    return np.asarray(
        np.interp(np.arange(rate.size), np.arange(0, rate.size, every), rate[::every])
    )


def counting(rng: np.random.Generator, rate: FloatArray) -> FloatArray:
    """Whole packets or requests, 0.3–10,000 an interval on average; over-dispersed in half.

    Poisson at short times: Karagiannis, Molle, Faloutsos and Broido, "A nonstationary Poisson view
    of Internet traffic", INFOCOM 2004. Batches make it negative binomial (shape 0.3–30): Paxson and
    Floyd, "Wide area traffic: the failure of Poisson modeling", IEEE/ACM Trans. Networking, 1995.
    """
    expected = rate * (_between(rng, 0.3, 1e4) / max(rate.mean(), 1e-300))
    if rng.random() < 0.5:
        shape = _between(rng, 0.3, 30)
        expected = expected * rng.gamma(shape, 1.0 / shape, rate.size)
    return rng.poisson(expected).astype(np.float64)


class Entry(NamedTuple):
    """A component and the probability that a series has it."""

    chance: float
    component: Component


COMPONENTS: Final[dict[str, Entry]] = {
    "slow drift": Entry(0.7, slow_drift),
    "fast noise": Entry(0.7, fast_noise),
    "rhythm": Entry(0.5, rhythm),
    "long memory": Entry(0.25, long_memory),
    "jumps": Entry(0.35, jumps),
    "growth": Entry(0.15, growth),
    "alternation": Entry(0.08, alternation),
    "shots": Entry(0.25, shots),
    "storm": Entry(0.08, storm),
    "elephants": Entry(0.12, elephants),
    "on/off": Entry(0.2, on_off),
    "frames": Entry(0.15, frames),
    "saturation": Entry(0.08, saturation),
    "held": Entry(0.12, held),
    "counting": Entry(0.5, counting),
}
"""Every component by its name, in the order in which they join."""


def summary(component: Component) -> str:
    """The first line of what a component says of itself."""
    return (inspect.getdoc(component) or "").partition("\n")[0]


# --- arithmetic -------------------------------------------------------------------------------


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from low to high, log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _ou(rng: np.random.Generator, count: int, time: float, spread: float) -> FloatArray:
    """float64 [count]: an Ornstein-Uhlenbeck process of mean 0, in equilibrium from the start."""
    keep = np.exp(-1.0 / time)
    noise = rng.normal(size=count)
    noise[1:] *= np.sqrt(1.0 - keep * keep)
    return spread * compiled(leaky)(noise, keep)


def _decaying(impulses: FloatArray, time: float) -> FloatArray:
    """float64 [n]: what is left of all impulses so far when each fades exponentially."""
    return compiled(leaky)(impulses, np.exp(-1.0 / time))


def leaky(inflow: FloatArray, keep: float) -> FloatArray:
    """float64 [n]: level[i] = keep · level[i-1] + inflow[i]."""
    level = np.empty(inflow.size)
    held = 0.0
    for i in range(inflow.size):
        held = keep * held + inflow[i]
        level[i] = held
    return level


def _pareto(rng: np.random.Generator, mean: float, count: int) -> FloatArray:
    """float64 [count]: Pareto periods of the given mean (1 at least), tail index 1.1 to 2."""
    tail = rng.uniform(1.1, 2.0)
    least = max(mean * (tail - 1.0) / tail, 0.5)
    return np.asarray(least * (1.0 - rng.random(count)) ** (-1.0 / tail))
