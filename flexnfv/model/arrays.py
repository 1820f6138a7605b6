"""The arrays that the kernel works on: the chain, the batch's state, its outputs, scratch space.

The dimensions: B environments, W workers, P paths, T NF types, I instance slots per type,
`WORDS` words of a set of flow buckets. Amounts of packets are the chain's own; the kernel turns
them into a dataplane's where it fills a reading.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.mapping import BUCKETS
from flexnfv.reading import Reading

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

WORD_BITS = 64
WORDS = BUCKETS // WORD_BITS
"""A set of buckets is a row of this many 64-bit words: bucket b is bit b % 64 of word b // 64."""


class Constants(NamedTuple):
    """A chain as the kernel sees it. R = I (I + 1) / 2 residues, U distinct flow hashes."""

    interval_s: float
    substeps: int
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
    scale: float  # of a dataplane's packets to the chain's own
    backpressure: bool
    count_flows: bool
    capacity_pps: Floats  # [T]
    processing_ns: Floats  # [T]
    overload_penalty: Floats  # [T]
    overload_span: Floats  # [T]
    jitter: Floats  # [T]
    ring_packets: Floats  # [T], what a ring holds of the chain's own packets
    ring_slots: Floats  # [T], what it holds of a dataplane's
    min_instances: Ints  # [T]
    max_instances: Ints  # [T]
    cores_per_instance: Ints  # [T]
    order: Ints  # [T], types so that as few paths as possible go back
    entry: Ints  # [P], first type
    following: Ints  # [P, T], next type on the path, or LEAVES
    back: Bools  # [P, T], whether that next type comes earlier in `order`
    behind: Bools  # [T], whether its full rings hold a path's packets off at the entry
    path_share: Floats  # [P]
    visit: Floats  # [T], share of the offered packets whose path passes the type
    bucket_weight: Ints  # [BUCKETS], popularity of each bucket's flows, in WEIGHT_UNIT
    modulus_weight: Floats  # [I + 1, I], popularity of the flows with hash % j == index
    beats: Words  # [I, I, WORDS], buckets for which slot i outranks slot j under rendezvous
    hashes: Ints  # [U], distinct hashes of the flows
    hash_flows: Ints  # [U], flows with each of them
    bucket_flows: Ints  # [BUCKETS], flows in each bucket
    residue_flows: Ints  # [R, R], flows with two residues at once (kept if flows are counted)
    flows: int


class State(NamedTuple):
    """What a batch remembers between intervals, beside the `Outputs` that say so."""

    stream: Words  # [B], seed of the environment's randomness
    interval: Ints  # [B], intervals done
    intervals: Ints  # [B], intervals that its traffic lasts
    series: Ints  # [B], its row of `rates`
    rates_per_interval: Ints  # [B], a divisor of the sub-steps
    rates: Floats  # [S, most], offered packets/s; rows may be shared
    used: Ints  # [B, T], one more than the highest slot that is, or just was, not stopped
    present: Ints  # [B, T], running and launching instances
    wait_s: Floats  # [B, T, I], until a launch or rerun completes; infinity: none under way
    due_s: Floats  # [B], until the next launch or rerun completes
    parked_at_s: Floats  # [B, T, I], when it parked, from this interval's start on: 0 or negative
    doomed: Bools  # [B, T, I], dies before the next decision
    dying: Bools  # [B], whether any instance is doomed
    queue: Floats  # [B, T, I], packets in the ring
    mix: Floats  # [B, P, T, I], each path's packets in the ring (kept if P > 1)
    transit: Floats  # [B, P, T], packets on their way back to a type
    load: Floats  # [B, T, I], erlangs in the last interval
    share: Floats  # [B, T, I], of the offered rate
    unmapped: Floats  # [B, T], share that finds no unblocked instance
    top_share: Floats  # [B, T], the largest share
    buckets: Words  # [B, T, I, WORDS], set of the buckets that each instance holds
    held: Ints  # [B, T, I], its size
    row: Ints  # [B, T, I], Algorithm 1's resolved row
    existing: Ints  # [B, T], its length
    spread_by: Ints  # [B, T], MappingKind that the sets, the row and the shares are made for
    throttled: Bools  # [B, T, I], whether its ring holds packets off at the entry


