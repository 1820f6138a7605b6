"""Packets of one segment of an interval: rates are constant in it, and nobody joins or leaves."""

from __future__ import annotations

from flexnfv.model.admission import LOW_MARK, admit, look_ahead
from flexnfv.model.arrays import Constants, Outputs, Scratch, State
from flexnfv.model.chance import wobble
from flexnfv.model.instances import park
from flexnfv.states import DRAINING

LEAVES = -1
"""In `Constants.following`: the packet leaves the chain."""


def is_smooth(w: int, e: int, rate: float, c: Constants, s: State, o: Outputs, x: Scratch) -> bool:
    """Whether every instance serves at once what it is offered at this rate, whatever its jitter.

    Then sub-steps make no difference: as long as rate and shares stay, one segment tells the same.
    """
    if c.backpressure or c.death_rate_per_s > 0.0:
        return False
    for p in range(c.entry.shape[0]):
        for t in range(c.order.shape[0]):
            if c.back[p, t]:
                return False
            x.inflow[w, p, t] = 0.0
        x.inflow[w, p, c.entry[p]] = rate * c.path_share[p]
    for place in range(c.order.shape[0]):
        t = c.order[place]
        total = 0.0
        for p in range(c.entry.shape[0]):
            total += x.inflow[w, p, t]
        surely = c.capacity_pps[t] * (1.0 - c.jitter[t])
        if x.backlog[w, t] or total * s.top_share[e, t] > surely:
            return False
        for p in range(c.entry.shape[0]):
            if c.following[p, t] != LEAVES:
                x.inflow[w, p, c.following[p, t]] += x.inflow[w, p, t] * (1.0 - s.unmapped[e, t])
    return True


