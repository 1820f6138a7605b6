"""Which instance a flow goes to: three mappings behind one interface.

A mapping looks at one NF type's row: the states of its instance slots, in slot order. Existing
instances are those running, draining or blocked; only running ones take packets.

- `ALGORITHM1` (paper, Algorithm 1): index = hash % existing instances; a blocked entry passes the
  packet to the next unblocked entry of the row, wrapping.
- `RENDEZVOUS` (consistent hashing by highest random weight, Thaler and Ravishankar 1998): an
  instance that joins takes flows from all others, and no other flow moves.
- `EVEN`: an indirection table of flow buckets, as NICs have (RSS RETA), rebalanced with the fewest
  moves, so that bucket counts differ by one at most.

The latter two look at a flow's bucket, hash % `BUCKETS`. All functions take and fill plain numpy
arrays, loop, and use integers and + - * / only: the model compiles them, the dataplane's C follows
them, and everyone else calls them as they stand.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from flexnfv.states import BLOCKED, DRAINING, RUNNING

BUCKETS = 512
"""Flow buckets of an NF type; the indirection tables of common NICs have 128 to 2,048 entries."""
WEIGHT_UNIT = 2.0**-52
"""The weights of buckets are whole numbers of this, so that sums of them are exact."""
NO_INSTANCE = -1
"""No unblocked instance: the packet is dropped and counted."""


class MappingKind(IntEnum):
    """The mappings, as chain files name them (in lower case)."""

    ALGORITHM1 = 0
    RENDEZVOUS = 1
    EVEN = 2


ALGORITHM1 = int(MappingKind.ALGORITHM1)
RENDEZVOUS = int(MappingKind.RENDEZVOUS)
EVEN = int(MappingKind.EVEN)

_MASK32 = 0xFFFFFFFF


def score(bucket: int, slot: int) -> int:
    """Rendezvous weight of an instance slot for a bucket: 32 mixed bits (murmur3's finaliser)."""
    x = (bucket * 0x9E3779B1 + (slot + 1) * 0x85EBCA77) & _MASK32
    x ^= x >> 16
    x = (x * 0x85EBCA6B) & _MASK32
    x ^= x >> 13
    x = (x * 0xC2B2AE35) & _MASK32
    x ^= x >> 16
    return x


def exists(state: int) -> bool:
    """Whether an instance of that state counts in Algorithm 1's j (launching ones do not)."""
    return state in (RUNNING, DRAINING, BLOCKED)


def algorithm1_row(state: npt.NDArray[np.int8], row: npt.NDArray[np.int64]) -> int:
    """Resolve Algorithm 1 for every index.

    Args:
        state: instance states of one NF type, [I].
        row: filled up to the returned j: the slot that index 0 .. j-1 is sent to, or -1, [I].

    Returns:
        j, the number of existing instances.
    """
    existing = 0
    following = NO_INSTANCE  # of the last entry: the first running one
    for slot in range(state.shape[0]):
        if exists(state[slot]):
            row[existing] = slot
            existing += 1
            if state[slot] == RUNNING and following == NO_INSTANCE:
                following = slot
    for index in range(existing - 1, -1, -1):
        slot = row[index]
        if state[slot] == RUNNING:
            following = slot
        row[index] = following
    return existing


def update_table(kind: int, state: npt.NDArray[np.int8], table: npt.NDArray[np.int16]) -> int:
    """Bring a bucket table up to date after a change of the running set.

    Args:
        kind: `MappingKind`; `ALGORITHM1` keeps no table and leaves it alone.
        state: instance states of one NF type, [I].
        table: slot of each bucket, or -1; rewritten in place, [BUCKETS].

    Returns:
        Number of buckets whose slot changed.
    """
    moved = 0
    if kind == RENDEZVOUS:
        for bucket in range(BUCKETS):
            best = NO_INSTANCE
            best_score = -1
            for slot in range(state.shape[0]):
                if state[slot] == RUNNING:
                    weight = score(bucket, slot)
                    if weight > best_score:
                        best = slot
                        best_score = weight
            if table[bucket] != best:
                table[bucket] = best
                moved += 1
    elif kind == EVEN:
        moved = _rebalance(state, table)
    return moved


def _rebalance(state: npt.NDArray[np.int8], table: npt.NDArray[np.int16]) -> int:
    """Even spread with the fewest moves: who holds more keeps the odd bucket, ties lowest slot."""
    slots = state.shape[0]
    held = np.zeros(slots, dtype=np.int64)
    quota = np.zeros(slots, dtype=np.int64)
    running = 0
    for slot in range(slots):
        if state[slot] == RUNNING:
            running += 1
    if running == 0:
        moved = 0
        for bucket in range(BUCKETS):
            if table[bucket] != NO_INSTANCE:
                table[bucket] = NO_INSTANCE
                moved += 1
        return moved
    for bucket in range(BUCKETS):
        owner = table[bucket]
        if owner >= 0 and state[owner] == RUNNING:
            held[owner] += 1
    base = BUCKETS // running
    odd = BUCKETS % running
    for slot in range(slots):
        if state[slot] == RUNNING:
            quota[slot] = base
    for _ in range(odd):
        best = -1
        for slot in range(slots):
            if (
                state[slot] == RUNNING
                and quota[slot] == base
                and (best < 0 or held[slot] > held[best])
            ):
                best = slot
        quota[best] = base + 1
    moved = 0
    kept = np.zeros(slots, dtype=np.int64)
    for bucket in range(BUCKETS):
        owner = table[bucket]
        if owner >= 0 and state[owner] == RUNNING and kept[owner] < quota[owner]:
            kept[owner] += 1
        else:
            table[bucket] = NO_INSTANCE
            moved += 1
    receiver = 0
    for bucket in range(BUCKETS):
        if table[bucket] == NO_INSTANCE:
            while kept[receiver] >= quota[receiver]:
                receiver += 1
            table[bucket] = receiver
            kept[receiver] += 1
    return moved


def shares(
    kind: int,
    state: npt.NDArray[np.int8],
    table: npt.NDArray[np.int16],
    bucket_weight: npt.NDArray[np.float64],
    modulus_weight: npt.NDArray[np.float64],
    row: npt.NDArray[np.int64],
    share: npt.NDArray[np.float64],
) -> float:
    """How the offered rate of one NF type splits over its instances.

    Args:
        kind: `MappingKind`.
        state: instance states, [I].
        table: up-to-date bucket table, [BUCKETS].
        bucket_weight: popularity of the flows in each bucket, sums to 1, [BUCKETS].
        modulus_weight: popularity of the flows with hash % j == index, [I + 1, I] as [j, index].
        row: scratch, [I].
        share: filled with each instance's share of the offered rate, [I].

    Returns:
        The share that finds no unblocked instance: 1.0 or 0.0.
    """
    for slot in range(state.shape[0]):
        share[slot] = 0.0
    unmapped = 0.0
    if kind == ALGORITHM1:
        existing = algorithm1_row(state, row)
        if existing == 0 or row[0] == NO_INSTANCE:
            unmapped = 1.0
        else:
            for index in range(existing):
                share[row[index]] += modulus_weight[existing, index]
    elif table[0] == NO_INSTANCE:
        unmapped = 1.0
    else:
        for bucket in range(BUCKETS):
            share[table[bucket]] += bucket_weight[bucket]
    return unmapped


def load_if_blocked(
    kind: int,
    state: npt.NDArray[np.int8],
    load: npt.NDArray[np.float64],
    prediction: npt.NDArray[np.float64],
) -> None:
    """The highest load among the others if one instance were blocked, for each instance.

    Under Algorithm 1 the whole load of a blocked instance goes to its successor, the next running
    entry of the row; under the other two it spreads over the others in equal parts.

    Args:
        kind: `MappingKind`.
        state: instance states, [I].
        load: load of each instance, erlangs, [I].
        prediction: filled, erlangs; infinity where the instance is the only one running or does
            not run at all, [I].
    """
    slots = state.shape[0]
    running = 0
    highest = -1
    second = 0.0
    for slot in range(slots):
        if state[slot] == RUNNING:
            running += 1
            if highest < 0 or load[slot] > load[highest]:
                if highest >= 0:
                    second = load[highest]
                highest = slot
            elif load[slot] > second:
                second = load[slot]
    successor = -1
    for slot in range(slots - 1, -1, -1):
        prediction[slot] = np.inf
        if state[slot] == RUNNING:
            successor = slot  # in the end the first one, which follows the last one
    if running < 2:
        return
    for victim in range(slots - 1, -1, -1):
        if state[victim] != RUNNING:
            continue
        others = second if victim == highest else load[highest]
        if kind == ALGORITHM1:
            prediction[victim] = max(others, load[successor] + load[victim])
            successor = victim
        else:
            prediction[victim] = others + load[victim] / (running - 1)


def instances_of(
    kind: int,
    state: npt.NDArray[np.int8],
    table: npt.NDArray[np.int16],
    hashes: npt.NDArray[np.uint32],
) -> npt.NDArray[np.int64]:
    """The slot that each flow goes to, or -1.

    Args:
        kind: `MappingKind`.
        state: instance states of one NF type, [I].
        table: up-to-date bucket table, [BUCKETS].
        hashes: symmetric RSS hashes of the flows, [F].

    Returns:
        Slots, [F].
    """
    if kind == ALGORITHM1:
        row = np.full(state.shape[0], NO_INSTANCE, dtype=np.int64)
        existing = algorithm1_row(state, row)
        if existing == 0:
            return np.full(hashes.shape, NO_INSTANCE, dtype=np.int64)
        return np.asarray(row[hashes % np.uint32(existing)])
    return np.asarray(table[hashes % np.uint32(BUCKETS)], dtype=np.int64)


def empty_table() -> npt.NDArray[np.int16]:
    """A bucket table in which no bucket has an instance, [BUCKETS]."""
    return np.full(BUCKETS, NO_INSTANCE, dtype=np.int16)


def bucket_weights(
    hashes: npt.NDArray[np.uint32], popularity: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Popularity of the flows in each bucket, whole numbers of `WEIGHT_UNIT`, [BUCKETS]."""
    weights = np.bincount(
        (hashes % np.uint32(BUCKETS)).astype(np.int64), weights=popularity, minlength=BUCKETS
    )
    weights = np.rint(weights / WEIGHT_UNIT)
    weights[weights.argmax()] += 1.0 / WEIGHT_UNIT - weights.sum()
    return np.asarray(weights * WEIGHT_UNIT)


def modulus_weights(
    hashes: npt.NDArray[np.uint32], popularity: npt.NDArray[np.float64], slots: int
) -> npt.NDArray[np.float64]:
    """Popularity of the flows with hash % j == index, [slots + 1, slots] as [j, index]."""
    weights = np.zeros((slots + 1, slots))
    for j in range(1, slots + 1):
        weights[j, :j] = np.bincount(
            (hashes % np.uint32(j)).astype(np.int64), weights=popularity, minlength=j
        )
    return weights


def imbalance(share: npt.NDArray[np.float64]) -> float:
    """Largest share over the mean share of the instances that have one (1.0 is even)."""
    used = share[share > 0]
    return float(used.max() / used.mean()) if used.size else float("nan")
