"""What happens beside PPO's own loop: curves, validation, checkpoints, progress."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback

from flexnfv.envs.sb3 import RowVecEnv
from flexnfv.evaluation.episodes import Tick
from flexnfv.evaluation.progress import Begin
from flexnfv.files import replace_text
from flexnfv.train.export import Kept, keep, read_kept
from flexnfv.train.ordinal import Actor, OrdinalPolicy
from flexnfv.train.validation import Act, Validation


def greedy(policy: OrdinalPolicy) -> Act:
    """The likeliest action of every row."""
    actor = Actor(policy)

    def act(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        with torch.no_grad():
            return np.asarray(actor(torch.from_numpy(rows)).argmax(dim=1).numpy())

    return act


class Curves(BaseCallback):
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
    """Validates every so often and keeps the weights of the best policy, or always the last.

    Args:
        folder: of the training seed.
        validation: the held-out episodes.
        allowed: the drop rate of the law, at which core usage is compared.
        margin: the drop cost is chosen so that validation loses this share of it.
        every: rows of experience between two validations.
        last: keep whatever is judged last: what is learnt on a live chain cannot be seen on the
            model that validates.
        begin: begins the phase of a validation.

    Attributes:
        kept: what is kept so far; None: nothing.
    """

    def __init__(
        self,
        folder: Path,
        validation: Validation,
        *,
        allowed: float,
        margin: float,
        every: int,
        last: bool,
        begin: Begin,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.validation = validation
        self.allowed = allowed
        self.margin = margin
        self.every = every
        self.last = last
        self.begin = begin
        self.kept = read_kept(folder)
        self._next = 0

    def judge(self) -> None:
        """Validate now."""
        policy = self.model.policy
        assert isinstance(policy, OrdinalPolicy)
        with self.begin("validation", self.validation.intervals, stays=False) as tick:
            score = self.validation.run_actor(greedy(policy), tick)
        cores = score.cores_at(self.allowed)
        self.logger.record("validation/cores_at_law_drops", cores)
        for drop_cost, used, lost in zip(
            self.validation.drop_costs, score.core_usage, score.drop_rate, strict=True
        ):
            self.logger.record(f"validation/cores_{drop_cost:.0f}", used)
            self.logger.record(f"validation/drop_rate_{drop_cost:.0f}", lost)
        if self.last or self.kept is None or cores < self.kept.cores:
            drop_cost = score.drop_cost_for(self.allowed * self.margin, self.validation.drop_costs)
            self.kept = Kept(cores, drop_cost, self.model.num_timesteps)
            keep(policy, self.folder, self.kept)

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


class Checkpoint(BaseCallback):
    """Saves what `--resume` needs, every so many seconds and at the end.

    Args:
        folder: of the training seed.
        seconds: between two checkpoints.

    Attributes:
        path: of the model, in SB3's own format.
        rows: rows of experience that it had made when it was saved; 0: there is none.
    """

    def __init__(self, folder: Path, seconds: float = 30.0) -> None:
        super().__init__()
        self.folder = folder
        self.path = folder / "checkpoint.zip"
        self.seconds = seconds
        self.rows = 0
        if self._progress.exists():
            self.rows = json.loads(self._progress.read_text())["rows"]
        self._last = time.monotonic()

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.json"

    def save(self) -> None:
        """Save now."""
        temporary = self.folder / ".checkpoint.new.zip"
        self.model.save(temporary)
        temporary.replace(self.path)
        self.rows = self.model.num_timesteps
        replace_text(self._progress, json.dumps({"rows": self.rows}) + "\n")
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
    """Tells of the rows of every step.

    Args:
        tick: told how many rows were just done.
    """

    def __init__(self, tick: Tick) -> None:
        super().__init__()
        self.tick = tick

    def _on_step(self) -> bool:
        self.tick(self.training_env.num_envs)
        return True
