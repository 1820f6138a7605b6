"""A chain simulated packet by packet: an independent truth that the fluid model is held to.

It shares nothing with the model but the flow hashes: queues are deques, time is a heap of events,
Algorithm 1 is looked up for every packet.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np


@dataclass
class Instance:
    """One instance: a finite ring and a server that takes one packet after the other."""

    running: bool = False
    exists: bool = False
    serving: bool = False
    ring: deque[int] = field(default_factory=deque)
    arrived_in_window: int = 0
    rate: float = 0.0


@dataclass(frozen=True)
class Change:
    """At `time_s` an instance of a type starts or stops taking packets."""

    time_s: float
    nf_type: int
    slot: int
    joins: bool


@dataclass(frozen=True)
class Outcome:
    """Packets of the whole run."""

    offered: int
    delivered: int
    dropped: int


def algorithm1(instances: Sequence[Instance], flow_hash: int) -> int | None:
    """The paper's Algorithm 1: hash % existing; a blocked one passes on to the next unblocked."""
    row = [slot for slot, instance in enumerate(instances) if instance.exists]
    index = flow_hash % len(row)
    for step in range(len(row)):
        slot = row[(index + step) % len(row)]
        if instances[slot].running:
            return slot
    return None


def simulate(
    *,
    rates_pps: Sequence[float],
    interval_s: float,
    hashes: np.ndarray,
    popularity: np.ndarray,
    capacity_pps: Sequence[float],
    penalty: float,
    penalty_span: float,
    jitter: float,
    ring_slots: Sequence[int],
    slots: int,
    initial: Sequence[int],
    changes: Sequence[Change],
    window_s: float,
    same_flow: bool,
    seed: int,
) -> Outcome:
    """Sends packets through NF types 0, 1, ... and counts where they end.

    Packets are evenly spaced up to a random phase each and belong to flows drawn by popularity;
    a service takes 1 / rate, with a rate drawn per window and cut by overload of the last window.
    With `same_flow` a packet has one flow at all NF types, else it draws one at each of them.
    """
    rng = np.random.default_rng(seed)
    times = np.concatenate(
        [
            k * interval_s
            + (np.arange(round(rate * interval_s)) + rng.random(round(rate * interval_s))) / rate
            for k, rate in enumerate(rates_pps)
            if rate > 0
        ]
    )
    drawn = rng.choice(hashes.size, (len(capacity_pps), times.size), p=popularity)
    if same_flow:
        drawn[:] = drawn[0]
    flow_hashes = hashes[drawn].tolist()
    types = [[Instance() for _ in range(slots)] for _ in capacity_pps]
    for instances, number in zip(types, initial, strict=True):
        for instance in instances[:number]:
            instance.running = instance.exists = True

    order = count()
    events: list[tuple[float, int, str, tuple[int, ...]]] = [
        (float(time), next(order), "offer", (packet, 0)) for packet, time in enumerate(times)
    ]
    end_s = len(rates_pps) * interval_s
    events += [(float(time), -2, "window", ()) for time in np.arange(0.0, end_s, window_s)]
    events += [
        (change.time_s, -1, "change", (change.nf_type, change.slot, int(change.joins)))
        for change in changes
    ]
    heapq.heapify(events)
    delivered = dropped = 0

    def serve(time_s: float, t: int, slot: int) -> None:
        instance = types[t][slot]
        instance.serving = True
        heapq.heappush(events, (time_s + 1 / instance.rate, next(order), "done", (t, slot)))

    while events and events[0][0] < end_s:
        time_s, _, kind, what = heapq.heappop(events)
        if kind == "window":
            for t, instances in enumerate(types):
                for instance in instances:
                    excess = instance.arrived_in_window / window_s / capacity_pps[t] - 1
                    cut = penalty * min(1.0, max(0.0, excess) / penalty_span)
                    instance.rate = capacity_pps[t] * (1 + jitter * rng.uniform(-1, 1)) * (1 - cut)
                    instance.arrived_in_window = 0
        elif kind == "change":
            t, slot, joins = what
            types[t][slot].running = bool(joins)
            types[t][slot].exists = True
        elif kind == "offer":
            packet, t = what
            if t == len(types):
                delivered += 1
                continue
            chosen = algorithm1(types[t], flow_hashes[t][packet])
            if chosen is None:
                dropped += 1
                continue
            instance = types[t][chosen]
            instance.arrived_in_window += 1
            if len(instance.ring) >= ring_slots[t]:
                dropped += 1
                continue
            instance.ring.append(packet)
            if not instance.serving:
                serve(time_s, t, chosen)
        else:
            t, slot = what
            instance = types[t][slot]
            packet = instance.ring.popleft()
            heapq.heappush(events, (time_s, next(order), "offer", (packet, t + 1)))
            if instance.ring:
                serve(time_s, t, slot)
            else:
                instance.serving = False
    return Outcome(times.size, delivered, dropped)
