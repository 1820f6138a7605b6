"""How an NF type's flows spread over its instances, brought up to date in the kernel's own way.

What comes out is what `flexnfv.mapping` says, bucket by bucket. There a table tells each bucket's
slot; here each slot has the set of its buckets, 512 bits, so that a change costs a few operations
on words for each instance that it touches. Shares are sums of whole numbers of `WEIGHT_UNIT`: what
leaves a sum and what joins it leaves no rounding error behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flexnfv.mapping import ALGORITHM1, BUCKETS, EVEN, NO_INSTANCE, WEIGHT_UNIT, algorithm1_row
from flexnfv.model.arrays import (
    BYTES_PER_WORD,
    WORD_BITS,
    WORDS,
    Constants,
    Outputs,
    Scratch,
    State,
)
from flexnfv.states import RUNNING

NO_BITS = np.uint64(0)
ONE = np.uint64(1)
ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
SHIFT_1 = np.uint64(1)
SHIFT_2 = np.uint64(2)
SHIFT_4 = np.uint64(4)
SHIFT_56 = np.uint64(56)
LOW_BITS = np.uint64(0x5555555555555555)
LOW_PAIRS = np.uint64(0x3333333333333333)
LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
LOW_BYTE = np.uint64(0xFF)
SUM_OF_BYTES = np.uint64(0x0101010101010101)


def size(word: Any) -> Any:
    """How many bits of a word are set; compilers know the pattern as one instruction."""
    pairs = word - ((word >> SHIFT_1) & LOW_BITS)
    nibbles = (pairs & LOW_PAIRS) + ((pairs >> SHIFT_2) & LOW_PAIRS)
    return np.int64((((nibbles + (nibbles >> SHIFT_4)) & LOW_NIBBLES) * SUM_OF_BYTES) >> SHIFT_56)


def lowest(word: Any, count: int) -> Any:
    """The lowest set bits of a word, at most `count` of them."""
    if size(word) <= count:
        return word
    if count <= 0:
        return NO_BITS
    # Halving finds how many of the word's bits to keep: no branch depends on what is set.
    place = NO_BITS
    width = np.uint64(WORD_BITS // 2)
    wanted = count
    while width != NO_BITS:
        found = size((word >> place) & ((ONE << width) - ONE))
        if found <= wanted:
            wanted -= found
            place += width
        width >>= ONE
    return word & ((ONE << place) - ONE)


def spread(
    w: int, e: int, t: int, counts: bool, c: Constants, s: State, o: Outputs, x: Scratch
) -> None:
    """Spread one NF type's flows over its running instances, after a change of them or of the kind.

    Args:
        w, e, t: worker, environment, NF type.
        counts: whether flows that move are counted into `flows_moved`.
        c, s, o, x: the kernel's arrays; `share`, `unmapped` and `top_share` are brought up to date.
    """
    if o.mapping[e, t] == ALGORITHM1:
        moved = follow_row(w, e, t, counts, c, s, o, x)
    else:
        moved = follow_sets(w, e, t, counts, c, s, o, x)
    s.spread_by[e, t] = o.mapping[e, t]
    if counts:
        o.flows_moved[e, t] += moved / c.flows
    top = 0.0
    for i in range(s.used[e, t]):
        top = max(top, s.share[e, t, i])
    s.top_share[e, t] = top


def follow_row(
    w: int, e: int, t: int, counts: bool, c: Constants, s: State, o: Outputs, x: Scratch
) -> int:
    """Bring row and shares up to date under Algorithm 1; the number of flows that move."""
    before = s.existing[e, t]
    for index in range(before):
        x.row[w, index] = s.row[e, t, index]
    existing = algorithm1_row(o.state[e, t], s.row[e, t])
    s.existing[e, t] = existing
    moved = 0
    if s.spread_by[e, t] != ALGORITHM1:
        if counts:
            moved = flows_elsewhere(e, t, c, s)
        for i in range(s.used[e, t]):
            for word in range(WORDS):
                s.buckets[e, t, i, word] = NO_BITS
            s.held[e, t, i] = 0
    elif counts:
        moved = flows_off_row(w, e, t, before, c, s, x)
    for i in range(s.used[e, t]):
        s.share[e, t, i] = 0.0
    if existing == 0 or s.row[e, t, 0] == NO_INSTANCE:
        s.unmapped[e, t] = 1.0
    else:
        s.unmapped[e, t] = 0.0
        for index in range(existing):
            s.share[e, t, s.row[e, t, index]] += c.modulus_weight[existing, index]
    return moved


def flows_off_row(w: int, e: int, t: int, before: int, c: Constants, s: State, x: Scratch) -> int:
    """Flows whose slot differs between Algorithm 1's row before a change, [before], and now."""
    existing = s.existing[e, t]
    first, second = before * (before - 1) // 2, existing * (existing - 1) // 2
    moved = 0
    if before == 0:
        for index in range(existing):
            if s.row[e, t, index] != NO_INSTANCE:
                moved += c.residue_flows[second + index, second + index]
    if existing == 0:
        for index in range(before):
            if x.row[w, index] != NO_INSTANCE:
                moved += c.residue_flows[first + index, first + index]
    for was in range(before):
        for index in range(existing):
            if x.row[w, was] != s.row[e, t, index]:
                moved += c.residue_flows[first + was, second + index]
    return moved


