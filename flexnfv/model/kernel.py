"""The model's physics: one monitor interval of every environment of a batch.

`advance` is plain Python over numpy arrays. `flexnfv.compiled` compiles it, together with
the core's own `scaling` and `mapping` functions that it calls, and both ways give the same bits:
there is nothing here but + - * /, comparisons and 64-bit integers.

**Fluid queue.** An interval is cut into sub-steps, and a sub-step at the moment at which an
instance joins. Within such a segment all rates are constant, so that a finite ring is exact: of
`q + a` packets (queued at its start, arriving within it) an instance serves at most what its rate
allows, and of the rest the ring keeps what it holds and loses the remainder. What is served is
offered to the next NF of the path within the same segment.

**Service.** Calibrated rate x (1 + jitter x u), u uniform in (-1, 1) per sub-step and instance. An
instance that is offered more than its loss-free rate loses up to `overload_penalty` of it, in
proportion to the excess (complete at `overload_span`).

**Scaling.** Commands act at the interval's start; a launch or a rerun completes after its latency,
at that very moment. An instance that completes at the end of an interval joins at the start of
the next one. A blocked instance drains before it parks. Deaths happen at the start of a sub-step;
what the ring held is lost. A type that is left with none running is launched (or rerun) at once.

**Backpressure** (NFVnice, Kulkarni et al., SIGCOMM 2017). A ring behind the entry that reaches 80 %
throttles until it is below 60 %. Then the chain's entry admits what the fullest of them drains, and
sheds the excess of all flows before any NF has spent time on it: the mean of switching the entry
off and on within a segment. Such instances are never offered too much then, so that they have no
overload penalty. Rings of the entry itself drop, as nobody is upstream of them.

**Known limit.** Every type splits the offered flows anew by its own shares. In truth one hash
decides at all types, so that losses at one instance spare the instance with the same index
downstream; with heavy, uneven losses upstream the drop rate may be off by a few percentage points.

**Several paths** that share NF types: rings remember how much of their content belongs to each
path; loss hits arrivals alike, service takes the mixture. Where paths pass two types in opposite
orders, packets on the way back wait for the next sub-step (`State.transit`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.mapping import (
    ALGORITHM1,
    BUCKETS,
    NO_INSTANCE,
    algorithm1_row,
    load_if_blocked,
    shares,
    update_table,
)
from flexnfv.scaling import plan
from flexnfv.states import (
    BLOCK,
    BLOCKED,
    DRAINING,
    LAUNCH,
    LAUNCHING,
    NONE,
    RERUN,
    RUNNING,
    STOP,
    STOPPED,
    StartKind,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

HIGH_MARK = 0.8
"""Share of a ring at which backpressure starts (NFVnice)."""
LOW_MARK = 0.6
"""Share of a ring below which backpressure ends (NFVnice)."""
LEAVES = -1
"""In `Constants.following`: the packet leaves the chain."""

NO_START = int(StartKind.NONE)
PROCESS = int(StartKind.PROCESS)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
LATENCY_STREAM = np.uint64(0xD1B54A32D192ED03)
DEATH_STREAM = np.uint64(0x8CB92BA72F3D8DD7)
SHIFT_11 = np.uint64(11)
SHIFT_16 = np.uint64(16)
SHIFT_27 = np.uint64(27)
SHIFT_30 = np.uint64(30)
SHIFT_31 = np.uint64(31)
MASK_16 = np.uint64(0xFFFF)


class Constants(NamedTuple):
    """A chain as the kernel sees it. P paths, T NF types, I slots, U distinct flow hashes."""

    interval_s: float
    substeps: int
    rates_per_interval: int
    core_budget: int
    park_timeout_s: float
    launch_s: float
    launch_spread: float
    rerun_s: float
    rerun_spread: float
    busy_w: float
    idle_poll_w: float
    parked_w: float
    death_rate_per_s: float
    backpressure: bool
    count_flows: bool
    capacity_pps: Floats  # [T]
    processing_ns: Floats  # [T]
    overload_penalty: Floats  # [T]
    overload_span: Floats  # [T]
    jitter: Floats  # [T]
    ring_packets: Floats  # [T], packets of the chain's own
    min_instances: Ints  # [T]
    max_instances: Ints  # [T]
    cores_per_instance: Ints  # [T]
    mapping_kinds: Ints  # [T]
    order: Ints  # [T], types so that as few paths as possible go back
    entry: Ints  # [P], first type
    following: Ints  # [P, T], next type on the path, or LEAVES
    back: Bools  # [P, T], whether that next type comes earlier in `order`
    behind: Bools  # [T], whether its full rings hold a path's packets off at the entry
    path_share: Floats  # [P]
    visit: Floats  # [T], share of the offered packets whose path passes the type
    bucket_weight: Floats  # [BUCKETS]
    modulus_weight: Floats  # [I + 1, I]
    bucket_flows: Ints  # [BUCKETS], flows in each bucket
    residue: Bytes  # [I + 1, U], hash % j
    hash_flows: Ints  # [U], flows with each hash
    flows: int


class State(NamedTuple):
    """What a batch of B environments remembers between intervals."""

    stream: npt.NDArray[np.uint64]  # [B], seed of the environment's randomness
    interval: Ints  # [B], intervals done
    rates: Floats  # [B, intervals x rates_per_interval], offered packets/s
    wait_s: Floats  # [B, T, I], until a launch or rerun completes; infinity: none under way
    due_s: Floats  # [B], until the next launch or rerun completes
    doomed: Bools  # [B, T, I], dies before the next decision
    dying: Bools  # [B], whether any instance is doomed
    present: Ints  # [B, T], running and launching instances
    mix: Floats  # [B, P, T, I], each path's packets in the ring (kept if P > 1)
    transit: Floats  # [B, P, T], packets on their way back to a type
    load: Floats  # [B, T, I], erlangs in the last interval
    share: Floats  # [B, T, I], of the offered rate
    unmapped: Floats  # [B, T], share that finds no unblocked instance
    top_share: Floats  # [B, T], the largest share
    table: npt.NDArray[np.int16]  # [B, T, BUCKETS]
    row: Ints  # [B, T, I], Algorithm 1's resolved row (kept if flows are counted)
    existing: Ints  # [B, T], its length
    throttled: Bools  # [B, T, I]


class Figures(NamedTuple):
    """The arrays of a batched `Reading`; those it shares with the state are kept between steps."""

    time_s: Floats
    offered_pps: Floats
    delivered_pps: Floats
    dropped_pps: Floats
    shed_pps: Floats
    latency_s: Floats
    energy_j: Floats
    unmapped_pps: Floats
    unsettled: Bools
    launches: Ints
    reruns: Ints
    blocks: Ints
    stops: Ints
    deaths: Ints
    clipped: Ints
    flows_moved: Floats
    state: Bytes
    start_kind: Bytes
    arrived_pps: Floats
    served_pps: Floats
    ring_dropped_pps: Floats
    queue: Floats
    queue_peak: Floats
    parked_s: Floats
    load_if_blocked: Floats


def random_word(stream: Any, counter: int) -> Any:
    """Word `counter` of the splitmix64 stream that starts at `stream` (uint64)."""
    z = stream + np.uint64(counter + 1) * GOLDEN
    z = (z ^ (z >> SHIFT_30)) * MIX_1
    z = (z ^ (z >> SHIFT_27)) * MIX_2
    return z ^ (z >> SHIFT_31)


def unit(word: Any) -> float:
    """A random word as a number in [0, 1)."""
    return float(word >> SHIFT_11) * (1.0 / 9007199254740992.0)


def wobble(word: Any, i: int) -> float:
    """One of the four numbers in (-1, 1) that a random word holds: 16 bits for each instance."""
    bits = (word >> (SHIFT_16 * np.uint64(i % 4))) & MASK_16
    return (float(bits) + 0.5) * (1.0 / 32768.0) - 1.0


def latency(mean_s: float, spread: float, stream: Any, counter: int) -> float:
    """A launch or rerun latency, uniform within the spread around its mean."""
    if spread == 0.0:
        return mean_s
    u = 2.0 * unit(random_word(stream ^ LATENCY_STREAM, counter)) - 1.0
    return mean_s * (1.0 + spread * u)


def remap(
    kind: int,
    instances: Bytes,
    table: npt.NDArray[np.int16],
    bucket_weight: Floats,
    modulus_weight: Floats,
    row: Ints,
    share: Floats,
) -> float:
    """Bring table and shares of one NF type up to date; returns the share without an instance."""
    if kind != ALGORITHM1:
        update_table(kind, instances, table)
    return shares(kind, instances, table, bucket_weight, modulus_weight, row, share)


def moved_flows(
    kind: int,
    instances: Bytes,
    table: npt.NDArray[np.int16],
    row: Ints,
    existing: Ints,
    t: int,
    bucket_flows: Ints,
    residue: Bytes,
    hash_flows: Ints,
) -> int:
    """Bring the mapping of one NF type up to date and count the flows whose instance changes."""
    moved = 0
    if kind == ALGORITHM1:
        before = row.copy()
        j_before = existing[t]
        j_after = algorithm1_row(instances, row)
        existing[t] = j_after
        for u in range(hash_flows.shape[0]):
            was = before[residue[j_before, u]] if j_before > 0 else NO_INSTANCE
            now = row[residue[j_after, u]] if j_after > 0 else NO_INSTANCE
            if was != now:
                moved += hash_flows[u]
    else:
        held = table.copy()
        update_table(kind, instances, table)
        for bucket in range(BUCKETS):
            if held[bucket] != table[bucket]:
                moved += bucket_flows[bucket]
    return moved


def output(
    total: float,
    share: Floats,
    queue: Floats,
    ability: Floats,
    able: float,
    penalty: float,
    overload_span: float,
) -> float:
    """What one NF type's instances serve in a segment, of a total that is offered to them."""
    out = 0.0
    for i in range(share.shape[0]):
        amount = total * share[i]
        can = ability[i]
        if amount > able:
            can *= 1.0 - penalty * min(1.0, (amount / able - 1.0) / overload_span)
        out += min(can, queue[i] + amount)
    return out


