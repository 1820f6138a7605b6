"""The natively batched Gymnasium environment."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence as same
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import flexnfv.envs
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.envs.vector import ServiceChainVectorEnv
from flexnfv.errors import InputError
from flexnfv.observation import ObservationEncoder
from flexnfv.traces import TraceSet
from tests.envs.episodes import LENGTH, ramp

pytestmark = pytest.mark.filterwarnings("error")

FIXED = {"traces": TraceSet("ramps", (ramp(),)), "episode": LENGTH}


def play(env: Any, seed: int, steps: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    answers = [env.reset(seed=seed)]
    for _ in range(steps):
        answers.append(env.step(rng.integers(0, 9, env.action_space.shape)))
    return answers


def test_make_vec_gives_the_batched_environment() -> None:
    env = gymnasium.make_vec(flexnfv.envs.ID, num_envs=3, chain="six")
    assert isinstance(env.unwrapped, ServiceChainVectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert info["action_mask"].shape == (3, 6, 9)
    assert env.action_space.contains(env.action_space.sample())
    assert env.single_action_space.shape == (6,)


@pytest.mark.parametrize("chain", ["paper", "single", "two-paths", "edge"])
def test_spaces_are_those_of_gymnasiums_own_batch(chain: str) -> None:
    native = gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, chain=chain)
    sync = gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, vectorization_mode="sync", chain=chain)
    assert isinstance(sync, SyncVectorEnv)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space


def test_episodes_end_and_begin_as_in_gymnasiums_own_batch() -> None:
    native = gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, chain="paper", **FIXED)
    sync = SyncVectorEnv([lambda: ServiceChainEnv("paper", **FIXED)] * 2)
    for ours, theirs in zip(play(native, 1, 40), play(sync, 1, 40), strict=True):
        assert ours[0].shape == theirs[0].shape
        assert ours[0].dtype == theirs[0].dtype
        if len(ours) == 2:
            continue
        for mine, other in zip(ours[1:4], theirs[1:4], strict=True):
            assert mine.dtype == other.dtype
        assert np.array_equal(ours[2], theirs[2])
        assert np.array_equal(ours[3], theirs[3])
        assert np.array_equal(ours[1] == 0.0, theirs[1] == 0.0)
        shared = {key for key in ours[4] if not key.startswith("_")}
        assert shared <= set(theirs[4])


def test_the_step_after_an_end_ignores_its_action_and_returns_the_new_episode() -> None:
    env = gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, chain="paper", **FIXED)
    env.reset(seed=1)
    quiet, many = np.full((2, 3), 2), np.full((2, 3), 8)
    for step in range(1, LENGTH):
        last, _, terminated, truncated, _ = env.step(quiet)
        assert not terminated.any()
        assert truncated.tolist() == [step == LENGTH - 1] * 2
    copy = pickle.loads(pickle.dumps(env))
    first, reward, terminated, truncated, info = env.step(many)
    assert reward.tolist() == [0.0, 0.0]
    assert not terminated.any()
    assert not truncated.any()
    assert same(first, copy.step(quiet)[0])
    age = ObservationEncoder.names.index("demand_log_ratio_1")
    assert (first.reshape(2, 3, -1)[..., age] == 0).all()
    assert (last.reshape(2, 3, -1)[..., age] != 0).any()
    assert info["core_usage"].tolist() == [3.0, 3.0]
    assert (env.step(quiet)[1] < 0).all()


def test_rows_that_have_ended_leave_the_others_alone() -> None:
    """Two episodes out of step: each row goes on as it would beside any other."""
    env = ServiceChainVectorEnv(3, "paper", **FIXED)
    env.reset(seed=1)
    env.rollout.left[:] = [3, 5, 11]
    ends = np.array([env.step(np.full((3, 3), 2))[3] for _ in range(12)])
    assert np.flatnonzero(ends[:, 0]).tolist() == [2]
    assert np.flatnonzero(ends[:, 1]).tolist() == [4]
    assert np.flatnonzero(ends[:, 2]).tolist() == [10]


@pytest.mark.parametrize("chain", ["paper", "single", "six", "two-paths", "edge"])
def test_the_same_seed_gives_the_same_bytes(chain: str) -> None:
    options = {"num_envs": 3, "chain": chain, "episode": 16, "drop_cost": (10.0, 1000.0)}
    one, other = (gymnasium.make_vec(flexnfv.envs.ID, **options) for _ in range(2))
    first = play(one, 5, 40)
    assert same(first, play(other, 5, 40))
    assert same(first, play(one, 5, 40))
    assert not same(first[0][0], play(other, 6, 1)[0][0])


def test_a_reset_without_a_seed_goes_on_with_new_episodes() -> None:
    env = gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, chain="paper", episode=16)
    first = env.reset(seed=1)[0]
    assert not same(first, env.reset()[0])


def test_a_pickled_environment_continues_as_the_original() -> None:
    env = ServiceChainVectorEnv(3, "edge", episode=10)
    unused = pickle.loads(pickle.dumps(env))
    assert same(play(env, 3, 5), play(unused, 3, 5))
    copy = pickle.loads(pickle.dumps(env))
    for action in np.random.default_rng(0).integers(0, 9, (25, 3, 3)):
        assert same(env.step(action), copy.step(action))


def test_gymnasiums_statistics_wrapper_counts_the_episodes() -> None:
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec(flexnfv.envs.ID, num_envs=2, chain="paper", **FIXED)
    )
    env.reset(seed=1)
    total = np.zeros(2)
    for _ in range(LENGTH - 1):
        _, reward, _, _, info = env.step(np.full((2, 3), 2))
        total += reward
    assert info["episode"]["l"].tolist() == [LENGTH - 1] * 2
    assert info["episode"]["r"] == pytest.approx(total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "dpdk", "num_envs": 2}, "cannot be batched"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"render_mode": "rgb_array"}, "draws no pictures"),
        ({"chain": "papr"}, "paper"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ServiceChainVectorEnv(**options)


def test_a_batch_takes_no_given_trace() -> None:
    with pytest.raises(InputError, match="unknown reset option 'trace'"):
        ServiceChainVectorEnv(2, "single").reset(options={"trace": ramp()})
