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


def stop_spares(
    spares: int,
    state: npt.NDArray[np.int8],
    parked_s: npt.NDArray[np.float64],
    command: npt.NDArray[np.int8],
) -> int:
    """Stop the longest-parked instances of one NF type beyond those to keep, ties the lowest slot.

    Instances that this decision gives a command already are none of the parked ones.

    Args:
        spares: parked instances to keep.
        state: instance states of the NF type, [I].
        parked_s: for how long each has been parked, seconds, [I].
        command: commands given already in this decision; receives the stops, [I].

    Returns:
        How many are stopped.
    """
    surplus = -spares
    for slot in range(state.shape[0]):
        if state[slot] == BLOCKED and command[slot] == NONE:
            surplus += 1
    for _ in range(surplus):
        longest = -1
        for slot in range(state.shape[0]):
            if (
                state[slot] == BLOCKED
                and command[slot] == NONE
                and (longest < 0 or parked_s[slot] > parked_s[longest])
            ):
                longest = slot
        command[longest] = STOP
    return max(surplus, 0)


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
    loaded are blocked; a launch under way is never cancelled. Every instance that is not stopped
    holds its cores; when the budget is full a launch stops the longest-parked instance of another
    type (ties: first type, lowest slot), else it is clipped, in chain order.

    Args:
        targets: wanted instances per NF type; clipped to the limits, [T].
        spares: parked instances to keep per NF type, the longest-parked beyond them being stopped;
            -1: all, [T].
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
        clipped[t] = 0
        for slot in range(slots):
            command[t, slot] = NONE
            if state[t, slot] != STOPPED:
                cores += cores_per_instance[t]

    for t in range(types):
        target = min(max(targets[t], min_instances[t]), max_instances[t])
        if targets[t] > target:
            clipped[t] = targets[t] - target
        running = 0
        launching = 0
        for slot in range(slots):
            if state[t, slot] == RUNNING:
                running += 1
            elif state[t, slot] == LAUNCHING:
                launching += 1
        missing = target - running - launching
        for slot in range(slots):
            if missing > 0 and (state[t, slot] == DRAINING or state[t, slot] == BLOCKED):
                command[t, slot] = RERUN
                missing -= 1
        for _ in range(running - target):
            slot = victim(state[t], load[t], command[t])
            if slot >= 0:
                command[t, slot] = BLOCK

    for t in range(types):
        for slot in range(slots):
            if (
                state[t, slot] == BLOCKED
                and command[t, slot] == NONE
                and parked_s[t, slot] >= park_timeout_s
            ):
                command[t, slot] = STOP
                cores -= cores_per_instance[t]
        if spares[t] >= 0:
            stopped = stop_spares(spares[t], state[t], parked_s[t], command[t])
            cores -= stopped * cores_per_instance[t]

    for t in range(types):
        target = min(max(targets[t], min_instances[t]), max_instances[t])
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
                parked_type, parked_slot = _longest_parked(state, command, parked_s, t)
                if parked_type < 0:
                    break
                command[parked_type, parked_slot] = STOP
                cores -= cores_per_instance[parked_type]
            if cores + cores_per_instance[t] > core_budget:
                break
            command[t, slot] = LAUNCH
            cores += cores_per_instance[t]
            wanted -= 1
        if wanted > 0:
            clipped[t] += wanted


def _longest_parked(
    state: npt.NDArray[np.int8],
    command: npt.NDArray[np.int8],
    parked_s: npt.NDArray[np.float64],
    but: int,
) -> tuple[int, int]:
    """Type and slot of the longest-parked instance that no command touches, not of type `but`."""
    best_type = -1
    best_slot = -1
    for t in range(state.shape[0]):
        if t == but:
            continue
        for slot in range(state.shape[1]):
            if (
                state[t, slot] == BLOCKED
                and command[t, slot] == NONE
                and (best_type < 0 or parked_s[t, slot] > parked_s[best_type, best_slot])
            ):
                best_type = t
                best_slot = slot
    return best_type, best_slot
