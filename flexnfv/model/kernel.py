"""The model's physics: one monitor interval of every environment of a batch.

`advance` is plain Python over numpy arrays. `flexnfv.compiled` compiles it with all that it calls,
the core's own `scaling` and `mapping` among it, and both ways give the same bits: there is nothing
here but + - * /, comparisons and 64-bit integers. Environments are independent of one another, and
nothing is allocated: whoever calls gives the arrays (`flexnfv.model.arrays`), whose short names are
the same everywhere: c the chain's constants, s the state, o the outputs, x scratch space. Workers,
environments, paths, NF types and instance slots have the indices w, e, p, t and i, sub-steps k.
Functions take indices; a row of an array is handed over only to the core's functions.

**Fluid queue** (`service`). An interval is cut into sub-steps, and a sub-step at the moment at
which an instance joins. Within such a segment all rates are constant, so that a finite ring is
exact: of `q + a` packets (queued at its start, arriving within it) an instance serves at most what
its rate allows, and of the rest the ring keeps what it holds and loses the remainder. What is
served is offered to the next NF of the path within the same segment. Sub-steps in which nothing can
queue make one segment.

**Service.** Calibrated rate x (1 + jitter x u), u uniform in (-1, 1) per sub-step and instance. An
instance that is offered more than its loss-free rate loses up to `overload_penalty` of it, in
proportion to the excess (complete at `overload_span`).

**Scaling** (`instances`). Commands act at the interval's start; a launch or a rerun completes after
its latency, at that very moment. An instance that completes at the end of an interval joins at the
start of the next one. A blocked instance drains before it parks. Deaths happen at the start of a
sub-step; what the ring held is lost. A type that is left with none running is launched (or rerun)
at once.

**Mapping** (`spread`). The shares of the offered rate follow from the flows' popularity.

**Backpressure** (`admission`). The entry sheds what a full ring behind it would lose.

**Known limit.** Every type splits the offered flows anew by its own shares. In truth one hash
decides at all types, so that losses at one instance spare the instance with the same index
downstream; with heavy, uneven losses upstream the drop rate may be off by a few percentage points.

**Several paths** that share NF types: rings remember how much of their content belongs to each
path; loss hits arrivals alike, service takes the mixture. Where paths pass two types in opposite
orders, packets on the way back wait for the next sub-step (`State.transit`).
"""

from __future__ import annotations

import numpy as np

from flexnfv.energy import core_energy
from flexnfv.mapping import load_if_blocked
from flexnfv.model.arrays import Constants, Ints, Outputs, Scratch, State
from flexnfv.model.instances import decide, join, strike
from flexnfv.model.service import is_smooth, pass_segment, send_back
from flexnfv.model.spread import spread
from flexnfv.states import BLOCKED, LAUNCHING, RUNNING, STOPPED


def advance(
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
    envs: Ints,
    targets: Ints,
    mapping: Ints,
    spares: Ints,
    decides: bool,
    first: int,
    stride: int,
) -> bool:
    """Let one monitor interval pass.

    Args:
        c, s, o, x: the chain, the batch's state, its outputs and scratch space (changed in place).
        envs: environments to advance, [n].
        targets, mapping, spares: the decision, a row for each entry of `envs`, [n, T]; -1 as lever
            leaves a type as it is.
        decides: whether to apply it; not in the first interval of an episode.
        first, stride: this worker's entries of `envs`, `first` being its row of scratch space too.

    Returns:
        Whether all of them had traffic left; none is advanced if one had not.
    """
    for n in range(first, envs.shape[0], stride):
        if s.interval[envs[n]] >= s.intervals[envs[n]]:
            return False
    w = first
    for n in range(first, envs.shape[0], stride):
        e = envs[n]
        begin(w, e, not decides, c, s, o, x)
        if decides:
            decide(w, e, n, targets, mapping, spares, c, s, o, x)
        pass_interval(w, e, decides, c, s, o, x)
        read(w, e, c, s, o, x)
    return True


def begin(w: int, e: int, is_first: bool, c: Constants, s: State, o: Outputs, x: Scratch) -> None:
    """Begin an interval: sums at zero, slots that were given up out of the way.

    Until `read` divides by the interval's length, what becomes rates is packets.
    """
    o.offered_pps[e] = 0.0
    o.delivered_pps[e] = 0.0
    o.shed_pps[e] = 0.0
    for t in range(c.order.shape[0]):
        x.remapped[w, t] = is_first
        x.smooth[w, t] = 0.0
        x.held_s[w, t] = 0.0
        x.parked_s[w, t] = 0.0
        x.waiting[w, t] = 0.0
        o.unmapped_pps[e, t] = 0.0
        o.unsettled[e, t] = False
        o.launches[e, t] = 0
        o.reruns[e, t] = 0
        o.blocks[e, t] = 0
        o.stops[e, t] = 0
        o.deaths[e, t] = 0
        o.clipped[e, t] = 0
        o.flows_moved[e, t] = 0.0
        used = s.used[e, t]
        longest = 0.0
        for i in range(used):
            o.arrived_pps[e, t, i] = 0.0
            o.served_pps[e, t, i] = 0.0
            o.ring_dropped_pps[e, t, i] = 0.0
            o.queue_peak[e, t, i] = s.queue[e, t, i]
            longest = max(longest, s.queue[e, t, i])
        x.backlog[w, t] = longest > 0.0
        while used > 0 and o.state[e, t, used - 1] == STOPPED:
            used -= 1
            forget_slot(e, t, used, s, o)
        s.used[e, t] = used


