"""The two views for Stable-Baselines3."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from flexnfv.envs.rollout import Rollout
from flexnfv.envs.sb3 import ChainVecEnv, ReturnScale, RowVecEnv
from flexnfv.envs.task import Task
from flexnfv.observation import ObservationEncoder
from tests.envs.episodes import LENGTH, ramp_task

pytestmark = pytest.mark.filterwarnings("error")

VIEWS = (ChainVecEnv, RowVecEnv)
View = type[ChainVecEnv] | type[RowVecEnv]


def quiet(view: Any) -> npt.NDArray[np.int64]:
    """As many instances as the need, everywhere."""
    return np.full((view.num_envs, *view.action_space.shape), 2)


def actions(view: Any, steps: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(4)
    return rng.integers(0, 9, (steps, view.num_envs, *view.action_space.shape))


def play(view: Any, steps: int) -> list[Any]:
    answers = [view.reset()]
    for action in actions(view, steps):
        answers.extend(view.step(action)[:3])
    return answers


def equal(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("chain", ["paper", "single", "six", "two-paths", "edge"])
def test_a_view_keeps_its_spaces(view: View, chain: str) -> None:
    task = ramp_task(chain)
    env = view(task, 2, seed=1)
    per_chain = 1 if view is ChainVecEnv else task.chain.types
    assert env.num_envs == 2 * per_chain
    observation = env.reset()
    for step in range(2 * LENGTH):
        assert observation.shape == (env.num_envs, *env.observation_space.shape)
        assert all(env.observation_space.contains(row) for row in observation)
        observation, reward, done, infos = env.step(actions(env, 30)[step])
        assert reward.shape == done.shape == (env.num_envs,)
        assert reward.dtype == np.float32
        assert done.dtype == np.bool_
        assert len(infos) == env.num_envs


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_seed_gives_the_same_bytes(view: View) -> None:
    task = Task.build("edge", episode=10, drop_cost=(10.0, 1000.0))
    one, other = view(task, 3, seed=5), view(task, 3)
    other.seed(5)
    first = play(one, 30)
    assert equal(first, play(other, 30))
    one.seed(5)
    assert equal(first, play(one, 30))
    assert not equal(first, play(view(task, 3, seed=6), 30))


@pytest.mark.parametrize("view", VIEWS)
def test_a_pickled_view_continues_as_the_original(view: View) -> None:
    env = view(Task.build("edge", episode=10), 3, seed=5)
    unused = pickle.loads(pickle.dumps(env))
    assert equal(play(env, 7), play(unused, 7))
    copy = pickle.loads(pickle.dumps(env))
    for action in actions(env, 30):
        assert equal(list(env.step(action)[:3]), list(copy.step(action)[:3]))


@pytest.mark.parametrize("view", VIEWS)
def test_the_last_observation_of_an_episode_is_kept_and_the_next_one_begins(view: View) -> None:
    """SB3 resets in the same step: what it returns is the new episode's first observation."""
    task = ramp_task()
    env, twin = view(task, 2, seed=1), Rollout(task, 2)
    twin.seed(1)
    twin.reset(stagger=True)
    env.reset()
    ends = 0
    age = ObservationEncoder.names.index("demand_log_ratio_1")
    per_chain = env.num_envs // 2
    for _ in range(3 * LENGTH):
        observation, _, done, infos = env.step(quiet(env))
        _, ended = twin.step(np.full((2, 3), 2))
        last = twin.observation.copy()
        twin.reset(ended)
        assert np.array_equal(done, np.repeat(ended, per_chain))
        assert np.array_equal(observation, twin.observation.reshape(env.num_envs, -1))
        for row, (over, info) in enumerate(zip(done, infos, strict=True)):
            assert ("terminal_observation" in info) == over
            if over:
                ends += 1
                shown = info["terminal_observation"]
                assert np.array_equal(shown, last.reshape(env.num_envs, -1)[row])
                assert info["TimeLimit.truncated"]
                assert shown[age] < 0  # the past over the present, of a ramp that rises
                assert observation[row, age] == 0
    assert ends >= 4 * per_chain


