"""The life of instances: what a decision commands, who starts, joins, parks, stops and dies."""

from __future__ import annotations

import numpy as np

from flexnfv.model.arrays import Constants, Ints, Outputs, Scratch, State
from flexnfv.model.chance import dies, latency
from flexnfv.scaling import plan
from flexnfv.states import (
    BLOCK,
    BLOCKED,
    DRAINING,
    LAUNCH,
    LAUNCHING,
    RERUN,
    RUNNING,
    STOP,
    STOPPED,
    StartKind,
)

NO_START = int(StartKind.NONE)
PROCESS = int(StartKind.PROCESS)


def decide(
    w: int,
    e: int,
    n: int,
    targets: Ints,
    mapping: Ints,
    spares: Ints,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> None:
    """Apply a decision to environment e: row n of its fields, [n, T] each."""
    for t in range(c.order.shape[0]):
        if mapping[n, t] >= 0 and mapping[n, t] != o.mapping[e, t]:
            o.mapping[e, t] = mapping[n, t]
            x.remapped[w, t] = True
    if is_as_wanted(e, n, targets, spares, c, s):
        return
    if s.dying[e]:
        # A killed instance is gone before the decision, which then sees it stopped.
        for t in range(c.order.shape[0]):
            for i in range(s.used[e, t]):
                if s.doomed[e, t, i]:
                    die(w, e, t, i, s, o, x)
        s.dying[e] = False
    plan(
        targets[n],
        spares[n],
        o.state[e],
        s.load[e],
        o.parked_s[e],
        c.min_instances,
        c.max_instances,
        c.cores_per_instance,
        c.core_budget,
        c.park_timeout_s,
        x.command[w],
        o.clipped[e],
    )
    for t in range(c.order.shape[0]):
        for i in range(c.max_instances[t]):
            if x.command[w, t, i] == LAUNCH:
                launch(e, t, i, 0.0, c, s, o)
            elif x.command[w, t, i] == RERUN:
                rerun(e, t, i, 0.0, c, s, o)
            elif x.command[w, t, i] == BLOCK:
                block(w, e, t, i, s, o, x)
            elif x.command[w, t, i] == STOP:
                empty_slot(w, e, t, i, s, o, x)
                o.stops[e, t] += 1
    find_next_due(e, c, s)


def is_as_wanted(e: int, n: int, targets: Ints, spares: Ints, c: Constants, s: State) -> bool:
    """Whether a decision needs no plan, since it would command nothing."""
    if c.park_timeout_s < np.inf or s.dying[e]:
        return False
    for t in range(c.order.shape[0]):
        if (
            spares[n, t] >= 0
            or targets[n, t] != s.present[e, t]
            or targets[n, t] < c.min_instances[t]
            or targets[n, t] > c.max_instances[t]
        ):
            return False
    return True


def find_next_due(e: int, c: Constants, s: State) -> None:
    """Find the moment at which the next launch or rerun completes."""
    due_s = np.inf
    for t in range(c.order.shape[0]):
        for i in range(s.used[e, t]):
            due_s = min(due_s, s.wait_s[e, t, i])
    s.due_s[e] = due_s


def launch(e: int, t: int, i: int, now_s: float, c: Constants, s: State, o: Outputs) -> None:
    """Launch an instance in a stopped slot."""
    counter = (s.interval[e] * c.order.shape[0] + t) * s.share.shape[2] + i
    s.wait_s[e, t, i] = now_s + latency(c.launch_s, c.launch_spread, s.stream[e], counter)
    s.used[e, t] = max(s.used[e, t], i + 1)
    o.state[e, t, i] = LAUNCHING
    o.start_kind[e, t, i] = PROCESS
    o.launches[e, t] += 1


def rerun(e: int, t: int, i: int, now_s: float, c: Constants, s: State, o: Outputs) -> None:
    """Rerun an instance; a rerun that is under way already is not begun again."""
    if s.wait_s[e, t, i] == np.inf:
        counter = (s.interval[e] * c.order.shape[0] + t) * s.share.shape[2] + i
        s.wait_s[e, t, i] = now_s + latency(c.rerun_s, c.rerun_spread, s.stream[e], counter)
        o.reruns[e, t] += 1


def block(w: int, e: int, t: int, i: int, s: State, o: Outputs, x: Scratch) -> None:
    """Let an instance drain and park: at once if its ring is empty."""
    if s.queue[e, t, i] > 0.0:
        o.state[e, t, i] = DRAINING
    else:
        park(e, t, i, 0.0, s, o)
    o.blocks[e, t] += 1
    x.remapped[w, t] = True


def park(e: int, t: int, i: int, now_s: float, s: State, o: Outputs) -> None:
    """An instance has drained."""
    o.state[e, t, i] = BLOCKED
    s.parked_at_s[e, t, i] = now_s


def stop_parking(
    w: int, e: int, t: int, i: int, now_s: float, s: State, o: Outputs, x: Scratch
) -> None:
    """Count how long an instance that leaves its state within the interval was parked in it."""
    if o.state[e, t, i] == BLOCKED:
        x.parked_s[w, t] += now_s - max(0.0, s.parked_at_s[e, t, i])


def join(w: int, e: int, now_s: float, c: Constants, s: State, o: Outputs, x: Scratch) -> None:
    """Let instances run whose launch or rerun has completed."""
    for t in range(c.order.shape[0]):
        for i in range(s.used[e, t]):
            if s.wait_s[e, t, i] <= now_s:
                stop_parking(w, e, t, i, now_s, s, o, x)
                o.state[e, t, i] = RUNNING
                o.parked_s[e, t, i] = 0.0
                s.wait_s[e, t, i] = np.inf
                x.remapped[w, t] = True
                if now_s > 0.0:
                    o.unsettled[e, t] = True
    find_next_due(e, c, s)


def empty_slot(w: int, e: int, t: int, i: int, s: State, o: Outputs, x: Scratch) -> None:
    """Empty the slot of an instance that died or was stopped; what its ring held is lost."""
    o.ring_dropped_pps[e, t, i] += s.queue[e, t, i]
    s.queue[e, t, i] = 0.0
    for p in range(s.mix.shape[1]):
        s.mix[e, p, t, i] = 0.0
    s.wait_s[e, t, i] = np.inf
    s.throttled[e, t, i] = False
    o.state[e, t, i] = STOPPED
    o.start_kind[e, t, i] = NO_START
    o.parked_s[e, t, i] = 0.0
    x.remapped[w, t] = True


def die(w: int, e: int, t: int, i: int, s: State, o: Outputs, x: Scratch) -> None:
    """Let a doomed instance die."""
    s.doomed[e, t, i] = False
    if o.state[e, t, i] != STOPPED:
        empty_slot(w, e, t, i, s, o, x)
        o.deaths[e, t] += 1
        o.unsettled[e, t] = True


def strike(
    w: int, e: int, k: int, now_s: float, c: Constants, s: State, o: Outputs, x: Scratch
) -> None:
    """Let instances die by chance at the start of sub-step k."""
    types, slots = c.order.shape[0], s.share.shape[2]
    probability = c.death_rate_per_s * c.substep_s
    for t in range(types):
        fallen = -1
        for i in range(s.used[e, t]):
            if o.state[e, t, i] != STOPPED and o.state[e, t, i] != LAUNCHING:
                counter = ((s.interval[e] * c.substeps + k) * types + t) * slots + i
                if dies(probability, s.stream[e], counter):
                    stop_parking(w, e, t, i, now_s, s, o, x)
                    x.held_s[w, t] += now_s
                    die(w, e, t, i, s, o, x)
                    if fallen < 0:
                        fallen = i
        if fallen >= 0:
            replace(w, e, t, fallen, now_s, c, s, o, x)
    find_next_due(e, c, s)


def replace(
    w: int,
    e: int,
    t: int,
    fallen: int,
    now_s: float,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> None:
    """Start an instance at once where none is left that runs or will.

    A draining or parked one takes over if there is one, else the slot of the fallen is launched.
    """
    spare = -1
    for i in range(s.used[e, t]):
        state = o.state[e, t, i]
        if state == RUNNING or state == LAUNCHING or s.wait_s[e, t, i] < np.inf:
            return
        if spare < 0 and (state == DRAINING or state == BLOCKED):
            spare = i
    if spare >= 0:
        rerun(e, t, spare, now_s, c, s, o)
    else:
        launch(e, t, fallen, now_s, c, s, o)
        x.held_s[w, t] -= now_s
