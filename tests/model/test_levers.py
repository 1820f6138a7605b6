"""Levers of a decision on the model: how flows are spread, and how many parked instances stay."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.decision import KEEP, Decision
from flexnfv.flows import FlowSet
from flexnfv.mapping import (
    ALGORITHM1,
    EVEN,
    RENDEZVOUS,
    bucket_weights,
    empty_table,
    instances_of,
    modulus_weights,
    shares,
    update_table,
)
from flexnfv.model import BatchModel
from flexnfv.states import BLOCKED
from tests.model.chains import random_chain

KINDS = [ALGORITHM1, RENDEZVOUS, EVEN]


@pytest.mark.parametrize("first", ["algorithm1", "rendezvous", "even"])
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("zipf", [0.0, 1.2])
def test_flows_go_where_the_mapping_in_force_sends_them(
    first: str, second: int, zipf: float
) -> None:
    chain = load_chain("single").replace(
        mapping=first, flows={"count": 900, "zipf": zipf, "seed": 5}
    )
    chain = chain.with_calibration(
        chain.measured.model_copy(update={"launch_s": 0.0, "rerun_s": 0.0})
    )
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    weights = (
        bucket_weights(flows.hashes, flows.weights),
        modulus_weights(flows.hashes, flows.weights, chain.slots),
    )
    rng = np.random.default_rng(second)
    model = BatchModel(chain, 1, count_flows=True)
    reading = model.reset_envs([0], np.full((1, 40), 1e5), [1])
    table, kind = empty_table(), int(chain.mapping_kinds[0])
    update_table(kind, reading.state[0, 0], table)
    before = instances_of(kind, reading.state[0, 0], table, flows.hashes)
    for k in range(39):
        wanted = KEEP
        if k % 5 == 4:
            wanted = second if kind != second else int(chain.mapping_kinds[0])
        decision = Decision(rng.integers(1, 9, (1, 1)), mapping=np.array([[wanted]]))
        reading = model.step(decision)
        state = reading.state[0, 0]
        if wanted not in (KEEP, kind):
            kind, table = wanted, empty_table()
        # Blocks act at once, launches and reruns (of no latency) together with them.
        update_table(kind, state, table)
        now = instances_of(kind, state, table, flows.hashes)
        assert reading.mapping[0, 0] == kind
        assert reading.flows_moved[0, 0] == pytest.approx(float((before != now).mean()), abs=1e-12)
        share = np.empty(chain.slots)
        shares(kind, state, table, *weights, np.empty(chain.slots, np.int64), share)
        np.testing.assert_allclose(reading.arrived_pps[0, 0], 1e5 * share, rtol=1e-12)
        before = now


def test_all_flows_move_where_nobody_runs_any_more_and_back() -> None:
    chain = load_chain("single").replace(mapping="even")
    chain = chain.with_calibration(chain.measured.model_copy(update={"launch_s": 0.5}))
    model = BatchModel(chain, 1, count_flows=True)
    model.reset_envs([0], np.full((1, 4), 1e5), [1])
    model.kill(0, 0, 0)
    # Nobody serves until the launch completes; then one has all flows, whatever the mapping.
    reading = model.step(Decision(np.array([[1]]), mapping=np.array([[ALGORITHM1]])))
    assert reading.flows_moved[0, 0] == 2.0
    assert reading.unmapped_pps[0, 0] == pytest.approx(0.5e5)
    reading = model.step(Decision(np.array([[1]]), mapping=np.array([[RENDEZVOUS]])))
    assert reading.flows_moved[0, 0] == 0.0
    assert (reading.mapping[0], reading.unmapped_pps[0]) == (RENDEZVOUS, 0.0)


def test_a_mapping_stays_until_another_is_wanted_and_a_reset_brings_the_chains() -> None:
    chain = load_chain("paper")
    model = BatchModel(chain, 2)
    rates = np.full((2, 6), 3e6)
    model.reset_envs([0, 1], rates, [1, 2])
    targets = np.full((2, 3), 3)
    wanted = np.array([[EVEN, KEEP, RENDEZVOUS], [KEEP, KEEP, KEEP]])
    for decision in (Decision(targets, mapping=wanted), targets, Decision(targets)):
        reading = model.step(decision)
        assert reading.mapping[0].tolist() == [EVEN, ALGORITHM1, RENDEZVOUS]
        assert reading.mapping[1].tolist() == [ALGORITHM1] * 3
    # An even spread loads three instances alike; Algorithm 1 has the same flows modulo 3.
    assert np.ptp(reading.arrived_pps[0, 0, :3]) < 0.1 * reading.arrived_pps[0, 0, 0]
    reading = model.reset_envs([0], rates[:1], [1])
    assert reading.mapping[0].tolist() == [ALGORITHM1] * 3


def test_a_spare_that_is_stopped_gives_its_core_back() -> None:
    chain = load_chain("edge").replace(core_budget=7)
    model = BatchModel(chain, 1)
    model.reset_envs([0], np.full((1, 12), 1e6), [1])
    for _ in range(2):
        model.step([[5, 1, 1]])
    reading = model.step([[1, 1, 1]])
    assert reading.blocked[0].tolist() == [4, 0, 0]
    longest = reading.parked_s[0, 0].max()
    kept = model.step([[1, 1, 1]]).copy()
    assert kept.stops[0].tolist() == [0, 0, 0]
    assert kept.parked_s[0, 0].max() > longest
    reading = model.step(Decision(np.array([[1, 1, 1]]), spares=np.array([[1, KEEP, KEEP]])))
    assert reading.stops[0].tolist() == [3, 0, 0]
    assert reading.blocked[0].tolist() == [1, 0, 0]
    assert reading.energy_j[0] < kept.energy_j[0]
    # It acts in that decision only, and the cores are free for others.
    reading = model.step([[2, 4, 1]])
    assert reading.clipped[0].tolist() == [0, 0, 0]
    assert (reading.reruns[0, 0], reading.launches[0, 1]) == (1, 3)


def test_the_longest_parked_are_stopped_first() -> None:
    chain = load_chain("single")
    model = BatchModel(chain, 1)
    model.reset_envs([0], np.full((1, 12), 1e6), [1])
    for targets in (4, 4, 3, 2, 1):
        reading = model.step([[targets]])
    last = int(np.flatnonzero(reading.parked_s[0, 0] == reading.parked_s[0, 0].max())[0])
    assert reading.blocked[0, 0] == 3
    reading = model.step(Decision(np.array([[1]]), spares=np.array([[2]])))
    assert reading.state[0, 0, last] != BLOCKED
    assert reading.blocked[0, 0] == 2


@pytest.mark.parametrize("case", range(20))
def test_no_packet_is_lost_by_levers(case: int) -> None:
    rng = np.random.default_rng(case)
    chain = random_chain(rng)
    shape = 4, chain.types
    model = BatchModel(chain, 4, count_flows=True)
    reading = model.reset_envs(np.arange(4), rng.uniform(0, 4000, (4, 15)), np.arange(4))
    offered, gone = np.zeros(4), np.zeros(4)
    while True:
        offered += reading.offered_pps
        gone += reading.delivered_pps + reading.dropped_pps
        queued = reading.queue.sum(axis=(1, 2)) + model.in_transit
        np.testing.assert_allclose(gone + queued, offered, rtol=1e-9)
        cores = (reading.state > 0).sum(axis=2) @ chain.cores_per_instance
        assert (cores <= chain.core_budget).all()
        if model.remaining[0] == 0:
            break
        spares = rng.integers(-1, 3, shape)
        reading = model.step(
            Decision(rng.integers(0, 7, shape), mapping=rng.integers(-1, 3, shape), spares=spares)
        )
        # Beside those that drain and park within the interval, no more are left than wanted.
        parked = ((reading.state == BLOCKED) & (reading.parked_s > chain.interval_s)).sum(axis=2)
        assert (parked[spares >= 0] <= spares[spares >= 0]).all()


def test_levers_have_the_shape_of_the_targets() -> None:
    chain = load_chain("paper")
    model = BatchModel(chain, 2)
    model.reset_envs([0, 1], np.full((2, 3), 1e6))
    with pytest.raises(ValueError, match="spares have shape"):
        model.step(Decision(np.ones((2, 3), np.int64), spares=np.ones((1, 3), np.int64)))
