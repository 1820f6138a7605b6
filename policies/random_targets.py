"""Random targets: the floor that every policy should stand above."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.policy import BasePolicy, Foreseen, State
from flexnfv.reading import Reading

_MASK64 = (1 << 64) - 1


class RandomTargets(BasePolicy):
    """Uniform targets within each NF type's limits, anew at every reading.

    Args:
        seed: used where `reset` is given none.
    """

    batched: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Restart the random stream."""
        super().reset(chain, seed)
        self._random = np.random.Generator(np.random.PCG64(self.seed if seed is None else seed))

    def decide(self, reading: Reading) -> npt.NDArray[np.int64]:
        """Uniform whole numbers from min_instances to max_instances, [..., T]."""
        low, high = self.chain.min_instances, self.chain.max_instances
        return self._random.integers(low, high, reading.running.shape, np.int64, endpoint=True)

    def export_state(self) -> State:
        """The generator's state as 64-bit words: state, increment, buffered half word, [6]."""
        state = self._random.bit_generator.state
        wide = (state["state"]["state"], state["state"]["inc"])
        words = [part for value in wide for part in (value >> 64, value & _MASK64)]
        words += [state["has_uint32"], state["uinteger"]]
        return {"pcg64": np.array(words, dtype=np.uint64)}

    def restore_state(self, state: State) -> None:
        """Continue the stream from an exported state.

        Raises:
            ValueError: not a state of this policy.
        """
        if set(state) != {"pcg64"} or state["pcg64"].shape != (6,):
            raise ValueError("Random keeps one state, pcg64 of shape (6,)")
        high, low, inc_high, inc_low, buffered, half = (int(word) for word in state["pcg64"])
        self._random.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
            "has_uint32": buffered,
            "uinteger": half,
        }
