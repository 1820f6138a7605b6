"""Backpressure: what the chain's entry lets in, so that no ring behind it overflows.

NFVnice (Kulkarni et al., SIGCOMM 2017): a ring behind the entry that reaches 80 % throttles until
it is below 60 %. Then the entry admits what the fullest of them drains, and sheds the excess of all
flows before any NF has spent time on it: the mean of switching the entry off and on within a
segment. Such instances are never offered too much then, so that they have no overload penalty.
Rings of the entry itself drop, as nobody is upstream of them.
"""

from __future__ import annotations

from flexnfv.model.arrays import Constants, Outputs, Scratch, State
from flexnfv.model.chance import wobble

HIGH_MARK = 0.8
"""Share of a ring at which backpressure starts (NFVnice)."""
LOW_MARK = 0.6
"""Share of a ring below which backpressure ends (NFVnice)."""
HALVINGS = 20
"""Steps of the search for what may enter a type that drops some of it."""


def admit(
    w: int, e: int, rate: float, span_s: float, c: Constants, s: State, o: Outputs, x: Scratch
) -> None:
    """Add to a segment's inflow what the entry of each path lets in, and shed the rest."""
    for p in range(c.entry.shape[0]):
        entering = rate * c.path_share[p] * span_s
        amount = admitted(w, e, p, entering, span_s, c, s, x)
        x.inflow[w, p, c.entry[p]] += amount
        o.shed_pps[e] += entering - amount


def look_ahead(
    w: int, e: int, k: int, rate: float, span_s: float, c: Constants, s: State, x: Scratch
) -> None:
    """Find what would reach every type if all were let in, and which part of it gets through."""
    for p in range(c.entry.shape[0]):
        x.inflow[w, p, c.entry[p]] += rate * c.path_share[p] * span_s
    for place in range(c.order.shape[0]):
        t = c.order[place]
        total = 0.0
        coming = 0.0
        for p in range(c.entry.shape[0]):
            total += x.inflow[w, p, t]
            if c.entry[p] != t:
                coming += x.inflow[w, p, t]
        draw_abilities(w, e, t, k, span_s, c, s, x)
        x.total[w, t] = total
        x.passing[w, t] = taken_by_rings(w, e, t, total, coming, c, s, x)
        x.onwards[w, t] = 1.0
        if total > 0.0:
            x.onwards[w, t] = min(1.0, output(w, e, t, total, span_s, c, s, x) / total)
        for p in range(c.entry.shape[0]):
            onward = c.following[p, t]
            if onward >= 0 and not c.back[p, t]:
                taken = 1.0 if c.entry[p] == t else x.passing[w, t]
                x.inflow[w, p, onward] += x.inflow[w, p, t] * min(taken, x.onwards[w, t])


def draw_abilities(
    w: int, e: int, t: int, k: int, span_s: float, c: Constants, s: State, x: Scratch
) -> None:
    """Draw what each instance of a type could serve in the segment, overload apart."""
    able = c.capacity_pps[t] * span_s
    for i in range(s.used[e, t]):
        x.ability[w, t, i] = able * (1.0 + c.jitter[t] * wobble(e, t, i, k, c, s))


def taken_by_rings(
    w: int, e: int, t: int, total: float, coming: float, c: Constants, s: State, x: Scratch
) -> float:
    """The part of what comes from types before it that a type's fullest ring takes.

    Args:
        w, e, t: worker, environment, NF type.
        total: packets that reach the type.
        coming: those of them that the entry could have held back.
        c, s, x: the kernel's arrays; rings that would reach the high mark throttle from now on.
    """
    taken = 1.0
    if coming == 0.0 or not c.behind[t]:
        return taken
    for i in range(s.used[e, t]):
        amount = total * s.share[e, t, i]
        if amount == 0.0:
            continue
        room = x.ability[w, t, i]
        if not s.throttled[e, t, i]:
            room += max(0.0, HIGH_MARK * c.ring_packets[t] - s.queue[e, t, i])
        if amount > room:
            s.throttled[e, t, i] = True
            excess = (amount - room) / (coming * s.share[e, t, i])
            taken = min(taken, max(0.0, 1.0 - excess))
    return taken


def output(
    w: int, e: int, t: int, total: float, span_s: float, c: Constants, s: State, x: Scratch
) -> float:
    """What a type's instances would serve of a total that is offered to them in a segment."""
    able = c.capacity_pps[t] * span_s
    penalty = 0.0 if c.behind[t] else c.overload_penalty[t]
    served = 0.0
    for i in range(s.used[e, t]):
        amount = total * s.share[e, t, i]
        ability = x.ability[w, t, i]
        if amount > able:
            ability *= 1.0 - penalty * min(1.0, (amount / able - 1.0) / c.overload_span[t])
        served += min(ability, s.queue[e, t, i] + amount)
    return served


def admitted(
    w: int, e: int, p: int, entering: float, span_s: float, c: Constants, s: State, x: Scratch
) -> float:
    """What the entry lets in of a path's packets."""
    first = c.entry[p]
    taken = 1.0
    reaching = 1.0
    t = c.following[p, first]
    while t >= 0:
        if x.passing[w, t] < 1.0:
            taken = reaching * x.passing[w, t]
        reaching *= min(x.passing[w, t], x.onwards[w, t])
        t = c.following[p, t]
    amount = entering * taken
    if taken < 1.0 and x.onwards[w, first] < 1.0:
        # What its own type drops never gets to the full rings: more may enter, until as much gets
        # through.
        others = x.total[w, first] - entering
        low, high = 0.0, entering
        for _ in range(HALVINGS):
            amount = 0.5 * (low + high)
            served = output(w, e, first, others + amount, span_s, c, s, x)
            passed = min(amount, served * amount / (others + amount))
            if passed < taken * x.onwards[w, first] * entering:
                low = amount
            else:
                high = amount
    return amount
