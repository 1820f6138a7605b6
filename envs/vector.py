"""The natively batched environment: `gymnasium.make_vec("flexnfv/ServiceChain-v0", ...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from flexnfv.backend import Backend
from flexnfv.backends import description_of, make_backend, options_of
from flexnfv.chain import ServiceChain
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.task import Task, TraceSource
from flexnfv.errors import InputError

Observation = npt.NDArray[np.float32]
Action = npt.NDArray[np.int64]
Rewards = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class ServiceChainVectorEnv(VectorEnv[Observation, Action, Any]):
    """Many episodes of `ServiceChainEnv`, stepped together.

    Spaces, rewards and options are those of `ServiceChainEnv`; arrays have a leading [num_envs].
    Auto-reset is Gymnasium 1's next-step mode: the step after an episode's end ignores its action,
    resets it, and returns reward 0. The info holds `action_mask` [num_envs, T, A], and
    `drop_cost`, `drop_rate`, `throughput_pps`, `core_usage` and `parked_cores` [num_envs].

    Raises:
        InputError: as `ServiceChainEnv`, and for a backend that runs fewer chains at once, or a
            `render_mode`.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        num_envs: int = 1,
        chain: str | Path | ServiceChain = "edge",
        traces: TraceSource = "train",
        *,
        backend: str | Backend = "model",
        backend_options: dict[str, Any] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode is not None:
            raise InputError(
                f"render_mode is {render_mode!r}, but a batch draws no pictures",
                where="vector environment",
                fix="use gymnasium.make to render",
            )
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}", where="environment", fix="use at least 1")
        told = description_of(backend) if isinstance(backend, str) else backend.description
        if told.batch is not None and told.batch < num_envs:
            raise InputError(
                f"backend {told.name!r} cannot be batched to {num_envs}: it runs {told.batch} at "
                "most",
                where="environment",
                fix="use fewer num_envs, gymnasium.make for one, or backend='model'",
            )
        self.num_envs = num_envs
        self.task = Task.build(chain, traces, **options)
        if isinstance(backend, str):
            # No info tells of moved flows: they need not be counted.
            uncounted = {"count_flows": False} if "count_flows" in options_of(backend) else {}
            given = {**uncounted, **(backend_options or {})}
            backend = make_backend(backend, self.task.chain, **given)
        self.rollout = Rollout(self.task, num_envs, backend)
        self.single_observation_space, self.single_action_space = self.task.chain_spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every episode anew; a list of seeds counts by its first.

        Raises:
            InputError: any option: a batch draws its traces and drop costs.
        """
        if options:
            raise InputError(
                f"unknown reset option {next(iter(options))!r}",
                where="vector environment",
                fix="use gymnasium.make for a given trace or drop_cost",
            )
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first)
        if first is not None or not hasattr(self.rollout, "reading"):
            self.rollout.seed(int(self.np_random.integers(1 << 62)))
        self.rollout.reset()
        self._ended[:] = False
        return self._observation(), self._info()

    def step(self, actions: Action) -> tuple[Observation, Rewards, Flags, Flags, dict[str, Any]]:
        """Step every episode by one interval, or reset it where it ended in the last step."""
        begun = self._ended
        value, ended = self.rollout.step(np.asarray(actions, dtype=np.int64), begun)
        rewards = value.sum(axis=-1)
        if begun.any():
            self.rollout.reset(begun)
            rewards[begun] = 0.0
            ended = ended & ~begun
        self._ended = ended
        return (
            self._observation(),
            rewards,
            np.zeros(self.num_envs, dtype=np.bool_),
            ended.copy(),
            self._info(),
        )

    def close(self, **kwargs: Any) -> None:
        """Free the backend."""
        self.rollout.backend.close()

    def _observation(self) -> Observation:
        return self.rollout.observation.reshape(self.num_envs, -1)

    def _info(self) -> dict[str, Any]:
        reading, found = self.rollout.reading, self.rollout.found
        figures = {
            "action_mask": self.task.mask_of(self.rollout.need),
            "drop_cost": self.rollout.drop_cost.copy(),
            "drop_rate": reading.drop_rate,
            "throughput_pps": reading.delivered_pps.copy(),
            "core_usage": found.cores.copy(),
            "parked_cores": found.parked.copy(),
        }
        present = np.ones(self.num_envs, dtype=np.bool_)
        return figures | {f"_{name}": present for name in figures}
