"""Two views of the batched environment for Stable-Baselines3.

`ChainVecEnv` gives one observation and one action vector per chain. `RowVecEnv` makes every NF type
of every chain a row of its own, with its own reward and its neighbours' features, so that
unmodified algorithms learn one policy for chains of any length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from flexnfv.backend import Backend
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.task import Task

FloatArray = npt.NDArray[np.float64]


class _RolloutVecEnv(VecEnv):
    """What both views share: SB3's same-step auto-reset over a `Rollout`."""

    rows_per_chain: int
    render_mode: str | None = None

    def __init__(
        self,
        task: Task,
        chains: int,
        *,
        seed: int | None,
        backend: Backend | None,
        **model_options: Any,
    ) -> None:
        self.task = task
        self.rollout = Rollout(task, chains, backend, **model_options)
        self.rollout.seed(seed)
        choices = len(task.row_choices)
        self.actions = np.zeros((chains, choices * task.chain.types), dtype=np.int64)

    def _rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array [B, T, ...] in this view's rows."""
        raise NotImplementedError

    def _chains(self, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Actions of this view's rows as those of chains, [B, (1 + levers) * T]."""
        raise NotImplementedError

    def _masks(self) -> npt.NDArray[np.bool_]:
        """Allowed choices in this view's rows."""
        raise NotImplementedError

    def _rewards(self, values: FloatArray, ended: npt.NDArray[np.bool_]) -> FloatArray:
        """Rewards [B, T] in this view's rows."""
        raise NotImplementedError

    def reset(self) -> VecEnvObs:
        """Start every episode; their ends are spread over one episode's length."""
        self.rollout.reset(stagger=True)
        return self._rows(self.rollout.observation)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self.actions = self._chains(np.asarray(actions, dtype=np.int64))

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and reset what ended: its last observation is in `terminal_observation`."""
        values, ended = self.rollout.step(self.actions)
        rewards = self._rewards(values, ended)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        dones = np.repeat(ended, self.rows_per_chain)
        if ended.any():
            last = self._rows(self.rollout.observation)
            for row in np.flatnonzero(dones).tolist():
                infos[row] = {
                    "terminal_observation": last[row].copy(),
                    "TimeLimit.truncated": True,
                }
                if why := self.rollout.why.get(row // self.rows_per_chain):
                    infos[row]["reason"] = why
            self.rollout.reset(ended)
        observation = self._rows(self.rollout.observation)
        return observation, rewards.astype(np.float32), dones, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Allowed actions per row (MaskablePPO's convention)."""
        return np.array(self._masks())

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the stream of episodes from the next reset on."""
        self.rollout.seed(seed)
        return [seed] * self.num_envs

    def close(self) -> None:
        """Free the backend."""
        self.rollout.backend.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The view's own attribute, once per row asked for."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set the view's own attribute."""
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the view's method once; a result with one row per environment is cut up."""
        result = getattr(self, method_name)(*method_args, **method_kwargs)
        rows = list(self._get_indices(indices))
        if isinstance(result, np.ndarray) and result.shape[:1] == (self.num_envs,):
            return [result[row] for row in rows]
        return [result] * len(rows)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No environment is wrapped."""
        return [False] * len(list(self._get_indices(indices)))


class ChainVecEnv(_RolloutVecEnv):
    """One environment per chain: observation [T * F], action [T], reward summed over the types.

    Args:
        task: the scaling task.
        chains: number of chains, the `num_envs` of this view.
        seed: of the episodes.
        backend: what the chains run on; None: the model.
        model_options: handed to the model.
    """

    def __init__(
        self,
        task: Task,
        chains: int,
        *,
        seed: int | None = None,
        backend: Backend | None = None,
        **model_options: Any,
    ) -> None:
        super().__init__(task, chains, seed=seed, backend=backend, **model_options)
        self.rows_per_chain = 1
        VecEnv.__init__(self, chains, *task.chain_spaces())

    def _rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(values.shape[0], -1)

    def _chains(self, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return actions.reshape(self.actions.shape)

    def _masks(self) -> npt.NDArray[np.bool_]:
        return self.task.chain_mask(self.rollout.need)

    def _rewards(self, values: FloatArray, ended: npt.NDArray[np.bool_]) -> FloatArray:
        return np.asarray(values.sum(axis=-1))


class RowVecEnv(_RolloutVecEnv):
    """One environment per NF type of every chain: observation [F], one choice, its own reward.

    Rewards are divided by the running standard deviation of the discounted return of their
    drop_cost's group, so that no drop cost drowns the others in a shared critic.

    Args:
        task: the scaling task.
        chains: number of chains, B; `num_envs` is B * T.
        seed: of the episodes.
        gamma: discount of the return that scales the rewards; None: no scaling.
        backend: what the chains run on; None: the model.
        model_options: handed to the model.
    """

    def __init__(
        self,
        task: Task,
        chains: int,
        *,
        seed: int | None = None,
        gamma: float | None = None,
        backend: Backend | None = None,
        **model_options: Any,
    ) -> None:
        super().__init__(task, chains, seed=seed, backend=backend, **model_options)
        self.rows_per_chain = task.chain.types
        self.scale = None if gamma is None else ReturnScale(task, chains, gamma)
        VecEnv.__init__(self, chains * task.chain.types, *task.row_spaces())

    def _rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(self.num_envs, *values.shape[2:])

    def _chains(self, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        rows = actions.reshape(len(self.actions), self.rows_per_chain, -1)
        return rows.swapaxes(1, 2).reshape(self.actions.shape)

    def _masks(self) -> npt.NDArray[np.bool_]:
        return self._rows(self.task.mask_of(self.rollout.need))

    def _rewards(self, values: FloatArray, ended: npt.NDArray[np.bool_]) -> FloatArray:
        if self.scale is not None:
            values = self.scale(values, self.rollout.drop_cost, ended)
        return values.reshape(-1)


class ReturnScale:
    """Divides rewards by the running spread of their drop cost group's discounted return.

    Args:
        task: its drop_cost range is cut into `groups` of equal ratio.
        chains: number of chains, B.
        gamma: discount of the return.
        groups: number of groups.
    """

    def __init__(self, task: Task, chains: int, gamma: float, groups: int = 12) -> None:
        low, high = np.log(task.drop_cost)
        self.edges = np.linspace(low, high, groups + 1)[1:-1]
        self.gamma = gamma
        self.returns = np.zeros((chains, task.chain.types))
        self.count = np.full(groups, 1e-4)
        self.mean = np.zeros(groups)
        self.variance = np.ones(groups)

    def __call__(
        self, rewards: FloatArray, drop_cost: FloatArray, ended: npt.NDArray[np.bool_]
    ) -> FloatArray:
        """Scaled rewards, [B, T]; `ended` [B] starts the return of those rows anew."""
        group = np.searchsorted(self.edges, np.log(drop_cost))
        self.returns = self.returns * self.gamma + rewards
        for g in np.unique(group):
            sample = self.returns[group == g]
            count, mean, variance = sample.size, sample.mean(), sample.var()
            total = self.count[g] + count
            delta = mean - self.mean[g]
            spread = self.variance[g] * self.count[g] + variance * count
            spread += delta * delta * self.count[g] * count / total
            self.mean[g] += delta * count / total
            self.variance[g] = spread / total
            self.count[g] = total
        self.returns[ended] = 0.0
        return np.asarray(rewards / np.sqrt(self.variance[group] + 1e-8)[:, None])
