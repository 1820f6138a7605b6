"""Batched views on a single backend: the same steps as the batched model, and its death."""

from __future__ import annotations

import numpy as np

from flexnfv.backend import Backend, Timing
from flexnfv.envs.engine import BackendEngine
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.sb3 import RowVecEnv
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.envs.task import Task
from flexnfv.errors import BackendError
from flexnfv.model import ModelBackend
from flexnfv.reading import Reading
from flexnfv.traces import Trace


def test_a_single_backend_steps_as_a_batch_of_one() -> None:
    task = Task.build("paper", episode=12)
    one = Rollout(task, 1, engine=BackendEngine(ModelBackend(task.chain)))
    batch = Rollout(task, 1)
    rates = np.linspace(1e6, 9e6, 12)[None]
    for rollout in (one, batch):
        rollout.begin(np.array([0]), rates, np.array([1000.0]), np.array([7], dtype=np.uint64))
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

    def step(self, targets: object) -> Reading:
        self.steps += 1
        if self.steps == 3:
            raise BackendError("the manager is gone")
        return super().step(targets)  # type: ignore[arg-type]


def test_a_backend_that_dies_ends_the_episode_and_the_next_one_goes_on() -> None:
    task = Task.build("paper", episode=12)
    backend: Backend = Mortal(task.chain)
    env = RowVecEnv(task, 1, seed=1, engine=BackendEngine(backend))
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
    timing = Timing(0, 0.0, 0)

    def step(self, targets: object) -> Reading:
        self.steps += 1
        if self.steps == 3:
            self.kill(1, 0)
        return super().step(targets)  # type: ignore[arg-type]


def test_an_nf_that_dies_ends_an_episode_on_a_live_chain_alone() -> None:
    task = Task.build("paper", episode=12)
    for backend in (OnAClock(task.chain), ModelBackend(task.chain, death_rate_per_s=100.0)):
        lives = not isinstance(backend, OnAClock)
        env = ServiceChainEnv(task.chain, backend=backend)
        env.reset(seed=1, options={"trace": Trace("steady", np.full(12, 1e6), 1.0)})
        ends = []
        for _ in range(4):
            _, _, terminated, truncated, info = env.step(np.full(3, 2))
            assert not terminated
            ends.append(truncated)
            assert (info.get("reason") == "an instance of NF2 died") == truncated
        assert ends == ([False] * 4 if lives else [False, False, True, False])
        engine = BackendEngine(OnAClock(task.chain))
        engine.reset_envs(np.array([0]), np.full((1, 12), 1e6), np.array([7], dtype=np.uint64))
        died = [bool(engine.step(np.ones((1, 3), np.int64)) and engine.died) for _ in range(3)]
        assert died == [False, False, True]


class Late(ModelBackend):
    """Two intervals pass with every step, as on a live chain whose steps come late."""

    def step(self, targets: object) -> Reading:
        reading = super().step(targets)  # type: ignore[arg-type]
        return super().step(targets) if self.remaining else reading  # type: ignore[arg-type]


def test_an_episode_is_over_when_its_traffic_is_however_few_steps_it_had() -> None:
    task = Task.build("paper", episode=12)
    rollout = Rollout(task, 1, engine=BackendEngine(Late(task.chain)))
    rates = np.full((1, 12), 1e6)
    rollout.begin(np.array([0]), rates, np.array([1000.0]), np.array([7], dtype=np.uint64))
    ends = [bool(rollout.step(np.zeros((1, 3), dtype=np.int64))[1][0]) for _ in range(6)]
    assert ends == [False] * 5 + [True]
