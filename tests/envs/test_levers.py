"""Levers as part of the action: spaces, masks, what they stand for."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from flexnfv.action import decode_lever, lever_mask
from flexnfv.chain import load_chain
from flexnfv.decision import KEEP, choices
from flexnfv.envs import ID
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.envs.task import Task
from flexnfv.errors import InputError
from flexnfv.mapping import MappingKind

BOTH = ("mapping", "spares")


def test_a_lever_has_one_choice_for_each_value_and_one_to_keep() -> None:
    assert choices("mapping", 8) == (KEEP, *MappingKind)
    assert choices("spares", 3) == (KEEP, 0, 1, 2, 3)


def test_without_levers_spaces_are_as_they_were() -> None:
    task = Task.build("paper")
    assert task.chain_spaces()[1] == spaces.MultiDiscrete([9, 9, 9])
    assert task.row_spaces()[1] == spaces.Discrete(9)


@pytest.mark.parametrize("levers", [("mapping",), ("spares",), BOTH])
def test_each_lever_adds_a_choice_per_type(levers: tuple[str, ...]) -> None:
    env = gymnasium.make(ID, chain="paper", levers=levers)
    slots = load_chain("paper").slots
    counts = {"mapping": 4, "spares": slots + 2}
    expected = [9] * 3 + [counts[lever] for lever in levers for _ in range(3)]
    assert env.action_space == spaces.MultiDiscrete(expected)
    check_env(env.unwrapped, skip_render_check=True)
    many = gymnasium.make_vec(ID, num_envs=2, chain="paper", levers=levers)
    assert many.single_action_space == env.action_space
    many.reset(seed=1)
    _, _, _, _, info = many.step(many.action_space.sample())
    assert info["action_mask"].shape == (2, 3, 9 + sum(counts[lever] for lever in levers))


def test_an_action_with_levers_is_the_decision_that_it_stands_for() -> None:
    env = ServiceChainEnv("paper", levers=BOTH)
    _, info = env.reset(seed=1)
    assert env.action_masks().shape == (sum(env.action_space.nvec),)
    _, _, _, _, info = env.step(np.array([2, 3, 2, 0, 3, 1, 0, 1, 5]))
    assert info["mapping"].tolist() == [KEEP, MappingKind.EVEN, MappingKind.ALGORITHM1]
    assert info["spares"].tolist() == [KEEP, 0, 4]
    decision = env.rollout.decision[0]
    assert decision.targets.tolist() == info["targets"].tolist()
    with pytest.raises(IndexError, match=r"0 \.\. 3"):
        env.step(np.array([2, 2, 2, 4, 0, 0, 0, 0, 0]))


def test_a_type_that_keeps_state_per_flow_keeps_its_mapping() -> None:
    chain = load_chain("six")
    stateful = list(chain.stateful)
    assert any(stateful)
    mask = lever_mask("mapping", chain)
    for kept, row in zip(stateful, mask.tolist(), strict=True):
        assert row == ([True, False, True, False] if kept else [True] * 4)
    even = np.full(chain.types, 1 + MappingKind.EVEN)
    assert (decode_lever(even, mask) == np.where(stateful, KEEP, MappingKind.EVEN)).all()


def test_no_more_spares_than_instances_are_allowed() -> None:
    chain = load_chain("paper").replace()
    mask = lever_mask("spares", chain)
    assert mask.sum(axis=1).tolist() == (chain.max_instances + 2).tolist()


def test_rows_choose_for_their_own_type() -> None:
    sb3 = pytest.importorskip("flexnfv.envs.sb3")
    task = Task.build("paper", levers=BOTH)
    rows, chains = sb3.RowVecEnv(task, 2, seed=1), sb3.ChainVecEnv(task, 2, seed=1)
    assert rows.action_space == spaces.MultiDiscrete([9, 4, task.chain.slots + 2])
    for env in (rows, chains):
        env.reset()
    per_row = np.random.default_rng(0).integers(0, 4, (6, 3))
    answers: list[Any] = [
        env.step(action)
        for env, action in (
            (rows, per_row),
            (chains, per_row.reshape(2, 3, 3).swapaxes(1, 2).reshape(2, 9)),
        )
    ]
    assert rows.rollout.decision == chains.rollout.decision
    np.testing.assert_array_equal(answers[0][0].reshape(2, -1), answers[1][0])
    assert rows.action_masks().shape == (6, 9 + 4 + task.chain.slots + 2)
    masks = rows.action_masks().reshape(2, 3, -1)
    flat = [masks[..., :9], masks[..., 9:13], masks[..., 13:]]
    expected = np.concatenate([part.reshape(2, -1) for part in flat], axis=1)
    np.testing.assert_array_equal(chains.action_masks(), expected)


@pytest.mark.parametrize(
    ("levers", "line"), [(("maping",), "did you mean 'mapping'"), (("spares",) * 2, "once")]
)
def test_an_unknown_lever_is_named(levers: tuple[str, ...], line: str) -> None:
    with pytest.raises(InputError, match=line):
        Task.build("paper", levers=levers)
