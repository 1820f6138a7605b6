"""What happens beside PPO's own loop: figures, validation, checkpoints, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback

from flexnfv.envs.sb3 import RowVecEnv
from flexnfv.train.ordinal import Actor, OrdinalPolicy
from flexnfv.train.run import replace_text
from flexnfv.train.validation import Act, Score, Validation


def greedy(policy: OrdinalPolicy) -> Act:
    """The likeliest action of every row."""
    actor = Actor(policy)

    def act(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        with torch.no_grad():
            return np.asarray(actor(torch.from_numpy(rows)).argmax(dim=1).numpy())

    return act


class Figures(BaseCallback):
    """Reward terms, drop rate, core usage and throughput of every rollout, for TensorBoard."""

    def __init__(self, env: RowVecEnv) -> None:
        super().__init__()
        self.env = env

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        for name, value in self.env.rollout.statistics.take().items():
            self.logger.record(name if "/" in name else f"rollout/{name}", value)


class CriticFirst(BaseCallback):
    """Holds the actor still for the first rollouts: a warm-started actor needs a critic first.

    Args:
        rollouts: how many.
    """

    def __init__(self, rollouts: int) -> None:
        super().__init__()
        self.left = rollouts

    def _on_rollout_start(self) -> None:
        policy = self.model.policy
        assert isinstance(policy, OrdinalPolicy)
        for part in (policy.mlp_extractor.policy_net, policy.action_net):
            part.requires_grad_(self.left <= 0)
        self.left -= 1

    def _on_step(self) -> bool:
        return True


class KeepBest(BaseCallback):
    """Validates every so often and keeps the best policy, or always the last.

    Args:
        validation: the held-out episodes.
        drop_rate: the drop rate at which core usage is compared.
        every: rows of experience between two validations.
        keep: called with the score of every new best.
        best: score of the best so far (cores at `drop_rate`).
        last: keep whatever is judged last: what is learnt on a live chain cannot be seen on the
            model that validates.
    """

    def __init__(
        self,
        validation: Validation,
        drop_rate: float,
        every: int,
        keep: Callable[[Score, float], None],
        best: float = float("inf"),
        last: bool = False,
    ) -> None:
        super().__init__()
        self.validation = validation
        self.drop_rate = drop_rate
        self.every = every
        self.keep = keep
        self.best = best
        self.last = last
        self._next = 0

    def judge(self) -> None:
        """Validate now."""
        assert isinstance(self.model.policy, OrdinalPolicy)
        score = self.validation.run_actor(greedy(self.model.policy))
        cores = score.cores_at(self.drop_rate)
        self.logger.record("validation/cores_at_law_drops", cores)
        for drop_cost, used, lost in zip(
            self.validation.drop_costs, score.core_usage, score.drop_rate, strict=True
        ):
            self.logger.record(f"validation/cores_{drop_cost:.0f}", used)
            self.logger.record(f"validation/drop_rate_{drop_cost:.0f}", lost)
        if self.last or cores < self.best:
            self.best = cores
            self.keep(score, cores)

    def _on_training_start(self) -> None:
        self.judge()
        self._next = self.model.num_timesteps + self.every

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps >= self._next:
            self.judge()
            self._next += self.every

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.judge()
        self.logger.dump(self.model.num_timesteps)


class Checkpoints(BaseCallback):
    """Saves what `--resume` needs, every so many seconds and at the end.

    Args:
        folder: of the training seed.
        best: where the best score so far stands.
        seconds: between two checkpoints.
    """

    def __init__(self, folder: Path, best: KeepBest, seconds: float = 30.0) -> None:
        super().__init__()
        self.folder = folder
        self.best = best
        self.seconds = seconds
        self._last = time.monotonic()

    def save(self) -> None:
        """Save now."""
        temporary = self.folder / ".checkpoint.new.zip"
        self.model.save(temporary)
        temporary.replace(self.folder / "checkpoint.zip")
        state = {"rows": self.model.num_timesteps, "best": self.best.best}
        replace_text(self.folder / "progress.json", json.dumps(state) + "\n")
        self._last = time.monotonic()

    def _on_rollout_start(self) -> None:
        if time.monotonic() - self._last >= self.seconds:
            self.save()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.save()


class Deaths(BaseCallback):
    """Tells of every episode that ended because its backend died, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def _on_step(self) -> bool:
        reasons = {info["reason"] for info in self.locals["infos"] if "reason" in info}
        for reason in reasons:
            self.count += 1
            print(f"an episode ended early, the next starts anew: {reason}", file=sys.stderr)
        return True

    def _on_rollout_end(self) -> None:
        self.logger.record("rollout/deaths", self.count)


class Progress(BaseCallback):
    """Calls back with the rows done after every rollout."""

    def __init__(self, report: Callable[[int], None]) -> None:
        super().__init__()
        self.report = report

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.report(self.model.num_timesteps)
