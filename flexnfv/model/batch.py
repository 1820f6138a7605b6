"""A batch of environments on the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.flows import splitmix64
from flexnfv.mapping import BUCKETS, NO_INSTANCE
from flexnfv.model.constants import constants_of
from flexnfv.model.kernel import Figures, State, advance
from flexnfv.reading import Reading
from flexnfv.states import RUNNING, STOPPED, StartKind

IntArray = npt.NDArray[np.int64]

_QUEUES = ("queue", "queue_peak")


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
        self._options: dict[str, Any] = {
            "count_flows": count_flows,
            "death_rate_per_s": death_rate_per_s,
        }
        self._constants = constants_of(
            chain, substeps=substeps, rates_per_interval=1, **self._options
        )
        self._all = np.arange(batch)
        types, slots, paths = chain.types, chain.slots, len(chain.paths)
        self._length = np.zeros(batch, np.int64)
        self._state = State(
            stream=np.zeros(batch, np.uint64),
            interval=np.zeros(batch, np.int64),
            rates=np.zeros((batch, 1)),
            wait_s=np.full((batch, types, slots), np.inf),
            due_s=np.full(batch, np.inf),
            doomed=np.zeros((batch, types, slots), np.bool_),
            dying=np.zeros(batch, np.bool_),
            present=np.zeros((batch, types), np.int64),
            mix=np.zeros((batch, paths, types, slots)),
            transit=np.zeros((batch, paths, types)),
            load=np.zeros((batch, types, slots)),
            share=np.zeros((batch, types, slots)),
            unmapped=np.zeros((batch, types)),
            top_share=np.zeros((batch, types)),
            table=np.full((batch, types, BUCKETS), NO_INSTANCE, np.int16),
            row=np.zeros((batch, types, slots), np.int64),
            existing=np.zeros((batch, types), np.int64),
            throttled=np.zeros((batch, types, slots), np.bool_),
        )
        reading = Reading.zeros(types, slots, (batch,))
        reading.interval_s[...] = chain.interval_s
        reading.processing_ns[...] = chain.processing_ns[:, None]
        self._arrays = dict(reading.items())
        # A reading tells what lies in the rings of a dataplane at the calibration's scale.
        self._scale = chain.measured.scale
        self._queues = {} if self._scale == 1 else {n: self._arrays[n].copy() for n in _QUEUES}
        self._figures = self._make_figures()
        self._advance = advance if plain else compiled(advance)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_advance": None, "_figures": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._figures = self._make_figures()
        self._advance = advance if self.plain else compiled(advance)

    def _make_figures(self) -> Figures:
        """The kernel's view of the buffers; queues in the chain's own packets are its own."""
        arrays = self._arrays | self._queues
        return Figures(**{name: arrays[name] for name in Figures._fields})

    @property
    def remaining(self) -> IntArray:
        """Intervals that each environment's traffic still holds, [B]."""
        return self._length - self._state.interval

    @property
    def in_transit(self) -> npt.NDArray[np.float64]:
        """Packets between two NF types, [B]: only where paths pass two types in opposite orders."""
        return np.asarray(self._state.transit.sum(axis=(1, 2)))

    @property
    def reading(self) -> Reading:
        """The last reading of every environment."""
        reading = object.__new__(Reading)
        reading.__dict__.update(self._arrays)
        return reading

    def reset_envs(
        self,
        envs: npt.ArrayLike,
        rates: npt.ArrayLike,
        seeds: npt.ArrayLike | None = None,
        *,
        rates_per_interval: int = 1,
    ) -> Reading:
        """Start an episode in some environments.

        Its first interval runs with the chain's initial instances.

        Args:
            envs: their indices, [n], or a mask, bool [B].
            rates: offered packets/s, [n, intervals x rates_per_interval] (or without n: for all).
            seeds: of their randomness, whole numbers of at most 64 bits, [n]; drawn if None.
            rates_per_interval: rates that an interval holds, a divisor of `substeps`. All
                environments have the same: another number is possible only in a reset of all.

        Returns:
            The reading of all environments; those not reset keep their last one.

        Raises:
            ValueError: a shape or a number does not fit, or a rate is negative or not finite.
        """
        chosen = np.asarray(envs)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        if chosen.ndim != 1 or ((chosen < 0) | (chosen >= self.batch)).any():
            raise ValueError(f"environments must be indices of 0 to {self.batch - 1} or a mask")
        self._set_traffic(chosen, np.asarray(rates, np.float64), rates_per_interval)
        if seeds is None:
            words = self._seeds.integers(0, 1 << 64, chosen.size, np.uint64)
        else:
            words = np.asarray(seeds).astype(np.uint64)
        if words.shape != chosen.shape:
            raise ValueError(f"{words.size} seeds for {chosen.size} environments")
        s, f = self._state, self._figures
        s.stream[chosen] = [splitmix64(int(word), 1)[0] for word in words]
        for array in (s.interval, s.doomed, s.dying, s.mix, s.transit, s.load, s.throttled):
            array[chosen] = 0
        s.existing[chosen] = 0
        s.wait_s[chosen] = np.inf
        s.due_s[chosen] = np.inf
        s.table[chosen] = NO_INSTANCE
        for kept in (f.queue, f.parked_s):
            kept[chosen] = 0.0
        running = np.arange(self.chain.slots) < self.chain.initial_instances[:, None]
        f.state[chosen] = np.where(running, RUNNING, STOPPED)
        f.start_kind[chosen] = np.where(running, StartKind.PROCESS, StartKind.NONE)
        self._run(chosen, np.zeros((chosen.size, self.chain.types), np.int64), decide=False)
        return self.reading

    def step(self, targets: npt.ArrayLike, envs: npt.ArrayLike | None = None) -> Reading:
        """Apply targets and let one monitor interval pass.

        Args:
            targets: wanted instances (running plus launching), whole numbers, [B, T], or one row
                for each entry of `envs`.
            envs: indices of the environments to step, [n]; all if None.

        Returns:
            The reading of all environments; those not stepped keep their last one.

        Raises:
            ValueError: targets of a wrong shape, or an environment without traffic left.
        """
        chosen = self._all if envs is None else np.asarray(envs, np.int64)
        wanted = np.ascontiguousarray(targets, np.int64)
        if wanted.shape != (chosen.size, self.chain.types):
            raise ValueError(
                f"targets have shape {wanted.shape}, expected {(chosen.size, self.chain.types)}"
            )
        if (self._state.interval[chosen] >= self._length[chosen]).any():
            raise ValueError("an environment has no traffic left: reset it first")
        self._run(chosen, wanted, decide=True)
        return self.reading

    def kill(self, env: int, nf_type: int, slot: int) -> None:
        """Let an instance die; the next interval's reading shows it, and its ring's content lost.

        Raises:
            ValueError: there is no instance in that slot.
        """
        if self._figures.state[env, nf_type, slot] == STOPPED:
            raise ValueError(f"no instance in slot {slot} of NF type {nf_type}")
        self._state.doomed[env, nf_type, slot] = True
        self._state.dying[env] = True

    def _run(self, envs: IntArray, targets: IntArray, *, decide: bool) -> None:
        if self.plain:
            with np.errstate(over="ignore"):  # 64-bit words wrap
                self._advance(self._constants, self._state, self._figures, envs, targets, decide)
        else:
            self._advance(self._constants, self._state, self._figures, envs, targets, decide)
        for name, own in self._queues.items():
            # Not above the ring by a rounding error.
            self._arrays[name][envs] = np.minimum(
                own[envs] * self._scale, self.chain.ring_slots[:, None]
            )

    def _set_traffic(
        self, envs: IntArray, rates: npt.NDArray[np.float64], rates_per_interval: int
    ) -> None:
        if rates_per_interval < 1 or self.substeps % rates_per_interval:
            raise ValueError(
                f"{rates_per_interval} rates per interval do not divide {self.substeps} sub-steps"
            )
        if rates.ndim == 1:
            rates = np.broadcast_to(rates, (envs.size, rates.size))
        if rates.ndim != 2 or rates.shape[0] != envs.size:
            raise ValueError(f"rates have shape {rates.shape}, expected ({envs.size}, length)")
        if rates.shape[1] == 0 or rates.shape[1] % rates_per_interval:
            raise ValueError(f"{rates.shape[1]} rates are no whole number of intervals")
        if not np.isfinite(rates).all() or (rates < 0).any():
            raise ValueError("rates must be finite and not negative")
        if rates_per_interval != self._constants.rates_per_interval:
            if np.unique(envs).size != self.batch:
                raise ValueError("rates_per_interval must be the same for all environments")
            self._constants = self._constants._replace(rates_per_interval=rates_per_interval)
        held = self._state.rates
        if rates.shape[1] > held.shape[1]:
            grown = np.zeros((self.batch, rates.shape[1]))
            grown[:, : held.shape[1]] = held
            self._state = self._state._replace(rates=grown)
        self._state.rates[envs, : rates.shape[1]] = rates
        self._length[envs] = rates.shape[1] // rates_per_interval
