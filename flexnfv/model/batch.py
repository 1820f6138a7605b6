"""A batch of environments on the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import bound
from flexnfv.decision import FIELDS, KEEP, Decision
from flexnfv.flows import splitmix64
from flexnfv.model.arrays import new_scratch, new_state, outputs_of
from flexnfv.model.constants import constants_of
from flexnfv.model.kernel import advance
from flexnfv.reading import Reading
from flexnfv.states import RUNNING, STOPPED, StartKind

IntArray = npt.NDArray[np.int64]

_BOUND = ("_advance", "_outputs")
"""What a copy of a model makes anew: it belongs to the arrays of the one that it is a copy of."""
_ZERO_AT_RESET = (
    *("interval", "doomed", "dying", "queue", "mix", "transit", "load", "share", "throttled"),
    *("parked_at_s", "buckets", "held", "existing", "present"),
)
"""Arrays of the state that an episode starts with at zero."""


class BatchModel:
    """A batch of B chains on the calibrated model, each with traffic and randomness of its own.

    Readings are views of the model's buffers: valid until the next call, `copy()` what is kept.
    Every environment must be reset before its first step.

    Args:
        chain: the chain, T NF types of I slots.
        batch: number of environments, B.
        seed: of environments that `reset_envs` gives no seed.
        substeps: sub-steps per interval.
        count_flows: whether readings tell `flows_moved` (0 otherwise; counting costs time).
        death_rate_per_s: probability per second that an instance dies, 0 or more.
        plain: run the kernel as plain Python, for reading and debugging; the same bits, slowly.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        chain: ServiceChain,
        batch: int,
        *,
        seed: int = 0,
        substeps: int = 10,
        count_flows: bool = False,
        death_rate_per_s: float = 0.0,
        plain: bool = False,
    ) -> None:
        if batch < 1 or substeps < 1 or not 0.0 <= death_rate_per_s < np.inf:
            raise ValueError("batch and substeps must be positive, death_rate_per_s 0 or more")
        self.chain = chain
        self.batch = batch
        self.substeps = substeps
        self.plain = plain
        self._seeds = np.random.default_rng(seed)
        self._constants = constants_of(
            chain, substeps=substeps, count_flows=count_flows, death_rate_per_s=death_rate_per_s
        )
        self._all = np.arange(batch)
        self._keep = np.full((batch, chain.types), KEEP)
        self._state = new_state(chain, batch)
        reading = Reading.zeros(chain.types, chain.slots, (batch,))
        reading.interval_s[...] = chain.interval_s
        reading.processing_ns[...] = chain.processing_ns[:, None]
        reading.load_if_blocked[...] = np.inf
        self._arrays = dict(reading.items())
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _BOUND}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    def _bind(self) -> None:
        """Let the kernel know its arrays, whenever one of them is another."""
        self._outputs = outputs_of(self.reading)
        self._advance = bound(
            advance,
            *(self._constants, self._state, self._outputs, new_scratch(self.chain)),
            plain=self.plain,
            inline=True,
        )

    @property
    def remaining(self) -> IntArray:
        """Intervals that each environment's traffic still holds, [B]."""
        return self._state.intervals - self._state.interval

    @property
    def in_transit(self) -> npt.NDArray[np.float64]:
        """Packets between two NF types, [B]: only where paths pass two types in opposite orders."""
        return np.asarray(self._state.transit.sum(axis=(1, 2)))

    @property
    def reading(self) -> Reading:
        """The last reading of every environment."""
        return Reading.of(self._arrays)

    def reset_envs(
        self,
        envs: npt.ArrayLike,
        rates: npt.ArrayLike,
        seeds: npt.ArrayLike | None = None,
        *,
        rates_per_interval: npt.ArrayLike = 1,
        series: npt.ArrayLike | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> Reading:
        """Start an episode in some environments.

        Its first interval runs with the chain's initial instances.

        Args:
            envs: their indices, [n], or a mask, bool [B].
            rates: offered packets/s, [n, most] (or without n: for all); with `series`, [S, most].
            seeds: of their randomness, whole numbers of at most 64 bits, [n]; drawn if None.
            rates_per_interval: rates that an interval holds, divisors of `substeps`, [n] or one.
            series: the row of `rates` that each environment is offered, [n], so that many share
                one copy of a trace. The rates of all environments are replaced then, so that all
                must be reset. A later reset of some gives every environment a copy of its own.
            lengths: how many rates of its row each environment is offered, [n]; all if None.

        Returns:
            The reading of all environments; those not reset keep their last one.

        Raises:
            ValueError: a shape or a number does not fit, or a rate is negative or not finite.
        """
        chosen = self._chosen(envs)
        if seeds is None:
            words = self._seeds.integers(0, 1 << 64, chosen.size, np.uint64)
        else:
            words = np.asarray(seeds).astype(np.uint64)
        if words.shape != chosen.shape:
            raise ValueError(f"{words.size} seeds for {chosen.size} environments")
        self._set_traffic(
            chosen,
            np.asarray(rates, np.float64),
            _per_env("rates_per_interval", rates_per_interval, chosen),
            None if series is None else _per_env("series", series, chosen),
            None if lengths is None else _per_env("lengths", lengths, chosen),
        )
        s, o, chain = self._state, self._outputs, self.chain
        s.stream[chosen] = [splitmix64(int(word), 1)[0] for word in words]
        for array in _ZERO_AT_RESET:
            getattr(s, array)[chosen] = 0
        for array in ("wait_s", "due_s"):
            getattr(s, array)[chosen] = np.inf
        for output in o:
            output[chosen] = 0
        o.load_if_blocked[chosen] = np.inf
        running = np.arange(chain.slots) < chain.initial_instances[:, None]
        o.state[chosen] = np.where(running, RUNNING, STOPPED)
        o.start_kind[chosen] = np.where(running, StartKind.PROCESS, StartKind.NONE)
        o.mapping[chosen] = chain.mapping_kinds
        s.spread_by[chosen] = chain.mapping_kinds
        s.used[chosen] = chain.initial_instances
        nothing = self._keep[: chosen.size]
        self._run(chosen, [nothing for _ in FIELDS], decides=False)
        return self.reading

    def step(
        self, decision: Decision | npt.ArrayLike, envs: npt.ArrayLike | None = None
    ) -> Reading:
        """Apply a decision and let one monitor interval pass.

        Args:
            decision: whole numbers, [B, T] (targets alone, or with levers), or one row for each
                entry of `envs`.
            envs: indices of the environments to step, [n]; all if None.

        Returns:
            The reading of all environments; those not stepped keep their last one.

        Raises:
            ValueError: fields of a wrong shape, or an environment without traffic left.
        """
        chosen = self._all if envs is None else np.asarray(envs, np.int64)
        given = Decision.of(decision)
        fields = [self._field(name, getattr(given, name), chosen) for name in FIELDS]
        self._run(chosen, fields, decides=True)
        return self.reading

    def kill(self, env: int, nf_type: int, slot: int) -> None:
        """Let an instance die; the next interval's reading shows it, and its ring's content lost.

        Raises:
            ValueError: there is no instance in that slot.
        """
        if self._outputs.state[env, nf_type, slot] == STOPPED:
            raise ValueError(f"no instance in slot {slot} of NF type {nf_type}")
        self._state.doomed[env, nf_type, slot] = True
        self._state.dying[env] = True

    def _run(self, envs: IntArray, fields: Sequence[IntArray], *, decides: bool) -> None:
        """Advance environments; `fields` are those of a decision, [n, T] each, in their order."""
        arguments = envs, *fields, decides, 0, 1
        if self.plain:
            with np.errstate(over="ignore"):  # 64-bit words wrap
                done = self._advance(*arguments)
        else:
            done = self._advance(*arguments)
        if not done:
            raise ValueError("an environment has no traffic left: reset it first")

    def _field(self, name: str, values: npt.ArrayLike | None, envs: IntArray) -> IntArray:
        """One field of a decision as the kernel takes it, [n, T]."""
        shape = envs.size, self.chain.types
        if values is None:
            return self._keep[: envs.size]
        array = np.ascontiguousarray(values, np.int64)
        if array.shape != shape:
            raise ValueError(f"{name} have shape {array.shape}, expected {shape}")
        return array

    def _chosen(self, envs: npt.ArrayLike) -> IntArray:
        chosen = np.asarray(envs)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        if chosen.ndim != 1 or ((chosen < 0) | (chosen >= self.batch)).any():
            raise ValueError(f"environments must be indices of 0 to {self.batch - 1} or a mask")
        return chosen

    def _set_traffic(
        self,
        envs: IntArray,
        rates: npt.NDArray[np.float64],
        per_interval: IntArray,
        series: IntArray | None,
        lengths: IntArray | None,
    ) -> None:
        for number in np.unique(per_interval):
            if number < 1 or self.substeps % number:
                raise ValueError(
                    f"{number} rates per interval do not divide {self.substeps} sub-steps"
                )
        if rates.ndim == 1:
            rates = np.broadcast_to(rates, (envs.size if series is None else 1, rates.size))
        if rates.ndim != 2 or (series is None and rates.shape[0] != envs.size):
            raise ValueError(f"rates have shape {rates.shape}, expected ({envs.size}, length)")
        if not np.isfinite(rates).all() or (rates < 0).any():
            raise ValueError("rates must be finite and not negative")
        given = np.full(envs.size, rates.shape[1]) if lengths is None else lengths
        wrong = (given < 1) | (given > rates.shape[1]) | (given % per_interval > 0)
        if wrong.any():
            raise ValueError(f"{given[wrong][0]} rates are no whole number of intervals")
        if series is None:
            self._copy_rates(envs, rates)
        else:
            self._share_rates(envs, rates, series)
        self._state.intervals[envs] = given // per_interval
        self._state.rates_per_interval[envs] = per_interval

    def _share_rates(
        self, envs: IntArray, rates: npt.NDArray[np.float64], series: IntArray
    ) -> None:
        """Let environments share the rows of one table of rates."""
        if np.unique(envs).size != self.batch:
            raise ValueError("series need a reset of all environments")
        if ((series < 0) | (series >= len(rates))).any():
            raise ValueError(f"series must be rows of 0 to {len(rates) - 1}")
        self._state.series[envs] = series
        self._state = self._state._replace(rates=np.ascontiguousarray(rates))
        self._bind()

    def _copy_rates(self, envs: IntArray, rates: npt.NDArray[np.float64]) -> None:
        """Give environments rates of their own, in the row of their own number."""
        held, series = self._state.rates, self._state.series
        shared = len(held) != self.batch or (series != self._all).any()
        if shared or rates.shape[1] > held.shape[1]:
            grown = np.zeros((self.batch, max(held.shape[1], rates.shape[1])))
            if np.unique(envs).size < self.batch:
                grown[:, : held.shape[1]] = held[series]
            series[:] = self._all
            self._state = self._state._replace(rates=grown)
            self._bind()
        self._state.rates[envs, : rates.shape[1]] = rates


def _per_env(name: str, values: npt.ArrayLike, envs: IntArray) -> IntArray:
    """Whole numbers, one for each environment or one for all, as [n]."""
    array = np.asarray(values, np.int64)
    if array.shape not in ((), envs.shape):
        raise ValueError(f"{array.size} {name} for {envs.size} environments")
    return np.broadcast_to(array, envs.shape)
