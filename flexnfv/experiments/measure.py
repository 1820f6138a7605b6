"""Measurements of one NF type on a workbench, and the estimates that a calibration holds.

Functions that take a `Workbench` measure; the others are pure functions of what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.errors import BackendError
from flexnfv.experiments.workbench import Workbench
from flexnfv.reading import Reading
from flexnfv.states import RUNNING

FloatArray = npt.NDArray[np.float64]

SETTLE_S: Final = 0.3
"""After a change of rate, before anything counts: the ring has filled or emptied."""
LOOK_S: Final = 1.0
"""What a rate is judged by."""
LOSS_FREE_SHARE: Final = 1e-3
"""Largest share of lost packets that counts as loss-free: bursts within one look are no overload
(RFC 2544 wants 0, but over a minute per step and without jitter of the device)."""
PRECISION: Final = 2e-3
"""Relative width at which the search for the loss-free rate ends."""
FACTORS: Final = (1.05, 1.1, 1.2, 1.35, 1.6, 2.0)
"""Offered / loss-free rate at which overload is looked at."""
LEAST_PENALTY: Final = 2e-3
"""A smaller overload penalty cannot be told from none."""
MOST_DOUBLINGS: Final = 20
"""How often the first guess of a rate is doubled before the search gives up."""


class Look(NamedTuple):
    """What some readings say together, and the served rate of each.

    Attributes:
        offered_pps, served_pps: of the NF type, packets/s; medians, which a stall does not move.
        lost_share: lost / offered packets. At a scale a ring takes longer to fill than a look:
            what it took up beyond what the same ring takes at full rate counts as lost.
        processing_ns: of the running instances.
        queue: longest ring seen, packets.
        served: served rate of every reading, packets/s, [readings].
    """

    offered_pps: float
    served_pps: float
    lost_share: float
    processing_ns: float
    queue: float
    served: FloatArray


@dataclass(frozen=True)
class Overload:
    """Served / loss-free rate at some offered / loss-free rates, [points] each."""

    offered: FloatArray
    served: FloatArray


def look(bench: Workbench, pps: float, seconds: float = LOOK_S, *, flood: bool = False) -> Look:
    """What one instance does with a constant rate; `flood`: see `Workbench.set_rate`."""
    bench.set_rate(pps, flood=flood)
    bench.wait(SETTLE_S)
    t = bench.nf_type
    readings = [bench.read() for _ in range(max(1, round(seconds / bench.interval_s)))]
    offered = np.array([reading.type_arrived_pps[t] for reading in readings])
    lost = np.array([reading.type_dropped_pps[t] for reading in readings])
    served = np.array([reading.served_pps[t].sum() for reading in readings])
    queue = np.array([reading.queue[t].sum() for reading in readings])
    grown = (offered - lost - served)[1:].sum() - (queue[-1] - queue[0]) / bench.interval_s
    taken_pps = max(grown, 0.0)  # Like the others, this is a sum over the readings.
    times = [reading.processing_ns[t][reading.state[t] == RUNNING].mean() for reading in readings]
    return Look(
        offered_pps=float(np.median(offered)),
        served_pps=float(np.median(served)),
        lost_share=float((lost.sum() + taken_pps) / offered.sum()) if offered.sum() > 0 else 0.0,
        processing_ns=float(np.mean(times)),
        queue=float(max(reading.queue_peak[t].max() for reading in readings)),
        served=served,
    )


def carries(bench: Workbench, pps: float) -> bool:
    """Whether one instance carries a rate without loss.

    It comes upon a full ring. A rate that is lost is tried once more: overload comes again, a
    machine's hiccup does not.
    """
    return any(look(bench, pps, flood=True).lost_share <= LOSS_FREE_SHARE for _ in range(2))


def loss_free_rate(bench: Workbench, guess_pps: float) -> float:
    """Highest rate that one instance carries without loss, packets/s, by bisection.

    Args:
        bench: the workbench.
        guess_pps: where to begin; any positive rate will do.

    Raises:
        BackendError: nothing is lost at any rate that can be offered, or always something.
    """
    high = guess_pps
    for _ in range(MOST_DOUBLINGS):
        if not carries(bench, high):
            break
        high *= 2
    else:
        raise BackendError(f"an instance lost nothing at {high / 2:.3g} packets/s")
    low = 0.9 * look(bench, high).served_pps
    for _ in range(MOST_DOUBLINGS):
        if carries(bench, low):
            break
        low, high = low / 2, low
    else:
        raise BackendError(f"an instance lost packets even at {low:.3g} packets/s")
    # The search starts a little above what overload leaves; farther off it needs more steps.
    for near in (1.25 * low, 1.5 * low):
        if near < high and not carries(bench, near):
            high = near
            break
    while high - low > PRECISION * low:
        middle = (low + high) / 2
        low, high = (middle, high) if carries(bench, middle) else (low, middle)
    return (low + high) / 2


def overload(bench: Workbench, loss_free_pps: float) -> tuple[Overload, list[Look]]:
    """What one instance still serves above its loss-free rate, at every one of `FACTORS`."""
    looks = [look(bench, factor * loss_free_pps, 2 * LOOK_S) for factor in FACTORS]
    return (
        Overload(
            np.array([one.offered_pps for one in looks]) / loss_free_pps,
            np.array([one.served_pps for one in looks]) / loss_free_pps,
        ),
        looks,
    )


def fit_overload(points: Overload) -> tuple[float, float]:
    """The model's overload penalty and span that come nearest to the points (least squares).

    The model serves 1 - penalty x min(excess / span, 1) of the loss-free rate.

    Returns:
        Penalty, 0..0.99, and span; span is 0.35 where there is no penalty to tell it from.
    """
    excess = np.maximum(points.offered - 1, 0)
    missing = 1 - points.served
    best = (float((missing**2).sum()), 0.0, 0.35)
    for span in np.arange(0.05, 1.001, 0.01):
        shape = np.minimum(excess / span, 1)
        penalty = float(np.clip(shape @ missing / (shape @ shape), 0, 0.99))
        error = float(((missing - penalty * shape) ** 2).sum())
        if error < best[0]:
            best = (error, penalty, float(span))
    return (0.0, 0.35) if best[1] < LEAST_PENALTY else (best[1], round(best[2], 2))


def half_width(samples: Sequence[float] | FloatArray) -> float:
    """Relative half-width of the uniform distribution with the samples' spread, 0..0.99.

    A uniform distribution of half-width h has the standard deviation h / sqrt(3).
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size < 2 or values.mean() <= 0:
        return 0.0
    return float(min(np.sqrt(3) * values.std(ddof=1) / values.mean(), 0.99))


