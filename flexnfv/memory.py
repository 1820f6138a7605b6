"""What a policy remembers of a chain's traffic: statistics over 8 to 4,096 intervals.

A link that never jumps and one that has not jumped lately look alike through a window of 16
readings. This memory tells them apart: running means, rates of jumps, decayed extremes, histograms
of changes and of levels, and the rhythm that the traffic repeats itself in. It takes the same time
for every interval, however long it has lasted.

Everything is relative to `Levels`, rates of demand between what a chain always carries and what it
can carry at most. From the memory follow features of the traffic (`TRAFFIC`) and of each level
(`LEVEL`): a network that is given both says how likely the demand is to exceed that level. Features
are logarithms and shares, so that one network serves links of any rate and chains of any kind.
Training and deployment make them with this very code.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

LEVELS: Final = 40
"""Levels between what a chain always carries and the most that it can carry."""
LAGS: Final = 128
"""Longest period that a rhythm is looked for at, intervals."""
RECENT: Final = 16
"""Readings that are remembered one by one, the newest among them."""
MEANS: Final = (8.0, 32.0, 128.0, 512.0, 2048.0)
"""Intervals that running means of the demand and its changes look back on."""
JUMPS: Final = (0.1, 0.5, 1.5)
"""Changes of the demand's logarithm that count as jumps."""
RATES: Final = (64.0, 512.0, 4096.0)
"""Intervals that rates of jumps and histograms look back on."""
CROSSINGS: Final = (256.0, 4096.0)
"""Intervals that rates of upward crossings look back on."""
CHANGES: Final = 72
"""Bins of the histograms of changes, `CHANGE_WIDTH` wide, the lowest around `LOWEST_CHANGE`."""
LOWEST_CHANGE: Final = -4.5
CHANGE_WIDTH: Final = 0.125
PRESUMED: Final = (-0.7, -0.3, -0.15, 0.0, 0.0, 0.0, 0.15, 0.3, 0.7)
"""Changes that a link is thought to have had before the first one is seen."""
QUIET: Final = 6
"""Rows below the lowest level, half a decade of the natural logarithm each, that the demand's
next value is remembered by."""
QUIET_WIDTH: Final = 0.5
ORDER: Final = 8
"""Readings that the autoregression weighs, beside a constant and the reading a period ago."""
FORGETTING: Final = 0.998
"""Discount per interval of what the autoregression was fitted to."""
MOST_UNSURE: Final = 1e3
"""Trace of the autoregression's covariance above which it is scaled down: a silent link teaches
nothing, and forgetting alone would let it grow without bound."""
ERRORS: Final = (512.0, 4096.0)
"""Intervals that histograms of the autoregression's errors look back on."""
ERROR_BINS: Final = 72
"""Bins of these, a quarter of a standard deviation each, from -9 to 9."""
ERROR_WIDTH: Final = 0.25
LEAST_ERROR: Final = 0.01
"""Standard deviation of the errors, at least."""
FLOOR: Final = 0.1
"""Demand, relative to the lowest level, below which it counts as silence."""
LONGEST: Final = 1e4
"""Intervals that a duration is remembered up to."""

TRAFFIC: Final = (
    *(f"ratio_{age}" for age in range(1, RECENT)),
    *(f"change_{span:g}" for span in MEANS),
    *(f"mean_{span:g}" for span in MEANS),
    *(f"jumps_{size:g}_{span:g}" for size in JUMPS for span in RATES),
    *("largest_128", "largest_1024"),
    *("highest_64", "highest_1024", "highest_ever", "lowest_64", "lowest_1024"),
    *("since_0.3", "since_1"),
    *("silence_64", "silence_1024", "silent_for"),
    *("age", "mean_ever", "spread_64", "spread_1024"),
    *("rhythm", "rhythm_ratio", "correlation", "period"),
    *("forecast", "forecast_error"),
)
"""Features of the traffic, in the order of a row."""
LEVEL: Final = (
    "distance",
    *(f"change_above_{span:g}" for span in RATES),
    *(f"level_above_{span:g}" for span in RATES),
    *("next_above", "next_seen", "since_above", "stay"),
    *(f"crossings_{span:g}" for span in CROSSINGS),
    *("rhythm_distance", "mean_distance", "forecast_distance"),
    *(f"error_above_{span:g}" for span in ERRORS),
)
"""Features of a level, in the order of a row."""
_CHANGE_ABOVE, _LEVEL_ABOVE, _NEXT_ABOVE, _ERROR_ABOVE = map(
    LEVEL.index,
    (
        f"change_above_{RATES[0]:g}",
        f"level_above_{RATES[0]:g}",
        "next_above",
        f"error_above_{ERRORS[0]:g}",
    ),
)


