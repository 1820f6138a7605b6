"""The environment for one chain: plain Gymnasium, over any backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from flexnfv.backend import Backend, timing_of
from flexnfv.backends import make_backend
from flexnfv.chain import ServiceChain
from flexnfv.envs.info import Info
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.task import Task, TraceSource
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.reward import TERMS
from flexnfv.traces import Trace

Observation = npt.NDArray[np.float32]
Action = npt.NDArray[np.int64]


class ServiceChainEnv(gymnasium.Env[Observation, Action]):
    """Decide, once per monitor interval, how many instances of each NF type should run.

    observation
        One row of features per NF type (`ObservationEncoder.names`), end to end: [T * F] float32,
        within -4 .. 4.
    action
        Per NF type an offset -2 .. +6 from the need ceil(demand / capacity), as an index 0 .. 8;
        with `action_mode="targets"` the number of instances less one: [T] int64. Levers add theirs.
    reward
        Minus cores, parked cores at their weight, and drop_cost x lost share of the mean traffic,
        summed over the types: float.
    terminated
        Never: scaling has no end.
    truncated
        The trace segment is over, or the backend or an NF of a live chain died (`info["reason"]`);
        the next reset starts it anew.
    info
        `action_mask` [T, A], `targets` and levers [T], `reading`, `trace`, `drop_cost`,
        `reward_terms`, `drop_rate`, `throughput_pps`, `core_usage`, `parked_cores`; `timing` of a
        live chain (`flexnfv.backend.Timing`).

    Args:
        chain: a shipped name, a path, or a `ServiceChain`.
        traces: a split name, trace names or paths, or a `TraceSet`; episodes are random segments.
        backend: `model`, `dpdk`, a third party's name, or a `Backend` of this chain.
        calibration: another calibration than the chain names.
        episode: intervals per episode.
        drop_cost: cost of losing one interval's mean traffic, in core intervals, or a range.
        action_mode: `offsets` or `targets`.
        weights: weights of the reward's terms.
        levers: those that are decided on, too: `mapping`, `spares` (`flexnfv.decision`). For each
            the action holds one more choice per NF type behind those of the targets: 0 to leave
            the type as it is, else the value plus 1.
        backend_options: handed to the backend.
        render_mode: None or `rgb_array`.

    `reset(options={"trace": Trace})` runs a given trace, whole, instead of a random segment.

    Raises:
        InputError: an unknown name or an option out of range.

    Example:
        >>> import gymnasium, flexnfv.envs
        >>> env = gymnasium.make("flexnfv/ServiceChain-v0", chain="paper")
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it as an instance attribute
        "render_modes": ["rgb_array"],
        "render_fps": 5,
    }

    def __init__(
        self,
        chain: str | Path | ServiceChain = "edge",
        traces: TraceSource = "train",
        *,
        backend: str | Backend = "model",
        backend_options: dict[str, Any] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise InputError(
                f"unknown render_mode {render_mode!r}",
                where="environment",
                fix="use 'rgb_array' or None",
            )
        self.render_mode = render_mode
        self.task = Task.build(chain, traces, **options)
        observation_space, self.action_space = self.task.chain_spaces()
        self.observation_space = cast("spaces.Space[Observation]", observation_space)
        self._made_from = (backend, backend_options or {}) if isinstance(backend, str) else None
        made = self._make() if isinstance(backend, str) else backend
        self.rollout = Rollout(self.task, 1, made)
        used = self.task.weights.used
        self._terms = [(name, place) for place, name in enumerate(TERMS) if name in used]
        self._running = False
        self._history: list[Reading] = []
        self._trace: Trace | None = None

    @property
    def backend(self) -> Backend:
        """What the chain runs on."""
        return self.rollout.backend

    def _make(self) -> Backend:
        assert self._made_from is not None
        name, options = self._made_from
        return make_backend(name, self.task.chain, **options)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; see the class for what comes back.

        Raises:
            InputError: an option other than `trace` and `drop_cost`.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        trace = given.pop("trace", None)
        drawn = float(self.task.draw_drop_cost(self.np_random, 1)[0])
        drop_cost = float(given.pop("drop_cost", drawn))
        if given:
            raise InputError(
                f"unknown reset option {next(iter(given))!r}",
                where="environment",
                fix="use 'trace' or 'drop_cost'",
            )
        if trace is None:
            trace = self.task.traces.sample(self.np_random, self.task.episode)
        if self.rollout.broken and self._made_from is not None:
            self.rollout.backend = self._make()
        self._trace = trace
        seeds = [int(self.np_random.integers(1 << 31))]
        self.rollout.begin(np.zeros(1, np.int64), [trace], np.array([drop_cost]), seeds)
        self._running = True
        self._history.clear()
        self._remember()
        return self._observation(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply an action for one monitor interval; see the class for what comes back."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        rollout = self.rollout
        value, ended = rollout.step(np.asarray(action, dtype=np.int64)[None])
        info = self._info()
        for name in ("targets", *self.task.levers):
            info[name] = getattr(rollout.decision, name)[0]
        if ended[0]:
            info["reason"] = rollout.why.get(0, "end of trace")
        if rollout.broken:
            self._running = False
            if self._made_from is not None:
                self.backend.close()
        else:
            self._remember()
            terms = rollout.found.terms[0].sum(axis=0).tolist()
            info["reward_terms"] = {name: terms[place] for name, place in self._terms}
        return self._observation(), float(value.sum()), False, bool(ended[0]), info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Allowed choices of the whole action space end to end (MaskablePPO's convention).

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._running:
            raise gymnasium.error.ResetNeeded("call reset() before action_masks()")
        return np.asarray(self.task.chain_mask(self.rollout.need)[0])

    def render(self) -> Any:
        """Load, queue, instances and drops of the episode so far, as an rgb array [H, W, 3]."""
        if self.render_mode is None:
            return None
        from flexnfv.envs.render import draw

        return draw(self._history, self.task.chain)

    def close(self) -> None:
        """Free the backend."""
        self.backend.close()

    def _remember(self) -> None:
        if self.render_mode is not None:
            self._history.append(self.rollout.reading[0].copy())

    def _observation(self) -> Observation:
        return self.rollout.observation.reshape(-1)

    def _info(self) -> dict[str, Any]:
        chain, rollout = self.task.chain, self.rollout
        reading = rollout.reading
        offered, dropped = float(reading.offered_pps[0]), float(reading.dropped_pps[0])
        given: dict[str, Any] = {
            "action_mask": self.task.mask_of(rollout.need)[0],
            "trace": self._trace.name if self._trace is not None else "",
            "drop_cost": float(rollout.drop_cost[0]),
            "drop_rate": dropped / offered if offered > 0 else 0.0,
            "throughput_pps": float(reading.delivered_pps[0]),
            "core_usage": float(rollout.found.cores[0]),
            "parked_cores": float(rollout.found.parked[0]),
        }
        if (timing := timing_of(self.backend)) is not None:
            given["timing"] = timing
        return Info(given, reading.to_bytes(), chain.types, chain.slots)