def clear_slot(e: int, t: int, i: int, s: State, f: Figures) -> None:
    """Empty a slot whose instance died or was stopped; what its ring held is lost."""
    f.ring_dropped_pps[e, t, i] += f.queue[e, t, i]
    f.queue[e, t, i] = 0.0
    for p in range(s.mix.shape[1]):
        s.mix[e, p, t, i] = 0.0
    f.state[e, t, i] = STOPPED
    f.start_kind[e, t, i] = NO_START
    f.parked_s[e, t, i] = 0.0
    s.wait_s[e, t, i] = np.inf
    s.throttled[e, t, i] = False


def advance(c: Constants, s: State, f: Figures, envs: Ints, targets: Ints, decide: bool) -> None:
    """Let one monitor interval pass.

    Args:
        c: the chain.
        s: state, changed in place.
        f: figures of the interval, filled; `queue`, `state`, `start_kind` and `parked_s` are
            also the state that the interval starts from. Queues are in the chain's own packets.
        envs: environments to advance, [n].
        targets: wanted instances, one row per entry of `envs`, [n, T].
        decide: whether to apply the targets; not in the first interval of an episode.
    """
    types = c.capacity_pps.shape[0]
    slots = s.share.shape[2]
    paths = c.entry.shape[0]
    words = (slots + 3) // 4
    interval_s = c.interval_s
    sub_s = interval_s / c.substeps
    per_rate = c.substeps // c.rates_per_interval
    command = np.zeros((types, slots), np.int8)
    changed = np.zeros(types, np.bool_)
    inflow = np.zeros((paths, types), np.float64)
    homeward = np.zeros((paths, types), np.float64)
    waiting = np.zeros(types, np.float64)
    held_s = np.zeros(types, np.float64)
    parked_time = np.zeros(types, np.float64)
    through = np.zeros(types, np.float64)
    abilities = np.zeros((types, slots), np.float64)
    totals = np.zeros(types, np.float64)
    passing = np.zeros(types, np.float64)
    onwards = np.zeros(types, np.float64)
    row = np.zeros(slots, np.int64)
    backlog = np.zeros(types, np.bool_)
    calm = np.zeros(types, np.float64)

    state = f.state
    queue = f.queue
    peak = f.queue_peak
    arrived = f.arrived_pps
    served = f.served_pps
    lost = f.ring_dropped_pps
    share = s.share
    wait_s = s.wait_s
    mix = s.mix

    for number in range(envs.shape[0]):
        e = envs[number]
        stream = s.stream[e]
        step = s.interval[e]
        for t in range(types):
            changed[t] = not decide
            waiting[t] = 0.0
            held_s[t] = 0.0
            parked_time[t] = 0.0
            backlog[t] = False
            calm[t] = 0.0
            f.unmapped_pps[e, t] = 0.0
            f.unsettled[e, t] = False
            f.launches[e, t] = 0
            f.reruns[e, t] = 0
            f.blocks[e, t] = 0
            f.stops[e, t] = 0
            f.deaths[e, t] = 0
            f.clipped[e, t] = 0
            f.flows_moved[e, t] = 0.0
            for i in range(slots):
                arrived[e, t, i] = 0.0
                served[e, t, i] = 0.0
                lost[e, t, i] = 0.0
                peak[e, t, i] = queue[e, t, i]
                if queue[e, t, i] > 0.0:
                    backlog[t] = True
        offered = 0.0
        delivered = 0.0
        shed = 0.0
        due = s.due_s[e]
        settled = c.park_timeout_s == np.inf and not s.dying[e]
        for t in range(types):
            if (
                targets[number, t] != s.present[e, t]
                or targets[number, t] < c.min_instances[t]
                or targets[number, t] > c.max_instances[t]
            ):
                settled = False

        # --- the decision -------------------------------------------------------------------
        # Targets that are what is there already need no plan: it would command nothing.
        if decide and not settled:
            if s.dying[e]:
                # A killed instance is gone before the decision, which then sees it stopped.
                for t in range(types):
                    for i in range(slots):
                        if s.doomed[e, t, i] and state[e, t, i] != STOPPED:
                            clear_slot(e, t, i, s, f)
                            f.deaths[e, t] += 1
                            f.unsettled[e, t] = True
                            changed[t] = True
                        s.doomed[e, t, i] = False
                s.dying[e] = False
            plan(
                targets[number],
                state[e],
                s.load[e],
                f.parked_s[e],
                c.min_instances,
                c.max_instances,
                c.cores_per_instance,
                c.core_budget,
                c.park_timeout_s,
                command,
                f.clipped[e],
            )
            due = np.inf
            for t in range(types):
                for i in range(slots):
                    order = command[t, i]
                    if order != NONE:
                        if order == LAUNCH:
                            state[e, t, i] = LAUNCHING
                            f.start_kind[e, t, i] = PROCESS
                            wait_s[e, t, i] = latency(
                                c.launch_s, c.launch_spread, stream, (step * types + t) * slots + i
                            )
                            f.launches[e, t] += 1
                        elif order == RERUN:
                            # One that is under way already is not begun again.
                            if wait_s[e, t, i] == np.inf:
                                wait_s[e, t, i] = latency(
                                    c.rerun_s,
                                    c.rerun_spread,
                                    stream,
                                    (step * types + t) * slots + i,
                                )
                                f.reruns[e, t] += 1
                        elif order == BLOCK:
                            state[e, t, i] = DRAINING if queue[e, t, i] > 0.0 else BLOCKED
                            f.parked_s[e, t, i] = 0.0
                            f.blocks[e, t] += 1
                            changed[t] = True
                        elif order == STOP:
                            clear_slot(e, t, i, s, f)
                            f.stops[e, t] += 1
                            changed[t] = True
                    if wait_s[e, t, i] < due:
                        due = wait_s[e, t, i]

        # --- the interval, segment by segment -----------------------------------------------
        now = 0.0
        for k in range(c.substeps):
            end = (k + 1) * sub_s if k + 1 < c.substeps else interval_s
            rate = s.rates[e, step * c.rates_per_interval + k // per_rate]
            if c.death_rate_per_s > 0.0:
                for t in range(types):
                    for i in range(slots):
                        if state[e, t, i] == STOPPED or state[e, t, i] == LAUNCHING:
                            continue
                        counter = ((step * c.substeps + k) * types + t) * slots + i
                        if unit(random_word(stream ^ DEATH_STREAM, counter)) < (
                            c.death_rate_per_s * sub_s
                        ):
                            s.doomed[e, t, i] = True
                            s.dying[e] = True
            if s.dying[e]:
                for t in range(types):
                    alive = 0
                    for i in range(slots):
                        if s.doomed[e, t, i]:
                            if state[e, t, i] == BLOCKED:
                                parked_time[t] += now - max(0.0, -f.parked_s[e, t, i])
                            held_s[t] += now
                            clear_slot(e, t, i, s, f)
                            f.deaths[e, t] += 1
                            f.unsettled[e, t] = True
                            changed[t] = True
                        elif (
                            state[e, t, i] == RUNNING
                            or state[e, t, i] == LAUNCHING
                            or wait_s[e, t, i] < np.inf
                        ):
                            alive += 1
                    if changed[t] and alive == 0:
                        # The last one: a blocked instance takes over, else its slot is launched.
                        chosen = -1
                        for i in range(slots):
                            if chosen < 0 and (
                                state[e, t, i] == DRAINING or state[e, t, i] == BLOCKED
                            ):
                                chosen = i
                        counter = (step * types + t) * slots
                        if chosen >= 0:
                            wait_s[e, t, chosen] = now + latency(
                                c.rerun_s, c.rerun_spread, stream, counter + chosen
                            )
                            f.reruns[e, t] += 1
                        else:
                            for i in range(slots):
                                if chosen < 0 and s.doomed[e, t, i]:
                                    chosen = i
                            if chosen >= 0:
                                state[e, t, chosen] = LAUNCHING
                                f.start_kind[e, t, chosen] = PROCESS
                                wait_s[e, t, chosen] = now + latency(
                                    c.launch_s, c.launch_spread, stream, counter + chosen
                                )
                                held_s[t] -= now
                                f.launches[e, t] += 1
                    for i in range(slots):
                        s.doomed[e, t, i] = False
                s.dying[e] = False
                due = np.inf
                for t in range(types):
                    for i in range(slots):
                        due = min(due, wait_s[e, t, i])

            while now < end:
                if due <= now:
                    due = np.inf
                    for t in range(types):
                        for i in range(slots):
                            if wait_s[e, t, i] <= now:
                                if state[e, t, i] == BLOCKED:
                                    parked_time[t] += now - max(0.0, -f.parked_s[e, t, i])
                                state[e, t, i] = RUNNING
                                f.parked_s[e, t, i] = 0.0
                                wait_s[e, t, i] = np.inf
                                changed[t] = True
                                if now > 0.0:
                                    f.unsettled[e, t] = True
                            due = min(due, wait_s[e, t, i])
                for t in range(types):
                    if changed[t]:
                        changed[t] = False
                        if calm[t] > 0.0:
                            for i in range(slots):
                                arrived[e, t, i] += calm[t] * share[e, t, i]
                                served[e, t, i] += calm[t] * share[e, t, i]
                            calm[t] = 0.0
                        if c.count_flows:
                            moved = moved_flows(
                                c.mapping_kinds[t],
                                state[e, t],
                                s.table[e, t],
                                s.row[e, t],
                                s.existing[e],
                                t,
                                c.bucket_flows,
                                c.residue,
                                c.hash_flows,
                            )
                            if decide or now > 0.0:
                                f.flows_moved[e, t] += moved / c.flows
                        s.unmapped[e, t] = remap(
                            c.mapping_kinds[t],
                            state[e, t],
                            s.table[e, t],
                            c.bucket_weight,
                            c.modulus_weight,
                            row,
                            share[e, t],
                        )
                        s.top_share[e, t] = 0.0
                        for i in range(slots):
                            s.top_share[e, t] = max(s.top_share[e, t], share[e, t, i])
                until = min(end, due)
                span = until - now
                offered += rate * span
                for p in range(paths):
                    for t in range(types):
                        inflow[p, t] = s.transit[e, p, t] * (span / sub_s)
                    inflow[p, c.entry[p]] += rate * c.path_share[p] * span

                if c.backpressure:
                    # What would reach every type if all were let in, and the part that it takes.
                    for t in c.order:
                        total = 0.0
                        coming = 0.0
                        for p in range(paths):
                            total += inflow[p, t]
                            if c.entry[p] != t:
                                coming += inflow[p, t]
                        base = ((step * c.substeps + k) * types + t) * words
                        able = c.capacity_pps[t] * span
                        passing[t] = 1.0
                        for i in range(slots):
                            word = random_word(stream, base + i // 4)
                            abilities[t, i] = able * (1.0 + c.jitter[t] * wobble(word, i))
                            amount = total * share[e, t, i]
                            if coming == 0.0 or amount == 0.0 or not c.behind[t]:
                                continue
                            room = abilities[t, i]
                            if not s.throttled[e, t, i]:
                                room += max(0.0, HIGH_MARK * c.ring_packets[t] - queue[e, t, i])
                            if amount > room:
                                s.throttled[e, t, i] = True
                                excess = (amount - room) / (coming * share[e, t, i])
                                passing[t] = min(passing[t], max(0.0, 1.0 - excess))
                        totals[t] = total
                        penalty = 0.0 if c.behind[t] else c.overload_penalty[t]
                        onwards[t] = 1.0
                        if total > 0.0:
                            out = output(
                                total,
                                share[e, t],
                                queue[e, t],
                                abilities[t],
                                able,
                                penalty,
                                c.overload_span[t],
                            )
                            onwards[t] = min(1.0, out / total)
                        for p in range(paths):
                            onward = c.following[p, t]
                            if onward >= 0 and not c.back[p, t]:
                                taken = 1.0 if c.entry[p] == t else passing[t]
                                inflow[p, onward] += inflow[p, t] * min(taken, onwards[t])
                    for p in range(paths):
                        for t in range(types):
                            inflow[p, t] = s.transit[e, p, t] * (span / sub_s)
                        entering = rate * c.path_share[p] * span
                        first = c.entry[p]
                        taken = 1.0
                        reaching = 1.0
                        t = c.following[p, first]
                        while t >= 0:
                            if passing[t] < 1.0:
                                taken = reaching * passing[t]
                            reaching *= min(passing[t], onwards[t])
                            t = c.following[p, t]
                        amount = entering * taken
                        if taken < 1.0 and onwards[first] < 1.0:
                            # What its own type drops never gets to the full rings: more may enter,
                            # until as much gets through.
                            others = totals[first] - entering
                            penalty = 0.0 if c.behind[first] else c.overload_penalty[first]
                            low, high = 0.0, entering
                            for _ in range(20):
                                amount = 0.5 * (low + high)
                                out = output(
                                    others + amount,
                                    share[e, first],
                                    queue[e, first],
                                    abilities[first],
                                    c.capacity_pps[first] * span,
                                    penalty,
                                    c.overload_span[first],
                                )
                                passed = min(amount, out * amount / (others + amount))
                                if passed < taken * onwards[first] * entering:
                                    low = amount
                                else:
                                    high = amount
                        inflow[p, first] += amount
                        shed += entering - amount

                for t in c.order:
                    total = inflow[0, t]
                    for p in range(1, paths):
                        total += inflow[p, t]
                    unmapped = 0.0
                    if s.unmapped[e, t] > 0.0:
                        unmapped = total * s.unmapped[e, t]
                        f.unmapped_pps[e, t] += unmapped
                    able = c.capacity_pps[t] * span
                    jitter = c.jitter[t]
                    if (
                        not backlog[t]
                        and not c.behind[t]
                        and total * s.top_share[e, t] <= able * (1.0 - jitter)
                    ):
                        # Every instance serves what it is offered, whatever its jitter is.
                        calm[t] += total
                        for p in range(paths):
                            leaving = inflow[p, t] * (1.0 - s.unmapped[e, t])
                            onward = c.following[p, t]
                            if onward == LEAVES:
                                delivered += leaving
                            elif c.back[p, t]:
                                homeward[p, onward] += leaving
                            else:
                                inflow[p, onward] += leaving
                        continue
                    room = c.ring_packets[t]
                    penalty = c.overload_penalty[t]
                    excess_scale = 1.0 / (c.overload_span[t] * able)
                    base = ((step * c.substeps + k) * types + t) * words
                    word = stream
                    out = 0.0
                    backlog[t] = False
                    for i in range(slots):
                        if jitter > 0.0 and i % 4 == 0:
                            word = random_word(stream, base + i // 4)
                        portion = share[e, t, i]
                        before = queue[e, t, i]
                        if portion == 0.0 and before == 0.0:
                            if c.behind[t]:
                                s.throttled[e, t, i] = False
                            continue
                        amount = total * portion
                        ability = able
                        if jitter > 0.0:
                            ability = able * (1.0 + jitter * wobble(word, i))
                        if amount > able and not c.behind[t]:
                            excess = min(1.0, (amount - able) * excess_scale)
                            ability = ability * (1.0 - penalty * excess)
                        pool = before + amount
                        done = min(ability, pool)
                        rest = pool - done
                        after = min(room, rest)
                        if c.behind[t] and after < LOW_MARK * room:
                            s.throttled[e, t, i] = False
                        dropped = rest - after
                        arrived[e, t, i] += amount
                        served[e, t, i] += done
                        out += done
                        if before > 0.0 or after > 0.0:
                            queue[e, t, i] = after
                            if after > 0.0:
                                backlog[t] = True
                            peak[e, t, i] = max(peak[e, t, i], after)
                            lost[e, t, i] += dropped
                            net = amount - ability
                            moving = min(1.0, (after - before) / net) if net != 0.0 else 0.0
                            waiting[t] += span * (
                                moving * 0.5 * (before + after) + (1.0 - moving) * after
                            )
                            if after == 0.0 and state[e, t, i] == DRAINING:
                                state[e, t, i] = BLOCKED
                                f.parked_s[e, t, i] = -(now + span * moving)
                        if paths > 1:
                            kept = pool - dropped
                            for p in range(paths):
                                coming = inflow[p, t] * portion
                                if dropped > 0.0:
                                    coming = coming - dropped * (coming / amount)
                                content = mix[e, p, t, i] + coming
                                leaving = done * (content / kept) if kept > 0.0 else 0.0
                                mix[e, p, t, i] = max(0.0, content - leaving)
                                onward = c.following[p, t]
                                if onward == LEAVES:
                                    delivered += leaving
                                elif c.back[p, t]:
                                    homeward[p, onward] += leaving
                                else:
                                    inflow[p, onward] += leaving
                    if paths == 1:
                        onward = c.following[0, t]
                        if onward == LEAVES:
                            delivered += out
                        else:
                            inflow[0, onward] += out
                now = until
            if paths > 1:
                for p in range(paths):
                    for t in range(types):
                        s.transit[e, p, t] = homeward[p, t]
                        homeward[p, t] = 0.0

        # --- the reading --------------------------------------------------------------------
        per_s = 1.0 / interval_s
        dropped_all = shed
        energy = 0.0
        delay = 0.0
        s.due_s[e] = np.inf
        for t in range(types):
            through[t] = 0.0
            present = 0
            if calm[t] > 0.0:
                for i in range(slots):
                    arrived[e, t, i] += calm[t] * share[e, t, i]
                    served[e, t, i] += calm[t] * share[e, t, i]
            dropped_all += f.unmapped_pps[e, t]
            f.unmapped_pps[e, t] *= per_s
            work_ns = c.processing_ns[t]
            for i in range(slots):
                through[t] += served[e, t, i]
                dropped_all += lost[e, t, i]
                arrived[e, t, i] *= per_s
                served[e, t, i] *= per_s
                lost[e, t, i] *= per_s
                s.load[e, t, i] = arrived[e, t, i] * work_ns * 1e-9
                if state[e, t, i] != STOPPED:
                    held_s[t] += interval_s
                    if wait_s[e, t, i] < np.inf:
                        wait_s[e, t, i] = max(0.0, wait_s[e, t, i] - interval_s)
                        s.due_s[e] = min(s.due_s[e], wait_s[e, t, i])
                    if state[e, t, i] == RUNNING or state[e, t, i] == LAUNCHING:
                        present += 1
                    if state[e, t, i] == BLOCKED:
                        f.parked_s[e, t, i] += interval_s
                        parked_time[t] += min(interval_s, f.parked_s[e, t, i])
            s.present[e, t] = present
            load_if_blocked(c.mapping_kinds[t], state[e, t], s.load[e, t], f.load_if_blocked[e, t])
            busy_s = through[t] * work_ns * 1e-9
            energy += c.cores_per_instance[t] * (
                busy_s * c.busy_w
                + max(0.0, held_s[t] - parked_time[t] - busy_s) * c.idle_poll_w
                + parked_time[t] * c.parked_w
            )
            if through[t] > 0.0:
                delay += c.visit[t] * (waiting[t] / through[t] + work_ns * 1e-9)
        f.time_s[e] = (step + 1) * interval_s
        f.offered_pps[e] = offered * per_s
        f.delivered_pps[e] = delivered * per_s
        f.dropped_pps[e] = dropped_all * per_s
        f.shed_pps[e] = shed * per_s
        f.latency_s[e] = delay
        f.energy_j[e] = energy
        s.interval[e] = step + 1
