"""What every backend must do. Each test says what it supposes; rates are the chain's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from flexnfv.backend import Backend, Clocked, Description
from flexnfv.decision import KEEP, Decision
from flexnfv.errors import InputError
from flexnfv.mapping import MappingKind
from flexnfv.reading import Reading, same_layout
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, STOPPED
from flexnfv.traces import Trace
from tests.conformance.conftest import INTERVAL_S, PATIENCE, Run, steady

Make = Callable[..., Backend]

CALM = 1.5e6
"""Packets/s that one instance of each type carries with ease."""


BUSY = 5
"""Intervals that a busy machine may be late with an instance."""
QUIET = 25
"""Silent intervals: on a busy machine a generator sends late, but it sends everything."""


def runs(*counts: int) -> Callable[[Reading], bool]:
    """Whether exactly so many instances of each type run, and none is on its way."""

    def met(reading: Reading) -> bool:
        settled = not (reading.launching.any() or reading.draining.any())
        return settled and reading.running.tolist() == list(counts)

    return met


def test_it_is_a_backend_and_says_what_it_is(make: Make) -> None:
    backend = make()
    assert isinstance(backend, Backend)
    assert isinstance(backend.description, Description)
    assert backend.description.name
    assert backend.description.scale > 0
    assert backend.chain.types == 3


def test_readings_have_the_stated_shapes_dtypes_and_ranges(make: Make) -> None:
    backend = make()
    run = Run(backend, steady(CALM, 4))
    run.rest(2, 1, 1)
    like = Reading.zeros(backend.chain.types, backend.chain.slots)
    for reading in run.readings:
        for (name, array), (_, expected) in zip(reading.items(), like.items(), strict=True):
            assert array.dtype == expected.dtype, name
            assert array.shape == expected.shape, name
            if name == "load_if_blocked":
                assert not np.isnan(array).any()
                assert (array >= 0).all()
            else:
                assert np.isfinite(array).all(), name
                assert (array >= 0).all(), name
        assert set(np.unique(reading.state)) <= {STOPPED, LAUNCHING, RUNNING, DRAINING, BLOCKED}
        assert (reading.processing_ns > 0).all()
        assert (reading.queue_peak >= reading.queue).all()
        assert (reading.queue <= backend.chain.ring_slots[:, None]).all()
        stopped = reading.state == STOPPED
        assert (reading.queue[stopped] == 0).all()
        assert (reading.parked_s[reading.state != BLOCKED] == 0).all()


def test_time_goes_on_by_intervals(make: Make) -> None:
    """On a busy machine a live interval may be late; the times still add up."""
    run = Run(make(), steady(CALM, 6))
    run.rest(1, 1, 1)
    times = np.array([float(reading.time_s) for reading in run.readings])
    lengths = np.array([float(reading.interval_s) for reading in run.readings])
    assert (lengths > 0).all()
    np.testing.assert_allclose(np.cumsum(lengths), times, rtol=0, atol=1e-6)
    assert times[-1] >= 6 * INTERVAL_S * (1 - 1e-9)


def test_an_episode_begins_with_the_initial_instances_alone(make: Make) -> None:
    backend = make()
    for _ in range(2):  # whatever the episode before has left behind
        run = Run(backend, steady(CALM, 2 * PATIENCE))
        assert runs(1, 1, 1)(run.last)
        assert run.last.blocked.sum() == 0
        assert (run.last.launches == 0).all()
        run.until(runs(2, 3, 1), 2, 3, 1)
        run.until(lambda r: bool(r.blocked[1] == 2), 2, 1, 1)


def test_remaining_counts_down_to_the_end(make: Make) -> None:
    backend = Run(make(), steady(CALM, 5)).backend
    seen = [backend.remaining]
    while backend.remaining:
        backend.step(np.array([1, 1, 1]))
        seen.append(backend.remaining)
    assert all(isinstance(count, int) for count in seen)
    assert seen == sorted(set(seen), reverse=True)  # type: ignore[type-var]
    assert seen[-1] == 0
    with pytest.raises(InputError, match="no traffic left"):
        backend.step(np.array([1, 1, 1]))


def test_what_is_offered_is_the_trace_in_the_chains_own_rates(make: Make) -> None:
    run = Run(make(), steady(CALM, 20, quiet=QUIET))
    run.rest(1, 1, 1)
    assert run.packets("offered_pps") == pytest.approx(CALM * 20 * INTERVAL_S, rel=0.01)


@pytest.mark.parametrize("pps", [CALM, 8e6])
def test_every_packet_is_delivered_dropped_or_queued(make: Make, pps: float) -> None:
    """In silence at the end nothing is under way any more, so the sum must be exact."""
    run = Run(make(), steady(pps, 15, quiet=QUIET))
    run.rest(1, 2, 1)
    offered, delivered, dropped = (
        run.packets(f"{name}_pps") for name in ("offered", "delivered", "dropped")
    )
    assert run.last.queue.sum() == 0
    assert offered == pytest.approx(delivered + dropped, rel=1e-6)
    # A busy machine may stop a process for longer than its ring can wait.
    assert (dropped > 0.05 * offered) == (pps > 4.43e6)


def test_every_type_conserves_its_packets(make: Make) -> None:
    run = Run(make(), steady(8e6, 15, quiet=QUIET))
    run.rest(2, 1, 1)
    for t in range(3):
        arrived, served, lost = (
            sum((getattr(r, name)[t] * r.interval_s).sum() for r in run.readings)
            for name in ("arrived_pps", "served_pps", "ring_dropped_pps")
        )
        assert arrived == pytest.approx(served + lost, rel=1e-6)


def test_targets_are_obeyed(make: Make) -> None:
    run = Run(make(), steady(CALM, 3 * PATIENCE))
    run.until(runs(3, 2, 4), 3, 2, 4)
    launches = sum(reading.launches for reading in run.readings)
    assert launches.tolist() == [2, 1, 3]
    run.until(runs(1, 2, 2), 1, 2, 2)
    blocks = sum(reading.blocks for reading in run.readings)
    assert blocks.tolist() == [2, 0, 2]
    assert run.last.blocked.tolist() == [2, 0, 2]


def test_targets_are_obeyed_within_the_latency_that_the_calibration_states(make: Make) -> None:
    backend = make()
    stated = backend.chain.measured

    def intervals(latency_s: float, spread: float) -> int:
        """In which an instance must be there: one is for the reading, some for a busy machine."""
        slack = 1 if backend.description.deterministic else BUSY
        return math.ceil(latency_s * (1 + spread) / INTERVAL_S) + slack

    run = Run(backend, steady(CALM, 3 * PATIENCE))
    run.step(1, 1, 1)
    for allowed, targets in (
        (intervals(stated.launch_s, stated.launch_spread), (2, 3, 1)),
        (intervals(0.0, 0.0) + 1, (1, 1, 1)),
        (intervals(stated.rerun_s, stated.rerun_spread), (2, 3, 1)),
    ):
        before = len(run.readings)
        run.until(runs(*targets), *targets)
        assert len(run.readings) - before <= allowed


def test_blocked_instances_are_rerun_before_any_is_launched(make: Make) -> None:
    run = Run(make(), steady(CALM, 4 * PATIENCE))
    run.until(runs(3, 1, 1), 3, 1, 1)
    run.until(lambda r: bool(r.blocked[0] == 2), 1, 1, 1)
    before = len(run.readings)
    run.until(runs(4, 1, 1), 4, 1, 1)
    since = run.readings[before:]
    assert sum(r.reruns for r in since).tolist() == [2, 0, 0]
    assert sum(r.launches for r in since).tolist() == [1, 0, 0]


def test_a_launch_makes_its_type_unsettled_once(make: Make) -> None:
    run = Run(make(), steady(CALM, 2 * PATIENCE))
    run.until(runs(2, 1, 1), 2, 1, 1)
    assert run.last.unsettled.tolist() == [True, False, False]
    assert not run.step(2, 1, 1).unsettled.any()


def test_an_instance_takes_no_packet_before_it_runs_nor_once_it_is_parked(make: Make) -> None:
    run = Run(make(), steady(CALM, 3 * PATIENCE))
    run.until(runs(2, 1, 1), 2, 1, 1)
    for reading in run.readings:
        assert (reading.arrived_pps[reading.state == LAUNCHING] == 0).all()
    run.until(lambda r: bool(r.blocked[0] == 1), 1, 1, 1)
    parked = run.step(1, 1, 1)
    slot = int(np.flatnonzero(parked.state[0] == BLOCKED)[0])
    assert parked.arrived_pps[0, slot] == parked.served_pps[0, slot] == 0
    assert parked.parked_s[0, slot] > 0


def test_a_blocked_instance_drains_before_it_is_parked(make: Make) -> None:
    run = Run(make(), steady(12e6, 3 * PATIENCE))
    run.until(runs(2, 2, 2), 2, 2, 2)
    run.step(2, 2, 2)
    assert run.last.queue[0].sum() > 0  # overloaded: something to drain
    run.until(lambda r: bool(r.blocked[0] == 1), 1, 2, 2)
    for reading in run.readings:
        assert (reading.queue[reading.state == BLOCKED] == 0).all()


def test_limits_and_budget_are_kept_and_what_they_refuse_is_counted(make: Make) -> None:
    run = Run(make(core_budget=6), steady(CALM, 3 * PATIENCE))
    reading = run.step(0, 100, 1)  # at least one, at most 8 and 4 within the budget
    assert reading.clipped.tolist() == [0, 96, 0]
    run.until(runs(1, 4, 1), 0, 4, 1)
    reading = run.step(2, 4, 1)
    assert reading.clipped.tolist() == [1, 0, 0]
    for seen in run.readings:
        assert (seen.state != STOPPED).sum() <= 6
        assert (seen.running + seen.launching >= 1).all()


def test_a_full_budget_stops_what_is_parked_for_what_is_wanted(make: Make) -> None:
    run = Run(make(core_budget=5), steady(CALM, 4 * PATIENCE))
    run.until(runs(3, 1, 1), 3, 1, 1)
    run.until(lambda r: bool(r.blocked[0] == 2), 1, 1, 1)
    run.until(runs(1, 2, 1), 1, 2, 1)
    assert sum(reading.stops for reading in run.readings)[0] == 1
    for seen in run.readings:
        # A live instance that was told to stop holds its core until its process has ended.
        assert (seen.state != STOPPED).sum() <= 6


def test_more_instances_carry_more(make: Make) -> None:
    """The best of some intervals: on a busy machine others may carry little."""
    run = Run(make(mapping="even"), steady(8e6, 2 * PATIENCE))
    alone = max(float(run.step(1, 2, 2).delivered_pps) for _ in range(8))
    run.until(runs(3, 2, 2), 3, 2, 2)
    together = max(float(run.step(3, 2, 2).delivered_pps) for _ in range(8))
    assert together > 1.3 * alone


@pytest.mark.parametrize(
    "targets",
    [
        np.array([1, 1]),
        np.array([[1, 1, 1]]),
        np.array([1.5, 1, 1]),
        np.array([math.nan, 1, 1]),
        np.array([-1, 1, 1]),
        np.array([10**12, 1, 1]),
        np.array(["1", "1", "1"]),
    ],
    ids=["short", "batch", "fraction", "nan", "negative", "huge", "words"],
)
def test_targets_that_make_no_sense_are_refused(make: Make, targets: np.ndarray) -> None:
    backend = Run(make(), steady(CALM, 10)).backend
    with pytest.raises(InputError):
        backend.step(targets)
    backend.step(np.array([1, 1, 1]))


def test_a_trace_of_less_than_two_intervals_is_refused(make: Make) -> None:
    backend = make()
    with pytest.raises(InputError, match="two intervals"):
        Run(backend, Trace("short", np.array([CALM]), INTERVAL_S))
    Run(backend, steady(CALM, 2))


def test_the_same_seed_gives_the_same_readings_where_that_is_promised(make: Make) -> None:
    backend = make()
    if not backend.description.deterministic:
        pytest.skip(f"{backend.description.name} promises no such thing")
    first, second = Run(backend, steady(6e6, 10), seed=3), None
    first.rest(2, 2, 1)
    second = Run(backend, steady(6e6, 10), seed=3)
    second.rest(2, 2, 1)
    assert first.readings == second.readings


def test_it_can_be_closed_twice(make: Make) -> None:
    backend = make()
    Run(backend, steady(CALM, 2))
    backend.close()
    backend.close()


def test_its_class_says_before_it_is_made_what_it_can_do(make: Make) -> None:
    backend = make()
    told, of_class = backend.description, getattr(type(backend), "description", None)
    assert isinstance(of_class, Description)
    for name in ("name", "batch", "clocked", "exclusive", "deterministic"):
        assert getattr(told, name) == getattr(of_class, name), name
    assert isinstance(backend, Clocked) or not told.clocked


def test_one_chain_is_a_batch_of_one(make: Make) -> None:
    backend = make()
    like = Reading.zeros(3, backend.chain.slots, (1,))
    reading = backend.reset([steady(CALM, 4)], [0])
    assert same_layout(reading, like)
    assert backend.remaining.tolist() == [3]
    for decision in (np.ones((1, 3), np.int64), Decision(np.ones((1, 3), np.int64))):
        assert same_layout(backend.step(decision), like)
    assert backend.remaining.tolist() == [1]


def many(make: Make, count: int) -> Backend:
    """The backend, where it runs so many chains at once."""
    backend = make()
    most = backend.description.batch
    if most is not None and most < count:
        pytest.skip(f"{backend.description.name} runs {most} at a time")
    return backend


def test_more_chains_than_it_runs_at_once_are_refused(make: Make) -> None:
    backend = make()
    most = backend.description.batch
    if most is None:
        pytest.skip(f"{backend.description.name} runs any number")
    with pytest.raises(InputError, match="at once"):
        backend.reset([steady(CALM, 4)] * (most + 1))


def test_traces_of_a_batch_may_differ_in_length(make: Make) -> None:
    """What has ended is left alone, and the others go on as if they were by themselves."""
    backend = many(make, 3)
    traces = [steady(CALM, 3), steady(6e6, 8), steady(4e6, 5)]
    readings = [backend.reset(traces, [1, 2, 3]).copy()]
    assert backend.remaining.tolist() == [2, 7, 4]
    while (rows := np.flatnonzero(backend.remaining)).size:
        readings.append(backend.step(np.full((rows.size, 3), 2), rows).copy())
    assert len(readings) == 8
    alone = many(make, 1)
    for row, trace in enumerate(traces):
        run = Run(alone, trace, seed=row + 1)
        run.rest(2, 2, 2)
        if backend.description.deterministic:
            assert run.readings == [reading[row] for reading in readings[: len(trace)]]
    with pytest.raises(InputError, match="no traffic left"):
        backend.step(np.ones((3, 3), np.int64))


def test_chains_that_are_not_named_stay_as_they_are(make: Make) -> None:
    backend = many(make, 2)
    before = backend.reset([steady(CALM, 9)] * 2, [1, 2]).copy()
    stepped = backend.step(np.array([[2, 1, 1]]), np.array([1])).copy()
    assert stepped[0] == before[0]
    assert stepped.launches[1].tolist() == [1, 0, 0]
    again = backend.reset([steady(6e6, 5)], [3], np.array([0])).copy()
    assert again[1] == stepped[1]
    assert again.time_s[0] == pytest.approx(INTERVAL_S)
    assert backend.remaining.tolist() == [4, 7]


def test_spares_beyond_those_wanted_are_stopped_the_longest_parked_first(make: Make) -> None:
    run = Run(make(), steady(CALM, 6 * PATIENCE))
    run.until(runs(4, 1, 1), 4, 1, 1)
    run.until(lambda r: bool(r.blocked[0] == 1), 3, 1, 1)
    first = np.flatnonzero(run.last.state[0] == BLOCKED)
    run.until(lambda r: bool(r.blocked[0] == 3), 1, 1, 1)
    kept = run.decide(np.array([1, 1, 1]), spares=np.array([KEEP, KEEP, KEEP]))
    assert kept.stops.tolist() == [0, 0, 0]
    before = len(run.readings)
    run.decide(np.array([1, 1, 1]), spares=np.array([2, 0, 0]))
    for _ in range(PATIENCE):
        if run.last.blocked[0] == 2:
            break
        run.step(1, 1, 1)
    assert run.last.blocked.tolist() == [2, 0, 0]
    assert (run.last.state[0][first] == STOPPED).all()
    assert sum(reading.stops for reading in run.readings[before:]).tolist() == [1, 0, 0]
    # The lever acts in its own decision only.
    assert run.step(1, 1, 1).stops.tolist() == [0, 0, 0]


def test_a_spare_that_is_wanted_is_rerun_and_not_stopped(make: Make) -> None:
    run = Run(make(), steady(CALM, 5 * PATIENCE))
    run.until(runs(3, 1, 1), 3, 1, 1)
    run.until(lambda r: bool(r.blocked[0] == 2), 1, 1, 1)
    reading = run.decide(np.array([2, 1, 1]), spares=np.zeros(3, np.int64))
    assert (int(reading.reruns[0]), int(reading.stops[0])) == (1, 1)


def test_a_mapping_holds_from_its_decision_on(make: Make) -> None:
    run = Run(make(mapping="algorithm1"), steady(CALM, 3 * PATIENCE))
    assert run.last.mapping.tolist() == [MappingKind.ALGORITHM1] * 3
    run.until(runs(3, 1, 1), 3, 1, 1)
    wanted = np.array([MappingKind.EVEN, KEEP, KEEP])
    reading = run.decide(np.array([3, 1, 1]), mapping=wanted)
    assert reading.mapping.tolist() == [MappingKind.EVEN, *[MappingKind.ALGORITHM1] * 2]
    assert run.step(3, 1, 1).mapping[0] == MappingKind.EVEN
    share = max(float(a / run.last.arrived_pps[0].sum()) for a in run.last.arrived_pps[0])
    assert share == pytest.approx(1 / 3, abs=0.05)
    again = Run(run.backend.backend, steady(CALM, 4))
    assert again.last.mapping.tolist() == [MappingKind.ALGORITHM1] * 3


@pytest.mark.parametrize("lever", ["mapping", "spares"])
def test_levers_that_make_no_sense_are_refused(make: Make, lever: str) -> None:
    backend = Run(make(), steady(CALM, 10)).backend
    for wrong in (np.array([0, 0]), np.array([-2, 0, 0]), np.array([0.5, 0, 0])):
        with pytest.raises(InputError, match=lever):
            backend.step(Decision(np.ones(3, np.int64), **{lever: wrong}))
    backend.step(np.array([1, 1, 1]))