class Outputs(NamedTuple):
    """The arrays of a batched `Reading` that the kernel fills, [B, ...].

    `state`, `start_kind`, `parked_s` and `mapping` are also what the next interval starts from.
    """

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
    mapping: Bytes
    state: Bytes
    start_kind: Bytes
    arrived_pps: Floats
    served_pps: Floats
    ring_dropped_pps: Floats
    queue: Floats
    queue_peak: Floats
    parked_s: Floats
    load_if_blocked: Floats


class Scratch(NamedTuple):
    """Space for one interval of one environment; each worker has a row of its own."""

    command: Bytes  # [W, T, I]
    remapped: Bools  # [W, T], whether instances came or went since the shares were made
    backlog: Bools  # [W, T], whether any ring holds packets
    smooth: Floats  # [W, T], packets that the shares split and that are served at once
    held_s: Floats  # [W, T], core time of instances that died, and what it is short of an interval
    parked_s: Floats  # [W, T], parked time of instances that are parked no more
    waiting: Floats  # [W, T], packet-seconds in rings
    inflow: Floats  # [W, P, T], packets that reach a type in this segment
    homeward: Floats  # [W, P, T], packets that go back to a type in the next sub-step
    ability: Floats  # [W, T, I], packets that an instance can serve in this segment
    total: Floats  # [W, T], packets that would reach a type if all were let in
    passing: Floats  # [W, T], part of them that its fullest ring takes
    onwards: Floats  # [W, T], part of them that it serves
    row: Ints  # [W, I], Algorithm 1's row before a change
    had: Words  # [W, I, WORDS], sets of buckets before a change of the mapping's kind
    quota: Ints  # [W, I], how many buckets each instance may have
    left: Words  # [W, WORDS], buckets that nobody has


def new_state(chain: ServiceChain, batch: int) -> State:
    """The state of a batch that has not been reset yet."""
    types, slots, paths = chain.types, chain.slots, len(chain.paths)
    per_slot = (batch, types, slots)
    return State(
        stream=np.zeros(batch, np.uint64),
        interval=np.zeros(batch, np.int64),
        intervals=np.zeros(batch, np.int64),
        series=np.arange(batch),
        rates_per_interval=np.ones(batch, np.int64),
        rates=np.zeros((batch, 1)),
        used=np.zeros((batch, types), np.int64),
        present=np.zeros((batch, types), np.int64),
        wait_s=np.full(per_slot, np.inf),
        due_s=np.full(batch, np.inf),
        parked_at_s=np.zeros(per_slot),
        doomed=np.zeros(per_slot, np.bool_),
        dying=np.zeros(batch, np.bool_),
        queue=np.zeros(per_slot),
        mix=np.zeros((batch, paths, types, slots)),
        transit=np.zeros((batch, paths, types)),
        load=np.zeros(per_slot),
        share=np.zeros(per_slot),
        unmapped=np.zeros((batch, types)),
        top_share=np.zeros((batch, types)),
        buckets=np.zeros((*per_slot, WORDS), np.uint64),
        held=np.zeros(per_slot, np.int64),
        row=np.zeros(per_slot, np.int64),
        existing=np.zeros((batch, types), np.int64),
        spread_by=np.zeros((batch, types), np.int64),
        throttled=np.zeros(per_slot, np.bool_),
    )


def new_scratch(chain: ServiceChain, workers: int = 1) -> Scratch:
    """Scratch space for that many workers."""
    types, slots, paths = chain.types, chain.slots, len(chain.paths)
    return Scratch(
        command=np.zeros((workers, types, slots), np.int8),
        remapped=np.zeros((workers, types), np.bool_),
        backlog=np.zeros((workers, types), np.bool_),
        smooth=np.zeros((workers, types)),
        held_s=np.zeros((workers, types)),
        parked_s=np.zeros((workers, types)),
        waiting=np.zeros((workers, types)),
        inflow=np.zeros((workers, paths, types)),
        homeward=np.zeros((workers, paths, types)),
        ability=np.zeros((workers, types, slots)),
        total=np.zeros((workers, types)),
        passing=np.zeros((workers, types)),
        onwards=np.zeros((workers, types)),
        row=np.zeros((workers, slots), np.int64),
        had=np.zeros((workers, slots, WORDS), np.uint64),
        quota=np.zeros((workers, slots), np.int64),
        left=np.zeros((workers, WORDS), np.uint64),
    )


def outputs_of(reading: Reading) -> Outputs:
    """The arrays of a reading that the kernel fills."""
    arrays = dict(reading.items())
    return Outputs(**{name: arrays[name] for name in Outputs._fields})
