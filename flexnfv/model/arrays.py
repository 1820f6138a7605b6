"""The arrays that the kernel works on: the chain, the batch's state, its outputs, scratch space.

Each field names its dimensions by letters: B environments, W workers, P paths, T NF types, I
instance slots per type, J = I + 1, N words of a set of flow buckets, Y bytes of one, Z values of a
byte, U distinct flow hashes, R = I (I + 1) / 2 residues, S series of L rates. Amounts of packets
are the chain's own; the kernel turns them into a dataplane's where it fills a reading.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

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
BYTES_PER_WORD = WORD_BITS // 8
WORDS = BUCKETS // WORD_BITS
"""A set of buckets is a row of this many 64-bit words: bucket b is bit b % 64 of word b // 64."""


class Constants(NamedTuple):
    """A chain as the kernel sees it."""

    interval_s: float
    substeps: int
    substep_s: float
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
    capacity_pps: Annotated[Floats, "T"]
    processing_ns: Annotated[Floats, "T"]
    overload_penalty: Annotated[Floats, "T"]
    overload_span: Annotated[Floats, "T"]
    jitter: Annotated[Floats, "T"]
    ring_packets: Annotated[Floats, "T"]  # what a ring holds of the chain's own packets
    ring_slots: Annotated[Floats, "T"]  # what it holds of a dataplane's
    min_instances: Annotated[Ints, "T"]
    max_instances: Annotated[Ints, "T"]
    cores_per_instance: Annotated[Ints, "T"]
    order: Annotated[Ints, "T"]  # types so that as few paths as possible go back
    entry: Annotated[Ints, "P"]  # first type
    following: Annotated[Ints, "PT"]  # next type on the path, or LEAVES
    back: Annotated[Bools, "PT"]  # whether that next type comes earlier in `order`
    behind: Annotated[Bools, "T"]  # whether its full rings hold a path's packets off at the entry
    path_share: Annotated[Floats, "P"]
    visit: Annotated[Floats, "T"]  # share of the offered packets whose path passes the type
    byte_weight: Annotated[Ints, "YZ"]  # popularity of the buckets in a byte, in WEIGHT_UNIT
    byte_flows: Annotated[Ints, "YZ"]  # flows of the buckets in a byte
    modulus_weight: Annotated[Floats, "JI"]  # popularity of the flows with hash % j == index
    beats: Annotated[Words, "IIN"]  # buckets for which slot i outranks slot j under rendezvous
    hashes: Annotated[Ints, "U"]  # distinct hashes of the flows
    hash_flows: Annotated[Ints, "U"]  # flows with each of them
    residue_flows: Annotated[Ints, "RR"]  # flows with two residues at once, if they are counted
    flows: int


class State(NamedTuple):
    """What a batch remembers between intervals, beside the `Outputs` that say so."""

    stream: Annotated[Words, "B"]  # seed of the environment's randomness
    interval: Annotated[Ints, "B"]  # intervals done
    intervals: Annotated[Ints, "B"]  # intervals that its traffic lasts
    series: Annotated[Ints, "B"]  # its row of `rates`
    rates_per_interval: Annotated[Ints, "B"]  # a divisor of the sub-steps
    rates: Annotated[Floats, "SL"]  # offered packets/s; rows may be shared
    used: Annotated[Ints, "BT"]  # one more than the highest slot that is, or just was, not stopped
    present: Annotated[Ints, "BT"]  # running and launching instances
    wait_s: Annotated[Floats, "BTI"]  # until a launch or rerun completes; infinity: none under way
    due_s: Annotated[Floats, "B"]  # until the next launch or rerun completes
    parked_at_s: Annotated[Floats, "BTI"]  # when it parked, since this interval's start
    doomed: Annotated[Bools, "BTI"]  # dies before the next decision
    dying: Annotated[Bools, "B"]  # whether any instance is doomed
    queue: Annotated[Floats, "BTI"]  # packets in the ring
    mix: Annotated[Floats, "BPTI"]  # each path's packets in the ring (kept if P > 1)
    transit: Annotated[Floats, "BPT"]  # packets on their way back to a type
    load: Annotated[Floats, "BTI"]  # erlangs in the last interval
    share: Annotated[Floats, "BTI"]  # of the offered rate
    unmapped: Annotated[Floats, "BT"]  # share that finds no unblocked instance
    top_share: Annotated[Floats, "BT"]  # the largest share
    buckets: Annotated[Words, "BTIN"]  # set of the buckets that each instance holds
    held: Annotated[Ints, "BTI"]  # its size
    row: Annotated[Ints, "BTI"]  # Algorithm 1's resolved row
    existing: Annotated[Ints, "BT"]  # its length
    spread_by: Annotated[Ints, "BT"]  # MappingKind that sets, row and shares are made for
    throttled: Annotated[Bools, "BTI"]  # whether its ring holds packets off at the entry


