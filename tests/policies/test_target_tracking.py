"""The HPA's rule, case by case: utilisation in, targets out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexnfv.chain import load_chain
from flexnfv.policies.target_tracking import TargetTracking, desired
from flexnfv.policy import make_policy
from tests.policies.readings import reading

SINGLE = load_chain("single")
PAPER = load_chain("paper")
CAPACITY = float(SINGLE.capacity_pps[0]) / 1e6


@pytest.mark.parametrize(
    ("need", "running", "launching", "wanted", "why"),
    [
        (0.7, 1, 0, 1, "at the target"),
        (0.76, 1, 0, 1, "within 10 % above"),
        (0.64, 1, 0, 1, "within 10 % below"),
        (0.78, 1, 0, 2, "ceil(0.78 / 0.7)"),
        (1.5, 1, 0, 3, "ceil(1.5 / 0.7)"),
        (4.0, 1, 0, 6, "ceil(4 / 0.7)"),
        (2.0, 3, 0, 3, "0.667 is within the tolerance"),
        (1.4, 4, 0, 2, "exactly two"),
        (0.1, 4, 0, 1, "ceil(0.1 / 0.7)"),
        (0.0, 4, 0, 1, "never less than one"),
        (1.5, 1, 2, 3, "launching ones count when the direction is up"),
        (1.5, 1, 1, 2, "a half-answered overload within the tolerance is let be"),
        (1.6, 1, 1, 3, "launching ones, counted at zero, leave 0.8"),
        (0.3, 1, 3, 1, "launching ones do not count when the direction is down"),
        (0.0, 0, 1, 1, "none runs yet"),
    ],
)
def test_desired_instances(
    need: float, running: int, launching: int, wanted: int, why: str
) -> None:
    given = desired(np.array([need]), np.array([running]), np.array([launching]), 0.7, 0.1)
    assert given.tolist() == [wanted], why


def run(policy: TargetTracking, states: str, needs: list[float]) -> list[int]:
    running = states.count("R")
    rows = [[[need * CAPACITY / running] * running] for need in needs]
    return [int(policy.decide(reading(SINGLE, [states], row))[0]) for row in rows]


def tracking(**parameters: Any) -> TargetTracking:
    policy = TargetTracking(**parameters)
    policy.reset(SINGLE)
    return policy


def test_down_goes_to_the_highest_desire_of_the_window() -> None:
    policy = tracking(window=3)
    given = run(policy, "RRRR", [2.8, 2.0, 1.3, 1.3, 0.6, 0.6, 0.6])
    #            desires       4    3    2    2    1    1    1
    assert given == [4, 4, 4, 3, 2, 2, 1]


def test_the_count_found_at_the_start_opens_the_window() -> None:
    assert run(tracking(window=3), "RRRR", [0.6] * 4) == [4, 4, 1, 1]


def test_without_a_window_down_is_at_once() -> None:
    assert run(tracking(window=1), "RRRR", [0.6]) == [1]


def test_up_is_at_once() -> None:
    assert run(tracking(window=20), "R", [2.0]) == [3]


def test_a_trend_adds_the_smoothed_change() -> None:
    needs = [1.0, 1.5, 2.0]  # slopes 0, 0.15, 0.255
    assert run(tracking(target=1.0, window=1), "R", needs) == [1, 2, 2]
    assert run(tracking(target=1.0, window=1, trend=1.0), "R", needs) == [1, 2, 3]
    assert run(tracking(target=1.0, window=1, trend=5.0), "R", needs) == [1, 3, 4]


def test_a_falling_trend_wants_one_instance_at_least() -> None:
    assert run(tracking(window=1, trend=10.0), "RRRR", [3.0, 2.0, 0.5]) == [4, 1, 1]


def test_traffic_lost_upstream_counts_as_demand_unless_told_otherwise() -> None:
    lost = reading(PAPER, ["R", "R", "R"], [[8.8], [5.0], [5.0]])
    lost.ring_dropped_pps[0, 0] = 3.8e6
    for metric, wanted in (("demand", [3, 3, 2]), ("arrived", [3, 2, 1])):
        policy = TargetTracking(metric=metric)  # type: ignore[arg-type]
        policy.reset(PAPER)
        assert policy.decide(lost).tolist() == wanted


@given(
    need=st.floats(0, 100),
    running=st.integers(1, 64),
    launching=st.integers(0, 64),
    target=st.floats(0.1, 1.0),
)
def test_more_demand_never_means_fewer(
    need: float, running: int, launching: int, target: float
) -> None:
    counts = np.array([running]), np.array([launching])
    less = desired(np.array([need]), *counts, target, 0.1)
    more = desired(np.array([need * 1.3 + 0.1]), *counts, target, 0.1)
    assert more[0] >= less[0] >= 1


def test_a_batch_is_decided_as_its_readings_one_by_one() -> None:
    rng = np.random.default_rng(5)
    together, alone = tracking(window=3), [tracking(window=3) for _ in range(4)]
    for _ in range(10):
        rows = [reading(SINGLE, ["RRR"], [list(rng.uniform(0, 6, 3))]) for _ in alone]
        batch = type(rows[0]).stack(rows)
        expected = [policy.decide(row) for policy, row in zip(alone, rows, strict=True)]
        assert (together.decide(batch) == expected).all()


def test_an_exported_state_continues_as_if_nothing_had_happened() -> None:
    one, other = tracking(window=4, trend=1.0), tracking(window=4, trend=1.0)
    run(one, "RRRR", [2.0, 1.3, 0.6])
    other.restore_state(one.export_state())
    needs = [0.6, 0.9, 0.6, 0.3, 0.3]
    assert run(one, "RRRR", needs) == run(other, "RRRR", needs)


@pytest.mark.parametrize(
    "parameters",
    [
        {"target": 0.0},
        {"tolerance": 1.0},
        {"window": 0},
        {"window": 1.5},
        {"metric": "cpu"},
        {"trend": -0.1},
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        TargetTracking(**parameters)


def test_its_parameters_come_from_a_spec() -> None:
    policy = make_policy("target_tracking:target=0.55,window=7")
    assert isinstance(policy, TargetTracking)
    assert (policy.target, policy.window) == (0.55, 7)
