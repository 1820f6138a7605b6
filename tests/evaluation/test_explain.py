"""The page that explains a learned policy tells what the policy went by, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flexnfv.backends import make_backend
from flexnfv.chain import load_chain
from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.evaluation.episodes import run_episode
from flexnfv.evaluation.explain import Explanation, explain, write
from flexnfv.evaluation.explain.explanation import LONGEST, carried, expected
from flexnfv.evaluation.explain.occlusion import GROUPS, KEPT, Means, Replay, group_of
from flexnfv.evaluation.explain.page import html, influences
from flexnfv.evaluation.explain.reasons import coverage, largest, moments, parking
from flexnfv.evaluation.explain.watch import Watched
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC, Levels
from flexnfv.policies.bundle import read_bundle
from flexnfv.policies.calibrated import Rule
from flexnfv.policy import make_policy
from flexnfv.provision import Types
from flexnfv.traces import Trace
from tests.policies.networks import write_random_bundle

BUNDLE = "pretrained/any-chain"
JUMP = 150
"""The interval in which the demand of the trace below triples."""


def steps() -> Trace:
    """Noisy demand that triples once, for ten intervals."""
    rate = 4e6 * np.exp(0.05 * np.random.default_rng(1).normal(size=220))
    rate[JUMP : JUMP + 10] *= 3.0
    return Trace("steps", rate, 1.0)


@pytest.fixture(scope="module")
def found() -> Explanation:
    return explain(
        f"{BUNDLE}:drop_cost=300", steps(), against="target_tracking", peak="keep", progress=False
    )


@pytest.mark.parametrize("spec", [BUNDLE, f"{BUNDLE}:drop_target=0.01,parked_weight=0"])
def test_watching_changes_no_decision(spec: str) -> None:
    chain = load_chain("edge")
    episodes = []
    for policy in (make_policy(spec), Watched.named(spec)):
        backend = make_backend("model", chain)
        episodes.append(run_episode(policy, backend, steps(), 0).types)
        backend.close()
    for name in ("targets", "spares"):
        assert np.array_equal(episodes[0][name], episodes[1][name])


@pytest.mark.parametrize("knob", ["drop_cost=100", "drop_target=0.01", "parked_weight=0"])
def test_a_replay_with_the_same_inputs_decides_the_same(knob: str) -> None:
    found = explain(f"{BUNDLE}:{knob}", steps(), "six", "static", peak="keep", progress=False)
    assert len(found.decisions.targets) == len(steps()) - 1
    assert np.array_equal(found.answers.targets, found.decisions.targets)
    assert np.array_equal(found.answers.spares, found.decisions.spares)
    assert np.array_equal(found.answers.exceedance, found.decisions.exceedance[..., 0])
    assert np.array_equal(found.decisions.targets, found.own.episode.types["targets"][1:]), (
        "decision k is what interval k + 1 ran under"
    )


def test_without_the_correction_the_network_s_own_word_holds(found: Explanation) -> None:
    own = np.minimum.accumulate(found.decisions.predicted, axis=1)
    assert np.allclose(found.uncorrected.exceedance, own)
    assert not np.allclose(found.answers.exceedance, own)


def test_every_feature_belongs_to_one_group() -> None:
    groups = {feature: group_of(feature) for feature in (*TRAFFIC, *LEVEL)}
    assert set(groups.values()) == {*GROUPS, None}
    assert [feature for feature, group in groups.items() if group is None] == list(KEPT)
    assert groups["change_above_64"] == "changes of this size"
    assert groups["change_8"] == "size of changes"
    assert groups["since_above"] == "time above the level"
    assert groups["since_0.3"] == "jumps"
    assert groups["mean_8"] == "last readings"


def test_a_group_is_replaced_by_its_mean_and_nothing_else_is(found: Explanation) -> None:
    means = Means.of(found.decisions)
    for group in GROUPS:
        changed = means.put(found.decisions, group)
        for names, before, after, mean in (
            (TRAFFIC, found.decisions.traffic, changed.traffic, means.traffic),
            (LEVEL, found.decisions.level, changed.level, means.level),
        ):
            for place, feature in enumerate(names):
                inside = group_of(feature) == group
                wanted = np.broadcast_to(mean, before.shape) if inside else before
                assert np.array_equal(after[..., place], wanted[..., place]), feature


def test_inputs_that_never_change_move_nothing(found: Explanation) -> None:
    places = [place for place, name in enumerate(TRAFFIC) if group_of(name) == "silence"]
    assert np.ptp(found.decisions.traffic[:, places], axis=0).max() == 0, "it is never silent"
    assert not found.influences["silence"].cores.any()
    assert found.influences["time above the level"].likelihood.any()
    rows = {row[0]: row for row in influences(found)}
    assert rows["silence"][2:] == ["0%", "+0.00", "+0.00", "x 1.00"]
    assert set(rows) == set(GROUPS)


def test_an_influence_is_what_was_provided_less_what_would_have_been(found: Explanation) -> None:
    bundle = Watched.named(BUNDLE).bundle
    replay = Replay(read_bundle(bundle)[1], found.tuning, found.chain)
    some = found.decisions.of(np.array([JUMP - 1, JUMP]))
    means = Means.of(found.decisions)
    for group in GROUPS:
        without = replay.answers(means.put(some, group)).cores
        did = found.influences[group].cores[[JUMP - 1, JUMP]]
        assert np.array_equal(did, found.answers.cores[[JUMP - 1, JUMP]] - without)


def test_the_expected_demand_is_read_off_between_levels() -> None:
    levels = Levels.between(1e6, 1e7)
    row = np.linspace(0.8, 0.0, LEVELS)
    rates = expected(np.array([row]), 0.4, levels)
    assert rates == pytest.approx([(1e6 * 1e7) ** 0.5])
    assert expected(np.array([row]), 0.9, levels) == pytest.approx([1e6]), "below the lowest"


def test_what_came_is_the_demand_behind_the_decision(found: Explanation) -> None:
    offered = found.offered_pps
    rate = np.full(len(offered) - 1, 5e6)
    for horizon, first, last in ((None, 1, 1), (16.0, 2, 16)):
        wanted = [
            bool((offered[k + first : k + last + 1] > 5e6).any()) for k in range(len(offered) - 1)
        ]
        assert found.came(horizon, rate).tolist() == wanted
    assert found.came(16.0, rate)[JUMP - 2]
    assert not found.came(None, rate)[JUMP - 2]


def test_the_coverage_counts_how_often_a_level_was_exceeded(found: Explanation) -> None:
    level = found.expected_pps(0.1)
    ((share, _, came, _),) = coverage(found, (0.1,))
    assert share == "10 %"
    assert came == f"{100 * (found.offered_pps[1:] > level).mean():.2g} %"


@pytest.mark.parametrize(
    ("amounts", "wanted"),
    [
        ([0, 5, 4, 3, 2, 1], [1, 4]),
        ([0, 0, 0], []),
        ([1, 0, 0, 2, 0, 0, 3], [6, 3, 0]),
    ],
)
def test_the_largest_moments_lie_apart(amounts: list[float], wanted: list[int]) -> None:
    assert largest(np.array(amounts, float), 3, 3) == wanted


def test_what_a_chain_carries_is_what_its_tightest_type_does() -> None:
    types = Types.of(load_chain("edge"))
    counts = np.array([2, 3, 4])
    assert carried(counts, types) == (counts * types.capacity).min()


def test_the_jump_and_what_followed_are_told_with_their_reasons(found: Explanation) -> None:
    told = {moment.decision: moment for moment in moments(found)}
    loss = told[JUMP - 1]
    before, after = found.offered_pps[[JUMP - 1, JUMP]] / 1e6
    assert loss.time_s == found.time_s[JUMP]
    assert f"{found.own.lost[JUMP] / 1e6:.3g} Mpps lost" in loss.what
    assert f"Demand went from {before:.3g} Mpps to {after:.3g} Mpps" in loss.why
    assert f"{after:.3g} Mpps came" in loss.expected
    more = told[JUMP]
    assert re.match(r"\d+ cores more: \d+ reruns?, \d+ launch", more.what)
    assert "expected to be exceeded with 1 % went from" in more.why
    assert all(moment.decision > 0 for moment in told.values()), "the start is left out"


def test_every_kind_of_parking_has_its_count(found: Explanation) -> None:
    types = found.own.episode.types
    rows = {row[0]: row[1] for row in parking(found)}
    assert rows == {
        "kept parked": str((found.own.parked[1:] > 0).sum()),
        "let go": str((types["stops"][1:].sum(axis=1) > 0).sum()),
        "launched": str((types["launches"][1:].sum(axis=1) > 0).sum()),
    }


def test_the_costs_are_those_of_the_measure(found: Explanation) -> None:
    figures = found.rule.figures
    drops = 300 * figures["drop_rate"]
    parked = found.chain.parked_weight * figures["parked_cores"]
    assert found.cost(found.rule) == pytest.approx(figures["core_usage"] + parked + drops)


def test_unless_told_the_best_calibrated_rule_stands_beside_it() -> None:
    trace = Trace("short", steps().rate_pps[:8], 1.0)
    spec = f"{BUNDLE}:drop_cost=100,parked_weight=0"
    found = explain(spec, trace, peak="keep", progress=False)
    assert found.rule.spec == "rule:drop_cost=100,parked_weight=0"
    assert found.setting == Rule(drop_cost=100, parked_weight=0).setting(found.chain).spec


def test_the_page_holds_everything_and_names_inject_nothing(tmp_path: Path) -> None:
    evil = "</script><script>alert('x')</script>"
    trace = Trace(f"t{evil}", steps().rate_pps[:60], 1.0)
    found = explain(BUNDLE, trace, against="static", peak="keep", progress=False)
    write(found, tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "trace t&lt;/script&gt;" in page
    for tag in ("src", "href"):
        assert not re.search(rf'<(script|link|img)[^>]* {tag}="(?!data:)', page)
    for word in ("static", "time above the level", "kept parked", "cores that this added"):
        assert word in page


def test_a_quiet_trace_has_a_page_too() -> None:
    quiet = Trace("quiet", np.full(12, 1e5), 1.0)
    found = explain(BUNDLE, quiet, against="static", peak="keep", progress=False)
    assert "Which inputs moved it" in html(found)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("watermark", "is a rule, it has nothing learned to explain"),
        ("pretrained/any-chian", "did you mean 'pretrained/any-chain'?"),
    ],
)
def test_what_is_no_learned_policy_is_refused(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        explain(spec, steps(), progress=False)


def test_a_bundle_of_actions_and_a_long_trace_are_refused(tmp_path: Path) -> None:
    bundle = write_random_bundle(tmp_path / "actions.onnx", load_chain("edge"))
    with pytest.raises(InputError, match="is a bundle of actions, which states no expectation"):
        explain(str(bundle), steps(), progress=False)
    long = Trace("long", np.ones(LONGEST + 1), 1.0)
    with pytest.raises(InputError, match=r"lasts 20,001 intervals, more than 20,000; cut it"):
        explain(BUNDLE, long, progress=False)


def test_the_command_writes_a_page_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "why.html"
    command = ["explain", BUNDLE, "--trace", "synthetic/flash_crowd?end=40", "--out", str(out)]
    command += ["--drop-cost", "100", "--against", "watermark"]
    assert main(command) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"{BUNDLE}:drop_cost=100 cost" in said
    assert f"page: {out}" in said
    assert out.stat().st_size < 10e6
    assert main(command) == 2
    assert "already exists and is never overwritten" in capsys.readouterr().err