def pass_segment(
    w: int,
    e: int,
    k: int,
    rate: float,
    now_s: float,
    span_s: float,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> None:
    """Offer a segment's packets to the chain, type by type.

    Args:
        w, e: worker, environment.
        k: sub-step that the segment lies in, whose jitter it has.
        rate: offered packets/s.
        now_s, span_s: when the segment starts within the interval, and how long it is.
        c, s, o, x: the kernel's arrays.
    """
    o.offered_pps[e] += rate * span_s
    let_return(w, e, span_s, c, s, x)
    if c.backpressure:
        look_ahead(w, e, k, rate, span_s, c, s, x)
        let_return(w, e, span_s, c, s, x)
        admit(w, e, rate, span_s, c, s, o, x)
    else:
        for p in range(c.entry.shape[0]):
            x.inflow[w, p, c.entry[p]] += rate * c.path_share[p] * span_s
    for place in range(c.order.shape[0]):
        serve_type(w, e, c.order[place], k, now_s, span_s, c, s, o, x)


def let_return(w: int, e: int, span_s: float, c: Constants, s: State, x: Scratch) -> None:
    """Start a segment's inflow with the packets that went back to a type in the last sub-step."""
    part = span_s / c.substep_s
    for p in range(c.entry.shape[0]):
        for t in range(c.order.shape[0]):
            x.inflow[w, p, t] = s.transit[e, p, t] * part


def send_back(w: int, e: int, c: Constants, s: State, x: Scratch) -> None:
    """At a sub-step's end: packets on their way back arrive in the next one."""
    for p in range(c.entry.shape[0]):
        for t in range(c.order.shape[0]):
            s.transit[e, p, t] = x.homeward[w, p, t]
            x.homeward[w, p, t] = 0.0


def send_on(
    w: int, e: int, p: int, t: int, amount: float, c: Constants, o: Outputs, x: Scratch
) -> None:
    """Send what a type has served of a path to the path's next type."""
    onward = c.following[p, t]
    if onward == LEAVES:
        o.delivered_pps[e] += amount
    elif c.back[p, t]:
        x.homeward[w, p, onward] += amount
    else:
        x.inflow[w, p, onward] += amount


def serve_type(
    w: int,
    e: int,
    t: int,
    k: int,
    now_s: float,
    span_s: float,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> None:
    """Serve what is offered to one NF type in a segment."""
    paths = c.entry.shape[0]
    total = 0.0
    for p in range(paths):
        total += x.inflow[w, p, t]
    if s.unmapped[e, t] > 0.0:
        o.unmapped_pps[e, t] += total * s.unmapped[e, t]
    surely = c.capacity_pps[t] * span_s * (1.0 - c.jitter[t])
    if not x.backlog[w, t] and not c.behind[t] and total * s.top_share[e, t] <= surely:
        x.smooth[w, t] += total
        for p in range(paths):
            send_on(w, e, p, t, x.inflow[w, p, t] * (1.0 - s.unmapped[e, t]), c, o, x)
        return
    served = 0.0
    x.backlog[w, t] = False
    for i in range(s.used[e, t]):
        amount = total * s.share[e, t, i]
        if s.queue[e, t, i] == 0.0 and amount <= surely:
            o.arrived_pps[e, t, i] += amount
            o.served_pps[e, t, i] += amount
            served += amount
            s.throttled[e, t, i] = False
            if paths > 1:
                for p in range(paths):
                    send_on(w, e, p, t, x.inflow[w, p, t] * s.share[e, t, i], c, o, x)
        else:
            served += serve_ring(w, e, t, i, k, amount, now_s, span_s, c, s, o, x)
    if paths == 1:
        send_on(w, e, 0, t, served, c, o, x)


def serve_ring(
    w: int,
    e: int,
    t: int,
    i: int,
    k: int,
    amount: float,
    now_s: float,
    span_s: float,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> float:
    """Serve what an instance is offered in a segment and what its ring holds; packets served."""
    able = c.capacity_pps[t] * span_s
    ability = able
    if c.jitter[t] > 0.0:
        ability *= 1.0 + c.jitter[t] * wobble(e, t, i, k, c, s)
    if amount > able and not c.behind[t]:
        excess = min(1.0, (amount - able) * (1.0 / (c.overload_span[t] * able)))
        ability *= 1.0 - c.overload_penalty[t] * excess
    before = s.queue[e, t, i]
    pool = before + amount
    done: float = min(ability, pool)
    after = min(c.ring_packets[t], pool - done)
    dropped = (pool - done) - after
    if after < LOW_MARK * c.ring_packets[t]:
        s.throttled[e, t, i] = False
    o.arrived_pps[e, t, i] += amount
    o.served_pps[e, t, i] += done
    o.ring_dropped_pps[e, t, i] += dropped
    if before > 0.0 or after > 0.0:
        s.queue[e, t, i] = after
        o.queue_peak[e, t, i] = max(o.queue_peak[e, t, i], after)
        # The ring fills or drains until it is full or empty, and then stays as it is.
        moving = 0.0
        if after != before:
            moving = min(1.0, (after - before) / (amount - ability))
        x.waiting[w, t] += span_s * (moving * 0.5 * (before + after) + (1.0 - moving) * after)
        if after > 0.0:
            x.backlog[w, t] = True
        elif o.state[e, t, i] == DRAINING:
            park(e, t, i, now_s + span_s * moving, s, o)
    if c.entry.shape[0] > 1:
        serve_paths(w, e, t, i, amount, pool - dropped, dropped, done, c, s, o, x)
    return done


def serve_paths(
    w: int,
    e: int,
    t: int,
    i: int,
    amount: float,
    kept: float,
    dropped: float,
    done: float,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> None:
    """Split over the paths what an instance lost, served and keeps in its ring.

    Loss hits all arrivals alike; service takes of each path what the ring holds of it.
    """
    for p in range(c.entry.shape[0]):
        coming = x.inflow[w, p, t] * s.share[e, t, i]
        if dropped > 0.0:
            coming = coming - dropped * (coming / amount)
        content = s.mix[e, p, t, i] + coming
        leaving = done * (content / kept) if kept > 0.0 else 0.0
        s.mix[e, p, t, i] = max(0.0, content - leaving)
        send_on(w, e, p, t, leaving, c, o, x)