class Levels(NamedTuple):
    """The levels that a chain's demand is looked at by, and what the demand is.

    Attributes:
        log_rate: natural logarithms of the levels' rates, evenly spaced, packets/s at the chain's
            entry, [LEVELS].
        rate: the rates themselves, [LEVELS].
    """

    log_rate: FloatArray
    rate: FloatArray

    @classmethod
    def between(cls, lowest: float, highest: float) -> Self:
        """Between two rates; the highest is taken as twice the lowest at least."""
        log_rate = np.linspace(log(lowest), log(max(highest, 2.0 * lowest)), LEVELS)
        return cls(log_rate, np.exp(log_rate))

    @classmethod
    def of(cls, chain: ServiceChain) -> Self:
        """Of a chain: from what its least instances carry to what its most instances do."""
        entry = entry_capacity(chain)
        return cls.between(
            float((entry * chain.min_instances).min()), float((entry * chain.max_instances).min())
        )


def entry_capacity(chain: ServiceChain) -> FloatArray:
    """Rate at the chain's entry that an instance of each NF type carries, packets/s, [T]."""
    return np.asarray(chain.capacity_pps / np.maximum(np.array(chain.through), 1e-9))


class Memory(NamedTuple):
    """What is remembered of B links; logarithms are natural, of demand in packets/s.

    Attributes:
        age: readings so far, [B].
        total: sum of the demand, [B].
        history: logarithms of the last demands, newest first, [B, LAGS + 2].
        changes, means: running means of the logarithm's absolute change, and of itself, [B, 5].
        jumps: running rates of jumps, [B, sizes, spans].
        largest: decayed largest change, [B, 2].
        highest, lowest: decayed extremes, [B, 3] and [B, 2].
        since: intervals since a change of 0.3 and of 1, [B, 2].
        silence: running share of silence, [B, 2]; silent_for: intervals of it until now, [B].
        spread: running variance, [B, 2].
        products, variance: running products with what was a lag ago, [B, LAGS + 1], and their
            scale, [B].
        coefficients, covariance: of the autoregression, [B, ORDER + 2] and its square.
        regressors: what the forecast was made of, [B, ORDER + 2].
        forecast: of the next logarithm, [B].
        error: running variance of the forecast's errors, [B].
        error_shares: histograms of errors relative to their deviation, [B, spans, ERROR_BINS].
        change_shares: histograms of changes, [B, spans, CHANGES].
        level_shares: histograms of levels, [B, spans, LEVELS + 1].
        next_counts: by the row that the demand was in, where it went next, [B, rows, LEVELS + 1].
        next_totals: their sums, [B, rows].
        row: the row that the demand is in, [B].
        above: whether the demand is above each level, [B, LEVELS].
        stay: for how long it has been on that side of it, [B, LEVELS].
        since_above: intervals since it was above, [B, LEVELS].
        crossings: running rates of crossing it upwards, [B, 2, LEVELS].
    """

    age: FloatArray
    total: FloatArray
    history: FloatArray
    changes: FloatArray
    means: FloatArray
    jumps: FloatArray
    largest: FloatArray
    highest: FloatArray
    lowest: FloatArray
    since: FloatArray
    silence: FloatArray
    silent_for: FloatArray
    spread: FloatArray
    products: FloatArray
    variance: FloatArray
    coefficients: FloatArray
    covariance: FloatArray
    regressors: FloatArray
    forecast: FloatArray
    error: FloatArray
    error_shares: FloatArray
    change_shares: FloatArray
    level_shares: FloatArray
    next_counts: FloatArray
    next_totals: FloatArray
    row: IntArray
    above: FloatArray
    stay: FloatArray
    since_above: FloatArray
    crossings: FloatArray

    @classmethod
    def of(cls, links: int) -> Self:
        """A memory of so many links that has seen nothing."""
        rows = LEVELS + 1 + QUIET

        def zeros(*shape: int) -> FloatArray:
            return np.zeros((links, *shape))

        memory = cls(
            age=zeros(),
            total=zeros(),
            history=zeros(LAGS + 2),
            changes=zeros(len(MEANS)),
            means=zeros(len(MEANS)),
            jumps=zeros(len(JUMPS), len(RATES)),
            largest=zeros(2),
            highest=zeros(3),
            lowest=zeros(2),
            since=np.ones((links, 2)),
            silence=zeros(2),
            silent_for=zeros(),
            spread=zeros(2),
            products=zeros(LAGS + 1),
            variance=zeros(),
            coefficients=zeros(ORDER + 2),
            covariance=zeros(ORDER + 2, ORDER + 2),
            regressors=zeros(ORDER + 2),
            forecast=zeros(),
            error=np.full(links, 0.01),
            error_shares=zeros(len(ERRORS), ERROR_BINS),
            change_shares=zeros(len(RATES), CHANGES),
            level_shares=zeros(len(RATES), LEVELS + 1),
            next_counts=zeros(rows, LEVELS + 1),
            next_totals=zeros(rows),
            row=np.zeros(links, np.int64),
            above=zeros(LEVELS),
            stay=zeros(LEVELS),
            since_above=np.full((links, LEVELS), LONGEST),
            crossings=zeros(len(CROSSINGS), LEVELS),
        )
        memory.coefficients[:, 1] = 1.0
        memory.covariance[:] = np.eye(ORDER + 2)
        places = (np.arange(ERROR_BINS) + 0.5) * ERROR_WIDTH - 0.5 * ERROR_BINS * ERROR_WIDTH
        usual = np.exp(-0.5 * places**2)
        memory.error_shares[:] = usual / usual.sum()
        for change in PRESUMED:
            place = int((change - LOWEST_CHANGE) / CHANGE_WIDTH)
            memory.change_shares[:, :, place] += 1.0 / len(PRESUMED)
        return memory


