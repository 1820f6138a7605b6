"""Policies of exceedance: batches, states, knobs, calibration, and chains of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper, numpy_helper

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import compiled
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.episodes import run_episode, run_episodes
from flexnfv.evaluation.sums import CORE_S, LOST, OFFERED, PARKED_CORE_S, TIME_S
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC, Levels, Memory
from flexnfv.model import ModelBackend
from flexnfv.policies.exceedance import (
    COSTS,
    Chains,
    Knobs,
    Links,
    Tuning,
    count_instances,
    keep_pace,
    observe_links,
    predict_links,
)
from flexnfv.policies.learned import Learned
from flexnfv.policy import make_policy
from flexnfv.policy_batch import PolicyBatch, group
from flexnfv.provision import HORIZONS
from flexnfv.states import RUNNING, STOPPED
from flexnfv.traces import Trace
from tests.evaluation.same import same_records
from tests.policies.networks import (
    exceedance_network,
    write_exceedance_bundle,
    write_random_bundle,
)
from tests.policies.readings import reading
from tests.policies.test_watermark import random_reading

EDGE, PAPER = load_chain("edge"), load_chain("paper")
FloatArray = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exceedance_bundle(tmp_path_factory.mktemp("bundle") / "any.onnx")


def noise(seed: int, count: int, mean: float = 6e6, spread: float = 0.3) -> FloatArray:
    return mean * np.exp(spread * np.random.default_rng(seed).normal(size=count))


def sums_of(specs: Sequence[str], chain: ServiceChain, rates: FloatArray) -> FloatArray:
    """Sums of an episode for each spec, [B, quantities]."""
    found = run_episodes(
        PolicyBatch(specs),
        ModelBackend(chain),
        [Trace("traffic", rates, chain.interval_s)] * len(specs),
        [0] * len(specs),
    )
    return np.array([outcome.sums.segments.sum(axis=0) for outcome in found])


# --- batches and states ---


def test_rows_of_a_batch_run_to_the_bit_as_they_would_alone(path: Path) -> None:
    """Traces begin alike and part later; one ends early; every row has knobs of its own."""
    begin = noise(1, 30)
    traces = [
        Trace("on", np.append(begin, noise(2, 40)), 1.0),
        Trace("up", np.append(begin, noise(3, 40, 1.2e7)), 1.0),
        Trace("short", begin, 1.0),
        Trace("other", noise(4, 55, 2e6, 1.0), 1.0),
    ]
    specs = [
        f"{path}:drop_cost=30",
        f"{path}:drop_cost=3000",
        f"{path}:drop_target=0.01",
        f"{path}:drop_target=0.001,parked_weight=0",
        f"{path}:drop_cost=300,parked_weight=1",
    ]
    assert group(specs[0]) == group(specs[1])
    rows = [(spec, trace) for spec in specs for trace in traces]
    found = run_episodes(
        PolicyBatch([spec for spec, _ in rows]),
        ModelBackend(EDGE),
        [trace for _, trace in rows],
        [5] * len(rows),
        recorded=range(len(rows)),
    )
    for (spec, trace), one in zip(rows, found, strict=True):
        assert one.episode is not None
        alone = run_episode(make_policy(spec), ModelBackend(EDGE), trace, 5)
        assert same_records(one.episode, alone), (spec, trace.name)


def test_chains_that_were_offered_the_same_share_a_link_until_they_part(path: Path) -> None:
    policy = Learned(path)
    policy.reset(PAPER)
    rng = np.random.default_rng(6)
    links: list[int] = []
    for rates in ([1e6] * 4, [2e6] * 4, [2e6, 2e6, 3e6, 3e6], [1e6] * 4, [1e6, 2e6, 1e6, 2e6]):
        seen = random_reading(rng, (4,))
        seen.offered_pps[...] = rates
        policy.decide(seen)
        links.append(len(set(policy.export_state()["link"].tolist())))
    assert links == [1, 1, 2, 2, 4], "what is known stays apart where the past differs"


def offered(rng: np.random.Generator, batch: int) -> Any:
    """A random reading whose chains are offered the same in pairs, now and then."""
    seen = random_reading(rng, (batch,))
    seen.offered_pps[...] = np.where(rng.random(batch) < 0.8, 3e6, rng.uniform(0.0, 9e6, batch))
    return seen


@pytest.mark.parametrize("knobs", [{}, {"drop_target": 0.003}], ids=["cost", "target"])
def test_an_exported_state_continues_as_if_nothing_had_happened(
    path: Path, knobs: dict[str, Any]
) -> None:
    one, other = Learned(path, **knobs), Learned(path, **knobs)
    one.reset(PAPER)
    other.reset(PAPER)
    assert one.export_state() == {}
    rng = np.random.default_rng(7)
    for _ in range(25):
        one.decide(offered(rng, 4))
    kept = one.export_state()
    other.restore_state(kept)
    for _ in range(25):
        now = offered(rng, 4)
        found, again = one.decide(now), other.decide(now)
        assert (found.targets == again.targets).all()
        assert (found.spares == again.spares).all()
    later, again_later = one.export_state(), other.export_state()
    assert all((later[name] == again_later[name]).all() for name in later)
    assert any((later[name] != kept[name]).any() for name in kept), "what was exported is a copy"
    other.restore_state({})
    assert other.export_state() == {}


def test_a_state_leaves_the_knobs_alone(path: Path) -> None:
    cheap, dear = Learned(path, drop_cost=3.0), Learned(path, drop_cost=3e4)
    rng = np.random.default_rng(16)
    for policy in (cheap, dear):
        policy.reset(PAPER)
    for _ in range(30):
        cheap.decide(offered(rng, 2))
    dear.restore_state(cheap.export_state())
    now = offered(rng, 2)
    assert (dear.decide(now).targets.sum(-1) > cheap.decide(now).targets.sum(-1)).all()


def test_a_state_of_something_else_is_refused(path: Path) -> None:
    policy = Learned(path)
    policy.reset(PAPER)
    policy.decide(random_reading(np.random.default_rng(8), (2,)))
    state = policy.export_state()
    with pytest.raises(ValueError, match="the policy keeps"):
        policy.restore_state({"surprise": np.zeros(1)})
    with pytest.raises(ValueError, match="the policy keeps"):
        policy.restore_state({name: state[name] for name in state if name != "total"})
    with pytest.raises(ValueError, match="history has shape"):
        policy.restore_state(state | {"history": np.zeros((2, 7))})
    single = Learned(path)
    single.reset(load_chain("single"))
    with pytest.raises(ValueError, match="instances has shape"):
        single.restore_state(state)


def test_reset_forgets_the_past(path: Path) -> None:
    policy = Learned(path)
    readings = [offered(np.random.default_rng(seed), 3) for seed in range(20)]
    runs = []
    for _ in range(2):
        policy.reset(PAPER)
        runs.append([policy.decide(now).targets.tolist() for now in readings])
    assert runs[0] == runs[1]


def test_the_number_of_chains_may_change_and_a_batch_may_have_any_shape(path: Path) -> None:
    policy, rng = Learned(path), np.random.default_rng(9)
    for batch in ((3,), (), (5,), (2, 2), ()):
        policy.reset(PAPER)
        for _ in range(3):
            found = policy.decide(random_reading(rng, batch))
            assert found.targets.shape == found.spares.shape == (*batch, 3)


def test_instances_are_counted_as_a_reading_counts_them() -> None:
    rng, counts = np.random.default_rng(15), np.zeros((3, 3), np.int64)
    for _ in range(20):
        now = random_reading(rng, ())
        count_instances(now.state, counts)
        expected = now.running, now.blocked + now.draining, now.launching
        assert (counts == np.stack(expected)).all()


# --- chains ---


@pytest.mark.parametrize("name", ["edge", "paper", "paper-reverse", "single", "six", "two-paths"])
def test_any_chain_is_served_without_transfer(path: Path, name: str) -> None:
    chain = load_chain(name)
    rates = noise(10, 60, 0.3 * chain.peak_pps)
    (sums,) = sums_of([f"{path}:drop_cost=1000"], chain, rates)
    assert sums[LOST] / sums[OFFERED] < 0.2
    assert (
        sums[CORE_S] / sums[TIME_S] < 0.9 * (chain.cores_per_instance * chain.max_instances).sum()
    )


@pytest.mark.parametrize("rate", [0.0, 1e-9, 1.0, 1e12])
def test_decisions_are_within_limits_whatever_is_offered(path: Path, rate: float) -> None:
    policy = Learned(path)
    policy.reset(EDGE)
    for _ in range(20):
        found = policy.decide(reading(EDGE, ["R", "R", "R"], offered_pps=rate))
        assert (found.targets >= EDGE.min_instances).all()
        assert (found.targets <= EDGE.max_instances).all()
        assert (found.spares >= 0).all()


# --- knobs ---


def test_a_higher_drop_cost_loses_less_and_takes_more_cores(path: Path) -> None:
    sums = sums_of([f"{path}:drop_cost={cost}" for cost in (10, 300, 10000)], EDGE, noise(11, 400))
    lost, cores = sums[:, LOST], sums[:, CORE_S]
    assert lost[0] > lost[1] > lost[2]
    assert cores[0] < cores[1] < cores[2]


def test_parked_cores_that_cost_more_are_fewer(path: Path) -> None:
    sums = sums_of([f"{path}:parked_weight={w}" for w in (0, 0.3, 1)], EDGE, noise(12, 400))
    parked = sums[:, PARKED_CORE_S]
    assert parked[0] > parked[1] > parked[2]


@pytest.mark.parametrize("mean", [3e6, 6e6])
def test_the_share_that_is_lost_comes_to_the_drop_target(mean: float) -> None:
    targets = (0.02, 0.005, 0.002)
    specs = [f"pretrained/any-chain:drop_target={target}" for target in targets]
    sums = sums_of(specs, EDGE, noise(13, 2000, mean))
    np.testing.assert_allclose(sums[:, LOST] / sums[:, OFFERED], targets, rtol=0.4)


def test_the_pace_raises_the_cost_of_what_loses_too_much() -> None:
    """Chains that lose nothing, what they may and three times that, as it was expected."""

    def paced(lost: FloatArray, intervals: int, rate: float = 1e6) -> FloatArray:
        knobs = Knobs(np.array(300.0), np.array(0.01), np.array(0.3))
        chains = Chains.of(len(lost), 3, knobs)
        chains.balance[:, 4] = lost
        for _ in range(intervals):
            keep_pace(chains, Tuning(), np.full(len(lost), rate), lost)
        return chains.drop_cost

    costs = paced(np.array([0.0, 1e4, 3e4]), 300)
    assert costs[0] < 50.0
    assert costs[1] == pytest.approx(100.0)
    assert costs[2] > 200.0
    least, _, most = paced(np.array([0.0, 1e4, 1e6]), 5000)
    assert (least, most) == (pytest.approx(COSTS[0]), pytest.approx(COSTS[1]))
    assert np.isfinite(paced(np.zeros(1), 10, rate=0.0)).all()


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ("drop_cost=100,drop_target=0.01", "not both"),
        ("drop_cost=0", "drop_cost"),
        ("drop_cost=inf", "drop_cost"),
        ("drop_target=0", "drop_target"),
        ("drop_target=0.6", "drop_target"),
        ("drop_target=nan", "drop_target"),
        ("parked_weight=-0.1", "parked_weight"),
        ("parked_weight=1.5", "parked_weight"),
        ("surprise=1", "no parameter 'surprise'"),
    ],
)
def test_knobs_that_cannot_be_are_refused(path: Path, knobs: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_policy(f"{path}:{knobs}")


@pytest.mark.parametrize("knob", ["drop_target=0.01", "parked_weight=0.3"])
def test_a_bundle_of_actions_has_no_such_knob(tmp_path: Path, knob: str) -> None:
    actions = write_random_bundle(tmp_path / "actions.onnx", PAPER)
    with pytest.raises(InputError, match="no such knob"):
        make_policy(f"{actions}:{knob}")


def test_a_bundle_may_state_numbers_of_its_own(tmp_path: Path) -> None:
    usual = write_exceedance_bundle(tmp_path / "usual.onnx")
    other = write_exceedance_bundle(tmp_path / "other.onnx", tuning={"first_use": 5.0})
    sums = sums_of([f"{usual}:drop_cost=300", f"{other}:drop_cost=300"], EDGE, noise(14, 300))
    assert sums[1, PARKED_CORE_S] > sums[0, PARKED_CORE_S], "it keeps more for what a launch loses"


# --- the network's answer ---


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(0.0, 0.0, 0.01), (1e9, 0.95, 1.0)], ids=["never", "always"]
)
def test_answers_are_corrected_by_how_often_they_came_true(
    rate: float, low: float, high: float
) -> None:
    levels, memory, links = Levels.of(EDGE), Memory.of(1), Links.of(1)
    used = np.zeros(1, np.int64)
    traffic = np.zeros((1, len(TRAFFIC)), np.float32)
    level = np.zeros((1, LEVELS, len(LEVEL)), np.float32)
    logits = np.full((1, LEVELS, 1 + len(HORIZONS)), np.log(0.2 / 0.8), np.float32)
    observe, predict = compiled(observe_links), compiled(predict_links)
    first = None
    for _ in range(60):
        observe(memory, links, levels, Tuning(), used, np.array([rate]), traffic, level)
        assert predict(links, levels, Tuning(), used, logits)
        first = links.exceedance[0, 0, 0] if first is None else first
    assert first == pytest.approx(0.2)
    assert low <= links.exceedance[0, 0, 0] <= high
    np.testing.assert_allclose(links.exceedance[0, :, 1:], 0.2, rtol=1e-5)


def test_an_answer_that_is_right_on_average_is_left_as_it_is() -> None:
    levels, memory, links = Levels.of(EDGE), Memory.of(1), Links.of(1)
    used = np.zeros(1, np.int64)
    traffic = np.zeros((1, len(TRAFFIC)), np.float32)
    level = np.zeros((1, LEVELS, len(LEVEL)), np.float32)
    logits = np.full((1, LEVELS, 1 + len(HORIZONS)), np.log(0.2 / 0.8), np.float32)
    for at in range(500):
        rate = np.array([1e9 if at % 5 == 0 else 0.0])
        compiled(observe_links)(memory, links, levels, Tuning(), used, rate, traffic, level)
        compiled(predict_links)(links, levels, Tuning(), used, logits)
    assert links.exceedance[0, 0, 0] == pytest.approx(0.2, rel=0.05)


def test_an_answer_that_is_not_finite_is_a_failure_with_the_bundle_s_name(tmp_path: Path) -> None:
    """The root of how much the demand has fallen, which is no number once it has risen."""
    place = numpy_helper.from_array(np.array([TRAFFIC.index("ratio_1")]), "place")
    nodes = [
        helper.make_node("Constant", [], ["place"], value=place),
        helper.make_node("Gather", ["traffic", "place"], ["fallen"], axis=1),
        helper.make_node("Sqrt", ["fallen"], ["root"]),
        helper.make_node("Unsqueeze", ["root", "axis"], ["extra"]),
    ]
    path = write_exceedance_bundle(tmp_path / "root.onnx", exceedance_network(nodes=nodes))
    policy = Learned(path)
    policy.reset(EDGE)
    for rate in (5e6, 4e6):
        policy.decide(reading(EDGE, ["R", "R", "R"], offered_pps=rate))
    with pytest.raises(BackendError, match=r"root\.onnx: the network's answer is not finite"):
        policy.decide(reading(EDGE, ["R", "R", "R"], offered_pps=6e6))


def test_flows_that_spread_unevenly_cost_capacity(path: Path) -> None:
    """Half the rate on one of four instances: the busiest is offered twice the mean."""
    even, uneven = Learned(path, drop_cost=1000.0), Learned(path, drop_cost=1000.0)
    chain = load_chain("paper")
    even.reset(chain)
    uneven.reset(chain)
    seen = ModelBackend(chain).reset([Trace("steady", np.full(8, 8e6), 1.0)], [0])
    state = np.full_like(seen.state, STOPPED)
    state[..., :4] = RUNNING
    for policy, shares in ((even, (1, 1, 1, 1)), (uneven, (2, 1, 0.5, 0.5))):
        arrived = np.zeros_like(seen.arrived_pps)
        arrived[..., :4] = 2e6 * np.array(shares)
        now = replace(seen, state=state, arrived_pps=arrived)
        for _ in range(200):
            policy.decide(now)
    found = [policy.export_state()["unevenness"] for policy in (even, uneven)]
    assert found[0] == pytest.approx(1.0)
    assert found[1] == pytest.approx(2.0, rel=0.01)
    expected = [policy.export_state()["balance"][0, 4] for policy in (even, uneven)]
    assert expected[1] > 1.2 * expected[0], "the same instances carry less"
