"""What every view of the environment shares: chain, traces, actions, observations, rewards.

Nothing here steps anything; the views do, each in the words of its library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from flexnfv import action as actions
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import LEVERS, Decision
from flexnfv.errors import InputError
from flexnfv.interval import FloatArray
from flexnfv.observation import BOUND, ObservationEncoder
from flexnfv.reading import Reading
from flexnfv.reward import RewardWeights
from flexnfv.suggest import known
from flexnfv.traces import Trace, TraceSet, as_trace_set

ActionMode = Literal["offsets", "targets"]
TraceSource = str | Path | Trace | TraceSet | Sequence[str | Path | Trace]


@dataclass(frozen=True)
class Task:
    """One scaling task: a chain under a set of traces, with its actions and rewards.

    Attributes:
        chain: the service chain.
        traces: episodes are random segments of these.
        episode: intervals per episode, the first included.
        drop_cost: lowest and highest cost of losing one interval's mean traffic, in core
            intervals; each episode draws one, log-uniformly.
        action_mode: `offsets` from the need, or absolute `targets`.
        weights: of the reward's terms.
        levers: those that the actions decide on beside the targets.
    """

    chain: ServiceChain
    traces: TraceSet
    episode: int = 256
    drop_cost: tuple[float, float] = (1000.0, 1000.0)
    action_mode: ActionMode = "offsets"
    weights: RewardWeights = field(default_factory=RewardWeights)
    levers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.drop_cost
        if not 0 < low <= high or not np.isfinite(high):
            raise InputError(
                f"drop_cost {low!r} to {high!r}",
                where="environment",
                fix="give one number above 0, or (lowest, highest)",
            )
        if self.episode < 2:
            raise InputError(
                f"episode of {self.episode} intervals", where="environment", fix="use at least 2"
            )
        if self.action_mode not in ("offsets", "targets"):
            raise InputError(
                f"unknown action_mode {self.action_mode!r}",
                where="environment",
                fix="use 'offsets' or 'targets'",
            )
        object.__setattr__(self, "levers", tuple(self.levers))
        for lever in self.levers:
            known(lever, LEVERS, kind="lever")
        if len(set(self.levers)) < len(self.levers):
            raise InputError(f"{self.levers!r}", where="levers", fix="name each once")

    @classmethod
    def build(
        cls,
        chain: str | Path | ServiceChain = "edge",
        traces: TraceSource = "train",
        *,
        calibration: str | Path | None = None,
        drop_cost: float | tuple[float, float] = 1000.0,
        **options: Any,
    ) -> Task:
        """A task from what a user writes: names, paths, single numbers.

        Raises:
            InputError: an unknown chain, trace, split or option value.
        """
        loaded = load_chain(chain, calibration=calibration)
        span = drop_cost if isinstance(drop_cost, tuple) else (drop_cost, drop_cost)
        peak = None if isinstance(traces, TraceSet) else loaded.peak_pps
        return cls(
            chain=loaded,
            traces=as_trace_set(traces, step_s=loaded.interval_s, peak_pps=peak),
            drop_cost=(float(span[0]), float(span[1])),
            **options,
        )

    # --- spaces -------------------------------------------------------------------------------

    @property
    def choices(self) -> int:
        """Choices of a target per NF type, A."""
        return self.chain.slots if self.action_mode == "targets" else len(actions.OFFSETS)

    @property
    def row_choices(self) -> tuple[int, ...]:
        """Choices of everything that an action decides on for one NF type: targets, levers."""
        return (self.choices, *(mask.shape[1] for mask in self._lever_masks))

    @cached_property
    def _lever_masks(self) -> tuple[npt.NDArray[np.bool_], ...]:
        return tuple(actions.lever_mask(lever, self.chain) for lever in self.levers)

    @property
    def features(self) -> int:
        """Features per NF type, F."""
        return len(ObservationEncoder.names)

    def chain_spaces(self) -> tuple[spaces.Box, spaces.MultiDiscrete]:
        """Spaces of the whole chain: rows end to end [T * F], one choice per type [T].

        Behind these stand as many choices for each lever.
        """
        shape = (self.chain.types * self.features,)
        return (
            spaces.Box(-BOUND, BOUND, shape, np.float32),
            spaces.MultiDiscrete(np.repeat(self.row_choices, self.chain.types)),
        )

    def row_spaces(self) -> tuple[spaces.Box, spaces.Discrete | spaces.MultiDiscrete]:
        """Spaces of one NF type: its row [F], one choice, or one and one for each lever."""
        return (
            spaces.Box(-BOUND, BOUND, (self.features,), np.float32),
            spaces.MultiDiscrete(np.array(self.row_choices))
            if self.levers
            else spaces.Discrete(self.choices),
        )

    # --- translation --------------------------------------------------------------------------

    def decode(self, action: npt.NDArray[np.int64], need: npt.NDArray[np.int64]) -> Decision:
        """What an action stands for, of fields [..., T].

        Args:
            action: choices of the targets, then of each lever, end to end, [..., (1 + levers) * T].
            need: instances that the reading asks for, [..., T].

        Raises:
            IndexError: a choice that there is not.
        """
        parts = np.split(action, 1 + len(self.levers), axis=-1) if self.levers else [action]
        levers = {
            lever: actions.decode_lever(part, mask)
            for lever, part, mask in zip(self.levers, parts[1:], self._lever_masks, strict=True)
        }
        return Decision(self._targets(parts[0], need), **levers)

    def _targets(
        self, action: npt.NDArray[np.int64], need: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        if self.action_mode == "targets":
            return actions.decode_targets(action, self.chain)
        return actions.decode_offsets(action, need, self.chain)

    def mask(self, reading: Reading) -> npt.NDArray[np.bool_]:
        """`mask_of` the need that a reading asks for."""
        return self.mask_of(actions.need(reading, self.chain))

    def mask_of(self, need: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Actions that the types allow, a row each: of targets, then of every lever, [..., T, A].

        A is `choices`, or with levers the sum of `row_choices`.
        """
        mask = self._target_mask(need)
        if not self.levers:
            return mask
        spread = [np.broadcast_to(m, (*need.shape[:-1], *m.shape)) for m in self._lever_masks]
        return np.concatenate([mask, *spread], axis=-1)

    def chain_mask(self, need: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The same in the order of the chain's action space, end to end, [..., choices of all]."""
        places = np.cumsum(self.row_choices)[:-1]
        parts = np.split(self.mask_of(need), places, axis=-1)
        return np.concatenate([part.reshape(*need.shape[:-1], -1) for part in parts], axis=-1)

    def _target_mask(self, need: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if self.action_mode == "targets":
            mask = actions.target_mask(self.chain)
            return np.array(np.broadcast_to(mask, (*need.shape[:-1], *mask.shape)))
        return actions.offset_mask(need, self.chain)

    def draw_drop_cost(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Drop cost of `count` episodes, [count]."""
        low, high = np.log(self.drop_cost)
        return np.asarray(np.exp(rng.uniform(low, high, count)))
