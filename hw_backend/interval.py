"""From two snapshots of the statistics page to the reading of the interval between them.

Pure functions of what was read. Rates and times are turned into the chain's own: a dataplane that
runs at a scale serves `scale` times the packets, so counts are divided by it. Queues are packets in
rings of the chain's own size and stay as they are; the model's are given in the same packets (see
`flexnfv.chain.ServiceChain.ring_packets`).

A deployment's decision waits for this: the loops are compiled, and look at the page as it lies in
memory.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.energy import core_energy
from flexnfv.hw_backend.abi import Records, Snapshot
from flexnfv.mapping import load_if_blocked
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, STOPPED

FloatArray = npt.NDArray[np.float64]

_Arrays: Any = namedtuple("_Arrays", tuple(Reading.describe()))  # type: ignore[misc]
"""The arrays of a reading as compiled code takes them."""


class Buffer:
    """The arrays of a chain's readings, a batch of one, which every reading fills anew."""

    def __init__(self, chain: ServiceChain) -> None:
        self.arrays = dict(Reading.zeros(chain.types, chain.slots, (1,)).items())
        # Compiled code fills the one chain's own, which are views of them.
        self.views = _Arrays(**{name: array[0, ...] for name, array in self.arrays.items()})
        power = chain.measured.power
        self.watts = power.busy_w, power.idle_poll_w, power.parked_w


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
        if snapshot.time_ns <= self._last.time_ns:
            return
        compiled(add_span)(
            self._last.page,
            snapshot.page,
            self.queue_peak,
            self.queue_s,
            self.held_s,
            self.parked_s,
        )
        self._last = snapshot


def reading_between(
    chain: ServiceChain,
    scale: float,
    start_ns: int,
    before: Snapshot,
    after: Snapshot,
    watch: Watch,
    buffer: Buffer,
) -> Reading:
    """The reading of the interval from one snapshot to another, a batch of one.

    Args:
        chain: the chain that runs.
        scale: its packet rates relative to its own.
        start_ns: when the episode began, CLOCK_MONOTONIC.
        before, after: snapshots at the interval's ends.
        watch: what was seen in between, `after` included.
        buffer: of the chain; the reading is valid until it is filled again.
    """
    reading = Reading.of(buffer.arrays)
    reading.time_s[...] = (after.time_ns - start_ns) * 1e-9
    compiled(fill)(
        before.page,
        after.page,
        scale,
        chain.processing_ns,
        chain.through,
        chain.cores_per_instance,
        buffer.watts,
        watch.queue_peak,
        watch.queue_s,
        watch.held_s,
        watch.parked_s,
        buffer.views,
    )
    return reading


def add_span(
    was: Records,
    now: Records,
    queue_peak: FloatArray,
    queue_s: FloatArray,
    held_s: FloatArray,
    parked_s: FloatArray,
) -> None:
    """Add what lies between two pages, [1] each, to what a watch has seen of every instance."""
    before, after = was[0], now[0]
    span_s = (after.time_ns - before.time_ns) * 1e-9
    for i in range(len(queue_peak)):
        one, other = before.instance[i], after.instance[i]
        queue_peak[i] = max(queue_peak[i], float(other.queue_peak))
        queue_s[i] += span_s * 0.5 * (float(one.queue) + float(other.queue))
        if one.state != STOPPED:
            held_s[i] += span_s
        if one.state == BLOCKED and other.state == BLOCKED:
            parked_s[i] += span_s