def step_of(span: float, age: float) -> float:
    """Step of a running mean that looks back on `span` intervals once it is that old."""
    return max(1.0 / span, 1.0 / age)


def remember(memory: Memory, b: int, demand_pps: float, levels: Levels) -> None:
    """Take in a link's demand of one more interval.

    Args:
        memory: updated.
        b: which of its links.
        demand_pps: offered to the chain.
        levels: of the chain.
    """
    lowest = levels.rate[0]
    quiet = log(FLOOR * lowest)
    now = max(log(max(demand_pps, 1e-9 * lowest)), quiet)
    first = memory.age[b] == 0.0
    if first:
        for table in (memory.history[b], memory.means[b], memory.highest[b], memory.lowest[b]):
            for i in range(len(table)):
                table[i] = now
    memory.age[b] += 1.0
    memory.total[b] += demand_pps
    age = memory.age[b]
    change = now - memory.history[b, 0]
    size = abs(change)
    for i in range(len(MEANS)):
        step = step_of(MEANS[i], age)
        memory.changes[b, i] += step * (size - memory.changes[b, i])
        memory.means[b, i] += step * (now - memory.means[b, i])
    for i in range(len(JUMPS)):
        jump = 1.0 if size > JUMPS[i] else 0.0
        for j in range(len(RATES)):
            memory.jumps[b, i, j] += step_of(RATES[j], age + 1.0) * (jump - memory.jumps[b, i, j])
    remember_extremes(memory, b, now, size, demand_pps <= FLOOR * lowest)
    remember_places(memory, b, now, change, first, levels)
    learn_errors(memory, b, now, first)
    remember_rhythm(memory, b, now)
    make_forecast(memory, b)
    remember_levels(memory, b, demand_pps, first, levels)


def remember_extremes(memory: Memory, b: int, now: float, size: float, silent: bool) -> None:
    """Decayed extremes, times since jumps, silence and spread."""
    age = memory.age[b]
    short, long = memory.means[b, 2], memory.means[b, 4]
    memory.largest[b, 0] = max(memory.largest[b, 0] * (1.0 - 1.0 / 128.0), size)
    memory.largest[b, 1] = max(memory.largest[b, 1] * (1.0 - 1.0 / 1024.0), size)
    for i in range(2):
        mean = short if i == 0 else long
        rate = 1.0 / 64.0 if i == 0 else 1.0 / 1024.0
        high, low = memory.highest[b, i], memory.lowest[b, i]
        memory.highest[b, i] = max(now, high - (high - mean) * rate if high > mean else now)
        memory.lowest[b, i] = min(now, low + (mean - low) * rate if low < mean else now)
    memory.highest[b, 2] = max(memory.highest[b, 2], now)
    memory.since[b, 0] = 1.0 if size > 0.3 else min(memory.since[b, 0] + 1.0, LONGEST)
    memory.since[b, 1] = 1.0 if size > 1.0 else min(memory.since[b, 1] + 1.0, LONGEST)
    quiet = 1.0 if silent else 0.0
    memory.silence[b, 0] += step_of(64.0, age) * (quiet - memory.silence[b, 0])
    memory.silence[b, 1] += step_of(1024.0, age) * (quiet - memory.silence[b, 1])
    memory.silent_for[b] = min(memory.silent_for[b] + 1.0, LONGEST) if silent else 0.0
    memory.spread[b, 0] += step_of(64.0, age) * ((now - short) ** 2 - memory.spread[b, 0])
    far = (now - memory.means[b, 3]) ** 2
    memory.spread[b, 1] += step_of(1024.0, age) * (far - memory.spread[b, 1])


