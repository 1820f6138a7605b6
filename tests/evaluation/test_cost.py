"""Costs, the gap closed, the rule and the drop targets, against cases worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation import Result
from flexnfv.evaluation.bounds import bounded, proven
from flexnfv.evaluation.candidates import (
    Candidate,
    candidate,
    judged_by,
    rule_settings,
    rules_of,
    sweeps,
)
from flexnfv.evaluation.cost import best_setting, cheapest_within, cost, gap_closed
from flexnfv.evaluation.drop_targets import THE_RULE, drop_targets
from flexnfv.evaluation.gap import HINDSIGHT, Gaps
from flexnfv.evaluation.grid import Grid
from flexnfv.evaluation.statistics import Draws, Sample
from flexnfv.evaluation.sums import QUANTITIES
from flexnfv.model.bound import lower_bound
from flexnfv.policy import make_policy
from flexnfv.traces import Trace
from tests.policies.networks import write_random_bundle

Figures = Sequence[tuple[float, float, float]]


def table(cores: float, parked: float, drops: float, offered: float = 1e6) -> np.ndarray:
    """Sums of an episode of 100 s with these means."""
    sums = np.zeros(len(QUANTITIES))
    for quantity, value in (
        ("time_s", 100.0),
        ("core_s", 100 * cores),
        ("parked_core_s", 100 * parked),
        ("offered", offered),
        ("lost", drops * offered),
    ):
        sums[QUANTITIES.index(quantity)] = value
    return sums


def test_a_cost_is_cores_and_weighted_parked_cores_and_what_drops_cost() -> None:
    assert cost(table(4, 2, 0.01), 300) == pytest.approx(4 + 3)
    assert cost(table(4, 2, 0.01), 300, 0.3) == pytest.approx(4 + 0.6 + 3)
    many = cost(np.array([table(4, 2, 0.01), table(5, 0, 0)]), np.array([[30], [300]]), 0.3)
    assert many == pytest.approx(np.array([[4.9, 5], [7.6, 5]]))


def test_an_episode_without_traffic_loses_nothing() -> None:
    assert cost(table(3, 0, 0, offered=0), 1000) == 3


def test_a_long_trace_and_heavy_traffic_weigh_no_more_than_their_share() -> None:
    """The drop rate is a share of the episode's own traffic."""
    assert cost(table(4, 0, 0.01, 1e3), 100) == cost(table(4, 0, 0.01, 1e9), 100)


def test_the_gap_closed_is_0_for_the_rule_1_for_the_bound_and_negative_for_losers() -> None:
    rule, bound = np.array([6.0, 6.0, 6.0, 6.0]), np.array([4.0, 4.0, 4.0, 4.0])
    own = np.array([6.0, 4.0, 5.0, 7.0])
    assert gap_closed(own, rule, bound).tolist() == [0, 1, 0.5, -0.5]


def test_a_rule_at_the_bound_leaves_no_gap_to_close() -> None:
    found = gap_closed(np.array([5.0, 5.0]), np.array([4.0, 4.03]), np.array([4.0, 4.0]))
    assert np.isnan(found).all()


def test_the_rule_is_one_setting_and_expensive_traces_do_not_decide_alone() -> None:
    """Relative to the bound each trace weighs the same."""
    costs, bound = np.array([[1000.0, 4.0], [1100.0, 2.0]]), np.array([900.0, 2.0])
    assert costs.sum(axis=1).argmin() == 0
    assert best_setting(costs, bound) == 1