def fill(
    was: Records,
    now: Records,
    scale: float,
    processing_ns: FloatArray,
    through: FloatArray,
    cores: npt.NDArray[np.int64],
    watts: tuple[float, float, float],
    queue_peak: FloatArray,
    queue_s: FloatArray,
    held_s: FloatArray,
    parked_s: FloatArray,
    reading: Any,
) -> None:
    """Fill a reading's arrays, but for its time, from the pages at the interval's ends, [1] each.

    Latency comes of Little's law and energy of the states of cores, as the model estimates them.

    Args:
        was, now: the pages.
        scale: packet rates relative to the chain's own.
        processing_ns, through, cores: the chain's, [T].
        watts: of a core that is busy, polls idly, is parked.
        queue_peak, queue_s, held_s, parked_s: of a `Watch`.
        reading: `_Arrays`; filled, but for slots that a type does not have.
    """
    before, after = was[0], now[0]
    seconds = (after.time_ns - before.time_ns) * 1e-9
    per_s = 1.0 / (seconds * scale)

    # Packets that a device lost before the manager saw them were offered, and lost, as well.
    missed, dropped, shed = 0.0, 0.0, 0.0
    for port in range(after.ports):
        missed += float(after.port[port].missed - before.port[port].missed)
    for cause in range(len(after.dropped)):
        dropped += float(after.dropped[cause] - before.dropped[cause])
    for path in range(after.chains):
        shed += float(after.chain[path].shed - before.chain[path].shed)
    reading.interval_s[()] = seconds
    reading.offered_pps[()] = (float(after.offered - before.offered) + missed) * per_s
    reading.delivered_pps[()] = float(after.delivered - before.delivered) * per_s
    reading.dropped_pps[()] = (dropped + missed) * per_s
    reading.shed_pps[()] = shed * per_s

    latency_s, energy_j = 0.0, 0.0
    for t in range(len(processing_ns)):
        one, other = before.type[t], after.type[t]
        reading.unmapped_pps[t] = float(other.unmapped - one.unmapped) * per_s
        reading.unsettled[t] = other.joined_ns > 0 and other.joined_ns >= before.time_ns
        reading.launches[t] = other.launches - one.launches
        reading.reruns[t] = other.reruns - one.reruns
        reading.blocks[t] = other.blocks - one.blocks
        reading.stops[t] = other.stops - one.stops
        reading.deaths[t] = other.deaths - one.deaths
        reading.clipped[t] = other.clipped - one.clipped
        reading.flows_moved[t] = other.flows_moved - one.flows_moved
        reading.mapping[t] = other.mapping
        reading.processing_ns[t] = processing_ns[t]
        served_pps, work_s, waiting, held, parked = 0.0, 0.0, 0.0, 0.0, 0.0
        for slot in range(other.max_instances):
            i = other.first + slot
            old, new = before.instance[i], after.instance[i]
            reading.state[t, slot] = new.state
            reading.start_kind[t, slot] = 0 if new.state == STOPPED else new.start_kind
            served = float(new.served - old.served) * per_s
            lost = (new.ring_dropped - old.ring_dropped) + (new.lost - old.lost)
            reading.arrived_pps[t, slot] = float(new.arrived - old.arrived) * per_s
            reading.served_pps[t, slot] = served
            # Packets that an instance was processing when it died count as lost at its ring.
            reading.ring_dropped_pps[t, slot] = float(lost) * per_s
            reading.queue[t, slot] = new.queue
            reading.queue_peak[t, slot] = queue_peak[i]
            parked_ns = 0.0
            if new.state == BLOCKED and after.time_ns > new.state_since_ns:
                parked_ns = float(after.time_ns - new.state_since_ns)
            reading.parked_s[t, slot] = parked_ns * 1e-9
            # A paced instance declares its nominal time / scale. One that has not served a packet
            # yet has measured nothing: it keeps the calibrated time.
            cost = new.processing_ns * scale if new.declared != 0 else new.processing_ns
            if cost > 0:
                reading.processing_ns[t, slot] = cost
            served_pps += served
            work_s += served * reading.processing_ns[t, slot] * 1e-9
            waiting += queue_s[i] * per_s
            held += held_s[i]
            parked += parked_s[i]
        load_if_blocked(
            other.mapping,
            reading.state[t],
            reading.arrived_pps[t] * reading.processing_ns[t] * 1e-9,
            reading.load_if_blocked[t],
        )
        if served_pps > 0:
            latency_s += through[t] * (waiting + work_s) / served_pps
        joules = core_energy(work_s * seconds, held, parked, watts[0], watts[1], watts[2])
        energy_j += joules * cores[t]
    reading.latency_s[()] = latency_s
    reading.energy_j[()] = energy_j