class Outputs(NamedTuple):
    """The arrays of a batched `Reading` that the kernel fills, [B, ...].

    `state`, `start_kind`, `parked_s` and `mapping` are also what the next interval starts from.
    """

    time_s: Annotated[Floats, "B"]
    offered_pps: Annotated[Floats, "B"]
    delivered_pps: Annotated[Floats, "B"]
    dropped_pps: Annotated[Floats, "B"]
    shed_pps: Annotated[Floats, "B"]
    latency_s: Annotated[Floats, "B"]
    energy_j: Annotated[Floats, "B"]
    unmapped_pps: Annotated[Floats, "BT"]
    unsettled: Annotated[Bools, "BT"]
    launches: Annotated[Ints, "BT"]
    reruns: Annotated[Ints, "BT"]
    blocks: Annotated[Ints, "BT"]
    stops: Annotated[Ints, "BT"]
    deaths: Annotated[Ints, "BT"]
    clipped: Annotated[Ints, "BT"]
    flows_moved: Annotated[Floats, "BT"]
    mapping: Annotated[Bytes, "BT"]
    state: Annotated[Bytes, "BTI"]
    start_kind: Annotated[Bytes, "BTI"]
    arrived_pps: Annotated[Floats, "BTI"]
    served_pps: Annotated[Floats, "BTI"]
    ring_dropped_pps: Annotated[Floats, "BTI"]
    queue: Annotated[Floats, "BTI"]
    queue_peak: Annotated[Floats, "BTI"]
    parked_s: Annotated[Floats, "BTI"]
    load_if_blocked: Annotated[Floats, "BTI"]


class Scratch(NamedTuple):
    """Space for one interval of one environment; each worker has a row of its own."""

    command: Annotated[Bytes, "WTI"]
    remapped: Annotated[Bools, "WT"]  # whether the shares are out of date
    backlog: Annotated[Bools, "WT"]  # whether any ring holds packets
    smooth: Annotated[Floats, "WT"]  # packets that the shares split and that are served at once
    held_s: Annotated[Floats, "WT"]  # core time that is not an instance's whole interval
    parked_s: Annotated[Floats, "WT"]  # parked time of instances that are parked no more
    waiting: Annotated[Floats, "WT"]  # packet-seconds in rings
    inflow: Annotated[Floats, "WPT"]  # packets that reach a type in this segment
    homeward: Annotated[Floats, "WPT"]  # packets that go back to a type in the next sub-step
    ability: Annotated[Floats, "WTI"]  # packets that an instance can serve in this segment
    total: Annotated[Floats, "WT"]  # packets that would reach a type if all were let in
    passing: Annotated[Floats, "WT"]  # part of them that its fullest ring takes
    onwards: Annotated[Floats, "WT"]  # part of them that it serves
    row: Annotated[Ints, "WI"]  # Algorithm 1's row before a change
    had: Annotated[Words, "WIN"]  # sets of buckets before a change of the mapping's kind
    quota: Annotated[Ints, "WI"]  # how many buckets each instance may have
    left: Annotated[Words, "WN"]  # buckets that nobody has


def new_state(chain: ServiceChain, batch: int) -> State:
    """The state of a batch that has not been reset yet."""
    sizes = _sizes(chain) | {"B": batch, "S": batch, "L": 1}
    return State(**_zeros(State, sizes) | {"series": np.arange(batch)})


def new_scratch(chain: ServiceChain, workers: int = 1) -> Scratch:
    """Scratch space for that many workers."""
    return Scratch(**_zeros(Scratch, _sizes(chain) | {"W": workers}))


def _sizes(chain: ServiceChain) -> dict[str, int]:
    return {"T": chain.types, "I": chain.slots, "P": len(chain.paths), "N": WORDS}


def _zeros(table: type, sizes: dict[str, int]) -> dict[str, Any]:
    """An array of zeros for each field of a table."""
    arrays = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        array, letters = get_args(hint)
        dtype = get_args(get_args(array)[1])[0]
        arrays[name] = np.zeros([sizes[letter] for letter in letters], dtype)
    return arrays


def outputs_of(reading: Reading) -> Outputs:
    """The arrays of a reading that the kernel fills."""
    arrays = dict(reading.items())
    return Outputs(**{name: arrays[name] for name in Outputs._fields})
