"""From two snapshots of the statistics page to the reading of the interval between them.

Pure functions of what was read. Rates and times are turned into the chain's own: a dataplane that
runs at a scale serves `scale` times the packets, so counts are divided by it. Queues are packets in
rings of the chain's own size and stay as they are; the model's are given in the same packets (see
`flexnfv.chain.ServiceChain.ring_packets`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.hw_backend.abi import Snapshot
from flexnfv.mapping import load_if_blocked
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, STOPPED

FloatArray = npt.NDArray[np.float64]


class Watch:
    """What happens between an interval's ends, from every snapshot that was seen within it.

    Args:
        before: the snapshot at the interval's beginning.

    Attributes:
        queue_peak: longest receive ring, packets, per instance slot of the page.
        queue_s: receive ring integrated over the interval, packet-seconds.
        held_s, parked_s: seconds with a core, and of these parked.
    """

    def __init__(self, before: Snapshot) -> None:
        instances = before.instances
        self._last = before
        self.queue_peak: FloatArray = instances["queue"].astype(np.float64)
        self.queue_s = np.zeros(len(instances))
        self.held_s = np.zeros(len(instances))
        self.parked_s = np.zeros(len(instances))

    def add(self, snapshot: Snapshot) -> None:
        """Take in a later snapshot; one that was taken in before changes nothing."""
        span_s = (snapshot.time_ns - self._last.time_ns) * 1e-9
        if span_s <= 0:
            return
        was, now = self._last.instances, snapshot.instances
        np.maximum(self.queue_peak, now["queue_peak"], out=self.queue_peak)
        # The mean of two ends, in integers too large for the page's 32 bits.
        self.queue_s += span_s * 0.5 * (was["queue"].astype(np.float64) + now["queue"])
        self.held_s += span_s * (was["state"] != STOPPED)
        self.parked_s += span_s * ((was["state"] == BLOCKED) & (now["state"] == BLOCKED))
        self._last = snapshot


def reading_between(
    chain: ServiceChain,
    scale: float,
    start_ns: int,
    before: Snapshot,
    after: Snapshot,
    watch: Watch,
) -> Reading:
    """The reading of the interval from one snapshot to another.

    Args:
        chain: the chain that runs.
        scale: its packet rates relative to its own.
        start_ns: when the episode began, CLOCK_MONOTONIC.
        before, after: snapshots at the interval's ends.
        watch: what was seen in between, `after` included.
    """
    reading = Reading.zeros(chain.types, chain.slots)
    seconds = (after.time_ns - before.time_ns) * 1e-9
    per_s = 1.0 / (seconds * scale)
    reading.time_s[...] = (after.time_ns - start_ns) * 1e-9
    reading.interval_s[...] = seconds
    _totals(reading, before, after, per_s)
    _of_types(reading, before, after, per_s)
    _of_instances(reading, chain, scale, before, after, watch, per_s)
    for t in range(chain.types):
        load_if_blocked(
            int(after.types["mapping"][t]),
            reading.state[t],
            reading.load[t],
            reading.load_if_blocked[t],
        )
    _estimates(reading, chain, scale, watch, after, seconds)
    return reading


def _difference(before: Any, after: Any, name: str) -> FloatArray:
    """How much a counter has grown, as float64."""
    return np.asarray(np.asarray(after[name]) - np.asarray(before[name])).astype(np.float64)


def _totals(reading: Reading, before: Snapshot, after: Snapshot, per_s: float) -> None:
    """Packets that a device lost before the manager saw them were offered, and lost, as well."""
    missed = _difference(before.ports, after.ports, "missed").sum()
    dropped = _difference(before.header, after.header, "dropped").sum()
    reading.offered_pps[...] = (
        _difference(before.header, after.header, "offered") + missed
    ) * per_s
    reading.delivered_pps[...] = _difference(before.header, after.header, "delivered") * per_s
    reading.dropped_pps[...] = (dropped + missed) * per_s
    reading.shed_pps[...] = _difference(before.chains, after.chains, "shed").sum() * per_s


def _of_types(reading: Reading, before: Snapshot, after: Snapshot, per_s: float) -> None:
    was, now = before.types, after.types
    reading.unmapped_pps[:] = _difference(was, now, "unmapped") * per_s
    reading.unsettled[:] = (now["joined_ns"] >= before.time_ns) & (now["joined_ns"] > 0)
    for name in ("launches", "reruns", "blocks", "stops", "deaths", "clipped", "flows_moved"):
        getattr(reading, name)[:] = _difference(was, now, name)


def _of_instances(
    reading: Reading,
    chain: ServiceChain,
    scale: float,
    before: Snapshot,
    after: Snapshot,
    watch: Watch,
    per_s: float,
) -> None:
    was, now = before.instances, after.instances
    at = now["type"], now["slot"]
    reading.state[at] = now["state"]
    reading.start_kind[at] = np.where(now["state"] == STOPPED, 0, now["start_kind"])
    reading.arrived_pps[at] = _difference(was, now, "arrived") * per_s
    reading.served_pps[at] = _difference(was, now, "served") * per_s
    # What an instance that died had in its hands never got beyond it.
    lost = _difference(was, now, "ring_dropped") + _difference(was, now, "lost")
    reading.ring_dropped_pps[at] = lost * per_s
    reading.queue[at] = now["queue"]
    reading.queue_peak[at] = watch.queue_peak
    since_s = (after.time_ns - now["state_since_ns"].astype(np.int64)) * 1e-9
    reading.parked_s[at] = np.where(now["state"] == BLOCKED, np.maximum(since_s, 0.0), 0.0)
    # A paced instance declares nominal / scale; one that has not served yet has measured nothing.
    cost = np.where(now["declared"] != 0, now["processing_ns"] * scale, now["processing_ns"])
    reading.processing_ns[:] = chain.processing_ns[:, None]
    reading.processing_ns[at] = np.where(cost > 0, cost, chain.processing_ns[now["type"]])


def _estimates(
    reading: Reading,
    chain: ServiceChain,
    scale: float,
    watch: Watch,
    after: Snapshot,
    seconds: float,
) -> None:
    """Latency by Little's law and energy by core states, as the model estimates them."""

    def per_type(values: FloatArray) -> FloatArray:
        return np.bincount(after.instances["type"], values, chain.types).astype(np.float64)

    served_pps = reading.served_pps.sum(axis=1)
    work_s = (reading.served_pps * reading.processing_ns).sum(axis=1) * 1e-9
    used = served_pps > 0
    waiting = per_type(watch.queue_s) / (seconds * scale)
    delay_s = (waiting + work_s)[used] / served_pps[used]
    reading.latency_s[...] = (chain.through[used] * delay_s).sum()

    power = chain.measured.power
    held_s, parked_s = per_type(watch.held_s), per_type(watch.parked_s)
    busy_s = np.minimum(work_s * seconds, held_s - parked_s)
    joules = (
        busy_s * power.busy_w
        + (held_s - parked_s - busy_s) * power.idle_poll_w
        + parked_s * power.parked_w
    )
    reading.energy_j[...] = (joules * chain.cores_per_instance).sum()