def forget_slot(e: int, t: int, i: int, s: State, o: Outputs) -> None:
    """Let a slot that is used no longer read as one that never was."""
    s.load[e, t, i] = 0.0
    s.share[e, t, i] = 0.0
    o.queue[e, t, i] = 0.0
    o.load_if_blocked[e, t, i] = np.inf


def pass_interval(
    w: int, e: int, decides: bool, c: Constants, s: State, o: Outputs, x: Scratch
) -> None:
    """Let an interval pass, segment by segment."""
    per_rate = c.substeps // s.rates_per_interval[e]
    now_s = 0.0
    k = 0
    while k < c.substeps:
        if c.death_rate_per_s > 0.0:
            strike(w, e, k, now_s, c, s, o, x)
        place = s.interval[e] * s.rates_per_interval[e] + k // per_rate
        rate = s.rates[s.series[e], place]
        end_s = end_of(k, c)
        while now_s < end_s:
            if s.due_s[e] <= now_s:
                join(w, e, now_s, c, s, o, x)
            for t in range(c.order.shape[0]):
                if x.remapped[w, t]:
                    x.remapped[w, t] = False
                    share_smooth(w, e, t, s, o, x)
                    spread(w, e, t, c.count_flows and (decides or now_s > 0.0), c, s, o, x)
            until_s = end_s
            if (k + 1) % per_rate > 0 and is_smooth(w, e, rate, c, s, o, x):
                until_s = end_of(k // per_rate * per_rate + per_rate - 1, c)
            until_s = min(until_s, s.due_s[e])
            pass_segment(w, e, k, rate, now_s, until_s - now_s, c, s, o, x)
            now_s = until_s
        while k < c.substeps and end_of(k, c) <= now_s:
            k += 1
        if c.entry.shape[0] > 1:
            send_back(w, e, c, s, x)


def end_of(k: int, c: Constants) -> float:
    """When sub-step k ends, seconds from the interval's start."""
    return (k + 1) * c.substep_s if k + 1 < c.substeps else c.interval_s


def share_smooth(w: int, e: int, t: int, s: State, o: Outputs, x: Scratch) -> None:
    """Give each instance its share of the packets that a type served without any queue."""
    if x.smooth[w, t] > 0.0:
        for i in range(s.used[e, t]):
            o.arrived_pps[e, t, i] += x.smooth[w, t] * s.share[e, t, i]
            o.served_pps[e, t, i] += x.smooth[w, t] * s.share[e, t, i]
        x.smooth[w, t] = 0.0


def read(w: int, e: int, c: Constants, s: State, o: Outputs, x: Scratch) -> None:
    """End an interval: fill the reading, and let the state's times count from its end on."""
    per_s = 1.0 / c.interval_s
    dropped = o.shed_pps[e]
    o.energy_j[e] = 0.0
    o.latency_s[e] = 0.0
    s.due_s[e] = np.inf
    for t in range(c.order.shape[0]):
        share_smooth(w, e, t, s, o, x)
        dropped += o.unmapped_pps[e, t]
        o.unmapped_pps[e, t] *= per_s
        served = 0.0
        for i in range(s.used[e, t]):
            served += o.served_pps[e, t, i]
            dropped += o.ring_dropped_pps[e, t, i]
            o.arrived_pps[e, t, i] *= per_s
            o.served_pps[e, t, i] *= per_s
            o.ring_dropped_pps[e, t, i] *= per_s
            s.load[e, t, i] = o.arrived_pps[e, t, i] * c.processing_ns[t] * 1e-9
            o.queue[e, t, i] = min(s.queue[e, t, i] * c.scale, c.ring_slots[t])
            o.queue_peak[e, t, i] = min(o.queue_peak[e, t, i] * c.scale, c.ring_slots[t])
        read_instances(w, e, t, c, s, o, x)
        load_if_blocked(o.mapping[e, t], o.state[e, t], s.load[e, t], o.load_if_blocked[e, t])
        busy_s = served * c.processing_ns[t] * 1e-9
        o.energy_j[e] += c.cores_per_instance[t] * core_energy(
            busy_s, x.held_s[w, t], x.parked_s[w, t], c.busy_w, c.idle_poll_w, c.parked_w
        )
        if served > 0.0:
            o.latency_s[e] += c.visit[t] * (x.waiting[w, t] / served + c.processing_ns[t] * 1e-9)
    o.offered_pps[e] *= per_s
    o.delivered_pps[e] *= per_s
    o.dropped_pps[e] = dropped * per_s
    o.shed_pps[e] *= per_s
    s.interval[e] += 1
    o.time_s[e] = s.interval[e] * c.interval_s


def read_instances(w: int, e: int, t: int, c: Constants, s: State, o: Outputs, x: Scratch) -> None:
    """Add up a type's core time and count its instances at an interval's end."""
    present = 0
    for i in range(s.used[e, t]):
        state = o.state[e, t, i]
        if state == STOPPED:
            continue
        x.held_s[w, t] += c.interval_s
        if s.wait_s[e, t, i] < np.inf:
            s.wait_s[e, t, i] = max(0.0, s.wait_s[e, t, i] - c.interval_s)
            s.due_s[e] = min(s.due_s[e], s.wait_s[e, t, i])
        if state == RUNNING or state == LAUNCHING:
            present += 1
        elif state == BLOCKED:
            x.parked_s[w, t] += c.interval_s - max(0.0, s.parked_at_s[e, t, i])
            s.parked_at_s[e, t, i] -= c.interval_s
            o.parked_s[e, t, i] = -s.parked_at_s[e, t, i]
    s.present[e, t] = present
