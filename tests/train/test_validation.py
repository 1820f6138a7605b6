"""Scores of a policy over drop costs, and what the validation run counts."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.policy import make_policy
from flexnfv.traces import Trace, TraceSet
from flexnfv.train.validation import Score, Validation


def score(cores: list[float], drops: list[float]) -> Score:
    return Score(np.array(cores), np.array(drops), np.zeros(len(cores)))


def test_cores_are_read_off_the_curve_over_the_log_of_the_drop_rate() -> None:
    curve = score([10.0, 20.0, 30.0], [1e-1, 1e-2, 1e-3])
    assert curve.cores_at(1e-2) == pytest.approx(20.0)
    assert curve.cores_at(10**-2.5) == pytest.approx(25.0)


def test_a_curve_that_loses_too_much_scores_worse_the_more_it_loses() -> None:
    near, far = score([10.0], [2e-2]), score([10.0], [2e-1])
    assert 10.0 < near.cores_at(1e-2) < far.cores_at(1e-2)


def test_a_curve_that_loses_less_than_asked_scores_its_fewest_cores() -> None:
    assert score([10.0, 20.0], [1e-3, 1e-4]).cores_at(1e-1) == pytest.approx(10.0)


def test_drop_cost_is_found_where_the_curve_loses_what_is_allowed() -> None:
    drop_costs = np.array([10.0, 100.0, 1000.0])
    curve = score([10.0, 20.0, 30.0], [1e-1, 1e-2, 1e-3])
    assert curve.drop_cost_for(1e-2, drop_costs) == pytest.approx(100.0, rel=1e-6)
    assert curve.drop_cost_for(1.0, drop_costs) == pytest.approx(10.0)
    assert curve.drop_cost_for(1e-6, drop_costs) == pytest.approx(1000.0)


def test_constant_traffic_below_one_instance_costs_one_core_per_type_and_loses_nothing() -> None:
    chain = load_chain("paper")
    traces = TraceSet("flat", (Trace("flat", np.full(50, 2e6), 1.0),))
    for policy in ("static", "watermark"):
        found = Validation(chain, traces, [1.0]).run_policy(make_policy(policy))
        assert found.core_usage[0] == pytest.approx(3.0)
        assert found.drop_rate[0] == pytest.approx(0.0, abs=1e-6)
        assert found.throughput_pps[0] == pytest.approx(2e6, rel=1e-3)


def test_an_actor_meets_every_drop_cost_on_every_trace() -> None:
    chain = load_chain("paper")
    traces = TraceSet("two", (Trace("a", np.full(40, 2e6), 1.0), Trace("b", np.full(30, 8e6), 1.0)))
    validation = Validation(chain, traces, [10.0, 1000.0], warmup=10)
    seen: set[float] = set()

    def act(rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        seen.update(np.round(10 ** (3.0 * rows[:, -1].astype(float)), 0).tolist())
        return np.full(len(rows), 3)  # one more than the need

    found = validation.run_actor(act)
    assert seen == {10.0, 1000.0}
    assert found.core_usage.shape == (2,)
    # Needs are 1, 1, 1 and 2, 2, 2: one more each makes 6 and 9 cores.
    assert found.core_usage == pytest.approx([7.5, 7.5])
