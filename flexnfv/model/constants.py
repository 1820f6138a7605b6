"""A chain, its calibration and its flow set as the kernel's constants."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.flows import FlowSet
from flexnfv.mapping import BUCKETS, WEIGHT_UNIT, bucket_weights, modulus_weights, score
from flexnfv.model.arrays import WORD_BITS, WORDS, Constants, Ints, Words
from flexnfv.model.service import LEAVES


def constants_of(
    chain: ServiceChain,
    *,
    substeps: int,
    count_flows: bool,
    death_rate_per_s: float,
) -> Constants:
    """What `kernel.advance` needs to know of a chain."""
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    calibration = chain.measured
    types, slots = chain.types, chain.slots
    following = np.full((len(chain.paths), types), LEAVES, np.int64)
    for p, path in enumerate(chain.paths):
        for t, onward in pairwise(path):
            following[p, t] = onward
    order = _order(following)
    place = np.argsort(order)
    back = (following >= 0) & (place[following] < place[np.arange(types)])
    behind = np.zeros(types, np.bool_)
    if chain.mode == "backpressure":
        behind[following[following >= 0]] = True
    hashes, hash_flows = (one.astype(np.int64) for one in _counted(flows))
    return Constants(
        interval_s=chain.interval_s,
        substeps=substeps,
        substep_s=chain.interval_s / substeps,
        core_budget=chain.core_budget,
        park_timeout_s=np.inf if chain.park_timeout_s is None else chain.park_timeout_s,
        launch_s=calibration.launch_s,
        launch_spread=calibration.launch_spread,
        rerun_s=calibration.rerun_s,
        rerun_spread=calibration.rerun_spread,
        busy_w=calibration.power.busy_w,
        idle_poll_w=calibration.power.idle_poll_w,
        parked_w=calibration.power.parked_w,
        death_rate_per_s=death_rate_per_s,
        scale=calibration.scale,
        backpressure=chain.mode == "backpressure",
        count_flows=count_flows,
        capacity_pps=chain.capacity_pps.copy(),
        processing_ns=chain.processing_ns.copy(),
        overload_penalty=chain.overload_penalty.copy(),
        overload_span=chain.overload_span.copy(),
        jitter=chain.jitter.copy(),
        ring_packets=chain.ring_packets.copy(),
        ring_slots=chain.ring_slots.astype(np.float64),
        min_instances=chain.min_instances.copy(),
        max_instances=chain.own_slots.copy(),
        cores_per_instance=chain.cores_per_instance.copy(),
        order=order,
        entry=np.array([path[0] for path in chain.paths], np.int64),
        following=following,
        back=back,
        behind=behind,
        path_share=chain.path_shares.copy(),
        visit=chain.through.copy(),
        byte_weight=_of_bytes(bucket_weights(flows.hashes, flows.weights) / WEIGHT_UNIT),
        byte_flows=_of_bytes(_flows_of(hashes % BUCKETS, hash_flows, BUCKETS)),
        modulus_weight=modulus_weights(flows.hashes, flows.weights, slots),
        beats=_beats(slots),
        hashes=hashes,
        hash_flows=hash_flows,
        residue_flows=_residue_flows(hashes, hash_flows, slots if count_flows else 0),
        flows=flows.count,
    )


def _counted(flows: FlowSet) -> tuple[Ints, Ints]:
    """Distinct hashes, [U], and how many flows have each, [U]."""
    return np.unique(flows.hashes, return_counts=True)


def _flows_of(group: Ints, hash_flows: Ints, groups: int) -> Ints:
    """Flows in each group, [groups], of hashes that lie in `group`, [U]."""
    return np.bincount(group, weights=hash_flows, minlength=groups).astype(np.int64)


def _of_bytes(values: npt.ArrayLike) -> Ints:
    """Sums of whole numbers per bucket over every possible byte of a set, [BYTES, 256]."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return np.asarray(values, np.int64).reshape(-1, 8) @ bits.T


def _residue_flows(hashes: Ints, hash_flows: Ints, slots: int) -> Ints:
    """Flows whose hash has residue a modulo i and b modulo j, [R, R].

    Residue a modulo i, of 0 to i - 1, has row i (i - 1) / 2 + a; so has b modulo j its column.
    """
    rows = slots * (slots + 1) // 2
    found = np.zeros((rows, rows), np.int64)
    residues = [hashes % max(i, 1) for i in range(slots + 1)]
    places = [slice(i * (i - 1) // 2, i * (i + 1) // 2) for i in range(slots + 1)]
    for i in range(1, slots + 1):
        for j in range(i, slots + 1):
            pairs = _flows_of(residues[i] * j + residues[j], hash_flows, i * j).reshape(i, j)
            found[places[i], places[j]] = pairs
            found[places[j], places[i]] = pairs.T
    return found


@cache
def _beats(slots: int) -> Words:
    """Sets of buckets for which one slot outranks another under rendezvous, [I, I, WORDS]."""
    scores = np.array([[score(bucket, slot) for bucket in range(BUCKETS)] for slot in range(slots)])
    above = scores[:, None] > scores[None]
    tied = scores[:, None] == scores[None]
    earlier = np.arange(slots)[:, None] < np.arange(slots)[None]
    wins = above | (tied & earlier[..., None])
    bits = wins.reshape(slots, slots, WORDS, WORD_BITS).astype(np.uint64)
    return np.asarray(np.bitwise_or.reduce(bits << np.arange(WORD_BITS, dtype=np.uint64), axis=-1))


def _order(following: Ints) -> Ints:
    """NF types so that each comes after those before it on every path, as far as paths agree."""
    types = following.shape[1]
    left = list(range(types))
    order: list[int] = []
    while left:
        awaited = {t: sum(int((following[:, other] == t).any()) for other in left) for t in left}
        first = min(left, key=lambda t: (awaited[t], t))
        order.append(first)
        left.remove(first)
    return np.array(order, np.int64)
