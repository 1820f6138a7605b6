"""What is kept of every monitor interval, whoever keeps it: evaluations and deployments.

A column of the chain has its plain name in a file; a column of an NF type is `TYPE.column`
(`firewall.running`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import FIELDS, Decision
from flexnfv.reading import Reading
from flexnfv.traces import Trace

Array = npt.NDArray[Any]

RATE_WITHIN: Final = 0.01
"""Relative distance of the offered rate from the wanted one within which it counts as kept."""
_ROUNDING_S: Final = 1e-3
"""A reading that ends so soon after a second does not belong to the next one."""


@dataclass(frozen=True)
class Column:
    """One column of the records.

    Attributes:
        per_type: one value per NF type instead of one for the chain.
        of: its values from a reading, [..., T] or [...]; None where the caller gives them.
    """

    name: str
    dtype: type[np.generic]
    unit: str
    doc: str
    per_type: bool
    of: Callable[[Reading, ServiceChain], Array] | None


# Times are kept in double precision, since they grow with the episode, and so is what the chain was
# offered, delivered and lost, since its packets must add up. All else is good to seven digits.


def _chain(name: str, unit: str, doc: str, of: Callable[[Reading, ServiceChain], Array]) -> Column:
    return Column(name, np.float64, unit, doc, False, of)


def _estimate(
    name: str, unit: str, doc: str, of: Callable[[Reading, ServiceChain], Array]
) -> Column:
    return Column(name, np.float32, unit, doc, False, of)


def _rate(name: str, unit: str, doc: str, of: Callable[[Reading, ServiceChain], Array]) -> Column:
    return Column(name, np.float32, unit, doc, True, of)


def _count(name: str, doc: str, of: Callable[[Reading, ServiceChain], Array]) -> Column:
    return Column(name, np.int32, "", doc, True, of)


def wanted_pps(trace: Trace | None, reading: Reading) -> Array:
    """What a trace wanted to be offered over readings' own time, packets/s; NaN without a trace.

    A late reading covers several intervals, so time counts, not the reading's number.
    """
    if trace is None:
        return np.full(reading.batch, np.nan)
    return trace.mean_between(reading.time_s - reading.interval_s, reading.time_s)


def is_off_rate(error: Array | float, due: Array | float, length_s: Array | float = 1.0) -> Array:
    """What "off the rate" means, everywhere: by more than 1 % of a second's packets, and of one.

    Of a longer time than a second it is 1 % of its own packets. One packet more or less is
    rounding, as are the last digits of what a model adds up.

    Args:
        error: packets that were sent or offered, less those that were due.
        due: packets.
        length_s: seconds in which they were.
    """
    allowed = RATE_WITHIN * due / np.minimum(np.maximum(length_s, _ROUNDING_S), 1.0)
    return np.asarray(np.abs(error) > np.maximum(allowed, 1.0))


def off_rate(reading: Reading, wanted: Array) -> Array:
    """Whether readings were offered another rate than wanted: alone, or in the second they end in.

    See `is_off_rate`.

    Args:
        reading: consecutive readings along its first axis, [N, ...].
        wanted: packets/s, [N, ...]; NaN where nothing was wanted.

    Returns:
        [N, ...]; False where nothing was wanted.
    """
    rows = (reading.time_s.shape[0], -1)
    length_s = reading.interval_s.reshape(rows)
    due = wanted.reshape(rows) * length_s
    error = reading.offered_pps.reshape(rows) * length_s - due
    found = is_off_rate(error, due, length_s)
    second = np.ceil(reading.time_s.reshape(rows) - _ROUNDING_S)
    for column in range(found.shape[1]):
        _, of = np.unique(second[:, column], return_inverse=True)
        sums = [np.bincount(of, each[:, column]) for each in (error, due, length_s)]
        found[:, column] |= is_off_rate(*sums)[of]
    return found.reshape(wanted.shape)


def decision_columns(decisions: Sequence[Array]) -> dict[str, Array]:
    """The values of the columns that hold decisions, [N, ..., T] each.

    Args:
        decisions: that the readings ran under, in order, as `Decision.array` gives them.
    """
    return dict(zip(FIELDS, np.stack(decisions, axis=1), strict=True))


_DECIDED = {
    "targets": "targets that this interval ran under; the chain's initial instances in the first "
    "row"
}

COLUMNS: tuple[Column, ...] = (
    _chain("time_s", "s", "end of the interval, since reset", lambda r, c: r.time_s),
    _chain("interval_s", "s", "measured length of the interval", lambda r, c: r.interval_s),
    _chain("offered_pps", "1/s", "offered to the chain", lambda r, c: r.offered_pps),
    Column(
        "wanted_pps",
        np.float64,
        "1/s",
        "what the trace wanted to be offered; NaN where there is none",
        False,
        None,
    ),
    Column(
        "off_rate",
        np.bool_,
        "",
        "whether offered and wanted differ by more than 1 % of a second's packets, in the interval "
        "or in its second",
        False,
        None,
    ),
    _chain("delivered_pps", "1/s", "left the chain", lambda r, c: r.delivered_pps),
    _chain("dropped_pps", "1/s", "lost, all causes", lambda r, c: r.dropped_pps),
    _estimate("latency_s", "s", "mean time in the chain (estimate)", lambda r, c: r.latency_s),
    _estimate("energy_j", "J", "energy of all cores (estimate)", lambda r, c: r.energy_j),
    _estimate(
        "cores",
        "cores",
        "held by running, launching and draining instances, at the interval's end",
        lambda r, c: r.core_usage(c).sum(axis=-1),
    ),
    _estimate(
        "parked_cores",
        "cores",
        "held by parked instances, at the interval's end",
        lambda r, c: r.parked_cores(c).sum(axis=-1),
    ),
    Column(
        "decision_s",
        np.float32,
        "s",
        "time of the decision that set this interval's targets; NaN in the first row; in a batched "
        "run the time of all rows that were decided for together, divided by their number",
        False,
        None,
    ),
    _rate("offered_pps", "1/s", "offered to the NF type", lambda r, c: r.type_arrived_pps),
    _rate(
        "delivered_pps",
        "1/s",
        "processed by the NF type's instances",
        lambda r, c: r.served_pps.sum(axis=-1),
    ),
    _rate("dropped_pps", "1/s", "lost at the NF type", lambda r, c: r.type_dropped_pps),
    _rate(
        "demand_pps",
        "1/s",
        "what the type would be offered if nothing upstream were lost",
        lambda r, c: r.demand_pps(c),
    ),
    _rate(
        "capacity_pps",
        "1/s",
        "loss-free rate of the instances that run at the interval's end",
        lambda r, c: r.running * c.capacity_pps,
    ),
    _rate(
        "queue",
        "packets",
        "in the instances' rings, at the interval's end",
        lambda r, c: r.queue.sum(axis=-1),
    ),
    _rate(
        "queue_peak",
        "packets",
        "longest ring of any instance",
        lambda r, c: r.queue_peak.max(axis=-1),
    ),
    _rate(
        "flows_moved",
        "",
        "share of flows whose instance changed, summed over the changes",
        lambda r, c: r.flows_moved,
    ),
    _count("running", "running instances", lambda r, c: r.running),
    _count("launching", "launching instances", lambda r, c: r.launching),
    _count("draining", "draining instances", lambda r, c: r.draining),
    _count("blocked", "parked instances", lambda r, c: r.blocked),
    *(
        Column(name, np.int32, note["unit"], _DECIDED.get(name, note["doc"]), True, None)
        for name, note in Decision.describe().items()
    ),
    _count("launches", "launches begun for this interval", lambda r, c: r.launches),
    _count("reruns", "reruns commanded for this interval", lambda r, c: r.reruns),
    _count("blocks", "blocks commanded for this interval", lambda r, c: r.blocks),
    _count("stops", "parked instances stopped for this interval", lambda r, c: r.stops),
    _count("deaths", "instances that died within the interval", lambda r, c: r.deaths),
    _count("clipped", "wanted instances that limits or budget refused", lambda r, c: r.clipped),
)