def row_of(now: float, levels: Levels) -> int:
    """The row of the next-value table that a demand belongs to: quiet ones first, then levels."""
    start = levels.log_rate[0]
    if now < start:
        return max(QUIET - 1 - int((start - now) / QUIET_WIDTH), 0)
    return QUIET + cell_of(now, levels)


def cell_of(now: float, levels: Levels) -> int:
    """How many levels a demand reaches, 0 to `LEVELS`."""
    start, end = levels.log_rate[0], levels.log_rate[LEVELS - 1]
    if now < start:
        return 0
    return min(int((now - start) / (end - start) * (LEVELS - 1) + 1e-9) + 1, LEVELS)


def remember_places(
    memory: Memory, b: int, now: float, change: float, first: bool, levels: Levels
) -> None:
    """Histograms of changes and of levels, and where the demand goes from where it is."""
    age = memory.age[b]
    cell = cell_of(now, levels)
    if not first:
        place = int((change - LOWEST_CHANGE) / CHANGE_WIDTH + 0.5)
        place = min(max(place, 0), CHANGES - 1)
        for i in range(len(RATES)):
            step = step_of(RATES[i], age + float(len(PRESUMED)) - 1.0)
            for j in range(CHANGES):
                memory.change_shares[b, i, j] *= 1.0 - step
            memory.change_shares[b, i, place] += step
        row = memory.row[b]
        for j in range(LEVELS + 1):
            memory.next_counts[b, row, j] *= 1.0 - 1.0 / 64.0
        memory.next_counts[b, row, cell] += 1.0
        memory.next_totals[b, row] = memory.next_totals[b, row] * (1.0 - 1.0 / 64.0) + 1.0
    memory.row[b] = row_of(now, levels)
    for i in range(len(RATES)):
        step = step_of(RATES[i], age)
        for j in range(LEVELS + 1):
            memory.level_shares[b, i, j] *= 1.0 - step
        memory.level_shares[b, i, cell] += step


def remember_rhythm(memory: Memory, b: int, now: float) -> None:
    """The history, and its products with what was a lag ago."""
    history, products = memory.history[b], memory.products[b]
    for i in range(LAGS + 1, 0, -1):
        history[i] = history[i - 1]
    history[0] = now
    mean, step = memory.means[b, 3], step_of(512.0, memory.age[b])
    off = now - mean
    memory.variance[b] += step * (off * off - memory.variance[b])
    for lag in range(1, min(LAGS, int(memory.age[b]) - 1) + 1):
        products[lag] += step * (off * (history[lag] - mean) - products[lag])


def learn_errors(memory: Memory, b: int, now: float, first: bool) -> None:
    """Fit the autoregression to what came (recursive least squares), and remember its error.

    Source: Ljung, Söderström, "Theory and Practice of Recursive Identification", 1983, ch. 2.
    """
    if first:
        return
    count = ORDER + 2
    error = now - memory.forecast[b]
    deviation = sqrt(memory.error[b]) + LEAST_ERROR
    place = int(error / deviation / ERROR_WIDTH + 0.5 * ERROR_BINS)
    place = min(max(place, 0), ERROR_BINS - 1)
    for i in range(len(ERRORS)):
        step = step_of(ERRORS[i], memory.age[b] + 15.0)
        for j in range(ERROR_BINS):
            memory.error_shares[b, i, j] *= 1.0 - step
        memory.error_shares[b, i, place] += step
    bounded = min(max(error, -8.0 * deviation), 8.0 * deviation)
    memory.error[b] += step_of(128.0, memory.age[b] + 4.0) * (bounded * bounded - memory.error[b])
    regressors, covariance = memory.regressors[b], memory.covariance[b]
    gain = np.zeros(count)
    scale = FORGETTING
    for i in range(count):
        for j in range(count):
            gain[i] += covariance[i, j] * regressors[j]
        scale += regressors[i] * gain[i]
    trace = 0.0
    for i in range(count):
        memory.coefficients[b, i] += gain[i] / scale * bounded
        for j in range(count):
            covariance[i, j] = (covariance[i, j] - gain[i] * gain[j] / scale) / FORGETTING
        trace += covariance[i, i]
    if trace > MOST_UNSURE:
        for i in range(count):
            for j in range(count):
                covariance[i, j] *= MOST_UNSURE / trace


