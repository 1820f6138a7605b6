"""The learned policy: encodes, runs the network and decodes exactly as training does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexnfv.action import OFFSETS, decode_offsets, need
from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.observation import ObservationEncoder
from flexnfv.policies.bundle import INPUT, OUTPUT, read_bundle, write_bundle
from flexnfv.policies.learned import Learned
from flexnfv.policy import make_policy
from flexnfv.policy_batch import group
from flexnfv.reading import Reading
from tests.policies.networks import ACTIONS, metadata, network, write_random_bundle
from tests.policies.readings import reading
from tests.policies.test_watermark import random_reading

CHAIN = load_chain("paper")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_random_bundle(tmp_path / "best.onnx", CHAIN, drop_costs=(10.0, 10000.0))


def test_it_decides_by_the_observation_network_and_action_of_the_core(path: Path) -> None:
    policy = Learned(path, drop_cost=50.0)
    policy.reset(CHAIN)
    encoder = ObservationEncoder(CHAIN)
    _, session = read_bundle(path)
    rng = np.random.default_rng(1)
    for _ in range(30):
        now = random_reading(rng)
        (logits,) = session.run([OUTPUT], {INPUT: encoder.encode(now, 50.0)})
        action = np.array([int(np.argmax(row)) for row in logits])
        expected = decode_offsets(action, need(now, CHAIN), CHAIN)
        assert (policy.decide(now) == expected).all()


@pytest.mark.parametrize("choice", range(ACTIONS))
def test_the_likeliest_action_is_taken(tmp_path: Path, choice: int) -> None:
    path = tmp_path / "one-sided.onnx"
    bias = np.where(np.arange(ACTIONS) == choice, 1e3, 0.0)
    write_bundle(path, network(bias=bias).SerializeToString(), metadata(CHAIN))
    policy = Learned(path)
    policy.reset(CHAIN)
    now = random_reading(np.random.default_rng(2))
    limits = CHAIN.min_instances, CHAIN.max_instances
    assert (policy.decide(now) == np.clip(need(now, CHAIN) + OFFSETS[choice], *limits)).all()


def test_a_batch_is_decided_as_its_readings_one_by_one(path: Path) -> None:
    together = Learned(path)
    together.reset(CHAIN)
    alone = [Learned(path) for _ in range(3)]
    for policy in alone:
        policy.reset(CHAIN)
    rng = np.random.default_rng(3)
    for _ in range(20):
        batch = random_reading(rng, (3,))
        given = together.decide(batch)
        for index, policy in enumerate(alone):
            assert (policy.decide(batch[index]) == given[index]).all()


def test_rows_of_a_batch_may_have_drop_costs_of_their_own(path: Path) -> None:
    costs = np.array([20.0, 300.0, 9000.0])
    specs = [f"{path}:drop_cost={cost:g}" for cost in costs]
    assert len({group(spec) for spec in specs}) == 1
    together = Learned(path, drop_cost=costs)
    together.reset(CHAIN)
    alone = [Learned(path, drop_cost=cost) for cost in costs]
    for policy in alone:
        policy.reset(CHAIN)
    rng, differs = np.random.default_rng(6), False
    for _ in range(30):
        now = random_reading(rng)
        found = together.decide(Reading.stack([now] * len(costs)))
        assert found.tolist() == [policy.decide(now).tolist() for policy in alone]
        differs = differs or len(np.unique(found, axis=0)) > 1
    assert differs


@pytest.mark.parametrize(("costs", "says"), [([20.0, -1.0], "positive"), ([20.0, 1e9], "knows")])
def test_every_drop_cost_of_a_batch_is_checked(path: Path, costs: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Learned(path, drop_cost=np.array(costs))


def test_the_number_of_chains_may_change(path: Path) -> None:
    policy = Learned(path)
    rng = np.random.default_rng(5)
    for batch in ((3,), (), (5,), (2, 2), ()):
        policy.reset(CHAIN)
        fresh = Learned(path)
        fresh.reset(CHAIN)
        for _ in range(5):
            now = random_reading(rng, batch)
            assert (policy.decide(now) == fresh.decide(now)).all()


def test_an_exported_state_continues_as_if_nothing_had_happened(path: Path) -> None:
    one, other = Learned(path), Learned(path)
    one.reset(CHAIN)
    other.reset(CHAIN)
    assert one.export_state() == {}
    rng = np.random.default_rng(4)
    for _ in range(20):
        one.decide(random_reading(rng))
    other.restore_state(one.export_state())
    for _ in range(20):
        now = random_reading(rng)
        assert (one.decide(now) == other.decide(now)).all()
    with pytest.raises(ValueError, match="the policy keeps"):
        other.restore_state({"surprise": np.zeros(1)})


def test_reset_forgets_the_past(path: Path) -> None:
    policy = Learned(path)
    readings = [random_reading(np.random.default_rng(seed)) for seed in range(20)]
    runs = []
    for _ in range(2):
        policy.reset(CHAIN)
        runs.append([policy.decide(now).tolist() for now in readings])
    assert runs[0] == runs[1]


def test_a_path_is_a_spec(path: Path) -> None:
    assert isinstance(make_policy(str(path)), Learned)
    assert make_policy("learned", bundle=path, drop_cost=20.0).drop_cost == 20.0  # type: ignore[attr-defined]


def test_another_chain_is_refused_unless_told_to_transfer(path: Path) -> None:
    single = load_chain("single")
    with pytest.raises(InputError, match="does not fit chain 'single'"):
        Learned(path).reset(single)
    policy = Learned(path, transfer=True)
    policy.reset(single)
    assert policy.decide(reading(single, ["R"], [[2.0]])).shape == (1,)


@pytest.mark.parametrize("drop_cost", [0.0, -1.0, float("nan"), 9.0, 10001.0])
def test_a_drop_cost_that_was_not_trained_for_is_refused(path: Path, drop_cost: float) -> None:
    with pytest.raises(InputError, match="drop_cost"):
        make_policy(str(path), drop_cost=drop_cost)
