"""The plain Gymnasium environment."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as same

import flexnfv.envs
from flexnfv.backend import Backend, Description, IntArray
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import Decision
from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.errors import BackendError, InputError
from flexnfv.model import ModelBackend
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.envs.episodes import LENGTH, ramp, ramp_task

pytestmark = pytest.mark.filterwarnings("error")

CHAINS = ("paper", "single", "six", "two-paths", "edge")


def play(env: Any, seed: int, steps: int) -> list[Any]:
    """Everything that an environment answers to random actions."""
    env.action_space.seed(seed)
    answers = [env.reset(seed=seed)]
    for _ in range(steps):
        answers.append(env.step(env.action_space.sample()))
        if answers[-1][3]:
            answers.append(env.reset())
    return answers


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("action_mode", ["offsets", "targets"])
def test_gymnasium_finds_nothing_to_object_to(chain: str, action_mode: str) -> None:
    env = gymnasium.make(
        flexnfv.envs.ID, chain=chain, traces=ramp(), episode=LENGTH, action_mode=action_mode
    )
    check_env(env.unwrapped, skip_render_check=True)


def test_gymnasium_finds_nothing_to_object_to_when_rendering() -> None:
    env = gymnasium.make(
        flexnfv.envs.ID, chain="paper", traces=ramp(), episode=LENGTH, render_mode="rgb_array"
    )
    check_env(env.unwrapped)


def test_stable_baselines3_finds_nothing_to_object_to() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(gymnasium.make(flexnfv.envs.ID, chain="paper").unwrapped)


def test_the_id_is_found_through_its_module() -> None:
    code = (
        "import gymnasium\n"
        "env = gymnasium.make('flexnfv.envs:flexnfv/ServiceChain-v0', chain='single')\n"
        "print(env.reset(seed=1)[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "(51,)\n", done.stderr


def test_an_environment_is_made_from_a_config_dict_as_rllib_does() -> None:
    config = {"chain": "paper", "traces": "train", "episode": 16, "drop_cost": (10.0, 1000.0)}
    env = gymnasium.make("flexnfv.envs:flexnfv/ServiceChain-v0", **config)
    observation, info = env.reset(seed=4)
    assert env.observation_space.contains(observation)
    assert 10 <= info["drop_cost"] <= 1000


@pytest.mark.parametrize("chain", CHAINS)
def test_the_same_seed_gives_the_same_bytes(chain: str) -> None:
    one, other = (gymnasium.make(flexnfv.envs.ID, chain=chain, episode=20) for _ in range(2))
    first = play(one, 7, 45)
    assert same(first, play(other, 7, 45))
    assert same(first, play(one, 7, 45))
    assert not same(first[0][0], play(other, 8, 1)[0][0])


def test_a_pickled_environment_continues_as_the_original() -> None:
    env = gymnasium.make(flexnfv.envs.ID, chain="edge", episode=20).unwrapped
    unused = pickle.loads(pickle.dumps(env))
    assert same(play(env, 3, 5), play(unused, 3, 5))
    copy = pickle.loads(pickle.dumps(env))
    actions = np.random.default_rng(0).integers(0, 9, (14, 3))
    for action in actions:
        assert same(env.step(action), copy.step(action))
    assert same(env.reset(), copy.reset())


def test_an_episode_is_as_long_as_its_trace_and_says_why_it_ends() -> None:
    env = ServiceChainEnv("paper", ramp(), episode=LENGTH)
    env.reset(seed=1)
    flags = []
    for _ in range(LENGTH - 1):
        *_, terminated, truncated, info = env.step(np.full(3, 2))
        flags.append((terminated, truncated))
    assert flags == [(False, False)] * (LENGTH - 2) + [(False, True)]
    assert info["reason"] == "end of trace"


def test_a_given_trace_runs_whole_at_a_given_drop_cost() -> None:
    env = ServiceChainEnv("paper", "train", drop_cost=(10.0, 100.0))
    _, info = env.reset(seed=1, options={"trace": ramp(5), "drop_cost": 42.0})
    assert (info["trace"], info["drop_cost"]) == ("ramp", 42.0)
    assert float(info["reading"].offered_pps) == pytest.approx(2e6)
    truncated = [env.step(np.full(3, 2))[3] for _ in range(4)]
    assert truncated == [False, False, False, True]


def test_the_info_explains_the_reward() -> None:
    env = ServiceChainEnv("paper", ramp(), episode=LENGTH, drop_cost=500.0)
    env.reset(seed=1)
    for _ in range(5):
        _, reward, _, _, info = env.step(np.full(3, 2))
        assert sum(info["reward_terms"].values()) == pytest.approx(reward)
        assert info["reward_terms"]["cores"] == -info["core_usage"]
        assert info["targets"].shape == (3,)
        assert info["action_mask"].shape == (3, 9)
        assert info["throughput_pps"] == float(info["reading"].delivered_pps)
        assert np.array_equal(env.action_masks(), info["action_mask"].reshape(-1))


def test_an_observation_is_what_the_task_promises() -> None:
    env = ServiceChainEnv("edge")
    for answer in play(env, 2, 40):
        assert env.observation_space.contains(answer[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chain": "papr"}, "paper"),
        ({"traces": "trian"}, "train"),
        ({"backend": "modle"}, "model"),
        ({"backend_options": {"substep": 3}}, "substep"),
        ({"drop_cost": 0.0}, "drop_cost"),
        ({"drop_cost": (10.0, 1.0)}, "drop_cost"),
        ({"episode": 1}, "episode"),
        ({"action_mode": "offset"}, "action_mode"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ServiceChainEnv(**options)


def test_an_unknown_reset_option_is_named() -> None:
    with pytest.raises(InputError, match="unknown reset option 'trase'"):
        ServiceChainEnv("single", ramp()).reset(options={"trase": ramp()})


def test_a_step_needs_a_reset() -> None:
    env = ServiceChainEnv("single", ramp())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.array([2]))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.action_masks()


class Mortal:
    """A model that dies in every third step until it is reset."""

    description = Description("mortal")

    def __init__(self, chain: ServiceChain) -> None:
        self.chain = chain
        self.model = ModelBackend(chain)
        self.steps = self.closed = 0

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        self.steps = 0
        return self.model.reset(traces, seeds, rows)

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        self.steps += 1
        if self.steps == 3:
            raise BackendError("the manager is gone")
        return self.model.step(decision, rows)

    @property
    def remaining(self) -> IntArray:
        return self.model.remaining

    def close(self) -> None:
        self.closed += 1


def die(env: ServiceChainEnv) -> dict[str, Any]:
    """Step until the backend is dead; the last info."""
    env.step(np.full(3, 2))
    env.step(np.full(3, 2))
    observation, reward, terminated, truncated, info = env.step(np.full(3, 2))
    assert env.observation_space.contains(observation)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["reason"] == "the manager is gone"
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.full(3, 2))
    return info


def test_a_dead_backend_truncates_and_the_next_reset_restarts_it() -> None:
    backend: Backend = Mortal(load_chain("paper"))
    env = ServiceChainEnv("paper", ramp(), episode=LENGTH, backend=backend)
    env.reset(seed=1)
    die(env)
    env.reset()
    die(env)
    assert env.backend is backend


def test_a_dead_backend_made_by_name_is_closed_and_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Mortal] = []

    def make(name: str, chain: ServiceChain, **options: Any) -> Backend:
        assert (name, options) == ("mortal", {"scale": 2})
        made.append(Mortal(chain))
        return made[-1]

    monkeypatch.setattr("flexnfv.envs.service_chain.make_backend", make)
    env = ServiceChainEnv(
        "paper", ramp(), episode=LENGTH, backend="mortal", backend_options={"scale": 2}
    )
    env.reset(seed=1)
    die(env)
    assert [backend.closed for backend in made] == [1]
    env.reset()
    env.step(np.full(3, 2))
    assert [backend.closed for backend in made] == [1, 0]
    env.reset()
    assert len(made) == 2


def test_a_picture_shows_the_episode_so_far() -> None:
    env = ServiceChainEnv("paper", ramp(), episode=LENGTH, render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.shape == (720, 960, 3)
    for _ in range(6):
        env.step(np.full(3, 2))
    after = env.render()
    assert after.shape == before.shape
    assert (after != before).any()
    assert np.unique(after.reshape(-1, 3), axis=0).shape[0] > 20


def test_without_a_render_mode_no_readings_are_kept() -> None:
    env = ServiceChainEnv("paper", ramp_task().traces, episode=LENGTH)
    env.reset(seed=1)
    env.step(np.full(3, 2))
    assert env.render() is None
    assert env._history == []