def flows_elsewhere(e: int, t: int, c: Constants, s: State) -> int:
    """Flows that Algorithm 1's row sends elsewhere than the sets of buckets do."""
    existing = s.existing[e, t]
    some_held = False
    for i in range(s.used[e, t]):
        some_held |= s.held[e, t, i] > 0
    moved = 0
    for u in range(c.hashes.shape[0]):
        slot = s.row[e, t, c.hashes[u] % existing] if existing > 0 else NO_INSTANCE
        bucket = c.hashes[u] % BUCKETS
        elsewhere = some_held  # All buckets have an instance, or none has.
        if slot != NO_INSTANCE:
            word = s.buckets[e, t, slot, bucket // WORD_BITS]
            elsewhere = (word >> np.uint64(bucket % WORD_BITS)) & ONE == NO_BITS
        if elsewhere:
            moved += c.hash_flows[u]
    return moved


def follow_sets(
    w: int, e: int, t: int, counts: bool, c: Constants, s: State, o: Outputs, x: Scratch
) -> int:
    """Bring sets of buckets and shares up to date; the number of flows that move."""
    before = s.spread_by[e, t]
    anew = before != o.mapping[e, t]
    if anew:
        clear(w, e, t, s, x)
    moved = release(w, e, t, counts, c, s, o, x)
    running = 0
    for i in range(s.used[e, t]):
        running += o.state[e, t, i] == RUNNING
    s.unmapped[e, t] = 0.0 if running > 0 else 1.0
    if running > 0 and o.mapping[e, t] == EVEN:
        moved = balance(w, e, t, running, counts, c, s, o, x)
    elif running > 0:
        moved = rank(e, t, counts, c, s, o)
    if anew and counts and before == ALGORITHM1:
        moved = flows_elsewhere(e, t, c, s)
    elif anew and counts:
        moved = flows_of_others(w, e, t, running, c, s, x)
    return moved


def clear(w: int, e: int, t: int, s: State, x: Scratch) -> None:
    """Take all buckets from a type's instances, keeping in mind who had them."""
    for i in range(s.used[e, t]):
        s.held[e, t, i] = 0
        s.share[e, t, i] = 0.0
        for word in range(WORDS):
            x.had[w, i, word] = s.buckets[e, t, i, word]
            s.buckets[e, t, i, word] = NO_BITS


def flows_of_others(
    w: int, e: int, t: int, running: int, c: Constants, s: State, x: Scratch
) -> int:
    """Flows of buckets that somebody else has than before they were cleared, or nobody."""
    moved = 0
    for i in range(s.used[e, t]):
        for word in range(WORDS):
            was, now = x.had[w, i, word], s.buckets[e, t, i, word]
            moved += flows_in(was if running == 0 else now & ~was, word, c)
    return moved


def release(
    w: int, e: int, t: int, counts: bool, c: Constants, s: State, o: Outputs, x: Scratch
) -> int:
    """Take the buckets of instances that run no more; the number of their flows.

    `Scratch.left` holds then the buckets that nobody has.
    """
    moved = 0
    for word in range(WORDS):
        x.left[w, word] = ALL_BITS
    for i in range(s.used[e, t]):
        if o.state[e, t, i] == RUNNING:
            for word in range(WORDS):
                x.left[w, word] &= ~s.buckets[e, t, i, word]
        elif s.held[e, t, i] > 0:
            s.held[e, t, i] = 0
            s.share[e, t, i] = 0.0
            for word in range(WORDS):
                if counts:
                    moved += flows_in(s.buckets[e, t, i, word], word, c)
                s.buckets[e, t, i, word] = NO_BITS
    return moved


def give(e: int, t: int, i: int, word: int, bits: Any, counts: bool, c: Constants, s: State) -> int:
    """Give an instance some buckets of one word; the number of their flows."""
    s.buckets[e, t, i, word] |= bits
    s.held[e, t, i] += size(bits)
    s.share[e, t, i] += weight_of(bits, word, c) * WEIGHT_UNIT
    return flows_in(bits, word, c) if counts else 0


def take(e: int, t: int, i: int, word: int, bits: Any, c: Constants, s: State) -> None:
    """Take from an instance some of its buckets of one word."""
    s.buckets[e, t, i, word] ^= bits
    s.held[e, t, i] -= size(bits)
    s.share[e, t, i] -= weight_of(bits, word, c) * WEIGHT_UNIT


def weight_of(bits: Any, word: int, c: Constants) -> int:
    """Popularity of some buckets of one word, in `WEIGHT_UNIT`."""
    total = 0
    for number in range(BYTES_PER_WORD):
        byte = np.int64((bits >> np.uint64(8 * number)) & LOW_BYTE)
        total += c.byte_weight[word * BYTES_PER_WORD + number, byte]
    return total


def flows_in(bits: Any, word: int, c: Constants) -> int:
    """Flows of some buckets of one word."""
    total = 0
    for number in range(BYTES_PER_WORD):
        byte = np.int64((bits >> np.uint64(8 * number)) & LOW_BYTE)
        total += c.byte_flows[word * BYTES_PER_WORD + number, byte]
    return total


def balance(
    w: int,
    e: int,
    t: int,
    running: int,
    counts: bool,
    c: Constants,
    s: State,
    o: Outputs,
    x: Scratch,
) -> int:
    """Spread evenly with the fewest moves (see `mapping.update_table`); the flows that move.

    Each instance keeps its lowest buckets, as many as it may have; those who may have more are
    dealt what is left, lowest bucket and lowest slot first.
    """
    set_quotas(w, e, t, running, s, o, x)
    for i in range(s.used[e, t]):
        surplus = s.held[e, t, i] - x.quota[w, i]
        word = WORDS - 1
        while surplus > 0:
            bits = s.buckets[e, t, i, word]
            bits ^= lowest(bits, size(bits) - surplus)
            surplus -= size(bits)
            take(e, t, i, word, bits, c, s)
            x.left[w, word] |= bits
            word -= 1
    moved = 0
    i = 0
    for word in range(WORDS):
        while x.left[w, word] != NO_BITS:
            while s.held[e, t, i] >= x.quota[w, i]:
                i += 1
            bits = lowest(x.left[w, word], x.quota[w, i] - s.held[e, t, i])
            x.left[w, word] ^= bits
            moved += give(e, t, i, word, bits, counts, c, s)
    return moved


def set_quotas(w: int, e: int, t: int, running: int, s: State, o: Outputs, x: Scratch) -> None:
    """Set how many buckets each instance may have: who has more gets an odd one, then lower slots.

    Instances that have equally many are given theirs in one pass: they have two or three different
    numbers of buckets.
    """
    base = BUCKETS // running
    odd = BUCKETS % running
    level = 0
    for i in range(s.used[e, t]):
        x.quota[w, i] = base if o.state[e, t, i] == RUNNING else 0
        level = max(level, s.held[e, t, i])
    while odd > 0:
        below = 0
        for i in range(s.used[e, t]):
            if o.state[e, t, i] == RUNNING:
                if s.held[e, t, i] == level and odd > 0:
                    x.quota[w, i] = base + 1
                    odd -= 1
                elif s.held[e, t, i] < level:
                    below = max(below, s.held[e, t, i])
        level = below


def rank(e: int, t: int, counts: bool, c: Constants, s: State, o: Outputs) -> int:
    """Rendezvous: each bucket to the running instance that outranks the others; flows that move."""
    moved = 0
    for i in range(s.used[e, t]):
        if o.state[e, t, i] == RUNNING:
            for word in range(WORDS):
                won = ALL_BITS
                for j in range(s.used[e, t]):
                    if j != i and o.state[e, t, j] == RUNNING:
                        won &= c.beats[i, j, word]
                held = s.buckets[e, t, i, word]
                if won != held:
                    take(e, t, i, word, held & ~won, c, s)
                    moved += give(e, t, i, word, won & ~held, counts, c, s)
    return moved