def make_forecast(memory: Memory, b: int) -> None:
    """Forecast the next logarithm from the readings that went before and the one a period ago."""
    mean, history, regressors = memory.means[b, 3], memory.history[b], memory.regressors[b]
    period, _ = rhythm(memory, b)
    regressors[0] = 0.1
    for i in range(ORDER):
        regressors[1 + i] = history[i] - mean
    regressors[ORDER + 1] = history[period - 1] - mean if period > 0 else 0.0
    forecast = mean
    for i in range(ORDER + 2):
        forecast += memory.coefficients[b, i] * regressors[i]
    lowest, highest = memory.lowest[b, 1] - 1.0, memory.highest[b, 2] + 1.0
    memory.forecast[b] = min(max(forecast, lowest), highest)


def remember_levels(memory: Memory, b: int, demand_pps: float, first: bool, levels: Levels) -> None:
    """Of each level whether the demand is above it, for how long, and how often it crosses it."""
    for j in range(LEVELS):
        above = 1.0 if demand_pps > levels.rate[j] else 0.0
        crossed = 1.0 if above > memory.above[b, j] and not first else 0.0
        for i in range(len(CROSSINGS)):
            step = step_of(CROSSINGS[i], memory.age[b] + 1.0)
            memory.crossings[b, i, j] += step * (crossed - memory.crossings[b, i, j])
        if above != memory.above[b, j]:
            memory.stay[b, j] = 0.0
        memory.stay[b, j] = min(memory.stay[b, j] + 1.0, LONGEST)
        memory.above[b, j] = above
        memory.since_above[b, j] = (
            0.0 if above > 0.0 else min(memory.since_above[b, j] + 1.0, LONGEST)
        )


def rhythm(memory: Memory, b: int) -> tuple[int, float]:
    """The period, intervals, that the traffic repeats itself in most clearly, and how clearly.

    Returns:
        The lag of the highest local maximum of the autocorrelation that has passed three times,
        and the correlation there; 0 and 0 where there is none.
    """
    products = memory.products[b]
    best, period = 0.0, 0
    for lag in range(2, LAGS):
        if 3.0 * lag >= memory.age[b]:
            break
        here = products[lag]
        if here > best and here >= products[lag - 1] and here >= products[lag + 1]:
            best, period = here, lag
    return period, best / (memory.variance[b] + 1e-9)


def describe_traffic(memory: Memory, b: int, levels: Levels, row: FloatRows) -> None:
    """Fill in the features of a link's traffic, in the order of `TRAFFIC`."""
    history = memory.history[b]
    now = history[0]
    at = 0
    for i in range(1, RECENT):
        row[at] = history[i] - now
        at += 1
    for i in range(len(MEANS)):
        row[at] = log(memory.changes[b, i] + 1e-3) + 3.0
        row[at + len(MEANS)] = memory.means[b, i] - now
        at += 1
    at += len(MEANS)
    for i in range(len(JUMPS)):
        for j in range(len(RATES)):
            row[at] = log(memory.jumps[b, i, j] + 3e-4) / 2.0 + 2.0
            at += 1
    period, strength = rhythm(memory, b)
    usual = log(max(memory.total[b] / memory.age[b], FLOOR * levels.rate[0]))
    products = memory.products[b]
    rest = (
        memory.largest[b, 0],
        memory.largest[b, 1],
        memory.highest[b, 0] - now,
        memory.highest[b, 1] - now,
        memory.highest[b, 2] - now,
        memory.lowest[b, 0] - now,
        memory.lowest[b, 1] - now,
        log(memory.since[b, 0]) / 3.0 - 1.0,
        log(memory.since[b, 1]) / 3.0 - 1.0,
        2.0 * memory.silence[b, 0],
        2.0 * memory.silence[b, 1],
        log(1.0 + memory.silent_for[b]) / 2.0,
        log(memory.age[b]) / 3.0 - 1.0,
        usual - now,
        sqrt(memory.spread[b, 0]),
        sqrt(memory.spread[b, 1]),
        2.0 * strength,
        history[period - 1] - now if period > 0 else 0.0,
        products[1] / (memory.variance[b] + 1e-9),
        log(float(max(period, 1))) / 2.0,
        memory.forecast[b] - now,
        log(sqrt(memory.error[b]) + LEAST_ERROR) + 2.0,
    )
    for i in range(len(rest)):
        row[at + i] = rest[i]


