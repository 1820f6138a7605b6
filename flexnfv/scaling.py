"""Targets to commands: which instances launch, block, rerun or stop.

Policies say how many instances of each NF type they want; this code names the instances, reuses
blocked ones before it launches any (launching avoidance, paper Sec. III-C), and keeps limits and
core budget. The model compiles these functions, the dataplane's C follows them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
)


def victim(
    state: npt.NDArray[np.int8],
    load: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> int:
    """The running instance to block next: the least loaded, ties the highest slot.

    Args:
        state: instance states of one NF type, [I].
        load: load of each instance, erlangs, [I].
        command: commands given already in this decision; those to be blocked are passed over, [I].

    Returns:
        A slot, or -1 if no more than one running instance is left.
    """
    chosen = -1
    running = 0
    for slot in range(state.shape[0]):
        if state[slot] == RUNNING and command[slot] != BLOCK:
            running += 1
            if chosen < 0 or load[slot] <= load[chosen]:
                chosen = slot
    return chosen if running > 1 else -1


def plan(
    targets: npt.NDArray[np.int64],
    spares: npt.NDArray[np.int64],
    state: npt.NDArray[np.int8],
    load: npt.NDArray[np.float64],
    parked_s: npt.NDArray[np.float64],
    min_instances: npt.NDArray[np.int64],
    max_instances: npt.NDArray[np.int64],
    cores_per_instance: npt.NDArray[np.int64],
    core_budget: int,
    park_timeout_s: float,
    command: npt.NDArray[np.int8],
    clipped: npt.NDArray[np.int64],
) -> None:
    """Turn targets into one command per instance slot.

    Targets count running and launching instances. Above them: draining and blocked instances are
    rerun, lowest slot first, then stopped slots are launched. Below the running ones: the least
    loaded are blocked; a launch under way is never cancelled. Parked instances that are left over
    are stopped after the park timeout, and where they are more than the spares that are wanted,
    longest parked first, ties lowest slot. Every instance that is not stopped holds its cores; when
    the budget is full a launch stops the longest-parked instance of another type (ties: first type,
    lowest slot), else it is clipped, in chain order.

    Args:
        targets: wanted instances per NF type; clipped to the limits, [T].
        spares: parked instances to keep per NF type, beside those that are rerun; -1: all, [T].
        state: instance states, [T, I].
        load: load of each instance in the last interval, erlangs, [T, I].
        parked_s: for how long each blocked instance has been parked, seconds, [T, I].
        min_instances, max_instances, cores_per_instance: of the chain, [T].
        core_budget: cores that all instances may hold.
        park_timeout_s: a blocked instance parked for this long is stopped; infinity: never.
        command: filled with `Command` values, [T, I].
        clipped: filled with the wanted instances that limits or budget refused, [T].
    """
    types, slots = state.shape
    cores = 0
    for t in range(types):
        for slot in range(slots):
            command[t, slot] = NONE
            if state[t, slot] != STOPPED:
                cores += cores_per_instance[t]
        target = min(max(targets[t], min_instances[t]), max_instances[t])
        _rerun_or_block(target, state[t], load[t], command[t])
        stopped = _stop_parked(spares[t], park_timeout_s, state[t], parked_s[t], command[t])
        cores -= stopped * cores_per_instance[t]
    for t in range(types):
        target = min(max(targets[t], min_instances[t]), max_instances[t])
        clipped[t] = max(0, targets[t] - target)
        wanted = target
        for slot in range(slots):
            if (
                state[t, slot] == RUNNING
                or state[t, slot] == LAUNCHING
                or command[t, slot] == RERUN
            ):
                wanted -= 1
        for slot in range(min(slots, max_instances[t])):
            if wanted <= 0:
                break
            if state[t, slot] != STOPPED:
                continue
            while cores + cores_per_instance[t] > core_budget:
                other = _stop_for(t, state, parked_s, command)
                if other < 0:
                    break
                cores -= cores_per_instance[other]
            if cores + cores_per_instance[t] > core_budget:
                break
            command[t, slot] = LAUNCH
            cores += cores_per_instance[t]
            wanted -= 1
        clipped[t] += max(0, wanted)


def _rerun_or_block(
    target: int,
    state: npt.NDArray[np.int8],
    load: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> None:
    """Command the reruns or the blocks of one NF type, [I] each."""
    running = 0
    launching = 0
    for slot in range(state.shape[0]):
        if state[slot] == RUNNING:
            running += 1
        elif state[slot] == LAUNCHING:
            launching += 1
    missing = target - running - launching
    for slot in range(state.shape[0]):
        if missing > 0 and (state[slot] == DRAINING or state[slot] == BLOCKED):
            command[slot] = RERUN
            missing -= 1
    for _ in range(running - target):
        slot = victim(state, load, command)
        if slot >= 0:
            command[slot] = BLOCK


def _stop_parked(
    spares: int,
    park_timeout_s: float,
    state: npt.NDArray[np.int8],
    parked_s: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> int:
    """Stop instances of one NF type that are parked for too long or too many; their number."""
    stopped = 0
    left = 0
    for slot in range(state.shape[0]):
        if state[slot] == BLOCKED and command[slot] == NONE:
            if parked_s[slot] >= park_timeout_s:
                command[slot] = STOP
                stopped += 1
            else:
                left += 1
    if spares >= 0:
        for _ in range(left - spares):
            command[_longest_parked(state, parked_s, command)] = STOP
            stopped += 1
    return stopped


def _longest_parked(
    state: npt.NDArray[np.int8],
    parked_s: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> int:
    """Slot of one NF type's longest-parked instance that no command touches, or -1."""
    chosen = -1
    for slot in range(state.shape[0]):
        if (
            state[slot] == BLOCKED
            and command[slot] == NONE
            and (chosen < 0 or parked_s[slot] > parked_s[chosen])
        ):
            chosen = slot
    return chosen


def _stop_for(
    t: int,
    state: npt.NDArray[np.int8],
    parked_s: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> int:
    """Stop the longest-parked instance of another NF type than `t`; which type, or -1 if none."""
    chosen = -1
    chosen_slot = -1
    for other in range(state.shape[0]):
        slot = _longest_parked(state[other], parked_s[other], command[other])
        if (
            other != t
            and slot >= 0
            and (chosen < 0 or parked_s[other, slot] > parked_s[chosen, chosen_slot])
        ):
            chosen = other
            chosen_slot = slot
    if chosen >= 0:
        command[chosen, chosen_slot] = STOP
    return chosen
