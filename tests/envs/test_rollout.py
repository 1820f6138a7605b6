"""The batch under every view does what single environments do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flexnfv.envs.rollout import Rollout
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.envs.task import Task
from flexnfv.traces import Trace, TraceSet
from tests.envs.episodes import LENGTH, ramp, ramp_task


@pytest.mark.parametrize("chain", ["paper", "paper-reverse", "single", "six", "two-paths", "edge"])
@pytest.mark.parametrize("action_mode", ["offsets", "targets"])
def test_a_row_of_the_batch_is_the_single_environment(chain: str, action_mode: str) -> None:
    """Same rates, drop_cost, seed and actions: same observations, rewards, masks and end."""
    batch, length = 3, 20
    rng = np.random.default_rng(2)
    rates = rng.uniform(0, 12e6, (batch, length))
    drop_cost = np.array([10.0, 100.0, 1000.0])
    task = Task.build(chain, ramp(length), episode=length, action_mode=action_mode)
    actions = rng.integers(0, task.choices, (length - 1, batch, task.chain.types))

    singles = [
        ServiceChainEnv(chain, ramp(length), episode=length, action_mode=action_mode)
        for _ in range(batch)
    ]
    rollout = Rollout(task, batch)
    seeds = np.zeros(batch, dtype=np.uint64)
    first = []
    for row, env in enumerate(singles):
        options = {"trace": Trace("given", rates[row], 1.0), "drop_cost": drop_cost[row]}
        observation, _ = env.reset(seed=row, options=options)
        first.append(observation)
        twin = np.random.default_rng(0)
        twin.bit_generator.state = _after_reset(row)
        seeds[row] = twin.integers(1 << 31)
    traces = [Trace("given", each, 1.0) for each in rates]
    rollout.begin(np.arange(batch), traces, drop_cost, seeds.tolist())

    flat = rollout.observation.reshape(batch, -1)
    np.testing.assert_allclose(flat, first, rtol=0, atol=1e-6)
    for step in range(length - 1):
        values, ended = rollout.step(actions[step])
        mask = task.mask(rollout.reading)
        for row, env in enumerate(singles):
            observation, reward, _, truncated, info = env.step(actions[step, row])
            np.testing.assert_allclose(
                rollout.observation[row].reshape(-1), observation, rtol=0, atol=1e-6
            )
            assert values[row].sum() == pytest.approx(reward, rel=1e-12)
            assert ended[row] == truncated == (step == length - 2)
            assert np.array_equal(mask[row], info["action_mask"])


def _after_reset(seed: int) -> dict[str, object]:
    """State of an environment's generator when it draws the model's seed."""
    from gymnasium.utils.seeding import np_random

    rng, _ = np_random(seed)
    rng.uniform(0.0, 1.0, 1)  # the drop cost
    state: dict[str, object] = rng.bit_generator.state
    return state


def test_episodes_are_segments_of_the_traces_at_drawn_drop_costs() -> None:
    trace = Trace("steps", np.arange(1.0, 101.0) * 1e5, 1.0)
    task = Task(
        Task.build("paper").chain, TraceSet("one", (trace,)), episode=10, drop_cost=(10.0, 1000.0)
    )
    rollout = Rollout(task, 200)
    rollout.seed(3)
    rollout.reset()
    offered = rollout.reading.offered_pps / 1e5
    assert offered.min() >= 1
    assert offered.max() <= 91
    assert np.unique(offered.round()).size > 50
    assert rollout.mean_pps / 1e5 == pytest.approx(offered + 4.5)
    assert rollout.drop_cost.min() >= 10
    assert rollout.drop_cost.max() <= 1000
    assert np.median(rollout.drop_cost) == pytest.approx(100, rel=0.6)
    assert (rollout.left == 9).all()


def test_staggered_episodes_end_apart() -> None:
    rollout = Rollout(ramp_task(), 300)
    rollout.seed(1)
    rollout.reset(stagger=True)
    assert np.unique(rollout.left).tolist() == list(range(1, LENGTH))


def test_rows_left_alone_keep_their_reading() -> None:
    rollout = Rollout(ramp_task(), 2)
    rollout.reset()
    before = rollout.reading[0].copy()
    rollout.step(np.full((2, 3), 2), ended=np.array([True, False]))
    assert rollout.reading[0] == before
    assert rollout.reading[1] != before
    assert rollout.left.tolist() == [LENGTH - 1, LENGTH - 2]


def test_a_pickled_batch_continues_as_the_original() -> None:
    one = Rollout(Task.build("edge", episode=10), 4)
    one.seed(5)
    one.reset(stagger=True)
    other = pickle.loads(pickle.dumps(one))
    for action in np.random.default_rng(1).integers(0, 9, (30, 4, 3)):
        results = [rollout.step(action) for rollout in (one, other)]
        assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
        for rollout, (_, ended) in zip((one, other), results, strict=True):
            rollout.reset(ended)
        assert np.array_equal(one.observation, other.observation)
    assert one.statistics.take() == other.statistics.take()


def test_statistics_are_means_over_the_steps_since_they_were_taken() -> None:
    rollout = Rollout(ramp_task(drop_cost=100.0), 3)
    rollout.reset()
    assert rollout.statistics.take() == {}
    cores, offered, dropped, reward = [], [], [], []
    for _ in range(6):
        values, _ = rollout.step(np.full((3, 3), 1))
        cores.append(rollout.reading.core_usage(rollout.task.chain).sum(axis=-1).mean())
        offered.append(rollout.reading.offered_pps.mean())
        dropped.append(rollout.reading.dropped_pps.mean())
        reward.append(values.sum(axis=-1).mean())
    means = rollout.statistics.take()
    assert means["core_usage"] == pytest.approx(np.mean(cores))
    assert means["drop_rate"] == pytest.approx(np.sum(dropped) / np.sum(offered))
    assert means["drop_rate"] > 0
    terms = [value for name, value in means.items() if name.startswith("reward/")]
    assert sum(terms) == pytest.approx(np.mean(reward))
    assert rollout.statistics.take() == {}
