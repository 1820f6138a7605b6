"""Launch, rerun, block, park, stop and death, each at its moment."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import Calibration, ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.mapping import empty_table, instances_of, update_table
from flexnfv.model import BatchModel, ModelBackend
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, STOPPED, StartKind
from flexnfv.traces import Trace

CAPACITY = 4.43e6


def _single(launch_s: float = 0.998, rerun_s: float = 0.001, **changes: object) -> ServiceChain:
    chain = load_chain("single").replace(**changes)
    calibration = chain.measured.model_dump()
    calibration |= {"launch_s": launch_s, "rerun_s": rerun_s}
    for nf in calibration["nf"].values():
        nf["jitter"] = 0.0
    return chain.with_calibration(Calibration.model_validate(calibration))


def _run(chain: ServiceChain, pps: float, targets: list[int], **options: float) -> list[Reading]:
    model = BatchModel(chain, 1, **options)  # type: ignore[arg-type]
    readings = [model.reset_envs([0], np.full((1, len(targets) + 1), pps), [1]).copy()]
    readings += [model.step([[target]]).copy() for target in targets]
    return [reading[0] for reading in readings]


@pytest.mark.parametrize("launch_s", [0.014, 0.025, 0.5, 0.998])
def test_a_launched_instance_serves_from_its_moment_on(launch_s: float) -> None:
    _, reading, following = _run(_single(launch_s, mapping="even"), 6e6, [2, 2])
    assert reading.launches[0] == 1
    assert reading.unsettled[0]
    assert not following.unsettled[0]
    np.testing.assert_array_equal(reading.state[0, :3], [RUNNING, RUNNING, STOPPED])
    # It is offered half of the traffic for the rest of the interval.
    assert reading.arrived_pps[0, 1] == pytest.approx(3e6 * (1 - launch_s), rel=0.05)
    assert following.dropped_pps == pytest.approx(0, abs=1e4)


def test_a_launch_that_outlasts_the_interval_is_not_begun_twice() -> None:
    readings = _run(_single(2.3), 6e6, [2, 2, 2, 2])
    assert [int(r.launches[0]) for r in readings] == [0, 1, 0, 0, 0]
    assert [int(r.launching[0]) for r in readings] == [0, 1, 1, 0, 0]
    assert [bool(r.unsettled[0]) for r in readings] == [False, False, False, True, False]


def test_a_launch_that_ends_with_the_interval_joins_in_the_next_one() -> None:
    _, first, second = _run(_single(1.0), 6e6, [2, 2])
    assert first.state[0, 1] == LAUNCHING
    assert second.state[0, 1] == RUNNING
    assert not second.unsettled[0]
    assert second.arrived_pps[0, 1] == pytest.approx(3e6, rel=0.1)


def test_a_blocked_instance_drains_parks_and_reruns() -> None:
    chain = _single(0.0, mapping="even")
    readings = _run(chain, 9.5e6, [2, 1, 1, 2, 2])
    assert readings[1].queue[0, 0] > 0  # full rings: the blocked one has something to drain
    blocked = readings[2]
    assert blocked.blocks[0] == 1
    slot = int(np.flatnonzero(blocked.state[0] == BLOCKED)[0])
    drain_s = 4095 / CAPACITY
    assert blocked.served_pps[0, slot] == pytest.approx(4095, rel=1e-6)
    assert blocked.parked_s[0, slot] == pytest.approx(1 - drain_s, rel=1e-3)
    assert blocked.ring_dropped_pps[0, slot] == 0
    assert readings[3].parked_s[0, slot] == pytest.approx(2 - drain_s, rel=1e-3)
    assert readings[4].reruns[0] == 1
    assert readings[4].launches[0] == 0
    assert readings[4].unsettled[0]
    assert readings[4].arrived_pps[0, slot] == pytest.approx(9.5e6 / 2 * 0.999, rel=0.05)


def test_an_instance_still_draining_at_the_end_of_an_interval_says_so() -> None:
    chain = _single(0.0, interval_s=0.01)
    slow = chain.measured.model_dump()
    for nf in slow["nf"].values():
        nf["loss_free_pps"] = 1e4
        nf["jitter"] = 0.0
    chain = chain.with_calibration(Calibration.model_validate(slow))
    readings = _run(chain, 1e6, [2, 1])
    assert DRAINING in readings[2].state[0]
    assert readings[2].draining[0] == 1
    assert readings[2].core_usage(chain)[0] == 2


def test_parked_too_long_is_stopped() -> None:
    readings = _run(_single(0.0, park_timeout_s=2.0), 1e6, [2, 1, 1, 1, 1])
    assert [int(r.stops[0]) for r in readings] == [0, 0, 0, 0, 1, 0]
    assert readings[4].blocked[0] == 0


def test_energy_is_that_of_busy_idle_and_parked_cores() -> None:
    chain = _single(0.0, mapping="even")
    power = chain.measured.power
    readings = _run(chain, 2e6, [2, 1, 1])
    busy_s = 2e6 * chain.processing_ns[0] * 1e-9
    running = busy_s * power.busy_w + (1 - busy_s) * power.idle_poll_w
    assert readings[0].energy_j == pytest.approx(running)
    assert readings[1].energy_j == pytest.approx(running + power.idle_poll_w, rel=1e-6)
    assert readings[3].energy_j == pytest.approx(running + power.parked_w, rel=1e-6)


def test_a_killed_instance_loses_its_ring_and_the_last_one_is_replaced() -> None:
    chain = _single(0.3, mapping="even")
    model = BatchModel(chain, 1)
    full = model.reset_envs([0], np.full((1, 4), 6e6), [1])
    assert full.queue[0, 0, 0] == chain.ring_slots[0]
    model.kill(0, 0, 0)
    reading = model.step([[1]])
    assert reading.deaths[0, 0] == 1
    assert reading.unsettled[0, 0]
    assert reading.launches[0, 0] == 1
    assert reading.unmapped_pps[0, 0] == pytest.approx(0.3 * 6e6, rel=1e-6)
    assert reading.ring_dropped_pps[0, 0, 0] >= chain.ring_slots[0]
    with pytest.raises(ValueError, match="no instance"):
        model.kill(0, 0, 5)


def test_the_only_instance_that_dies_on_its_own_is_launched_at_once() -> None:
    chain = _single(0.05)
    model = BatchModel(chain, 200, death_rate_per_s=0.5)
    model.reset_envs(np.arange(200), np.full((200, 20), 1e6), np.arange(200))
    deaths = launches = 0
    for _ in range(19):
        reading = model.step(np.ones((200, 1), np.int64))
        deaths += int(reading.deaths.sum())
        launches += int(reading.launches.sum())
        present = reading.running + reading.launching
        assert (present == 1).all()
        assert (reading.unsettled[reading.deaths > 0]).all()
    assert launches == deaths
    # Dead for 5 % of the time, the rate is a little below 0.5/s.
    assert deaths / (200 * 19) == pytest.approx(0.5 / 1.025, rel=0.1)


@pytest.mark.parametrize("mapping", ["algorithm1", "rendezvous", "even"])
def test_moved_flows_are_counted_one_by_one(mapping: str) -> None:
    chain = _single(0.0, 0.0, mapping=mapping)
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    kind = int(chain.mapping_kinds[0])
    table = empty_table()
    before = None
    for reading in _run(chain, 4e6, [2, 3, 1, 2, 5, 5], count_flows=True):
        update_table(kind, reading.state[0], table)
        now = instances_of(kind, reading.state[0], table, flows.hashes)
        moved = 0.0 if before is None else float((before != now).mean())
        assert reading.flows_moved[0] == pytest.approx(moved, abs=1e-12)
        before = now


def test_initial_instances_run_from_the_start() -> None:
    chain = load_chain("paper")
    reading = Single(ModelBackend(chain)).reset(Trace("flat", np.full(3, 2e6), 1.0), 1)
    np.testing.assert_array_equal(reading.running, chain.initial_instances)
    assert reading.start_kind[0, 0] == StartKind.PROCESS
    assert not reading.unsettled.any()
    assert reading.flows_moved.sum() == 0


def test_a_trace_finer_than_the_interval_keeps_its_bursts() -> None:
    chain = load_chain("paper")
    # The mean could be carried, the peaks cannot.
    bursts = np.tile([8e6] * 2 + [0.0] * 8, 4)
    backend = Single(ModelBackend(chain))
    assert backend.reset(Trace("bursts", bursts, 0.1), 1).dropped_pps > 1e5
    assert backend.reset(Trace("flat", bursts, 0.1).resample(1.0), 1).dropped_pps == 0


def test_the_backend_refuses_what_it_cannot_run() -> None:
    backend = Single(ModelBackend(load_chain("paper")))
    with pytest.raises(InputError, match="needs a trace"):
        backend.reset(None)
    with pytest.raises(InputError, match="two intervals"):
        backend.reset(Trace("short", np.ones(1), 1.0))
    backend.reset(Trace("two", np.ones(2), 1.0))
    with pytest.raises(InputError, match="shape"):
        backend.step(np.array([1]))
    with pytest.raises(InputError, match="whole numbers"):
        backend.step(np.array([1.5, 1, 1]))
    backend.step(np.array([1, 1, 1]))
    assert backend.remaining == 0
    with pytest.raises(InputError, match="no traffic left"):
        backend.step(np.array([1, 1, 1]))


def test_at_a_scale_rings_are_the_dataplanes_and_fill_as_slowly() -> None:
    full = _single(0.3, mapping="even")
    scaled = full.with_calibration(full.measured.model_copy(update={"scale": 1 / 20}))
    np.testing.assert_allclose(scaled.ring_packets, 20 * full.ring_slots)
    np.testing.assert_array_equal(scaled.ring_slots, full.ring_slots)
    rate = np.full((2, 3), 1.05 * float(full.capacity_pps[0]))
    for plain in (False, True):
        model = BatchModel(scaled, 2, plain=plain)
        model = pickle.loads(pickle.dumps(model))
        gone, offered = 0.0, 0.0
        reading = model.reset_envs([0, 1], rate, [1, 2])
        for _ in range(2):
            assert (reading.queue <= scaled.ring_slots[:, None]).all()
            assert (reading.queue_peak <= scaled.ring_slots[:, None]).all()
            offered += float(reading.offered_pps[0])
            gone += float(reading.delivered_pps[0] + reading.dropped_pps[0])
            assert gone + 20 * reading.queue[0].sum() == pytest.approx(offered)
            reading = model.step([[1], [1]])
        assert reading.queue[0, 0, 0] == scaled.ring_slots[0]
    # 5 % too much fills 4,095 places in 18 ms, and 20 times as many in 0.37 s.
    first = BatchModel(full, 1).reset_envs([0], rate[:1], [1])
    later = BatchModel(scaled, 1).reset_envs([0], rate[:1], [1])
    spared = float(first.dropped_pps[0] - later.dropped_pps[0])
    assert spared == pytest.approx(19 * float(full.ring_slots[0]), rel=0.05)