def sums_above(shares: FloatArray) -> FloatArray:
    """Of each bin of a histogram the mass from it upwards, and 0 behind the last, [bins + 1]."""
    count = len(shares)
    sums = np.empty(count + 1)
    sums[count] = 0.0
    for i in range(count - 1, -1, -1):
        sums[i] = sums[i + 1] + shares[i]
    return sums


def share_above(sums: FloatArray, position: float) -> float:
    """Share of a histogram's mass above a position, in bins from its first one's lower end.

    Args:
        sums: of the histogram, see `sums_above`.
        position: in bins; below 0 all of the mass is above it.
    """
    if position >= len(sums) - 1:
        return 0.0
    place = max(position, 0.0)
    first = int(place)
    return float(sums[first] + (place - first) * (sums[first + 1] - sums[first]))


def describe_levels(
    memory: Memory, b: int, wanted: IntArray, levels: Levels, rows: FloatRows
) -> None:
    """Fill in the features of levels of a link, in the order of `LEVEL`.

    Args:
        memory, b: the link.
        wanted: numbers of the levels, [N].
        levels: of the chain.
        rows: filled, [N, features].
    """
    history = memory.history[b]
    now = history[0]
    period, _ = rhythm(memory, b)
    beat = history[period - 1] if period > 0 else now
    usual = log(max(memory.total[b] / memory.age[b], FLOOR * levels.rate[0]))
    deviation = sqrt(memory.error[b]) + LEAST_ERROR
    here = memory.row[b]
    total = memory.next_totals[b, here]
    rarity = log(total + 0.1) / 3.0
    next_sums = sums_above(memory.next_counts[b, here])
    for n in range(len(wanted)):
        j = wanted[n]
        row, level = rows[n], levels.log_rate[j]
        stay = log(memory.stay[b, j]) / 3.0
        away = (level - memory.forecast[b]) / deviation
        row[0] = level - now
        rest = (
            log((next_sums[j + 1] + 0.01) / (total + 0.1) + 1e-4) / 3.0 + 1.0,
            rarity,
            log(1.0 + memory.since_above[b, j]) / 3.0 - 1.0,
            stay if memory.above[b, j] > 0.0 else -stay,
            log(memory.crossings[b, 0, j] + 3e-4) / 3.0 + 1.0,
            log(memory.crossings[b, 1, j] + 3e-4) / 3.0 + 1.0,
            level - beat,
            level - usual,
            min(max(away, -10.0), 10.0) / 3.0,
        )
        for i in range(len(rest)):
            row[_NEXT_ABOVE + i] = rest[i]
    for i in range(len(RATES)):
        change_sums = sums_above(memory.change_shares[b, i])
        level_sums = sums_above(memory.level_shares[b, i])
        for n in range(len(wanted)):
            j = wanted[n]
            position = (levels.log_rate[j] - now - LOWEST_CHANGE) / CHANGE_WIDTH + 0.5
            rows[n, _CHANGE_ABOVE + i] = log(share_above(change_sums, position) + 1e-4) / 3.0 + 1.0
            rows[n, _LEVEL_ABOVE + i] = log(level_sums[j + 1] + 1e-4) / 3.0 + 1.0
    for i in range(len(ERRORS)):
        error_sums = sums_above(memory.error_shares[b, i])
        for n in range(len(wanted)):
            away = (levels.log_rate[wanted[n]] - memory.forecast[b]) / deviation
            share = share_above(error_sums, away / ERROR_WIDTH + 0.5 * ERROR_BINS)
            rows[n, _ERROR_ABOVE + i] = log(share + 1e-4) / 3.0 + 1.0
