"""Calibration of rules: the same trials for each, the best of what was tried."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation import tuning
from flexnfv.evaluation.sums import CORE_S, LOST, OFFERED, PARKED_CORE_S, QUANTITIES, TIME_S
from flexnfv.evaluation.tuning import Goal, Search, score, tune
from flexnfv.policy import make_policy
from flexnfv.traces import Trace

pytest.importorskip("optuna")

EDGE = load_chain("edge")
RNG = np.random.default_rng(8)
TRACES = [
    Trace(f"noise-{number}", 8e6 * np.exp(0.3 * RNG.normal(size=60)), 1.0) for number in range(2)
]
GOALS = [Goal("drop_cost", 100.0, 0.3), Goal("drop_cost", 1000.0, 0.3)]


def table(cores: float, parked: float, lost: float) -> np.ndarray:
    sums = np.zeros((1, len(QUANTITIES)))
    sums[0, [TIME_S, CORE_S, PARKED_CORE_S, OFFERED, LOST]] = 1.0, cores, parked, 100.0, 100 * lost
    return sums


@pytest.mark.parametrize(
    ("goal", "lost", "wanted", "why"),
    [
        (Goal("drop_cost", 100.0, 0.5), 0.02, (6 + 1 + 2) / 3, "cores, half the parked, losses"),
        (Goal("drop_target", 0.01, 0.5), 0.01, (6 + 1) / 3, "losses within the target are free"),
        (Goal("drop_target", 0.01, 0.5), 0.03, 3 * (6 + 1) / 3, "three times too much lost"),
    ],
)
def test_what_a_setting_scores(goal: Goal, lost: float, wanted: float, why: str) -> None:
    assert score(table(6.0, 2.0, lost), goal, np.array([3.0])) == pytest.approx(wanted), why


def test_every_goal_gets_the_best_of_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: dict[str, np.ndarray] = {}
    run = tuning._run

    def spy(*arguments: object) -> dict[str, np.ndarray]:
        found = run(*arguments)  # type: ignore[arg-type]
        tried.update(found)
        return found

    monkeypatch.setattr(tuning, "_run", spy)
    found = list(tune(["target_tracking"], EDGE, TRACES, GOALS, trials=8, seed=1))
    assert 8 < len(tried) <= 16
    for goal, one in zip(GOALS, found, strict=True):
        bound = tuning._bound(EDGE, TRACES, goal)
        costs = {spec: score(sums, goal, bound) for spec, sums in tried.items()}
        assert one.cost == pytest.approx(min(costs.values()), rel=1e-3)
        assert costs[one.spec] == min(costs.values())
        assert (one.value, one.trials, one.chain) == (goal.value, 8, "edge")


def test_the_same_seed_finds_the_same_and_each_goal_its_own_parameters() -> None:
    one, again = (list(tune(["forecast"], EDGE, TRACES, GOALS, trials=6)) for _ in range(2))
    assert one == again
    for setting in one:
        make_policy(setting.spec)
        assert 0.2 <= setting.parameters["drop_cost"] / setting.value <= 5.0 or setting.cost < min(
            other.cost for other in one if other is not setting
        )


def test_a_weight_is_told_to_a_policy_that_takes_one_and_a_setting_of_another_is_none() -> None:
    search = Search("receding_horizon", Goal("drop_cost", 100.0, 0.0), seed=0)
    (first,) = search.ask(1)
    assert first["parked_weight"] == 0.0
    assert first["drop_cost"] == 100.0
    mine = tuning.spec_of("receding_horizon", first)
    foreign = tuning.spec_of("receding_horizon", first | {"parked_weight": 0.3})
    search.tell({mine: 2.0, foreign: 1.0})
    assert search.best[0] == 2.0


def test_a_policy_without_a_search_space_is_refused() -> None:
    with pytest.raises(InputError, match="declares no parameters to calibrate"):
        list(tune(["static"], EDGE, TRACES, GOALS, trials=1))


def test_a_setting_has_one_place_in_a_file() -> None:
    (one,) = tune(["forecast"], EDGE, TRACES[:1], GOALS[:1], trials=1)
    assert dataclasses.replace(one, cost=9.0, trials=3).key == one.key
