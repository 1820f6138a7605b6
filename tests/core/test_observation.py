"""What an observation says about hand-made readings."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.observation import BOUND, CLIP, DROP_COST, WINDOW, ObservationEncoder
from flexnfv.reading import Reading
from flexnfv.states import RUNNING
from tests.policies.readings import reading

CHAINS = ("paper", "paper-reverse", "single", "six", "two-paths", "edge")


def offered(chain: ServiceChain, *needs: float, **fields: object) -> Reading:
    """A reading whose types are offered `needs` times one instance's capacity, one running each."""
    capacity = chain.capacity_pps / 1e6
    arrived = [[need * rate] for need, rate in zip(needs, capacity, strict=True)]
    return reading(chain, ["R"] * chain.types, arrived, **fields)


def feature(row: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    return np.asarray(row[..., ObservationEncoder.names.index(name)])


@pytest.fixture
def chain() -> ServiceChain:
    return load_chain("paper")


def test_the_features_and_their_order_are_those_that_bundles_were_trained_with() -> None:
    """Changing a name or the order makes every bundle in the world unusable: do it knowingly."""
    names = ",".join(ObservationEncoder.names)
    assert len(ObservationEncoder.names) == 51
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "17f57b24c49ae6d9"
    assert ObservationEncoder.names[DROP_COST] == "preference"


def test_a_first_reading_shows_no_past(chain: ServiceChain) -> None:
    row = ObservationEncoder(chain).encode(offered(chain, 0.5, 1.5, 2.0), 100.0)
    assert row.shape == (3, 51)
    assert row.dtype == np.float32
    assert row.flags.c_contiguous
    for age in range(1, WINDOW):
        assert feature(row, f"demand_log_ratio_{age}") == pytest.approx([0, 0, 0])
    assert feature(row, "need_log") == pytest.approx(np.log([0.5, 1.5, 2.0]) / CLIP)
    assert feature(row, "need_slack") == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)
    assert feature(row, "need_inverse") == pytest.approx([1.0, 0.5, 0.5])
    assert feature(row, "need_slow") == pytest.approx(np.log([0.5, 1.5, 2.0]) / CLIP)
    assert feature(row, "utilisation_mean") == pytest.approx([0.5, 1.5, 2.0])
    assert feature(row, "utilisation_max") == pytest.approx([0.5, 1.5, 2.0])
    assert feature(row, "running") == pytest.approx([0, -math.log(2), -math.log(2)])
    assert feature(row, "headroom") == pytest.approx((8 - np.array([0.5, 1.5, 2.0])) / 8)
    assert feature(row, "preference") == pytest.approx([2 / 3] * 3)
    assert feature(row, "launch_latency") == pytest.approx([math.log1p(0.998)] * 3)
    for name in ("jump", "slow_change", "slow_jump_rate", "slow_largest_jump", "window_spread"):
        assert feature(row, name) == pytest.approx([0, 0, 0])


def test_the_window_holds_the_past_readings_newest_first(chain: ServiceChain) -> None:
    encoder = ObservationEncoder(chain)
    needs = [1.0, 2.0, 4.0, 3.0]
    for need in needs:
        row = encoder.encode(offered(chain, need, 1.0, 1.0))
    assert feature(row, "demand_log_ratio_1")[0] == pytest.approx(math.log(4 / 3))
    assert feature(row, "demand_log_ratio_2")[0] == pytest.approx(math.log(2 / 3))
    assert feature(row, "demand_log_ratio_3")[0] == pytest.approx(math.log(1 / 3))
    assert feature(row, f"demand_log_ratio_{WINDOW - 1}")[0] == pytest.approx(math.log(1 / 3))
    assert feature(row, "jump")[0] == pytest.approx(math.log(3 / 4))
    assert feature(row, "window_max")[0] == pytest.approx(math.log(4 / 3))
    assert feature(row, "window_min")[0] == pytest.approx(math.log(1 / 3))
    assert feature(row, "slow_largest_jump")[0] == pytest.approx(math.log(2) * 0.98)
    assert feature(row, "need_slow")[0] == pytest.approx(np.log(needs).mean() / CLIP)
    assert feature(row, "demand_log_ratio_1")[1:] == pytest.approx([0, 0])


