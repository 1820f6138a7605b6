"""What is provided for: areas, the best capacity, what is kept and launched, imagined chains."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import compiled
from flexnfv.decision import Decision
from flexnfv.memory import LEVELS, Levels
from flexnfv.model import ModelBackend
from flexnfv.provision import (
    HORIZONS,
    Prices,
    Types,
    area_above,
    areas,
    best_capacity,
    follow,
    imagine,
    needed,
    provide,
)
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EDGE = load_chain("edge")
ACROSS = Levels.of(EDGE)
TYPES = Types.of(EDGE)


def prices(**changes: float) -> Prices:
    """What things cost on a link with a mean demand of 8 Mpps."""
    usual = {
        "drop_cost": 300.0,
        "mean": 8e6,
        "usual": 8e6,
        "parked": 0.3,
        "launch": 0.998,
        "first_use": 0.5,
        "regret": 1.0,
        "stay": 4.0,
    }
    return Prices(**(usual | changes))


def curve(at_pps: float, beyond: float = 0.0, soon: float | None = None) -> FloatArray:
    """Exceedances of a demand that is certainly so much in the next interval.

    Args:
        at_pps: the demand.
        beyond: probability that it exceeds any level above that within any horizon.
        soon: the same in the next interval alone; 0 if not given.
    """
    exceedance = np.full((LEVELS, 1 + len(HORIZONS)), beyond)
    exceedance[:, 0] = 0.0 if soon is None else soon
    exceedance[ACROSS.rate < at_pps] = 1.0
    return exceedance


def area_of(exceedance: FloatArray) -> FloatArray:
    area = np.zeros_like(exceedance)
    areas(exceedance, ACROSS, area)
    return area


def provided(
    exceedance: FloatArray,
    running: Any,
    idle: Any = (0, 0, 0),
    launching: Any = (0, 0, 0),
    **changes: float,
) -> tuple[list[int], list[int], float]:
    """Targets, spares and capacity for instances of each type."""
    targets, spares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    state = [np.array(count, np.int64) for count in (running, idle, launching)]
    capacity = provide(
        *state, exceedance, area_of(exceedance), ACROSS, TYPES, prices(**changes), targets, spares
    )
    return targets.tolist(), spares.tolist(), capacity


def instances_for(rate: float) -> list[int]:
    return [needed(rate, t, TYPES) for t in range(3)]


# --- areas ----------------------------------------------------------------------------------------


def test_an_area_is_the_integral_of_the_exceedance_above_a_rate() -> None:
    rng = np.random.default_rng(1)
    exceedance = np.sort(rng.random((LEVELS, 1 + len(HORIZONS))), axis=0)[::-1].copy()
    area = area_of(exceedance)
    top = ACROSS.rate[-1]
    for rate in rng.uniform(ACROSS.rate[0], top, 40):
        for i in (0, 3):
            grid = np.linspace(rate, top, 200_001)
            found = np.trapezoid(np.interp(grid, ACROSS.rate, exceedance[:, i]), grid)
            assert area_above(rate, i, exceedance, area, ACROSS) == pytest.approx(found, rel=1e-5)
    below = 0.3 * ACROSS.rate[0]
    whole = area[0, 0] + 0.7 * ACROSS.rate[0]
    assert area_above(below, 0, exceedance, area, ACROSS) == pytest.approx(whole)
    assert area_above(top, 0, exceedance, area, ACROSS) == 0.0
    assert area_above(2.0 * top, 0, exceedance, area, ACROSS) == 0.0


def test_an_area_falls_steadily_with_the_rate() -> None:
    exceedance = curve(6e6, beyond=0.01)
    area = area_of(exceedance)
    above = [area_above(rate, 1, exceedance, area, ACROSS) for rate in np.linspace(1e5, 3e7, 3000)]
    assert (np.diff(above) <= 1e-6).all()


def test_exceedances_are_made_to_fall_with_the_level() -> None:
    exceedance = np.random.default_rng(2).random((LEVELS, 1 + len(HORIZONS)))
    lowest_so_far = np.minimum.accumulate(exceedance, axis=0)
    area_of(exceedance)
    np.testing.assert_array_equal(exceedance, lowest_so_far)


# --- what runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_best_capacity_is_that_of_the_cheapest_instances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exceedance = rng.random((LEVELS, 1 + len(HORIZONS))) ** rng.choice([1.0, 4.0, 16.0])
    area = area_of(exceedance)
    types = TYPES._replace(cores=rng.choice([0.5, 1.0, 2.0], 3))
    paid = prices(drop_cost=float(10.0 ** rng.uniform(0.5, 4.0)), parked=rng.choice([0.0, 0.3]))
    available = rng.integers(1, 9, 3)

    def cost(instances: Any) -> float:
        rate = float((np.array(instances) * types.capacity).min())
        lost = area_above(rate, 0, exceedance, area, ACROSS) / paid.mean
        return float(paid.drop_cost * lost + (1.0 - paid.parked) * (types.cores * instances).sum())

    least = min(cost(each) for each in product(*(range(1, count + 1) for count in available)))
    capacity = best_capacity(available, exceedance, area, ACROSS, types, paid)
    found = [needed(capacity, t, types) for t in range(3)]
    assert (np.array(found) <= available).all()
    assert cost(found) == pytest.approx(least)


def test_a_certain_demand_is_carried_and_no_more_runs() -> None:
    targets, _, capacity = provided(curve(9e6), running=(16, 16, 16))
    assert 9e6 <= capacity < 9e6 + 2.8e6
    assert targets == instances_for(capacity)


def test_what_loses_little_is_not_carried_at_a_low_drop_cost() -> None:
    likely = curve(5e6, soon=0.01)
    assert provided(likely, (16, 16, 16), drop_cost=3.0)[2] < 7.6e6
    assert provided(likely, (16, 16, 16), drop_cost=1e5)[2] >= 0.98 * ACROSS.rate[-1]


def test_no_more_runs_than_is_there_without_a_launch() -> None:
    _, _, capacity = provided(curve(2e7), running=(4, 4, 4), idle=(1, 1, 1))
    assert capacity == pytest.approx(5 * 1.7e6)


# --- what is kept and launched --------------------------------------------------------------------


def test_parking_that_costs_nothing_keeps_all_that_may_ever_be_used() -> None:
    targets, spares, _ = provided(curve(4e6, beyond=1e-5), (16, 16, 16), parked=0.0)
    assert targets == instances_for(4e6)
    running = provided(curve(4e6, beyond=1e-5), targets, [16 - n for n in targets], parked=0.0)
    usable = [min(needed(ACROSS.rate[-1], t, TYPES), 16) for t in range(3)]
    assert running[0] == targets
    assert [n + m for n, m in zip(targets, running[1], strict=True)] == usable
    # What is blocked by this very decision is parked in any case.
    assert spares == [0, 0, 0]


def test_parking_nearly_as_dear_as_running_keeps_nothing_that_is_rarely_used() -> None:
    running = instances_for(4e6)
    targets, spares, _ = provided(
        curve(4e6, beyond=1e-5), running, [16 - n for n in running], parked=0.9
    )
    assert targets == running
    assert spares == [0, 0, 0]


@pytest.mark.parametrize("parked", [0.0, 0.3, 0.9])
def test_what_can_never_be_used_is_never_kept(parked: float) -> None:
    running = instances_for(4e6)
    targets, spares, _ = provided(curve(4e6), running, [16 - n for n in running], parked=parked)
    assert (targets, spares) == (running, [0, 0, 0])


def test_more_is_kept_for_a_likelier_use_and_a_higher_drop_cost() -> None:
    running = instances_for(4e6)
    left = [16 - n for n in running]

    def kept(beyond: float, drop_cost: float) -> int:
        return sum(provided(curve(4e6, beyond), running, left, drop_cost=drop_cost)[1])

    found = [kept(chance, 300.0) for chance in (1e-4, 1e-2, 0.1, 0.9)]
    assert found == sorted(found)
    assert found[0] == 0 < found[-1]
    costs = [kept(1e-2, cost) for cost in (3.0, 300.0, 3e4)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_a_certain_rise_is_launched_for_and_parked_ones_are_rerun_first() -> None:
    wanted = instances_for(1e7)
    targets, spares, _ = provided(curve(1e7), (2, 2, 2), (1, 1, 1))
    assert all(target >= count for target, count in zip(targets, wanted, strict=True))
    assert spares == [0, 0, 0]
    on_the_way = [n - 3 for n in targets]
    again, _, _ = provided(curve(1e7), (3, 3, 3), launching=on_the_way)
    assert all(n <= 3 + new for n, new in zip(again, on_the_way, strict=True)), "not once more"


def test_targets_count_what_is_launching_beside_what_is_to_run_now() -> None:
    targets, spares, _ = provided(curve(4e6), (8, 8, 8), launching=(3, 3, 3))
    assert targets == [n + 3 for n in instances_for(4e6)]
    assert spares == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_targets_and_spares_are_within_what_a_chain_may_have(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        running = rng.integers(1, 17, 3)
        parked = rng.integers(0, 17 - running)
        launching = rng.integers(0, 17 - running - parked)
        exceedance = rng.random((LEVELS, 1 + len(HORIZONS))) ** rng.choice([1.0, 8.0, 30.0])
        exceedance = np.maximum.accumulate(exceedance, axis=1)
        targets, spares, _ = provided(
            exceedance,
            running,
            parked,
            launching,
            drop_cost=float(10.0 ** rng.uniform(0.5, 4.5)),
            parked=float(rng.choice([0.0, 0.3, 1.0])),
        )
        assert all(1 <= count <= 16 for count in targets)
        assert all(0 <= count <= 15 for count in spares)


# --- chains that are only imagined ----------------------------------------------------------------


def steps(chain: ServiceChain) -> FloatArray:
    """Demand in steps that the chain always carries what it needs of."""
    return np.repeat(np.array([0.1, 0.6, 0.3, 0.9, 0.2, 0.5]), 8) * chain.peak_pps


@pytest.mark.parametrize("seed", range(4))
def test_an_imagined_chain_has_the_instances_that_the_model_has(seed: int) -> None:
    rng = np.random.default_rng(seed)
    demand = steps(EDGE) * 0.1
    backend = ModelBackend(EDGE)
    reading = backend.reset([Trace("steps", demand, 1.0)], [seed])
    running = np.array(EDGE.initial_instances, np.int64)
    parked, launching, left = (np.zeros(3, np.int64) for _ in range(3))
    launch = EDGE.measured.launch_s / EDGE.interval_s
    for at in range(len(demand) - 2):
        if at:
            imagine(demand[at], prices(), TYPES, running, parked, launching, left)
        found = [part[0].tolist() for part in (reading.running, reading.launching)]
        assert [running.tolist(), launching.tolist()] == found, at
        assert parked.tolist() == (reading.blocked + reading.draining)[0].tolist(), at
        targets, spares = rng.integers(1, 17, 3), rng.integers(0, 6, 3)
        follow(targets, spares, launch, running, parked, launching, left)
        reading = backend.step(Decision(targets[None], spares=spares[None]))


def test_a_launch_of_several_intervals_is_waited_for() -> None:
    running, parked, launching, left = (np.array([n]) for n in (2, 0, 0, 0))
    one = Types(np.array([1e6]), np.ones(1), np.ones(1, np.int64), np.full(1, 9))
    targets, spares = np.array([5]), np.array([0])
    for interval in range(3):
        follow(targets, spares, 2.5, running, parked, launching, left)
        assert (running[0], launching[0]) == (2, 3), interval
        imagine(0.0, prices(), one, running, parked, launching, left)
    assert (running[0], launching[0], left[0]) == (5, 0, 0)


def test_an_imagined_interval_costs_cores_parked_cores_and_what_is_lost() -> None:
    running, parked, launching, left = (np.full(3, n) for n in (4, 2, 1, 2))
    paid = prices()
    carried = 4 * 1.7e6
    cost = imagine(carried + 8e5, paid, TYPES, running, parked, launching, left)
    assert cost == pytest.approx(3 * (4 + 1 + 0.3 * 2) + 300.0 * 0.1)
    assert imagine(carried, paid, TYPES, running, parked, launching, left) == pytest.approx(
        3 * (4 + 1 + 0.3 * 2)
    )


def test_compiled_and_plain_provide_the_same() -> None:
    rng = np.random.default_rng(9)
    exceedance = rng.random((LEVELS, 1 + len(HORIZONS))) ** 6
    area = area_of(exceedance)
    state = [np.array(counts, np.int64) for counts in ((3, 4, 5), (2, 1, 0), (0, 1, 2))]
    found = []
    for function in (provide, compiled(provide)):
        targets, spares = np.zeros(3, np.int64), np.zeros(3, np.int64)
        capacity = function(*state, exceedance, area, ACROSS, TYPES, prices(), targets, spares)
        found.append((targets.tolist(), spares.tolist(), capacity))
    assert found[0] == found[1]