def test_rows_are_the_types_of_every_chain_with_their_own_rewards() -> None:
    task = ramp_task("six")
    chains, rows = ChainVecEnv(task, 3, seed=1), RowVecEnv(task, 3, seed=1)
    assert np.array_equal(chains.reset().reshape(18, -1), rows.reset())
    for action in actions(chains, 25):
        joint, apart = chains.step(action), rows.step(action.reshape(-1))
        assert np.array_equal(joint[0].reshape(18, -1), apart[0])
        assert joint[1] == pytest.approx(apart[1].reshape(3, 6).sum(axis=1), rel=1e-5)
        assert np.array_equal(np.repeat(joint[2], 6), apart[2])


@pytest.mark.parametrize("view", VIEWS)
def test_masks_reach_every_row(view: View) -> None:
    env = view(ramp_task(), 2, seed=1)
    env.reset()
    masks = env.action_masks()
    assert masks.shape == (env.num_envs, 27 if view is ChainVecEnv else 9)
    assert masks.reshape(-1, 9).any(axis=1).all()
    by_row = env.env_method("action_masks", indices=[1])
    assert np.array_equal(by_row, masks[1:2])


@pytest.mark.parametrize("view", VIEWS)
def test_ppo_learns_through_the_usual_wrappers(view: View) -> None:
    env = VecNormalize(VecMonitor(view(ramp_task(), 4, seed=1)))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=1, seed=1, device="cpu")
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(16 * env.num_envs * 2)
    after = list(model.policy.parameters())
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert len(model.ep_info_buffer) > 0
    assert {episode["l"] for episode in model.ep_info_buffer} <= set(range(1, LENGTH))


@pytest.mark.parametrize("view", VIEWS)
def test_maskable_ppo_takes_no_forbidden_action(view: View) -> None:
    contrib = pytest.importorskip("sb3_contrib")
    env = view(ramp_task(), 4, seed=1)
    model = contrib.MaskablePPO(
        "MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=1, seed=1, device="cpu"
    )
    model.learn(16 * env.num_envs)
    observation = env.reset()
    masks = env.action_masks()
    action, _ = model.predict(observation, action_masks=masks)
    chosen = np.take_along_axis(masks.reshape(-1, 9), action.reshape(-1, 1), axis=1)
    assert not masks.all()
    assert chosen.all()


def test_returns_are_scaled_apart_for_cheap_and_dear_drops() -> None:
    task = ramp_task(drop_cost=(10.0, 10_000.0))
    scale = ReturnScale(task, 200, gamma=0.9)
    rng = np.random.default_rng(0)
    drop_cost = np.where(np.arange(200) < 100, 10.0, 10_000.0)
    ended = np.zeros(200, dtype=np.bool_)
    for _ in range(300):
        rewards = -rng.random((200, 3)) * drop_cost[:, None]
        scaled = scale(rewards, drop_cost, ended)
    assert scaled[:100].std() == pytest.approx(scaled[100:].std(), rel=0.2)
    assert rewards[:100].std() < rewards[100:].std() / 500
    spread = np.sqrt(scale.variance[[0, -1]])
    assert scaled[0] == pytest.approx(rewards[0] / spread[0])
    assert scaled[-1] == pytest.approx(rewards[-1] / spread[1])


def test_an_end_starts_the_discounted_return_anew() -> None:
    scale = ReturnScale(ramp_task(), 2, gamma=0.5)
    drop_cost = np.full(2, 1000.0)
    for ended in ([False, False], [False, True]):
        scale(np.ones((2, 3)), drop_cost, np.array(ended))
    assert scale.returns.tolist() == [[1.5] * 3, [0.0] * 3]