def test_the_cheapest_setting_within_a_target_is_found_on_each_trace() -> None:
    spent = np.array([[2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    drops = np.array([[0.1, 0.001, 0.1], [0.01, 0.0, 0.1], [0.0, 0.0, 0.02]])
    assert cheapest_within(spent, drops, 0.01).tolist() == [1, 0, -1]
    assert cheapest_within(spent, np.full((3, 3), np.nan), 0.01).tolist() == [0, 0, 0]


# --- a grid of known figures -------------------------------------------------------------------

FIGURES: dict[str, Figures] = {
    # cores, parked cores, drop rate on two traces
    "own": [(5.0, 0.0, 0.0), (11.0, 0.0, 0.0)],
    "frugal": [(4.0, 0.0, 0.02), (9.0, 0.0, 0.02)],
    "middle": [(5.0, 1.0, 0.005), (11.0, 1.0, 0.0)],
    "lavish": [(7.0, 0.0, 0.0), (14.0, 0.0, 0.0)],
    "foresight": [(4.0, 0.0, 0.0), (8.0, 0.0, 0.0)],
}


def known() -> tuple[Grid, dict[str, Sample]]:
    """A grid that was never run, and samples with those figures."""
    found = (
        Candidate("own", ("static",)),
        *(Candidate(name, (name,), "rule", {"spare": name}) for name in list(FIGURES)[1:4]),
        Candidate("foresight", ("clairvoyant",), "clairvoyant", {"margin": 0.0}),
    )
    traces = tuple(Trace(name, np.full(64, 1e6), 1.0) for name in ("a", "b"))
    grid = Grid(load_chain("paper"), found, traces, (0,), "own", rules=("rule",))
    draws = Draws(np.repeat([0, 1], 4), 1, resamples=200)
    samples = {
        name: Sample(
            name,
            np.repeat([table(*one) for one in figures], 4, axis=0)[None, None],
            draws,
        )
        for name, figures in FIGURES.items()
    }
    return grid, samples


def test_the_rule_changes_with_what_drops_cost() -> None:
    rule = Gaps(*known(), parked_weight=0.0).rule
    assert rule[30.0] == "frugal"
    assert rule[3000.0] == "lavish"


def test_a_policy_stands_by_its_cost_on_each_trace() -> None:
    gaps = Gaps(*known(), parked_weight=0.0)
    at = gaps.standings["own"][300.0]
    assert gaps.rule[300.0] == "middle"
    assert gaps.bound[300.0].tolist() == [4.0, 8.0]
    assert at.cost.tolist() == [5.0, 11.0]
    assert at.to_bound == pytest.approx([1.25, 1.375])
    assert at.to_rule == pytest.approx([5 / 6.5 - 1, 0.0])
    assert at.gap == pytest.approx([1.5 / 2.5, 0.0])
    assert at.worst[0] == 1
    assert at.better == 1
    assert at.worst_gap == pytest.approx(0.0)
    assert at.mean["gap"].segments.estimate == pytest.approx(0.3)
    assert at.mean["gap"].traces.low == pytest.approx(0.0)
    assert at.mean["gap"].traces.high == pytest.approx(0.6)


def test_parked_cores_weigh_what_one_asks_for() -> None:
    assert Gaps(*known(), parked_weight=0.0).rule_costs[300.0].tolist() == [6.5, 11.0]
    assert Gaps(*known(), parked_weight=0.3).rule_costs[300.0] == pytest.approx([6.8, 11.3])
    assert Gaps(*known()).parked_weight == load_chain("paper").parked_weight


def test_hindsight_takes_the_best_rule_of_every_trace() -> None:
    gaps = Gaps(*known(), parked_weight=0.0)
    for drop_cost, at in gaps.standings[HINDSIGHT].items():
        best = gaps.standings["rule, best"][drop_cost]
        assert (at.cost <= best.cost).all()
    assert gaps.standings[HINDSIGHT][100.0].settings == ("middle", "frugal")


def test_a_target_is_kept_by_each_trace_alone_and_by_one_setting_for_all() -> None:
    found = drop_targets(*known(), parked_weight=0.3, targets=(0.01, 0.001))
    at = found[THE_RULE][0.01]
    assert at.each.settings == at.common.settings == ("middle", "middle")
    assert at.common.cost == pytest.approx([5.3, 11.3])
    at = found[THE_RULE][0.001]
    assert at.each.settings == ("lavish", "middle")
    assert at.common.settings == ("lavish", "lavish")  # the middle one loses 0.25 % on average
    assert at.each.within(0.001) == 2
    assert found["clairvoyant"][0.001].common.relative(at.common) == pytest.approx(
        (4 / 7 + 8 / 14) / 2 - 1
    )


# --- as a user meets it ------------------------------------------------------------------------


def test_a_bundle_is_swept_over_its_drop_cost_within_what_it_knows(tmp_path: Path) -> None:
    write_random_bundle(tmp_path / "a.onnx", load_chain("paper"))
    one = candidate(f"mine={tmp_path}/a.onnx:transfer=true")
    swept = [each for each in sweeps([one], drop_costs=(50.0, 300.0)) if each.front == "mine"]
    told = [each.setting["drop_cost"] for each in swept]
    assert told == sorted(told)
    assert {50.0, 300.0} <= set(told)
    assert len(told) == 12  # eleven of the class, and one of ours that is not among them
    assert swept[0].specs[0].endswith("a.onnx:transfer=true,drop_cost=10")
    assert judged_by(one)
    assert not judged_by(candidate(f"{tmp_path}/a.onnx:drop_cost=300"))


def test_the_same_bundle_at_two_drop_costs_has_one_front(tmp_path: Path) -> None:
    write_random_bundle(tmp_path / "a.onnx", load_chain("paper"))
    found = [candidate(f"{tmp_path}/a.onnx:drop_cost={value}") for value in (100, 300)]
    assert len({one.front for one in sweeps(found)} - {"clairvoyant"}) == 1


def test_rules_are_those_with_a_sweep_and_without_foresight(kit: Path) -> None:
    named = [candidate(text) for text in ("ample:spare=1.3", "oracle", "clairvoyant", "slow")]
    assert rules_of(named) == ("ample", "slow")
    assert rules_of(named, ["watermark"]) == ("watermark",)
    assert rules_of(named, ["told"]) == ("told",)
    with pytest.raises(InputError, match="unknown rule 'clairvoyant'"):
        rules_of(named, ["clairvoyant"])
    with pytest.raises(InputError, match="did you mean 'watermark'"):
        rules_of(named, ["watermrk"])
    assert any(one.front == "watermark" for one in sweeps(named, ["watermark"]))


def test_a_rule_is_told_what_drops_cost_and_may_stop_parked_instances(kit: Path) -> None:
    free = rule_settings("told", (30.0, 300.0), parked_weight=0.0)
    assert free == [
        {"spare": spare, "drop_cost": drop_cost} for spare in (1.0, 1.2) for drop_cost in (30, 300)
    ]
    weighted = rule_settings("told", (30.0, 300.0), parked_weight=0.3)
    assert len(weighted) == 4 * len(free)
    assert {one["park_timeout"] for one in weighted} == {10, 60, 300, float("inf")}
    swept = sweeps([candidate("told")], drop_costs=(30.0,), parked_weight=0.3)
    assert swept[0].specs == ("told:spare=1,drop_cost=30,park_timeout=10",)
    make_policy("told:spare=1,drop_cost=30,park_timeout=inf")


def test_costs_of_a_run_are_those_of_its_records(bench: Callable[..., Result]) -> None:
    options = {"parked_weight": 0.5, "drop_costs": (40.0, 400.0), "rules": ["ample"]}
    result = bench(["ample:spare=1.0"], sweep=True, **options)
    gaps = result.gaps
    assert gaps is not None
    assert gaps.parked_weight == 0.5
    assert set(gaps.bound) == {40.0, 400.0}
    costs = []
    for seed in (0, 1):
        chain = result.episode("ample:spare=1.0", 0, seed).chain
        lost = chain["dropped_pps"].sum() / chain["offered_pps"].sum()
        costs.append(np.mean(chain["cores"] + 0.5 * chain["parked_cores"]) + 400 * lost)
    own = gaps.standings["ample:spare=1.0"][400.0]
    assert own.cost[0] == pytest.approx(np.mean(costs), rel=1e-6)
    assert gaps.rule[400.0].startswith("ample [")
    found = json.loads(result.to_json())["costs"]["drop_costs"][1]
    assert found["policies"]["ample:spare=1.0"]["cost"] == pytest.approx(own.cost.tolist())


def test_a_bundle_is_told_the_drop_cost_that_it_is_judged_by(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    write_random_bundle(tmp_path / "a.onnx", load_chain("paper"))
    policies = {"mine": f"{tmp_path}/a.onnx", "watermark": "watermark"}
    result = bench(policies, backend="model", sweep=True, seeds=1, drop_costs=(100.0, 1e6))
    gaps = result.gaps
    assert gaps is not None
    assert gaps.standings["mine"][100.0].settings[0] == "mine [drop_cost=100]"
    most = max(one.setting["drop_cost"] for one in result.grid.candidates if one.front == "mine")
    assert gaps.standings["mine"][1e6].settings[0] == f"mine [drop_cost={most:g}]"
    assert len(result.fronts["mine"].points) >= 11
    assert "mine" in result.placements["watermark"]
    assert gaps.proven
    for by_cost in gaps.standings.values():
        for at in by_cost.values():
            assert (at.to_bound > 1 - 1e-9).all()  # the clairvoyant may reach it
    alone = result.on("stairs").gaps
    assert alone is not None
    assert alone.bound[100.0].tolist() == [gaps.bound[100.0][1]]


def test_bounds_are_means_over_seeds_whoever_shares_the_work() -> None:
    grid, _ = known()
    grid = replace(grid, seeds=(0, 1, 2), drop_costs=(30.0, 300.0))
    told: list[int] = []
    found = proven(grid, parked_weight=0.0, tick=told.append)
    shared = proven(grid, parked_weight=0.0, workers=2)
    one = [lower_bound(grid.chain, grid.traces[1], 300.0, 0.0, seed) for seed in grid.seeds]
    assert found[300.0][1] == pytest.approx(np.mean(one))
    assert (found[300.0] == shared[300.0]).all()
    assert sum(told) == 3 * sum(grid.lengths.values())


def test_what_is_no_model_or_lets_instances_die_has_no_proven_bound() -> None:
    grid, _ = known()
    assert bounded(grid)
    assert not bounded(replace(grid, backend="toy"))
    assert not bounded(replace(grid, options={"death_rate_per_s": 0.01}))


@pytest.mark.parametrize("drop_costs", [(), (0.0,), (float("inf"),)])
def test_drop_costs_that_are_none_are_refused(
    bench: Callable[..., Result], drop_costs: tuple[float, ...]
) -> None:
    with pytest.raises(InputError, match="give positive numbers"):
        bench(drop_costs=drop_costs)