def test_losses_are_shares_of_the_demand_and_age_by_one_a_reading(chain: ServiceChain) -> None:
    encoder = ObservationEncoder(chain)
    lossy = offered(chain, 2.0, 1.0, 1.0)
    lossy.ring_dropped_pps[0, 0] = chain.capacity_pps[0]
    row = encoder.encode(lossy)
    assert feature(row, "dropped_0") == pytest.approx([math.sqrt(0.5), 0, 0])
    assert feature(row, "upstream_dropped") == pytest.approx([0, math.sqrt(0.5), 0])
    assert feature(row, "dropped_slow")[0] == pytest.approx(math.sqrt(0.05 * 0.5))
    row = encoder.encode(offered(chain, 1.0, 1.0, 1.0))
    assert feature(row, "dropped_0")[0] == 0
    assert feature(row, "dropped_1")[0] == pytest.approx(math.sqrt(0.5))
    row = encoder.encode(offered(chain, 1.0, 1.0, 1.0))
    assert feature(row, "dropped_2")[0] == pytest.approx(math.sqrt(0.5))


def test_instances_are_counted_against_the_need(chain: ServiceChain) -> None:
    states = ["RRLB", "RDD", "R"]
    mpps = [[4.43, 4.43], [1.0], [1.0]]
    row = ObservationEncoder(chain).encode(reading(chain, states, mpps, clipped=[0, 0, 2]))
    assert feature(row, "launching") == pytest.approx([0.5, 0, 0])
    assert feature(row, "parked") == pytest.approx([0.5, 0, 0])
    assert feature(row, "draining") == pytest.approx([0, 2, 0])
    assert feature(row, "clipped") == pytest.approx([0, 0, 2])
    assert feature(row, "upstream_launching") == pytest.approx([0, 0.5, 0])
    assert feature(row, "downstream_utilisation")[2] == 0
    assert feature(row, "has_upstream") == pytest.approx([0, 1, 1])
    assert feature(row, "has_downstream") == pytest.approx([1, 1, 0])


def test_the_longest_queue_counts(chain: ServiceChain) -> None:
    ring = float(chain.ring_slots[0])
    given_ = reading(chain, ["RR", "R", "R"], queue=[[1, ring / 2], [0], [ring]])
    assert feature(ObservationEncoder(chain).encode(given_), "queue_peak") == pytest.approx(
        [0.5, 0, 1]
    )


def test_neighbours_on_several_paths_are_averaged_by_their_shares() -> None:
    chain = load_chain("two-paths")
    row = ObservationEncoder(chain).encode(offered(chain, 1.0, 0.2, 0.8))
    assert feature(row, "downstream_utilisation") == pytest.approx([0.5, 0, 0])
    assert feature(row, "upstream_utilisation") == pytest.approx([0, 1, 1])


def test_a_chain_of_one_has_no_neighbours() -> None:
    chain = load_chain("single")
    row = ObservationEncoder(chain).encode(offered(chain, 1.0))
    names = [name for name in ObservationEncoder.names if "stream_" in name]
    assert [float(feature(row, name)[0]) for name in names] == [0.0] * len(names)


def wandering(chain: ServiceChain, batch: int, count: int) -> list[Reading]:
    rng = np.random.default_rng(5)
    made = []
    for _ in range(count):
        one = Reading.zeros(chain.types, chain.slots, (batch,))
        one.state[...] = rng.integers(0, 5, one.state.shape)
        one.arrived_pps[...] = rng.uniform(0, 3e6, one.state.shape) * (one.state == RUNNING)
        one.ring_dropped_pps[...] = rng.uniform(0, 1e5, one.state.shape)
        one.queue_peak[...] = rng.uniform(0, 500, one.state.shape)
        one.unmapped_pps[...] = rng.uniform(0, 1e5, one.unmapped_pps.shape)
        one.shed_pps[...] = rng.uniform(0, 1e5, one.shed_pps.shape)
        made.append(one)
    return made