def middle_half_width(samples: FloatArray) -> float:
    """Relative half-width of the uniform distribution with the samples' interquartile range.

    For a uniform distribution the two are equal. A few stalls of a machine, which are no jitter of
    the NF, count for nothing here.
    """
    low, middle, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return float(min((high - low) / middle, 0.99)) if middle > 0 else 0.0


def split(bench: Workbench, pps: float, instances: int) -> FloatArray:
    """Shares of the offered packets that each of some instances gets, largest first, [instances].

    Raises:
        BackendError: the instances did not come up.
    """
    readings = _of_several(bench, pps, instances)
    arrived = np.sum([reading.arrived_pps[bench.nf_type] for reading in readings], axis=0)
    shares = np.sort(arrived / arrived.sum())[::-1]
    return np.asarray(shares[:instances], dtype=np.float64)


def together(bench: Workbench, pps: float, instances: int) -> tuple[float, FloatArray]:
    """What some instances with a ring each serve together, and how full their rings get.

    Returns:
        packets/s; longest ring of each instance, packets, [instances].

    Raises:
        BackendError: the instances did not come up.
    """
    t = bench.nf_type
    readings = _of_several(bench, pps, instances)
    used = np.sum([reading.arrived_pps[t] for reading in readings], axis=0) > 0
    rings = np.max([reading.queue_peak[t] for reading in readings], axis=0)
    served = float(np.median([reading.served_pps[t].sum() for reading in readings]))
    return served, np.asarray(rings[used], dtype=np.float64)


def _of_several(
    bench: Workbench, pps: float, instances: int, patience_s: float = 20.0
) -> list[Reading]:
    """Readings of a constant rate once that many instances run."""
    bench.set_rate(pps)
    bench.set_instances(instances)
    for _ in range(round(patience_s / bench.interval_s)):
        if int(bench.read().running[bench.nf_type]) == instances:
            break
    else:
        raise BackendError(f"{instances} instances did not come up within {patience_s:g} s")
    bench.wait(SETTLE_S)
    return [bench.read() for _ in range(max(1, round(LOOK_S / bench.interval_s)))]
