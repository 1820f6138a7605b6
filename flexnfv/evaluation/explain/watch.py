"""Watch a learned policy decide: what it saw, expected and wanted at every decision."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.memory import (
    LEVEL,
    LEVELS,
    TRAFFIC,
    Levels,
    Memory,
    describe_levels,
    describe_traffic,
)
from flexnfv.policies.exceedance import Exceedance
from flexnfv.policies.learned import Learned
from flexnfv.policy import Foreseen, State, instance, policy_class
from flexnfv.provision import Prices
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class Decisions(NamedTuple):
    """What K decisions went by, and what they were; decision k is made for interval k + 1.

    Attributes:
        traffic, level: what the network was told, [K, F] and [K, LEVELS, G].
        predicted: how likely the demand was to exceed each level in the next interval, as the
            network saw it, [K, LEVELS].
        exceedance: the same as provided for, corrected, and for every horizon, [K, LEVELS, 1 + H].
        expected, seen: what the correction rests on, [K, BUCKETS].
        prices: that it was decided at, in the order of `flexnfv.provision.Prices`, [K, fields].
        states: running, parked and launching instances when it was decided, [K, 3, T].
        targets, spares: decided, [K, T].
    """

    traffic: FloatRows
    level: FloatRows
    predicted: FloatArray
    exceedance: FloatArray
    expected: FloatArray
    seen: FloatArray
    prices: FloatArray
    states: IntArray
    targets: IntArray
    spares: IntArray

    @property
    def drop_cost(self) -> FloatArray:
        """What losing one interval's mean traffic was taken to cost, core intervals, [K]."""
        return self.prices[:, Prices._fields.index("drop_cost")]

    def of(self, moments: IntArray) -> Decisions:
        """Some of them."""
        arrays: tuple[Any, ...] = self
        return Decisions(*(array[moments] for array in arrays))


class Watched(Learned):
    """A bundle of exceedances that keeps what each of its decisions went by.

    It decides for one chain, and exactly as the policy that it watches.
    """

    @classmethod
    def named(cls, spec: str) -> Self:
        """The policy of that spec, watched.

        Raises:
            InputError: no bundle, one of another kind, a bad parameter.
        """
        factory, given = policy_class(spec)
        if factory is not Learned:
            raise InputError(
                "is a rule, it has nothing learned to explain",
                where=f"policy {spec!r}",
                fix="name a bundle; a rule stands behind --against",
            )
        made = instance(cls, given, spec)
        assert isinstance(made, cls)
        if made.metadata.kind != "exceedance":
            raise InputError(
                f"is a bundle of {made.metadata.kind}, which states no expectation to explain",
                where=f"policy {spec!r}",
                fix="give one of train/exceedance.py, or pretrained/any-chain",
            )
        return made

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget what was watched, too."""
        super().reset(chain, seed, trace=trace)
        self._levels = Levels.of(chain)
        self._kept: list[dict[str, Any]] = []

    def decide(self, reading: Reading) -> Decision | npt.NDArray[np.int64]:
        """What the policy decides, which is kept."""
        decision = Decision.of(super().decide(reading))
        state = self.export_state()
        traffic, level = _described(state, self._levels)
        assert isinstance(self._decider, Exceedance)
        kept: dict[str, Any] = {
            name: state[name][0] for name in ("predicted", "exceedance", "expected", "seen")
        }
        self._kept.append(
            kept
            | {
                "traffic": traffic,
                "level": level,
                "prices": self._decider.paid[0].copy(),
                "states": np.stack(
                    [reading.running, reading.blocked + reading.draining, reading.launching]
                ).reshape(3, -1),
                "targets": decision.targets.reshape(-1).copy(),
                "spares": np.array(decision.spares).reshape(-1),
            }
        )
        return decision

    @property
    def decisions(self) -> Decisions:
        """What was kept since the last reset."""
        return Decisions(
            *(np.stack([kept[name] for kept in self._kept]) for name in Decisions._fields)
        )


def _described(state: State, levels: Levels) -> tuple[FloatRows, FloatRows]:
    """What the network is told of a link that is remembered so, [F] and [LEVELS, G]."""
    memory = Memory(*(state[name] for name in Memory._fields))
    traffic = np.empty(len(TRAFFIC), np.float32)
    level = np.empty((LEVELS, len(LEVEL)), np.float32)
    compiled(describe)(memory, levels, traffic, level)
    return traffic, level


def describe(memory: Memory, levels: Levels, traffic: FloatRows, level: FloatRows) -> None:
    """Fill in the features of the first link and its levels."""
    describe_traffic(memory, 0, levels, traffic)
    describe_levels(memory, 0, np.arange(LEVELS), levels, level)