@pytest.mark.parametrize("name", CHAINS)
def test_a_batch_is_encoded_as_its_chains_are_alone(name: str) -> None:
    chain = load_chain(name)
    together = ObservationEncoder(chain, (3,))
    alone = [ObservationEncoder(chain) for _ in range(3)]
    drop_cost = np.array([10.0, 100.0, 1000.0])
    for step, batch in enumerate(wandering(chain, 3, 25)):
        if step == 9:
            together.reset(np.array([False, True, False]))
            alone[1].reset()
        rows = together.encode(batch, drop_cost)
        for index, encoder in enumerate(alone):
            single = encoder.encode(batch[index], float(drop_cost[index]))
            np.testing.assert_allclose(rows[index], single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CHAINS)
def test_the_demand_is_the_readings(name: str) -> None:
    chain = load_chain(name)
    encoder, single = ObservationEncoder(chain, (3,)), ObservationEncoder(chain)
    for batch in wandering(chain, 3, 5):
        encoder.encode(batch)
        np.testing.assert_allclose(encoder.demand_pps, batch.demand_pps(chain), rtol=1e-12)
        single.encode(batch[1])
        np.testing.assert_allclose(single.demand_pps, batch.demand_pps(chain)[1], rtol=1e-12)


def test_some_rows_are_encoded_as_in_the_whole(chain: ServiceChain) -> None:
    some, whole = ObservationEncoder(chain, (4,)), ObservationEncoder(chain, (4,))
    drop_cost = np.full(4, 50.0)
    for batch in wandering(chain, 4, 20):
        expected = whole.encode(batch, drop_cost)
        for rows in (np.array([2, 0]), np.array([3]), np.array([1])):
            got = some.encode(batch[rows], drop_cost[rows], rows)
            np.testing.assert_allclose(got, expected[rows], rtol=0, atol=1e-6)


def test_a_reset_forgets_exactly_the_rows_named(chain: ServiceChain) -> None:
    readings = wandering(chain, 3, 6)
    kept, fresh = ObservationEncoder(chain, (3,)), ObservationEncoder(chain, (3,))
    for batch in readings[:5]:
        kept.encode(batch)
    before = kept.export_state()
    kept.reset(np.array([1]))
    row = kept.encode(readings[5])
    assert np.array_equal(row[1], fresh.encode(readings[5])[1])
    assert not np.array_equal(row[0], fresh.encode(readings[5])[0])
    assert before["age"].tolist() == [5, 5, 5]
    assert kept.age.tolist() == [6, 1, 6]


def test_an_exported_state_continues_elsewhere(chain: ServiceChain) -> None:
    readings = wandering(chain, 2, 8)
    one, other = ObservationEncoder(chain, (2,)), ObservationEncoder(chain, (2,))
    for batch in readings[:4]:
        one.encode(batch)
    state = one.export_state()
    other.restore_state(state)
    for batch in readings[4:]:
        assert np.array_equal(one.encode(batch), other.encode(batch))
    assert state["age"].tolist() == [4, 4]
    with pytest.raises(ValueError, match="history has shape"):
        ObservationEncoder(chain).restore_state(state)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(CHAINS),
    scales=st.lists(st.sampled_from([0.0, 1e-12, 1.0, 1e6, 1e9]), min_size=4, max_size=4),
    drop_cost=st.sampled_from([1e-6, 1.0, 1e3, 1e30]),
    seed=st.integers(0, 1000),
)
def test_features_stay_within_their_bounds_whatever_is_read(
    name: str, scales: list[float], drop_cost: float, seed: int
) -> None:
    chain = load_chain(name)
    rng = np.random.default_rng(seed)
    encoder = ObservationEncoder(chain)
    for scale in scales:
        given_ = Reading.zeros(chain.types, chain.slots)
        given_.state[...] = rng.integers(0, 5, given_.state.shape) if scale else 0
        shape = given_.state.shape
        for array in (given_.arrived_pps, given_.ring_dropped_pps, given_.queue_peak):
            array[...] = scale * rng.random(shape)
        given_.unmapped_pps[...] = scale
        given_.shed_pps[...] = scale
        given_.clipped[...] = int(min(scale, 1e6))
        row = encoder.encode(given_, drop_cost)
        assert np.isfinite(row).all()
        assert (np.abs(row) <= BOUND).all()
