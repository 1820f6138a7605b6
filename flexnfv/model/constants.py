"""A chain, its calibration and its flow set as the kernel's constants."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.flows import FlowSet
from flexnfv.mapping import BUCKETS, bucket_weights, modulus_weights
from flexnfv.model.kernel import LEAVES, Constants, Floats, Ints


def constants_of(
    chain: ServiceChain,
    *,
    substeps: int,
    rates_per_interval: int,
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
    visit = chain.through.copy()
    hashes, hash_flows = np.unique(flows.hashes, return_counts=True)
    residue = np.zeros((slots + 1, hashes.size), np.int8)
    if count_flows:
        for j in range(1, slots + 1):
            residue[j] = hashes % np.uint32(j)
    return Constants(
        interval_s=chain.interval_s,
        substeps=substeps,
        rates_per_interval=rates_per_interval,
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
        backpressure=chain.mode == "backpressure",
        count_flows=count_flows,
        capacity_pps=chain.capacity_pps.copy(),
        processing_ns=chain.processing_ns.copy(),
        overload_penalty=chain.overload_penalty.copy(),
        overload_span=chain.overload_span.copy(),
        jitter=chain.jitter.copy(),
        ring_packets=chain.ring_packets.copy(),
        min_instances=chain.min_instances.copy(),
        max_instances=chain.own_slots.copy(),
        cores_per_instance=chain.cores_per_instance.copy(),
        mapping_kinds=chain.mapping_kinds.copy(),
        order=order,
        entry=np.array([path[0] for path in chain.paths], np.int64),
        following=following,
        back=back,
        behind=behind,
        path_share=chain.path_shares.copy(),
        visit=visit,
        bucket_weight=bucket_weights(flows.hashes, flows.weights),
        modulus_weight=_modulus_weights(flows, slots),
        bucket_flows=np.bincount(flows.hashes % np.uint32(BUCKETS), minlength=BUCKETS).astype(
            np.int64
        ),
        residue=residue,
        hash_flows=hash_flows.astype(np.int64),
        flows=flows.count,
    )


def _modulus_weights(flows: FlowSet, slots: int) -> Floats:
    return modulus_weights(flows.hashes, flows.weights, slots)


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
