"""Readings: what is derived from what was measured, by cases made by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.reading import Reading, same_layout
from flexnfv.states import RUNNING
from tests.policies.readings import reading

PAPER = load_chain("paper")
TWO_PATHS = load_chain("two-paths")


def test_load_is_rate_times_processing_time_in_erlangs() -> None:
    now = reading(PAPER, ["R", "R", "R"], [[4.43], [6.1], [7.9]])
    assert now.load[:, 0] == pytest.approx([0.408, 0.660, 0.802], abs=0.001)


def test_instances_are_counted_by_state() -> None:
    now = reading(PAPER, ["RRLDB", "RLL", "BBDRR"])
    assert now.running.tolist() == [2, 1, 2]
    assert now.launching.tolist() == [1, 2, 0]
    assert now.draining.tolist() == [1, 0, 1]
    assert now.blocked.tolist() == [1, 0, 2]
    assert now.core_usage(PAPER).tolist() == [4, 3, 3]
    assert now.parked_cores(PAPER).tolist() == [1, 0, 2]


def test_utilisation_is_rate_by_loss_free_rate() -> None:
    now = reading(PAPER, ["RR"], [[4.43, 2.215]])
    assert now.utilisation(PAPER)[0, :2].tolist() == pytest.approx([1.0, 0.5])


def test_what_finds_no_instance_is_offered_and_lost_at_its_type() -> None:
    now = reading(PAPER, ["R", "-", "R"], [[3.0], [], [0.0]], unmapped_pps=[0, 3e6, 0])
    assert now.type_arrived_pps.tolist() == [3e6, 3e6, 0]
    assert now.type_dropped_pps.tolist() == [0, 3e6, 0]


def test_demand_is_what_a_type_would_see_if_nothing_upstream_were_lost() -> None:
    now = reading(PAPER, ["R", "R", "R"], [[9.0], [4.0], [3.5]])
    now.ring_dropped_pps[:, 0] = [5e6, 0.5e6, 0.1e6]
    assert now.demand_pps(PAPER) == pytest.approx([9e6, 9e6, 9e6])


def test_what_backpressure_sheds_is_demand_of_every_type() -> None:
    now = reading(PAPER, ["R", "R", "R"], [[4.0], [4.0], [4.0]], shed_pps=2e6)
    assert now.demand_pps(PAPER) == pytest.approx([6e6, 6e6, 6e6])


def test_losses_at_a_shared_type_divide_over_its_paths() -> None:
    now = reading(TWO_PATHS, ["R", "R", "R"], [[8.0], [3.0], [3.0]])
    now.ring_dropped_pps[0, 0] = 2e6
    now.ring_dropped_pps[1, 0] = 1e6  # the forwarder is upstream of nothing
    assert now.demand_pps(TWO_PATHS) == pytest.approx([8e6, 4e6, 4e6])


def test_drop_rate_is_zero_where_nothing_was_offered() -> None:
    batch = Reading.zeros(3, 8, (3,))
    batch.offered_pps[...] = [0.0, 10.0, 10.0]
    batch.dropped_pps[...] = [0.0, 1.0, 10.0]
    assert batch.drop_rate.tolist() == [0.0, 0.1, 1.0]


def test_a_batch_derives_what_its_readings_derive() -> None:
    rng = np.random.default_rng(0)
    batch = Reading.zeros(3, 8, (5,))
    batch.state[...] = rng.integers(0, 5, batch.state.shape)
    batch.processing_ns[...] = PAPER.processing_ns[:, None]
    for array in (batch.arrived_pps, batch.ring_dropped_pps, batch.unmapped_pps, batch.shed_pps):
        array[...] = rng.uniform(0, 5e6, array.shape)
    for index in range(5):
        one = batch[index]
        assert one.batch == ()
        for name in ("load", "running", "launching", "blocked", "type_arrived_pps"):
            assert np.array_equal(getattr(one, name), getattr(batch, name)[index])
        np.testing.assert_allclose(one.demand_pps(PAPER), batch.demand_pps(PAPER)[index])
    assert Reading.stack([batch[index] for index in range(5)]) == batch


def test_a_copy_is_its_own_and_survives_pickling() -> None:
    now = reading(PAPER, ["R", "R", "R"], [[1.0]])
    twin = now.copy()
    assert twin == now
    assert pickle.loads(pickle.dumps(now)) == now
    now.state[0, 1] = RUNNING
    assert twin != now
    assert twin.state[0, 1] != RUNNING


def test_every_field_says_its_dtype_dimensions_unit_and_meaning() -> None:
    zeros = Reading.zeros(2, 4, (3,))
    described = Reading.describe()
    widths = {"": 0, "T": 1, "TI": 2}
    for name, array in zeros.items():
        assert described[name]["dtype"] == str(array.dtype)
        assert array.ndim == 1 + widths[described[name]["dims"]]
        assert described[name]["doc"]
    assert same_layout(zeros, zeros.copy())
    assert not same_layout(zeros, Reading.zeros(2, 5, (3,)))


def test_bytes_of_a_reading_give_it_back_with_arrays_of_its_own() -> None:
    batch = Reading.zeros(3, 4, (2,))
    for number, (_, array) in enumerate(batch.items()):
        array[...] = number % 2
    body = batch[1].to_bytes()
    again = Reading.from_bytes(body, 3, 4)
    assert again == batch[1]
    again.queue[...] = 7.0
    with pytest.raises(ValueError, match="no reading"):
        Reading.from_bytes(body + b"\0", 3, 4)
