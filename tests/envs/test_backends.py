"""Views on any backend: the same steps as on the model, and its death."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import gymnasium
import numpy as np
import pytest

from flexnfv import backends
from flexnfv.backend import Backend, Description, IntArray, Timing
from flexnfv.chain import load_chain
from flexnfv.decision import Decision
from flexnfv.envs import ID
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.sb3 import RowVecEnv
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.envs.task import Task
from flexnfv.envs.vector import ServiceChainVectorEnv
from flexnfv.errors import BackendError, InputError
from flexnfv.model import ModelBackend
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.envs.toy import Toy


def steady() -> Trace:
    return Trace("steady", np.full(12, 1e6), 1.0)


def test_a_single_backend_steps_as_a_batch_of_one() -> None:
    task = Task.build("paper", episode=12)
    one = Rollout(task, 1, ModelBackend(task.chain))
    batch = Rollout(task, 1)
    ramp = Trace("ramp", np.linspace(1e6, 9e6, 12), 1.0)
    for rollout in (one, batch):
        rollout.begin(np.array([0]), [ramp], np.array([1000.0]), [7])
    for step in range(11):
        action = np.full((1, 3), step % 9)
        mine, ended = one.step(action)
        theirs, batch_ended = batch.step(action)
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
        np.testing.assert_allclose(one.observation, batch.observation, atol=1e-6)
        assert ended == batch_ended == (step == 10)


class Mortal(ModelBackend):
    """Dies in its third step."""

    steps = 0

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        self.steps += 1
        if self.steps == 3:
            raise BackendError("the manager is gone")
        return super().step(decision, rows)


def test_a_backend_that_dies_ends_the_episode_and_the_next_one_goes_on() -> None:
    task = Task.build("paper", episode=12)
    backend: Backend = Mortal(task.chain)
    env = RowVecEnv(task, 1, seed=1, backend=backend)
    env.reset()
    env.rollout.left[:] = 11
    ends = []
    for _ in range(6):
        _, _, dones, infos = env.step(np.zeros(3, dtype=np.int64))
        ends.append(bool(dones.all()))
        assert all("terminal_observation" in info for info in infos) == ends[-1]
        assert all(info.get("reason") == "the manager is gone" for info in infos) == ends[-1]
        env.rollout.left[:] = np.maximum(env.rollout.left, 2)
    assert ends == [False, False, True, False, False, False]


class OnAClock(ModelBackend):
    """A model that tells its timing, as live chains do; an NF dies in its third step."""

    steps = 0
    description = Description("clock", clocked=True)
    timing = Timing(0, 0.0, 0)

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        self.steps += 1
        if self.steps == 3:
            self.kill(1, 0)
        return super().step(decision, rows)


def test_an_nf_that_dies_ends_an_episode_on_a_live_chain_alone() -> None:
    task = Task.build("paper", episode=12)
    for backend in (OnAClock(task.chain), ModelBackend(task.chain, death_rate_per_s=100.0)):
        lives = not isinstance(backend, OnAClock)
        env = ServiceChainEnv(task.chain, backend=backend)
        env.reset(seed=1, options={"trace": steady()})
        ends = []
        for _ in range(4):
            _, _, terminated, truncated, info = env.step(np.full(3, 2))
            assert not terminated
            ends.append(truncated)
            assert (info.get("reason") == "an instance of NF2 died") == truncated
        assert ends == ([False] * 4 if lives else [False, False, True, False])
        rollout = Rollout(task, 1, OnAClock(task.chain))
        rollout.begin(np.array([0]), [steady()], np.array([1000.0]), [7])
        died = [bool(rollout.step(np.ones((1, 3), np.int64))[1][0]) for _ in range(3)]
        assert died == [False, False, True]


class Late(ModelBackend):
    """Two intervals pass with every step, as on a live chain whose steps come late."""

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        reading = super().step(decision, rows)
        return super().step(decision, rows) if self.remaining[0] else reading


def test_an_episode_is_over_when_its_traffic_is_however_few_steps_it_had() -> None:
    task = Task.build("paper", episode=12)
    rollout = Rollout(task, 1, Late(task.chain))
    rollout.begin(np.array([0]), [steady()], np.array([1000.0]), [7])
    ends = [bool(rollout.step(np.zeros((1, 3), dtype=np.int64))[1][0]) for _ in range(6)]
    assert ends == [False] * 5 + [True]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's package registers its simulator."""
    theirs = EntryPoint("toy", f"{Toy.__module__}:Toy", backends.GROUP)
    known = backends.registered() | {"toy": theirs}
    monkeypatch.setattr(backends, "registered", lambda: known)


@pytest.mark.usefixtures("toy")
def test_a_third_partys_simulator_is_batched_like_the_model() -> None:
    given = {"chain": "paper", "backend": "toy", "backend_options": {"boost": 2.0}, "episode": 6}
    many = gymnasium.make_vec(ID, num_envs=3, **given)
    observation, _ = many.reset(seed=1)
    assert observation.shape == many.observation_space.shape
    ends = [many.step(np.full((3, 3), 2))[3].tolist() for _ in range(12)]
    assert ends == ([[False] * 3] * 4 + [[True] * 3, [False] * 3]) * 2
    many.close()
    assert many.unwrapped.rollout.backend.closed

    one = gymnasium.make(ID, **given, disable_env_checker=True)
    one.reset(seed=1)
    step = one.step(np.full(3, 2))
    assert step[4]["throughput_pps"] == step[4]["reading"].delivered_pps > 0


@pytest.mark.usefixtures("toy")
def test_a_third_partys_simulator_trains_like_the_model() -> None:
    ppo = pytest.importorskip("stable_baselines3").PPO
    task = Task.build("paper", episode=8)
    env = RowVecEnv(task, 4, seed=1, gamma=0.9, backend=backends.make_backend("toy", task.chain))
    model = ppo("MlpPolicy", env, n_steps=16, batch_size=32, seed=1).learn(3 * 4 * 16)
    assert model.num_timesteps == 3 * 4 * 16
    assert env.rollout.statistics.take()["core_usage"] > 0


def test_a_backend_that_runs_one_chain_is_refused_for_more() -> None:
    chain = load_chain("paper")
    alone = OnAClock(chain)
    assert alone.description.batch == 1
    with pytest.raises(InputError, match="runs 1 at most"):
        ServiceChainVectorEnv(2, chain, backend=alone)
    env = ServiceChainVectorEnv(1, chain, backend=alone)
    env.reset(seed=1)
    assert env.step(np.full((1, 3), 2))[0].shape == env.observation_space.shape
