"""Actions: a network that is trained to act picks, for every NF type, an offset from its need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flexnfv.action import OFFSETS, choose
from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.errors import BackendError
from flexnfv.observation import ObservationEncoder, prepare
from flexnfv.policies.bundle import INPUT, OUTPUT
from flexnfv.policy import State
from flexnfv.reading import Reading

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class _Network:
    """A bundle's network that keeps its input and output where they are, which saves time."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._rows = self._logits = np.empty((0, 0), np.float32)

    def __call__(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits [N, A] of rows [N, F], valid until the next call."""
        if rows.shape != self._rows.shape:
            self._bind(np.empty(rows.shape, np.float32))
        self._rows[...] = rows
        self._session.run_with_iobinding(self._binding)
        return self._logits

    def _bind(self, rows: npt.NDArray[np.float32]) -> None:
        logits = np.empty((len(rows), len(OFFSETS)), np.float32)
        memory = "cpu", 0, np.float32
        self._binding.bind_input(INPUT, *memory, rows.shape, rows.ctypes.data)
        self._binding.bind_output(OUTPUT, *memory, logits.shape, logits.ctypes.data)
        self._rows, self._logits = rows, logits


class Actions:
    """Encodes a reading as in training, takes the action of highest logit.

    Args:
        session: runs the network.
        where: the bundle, for messages.
    """

    def __init__(self, session: InferenceSession, where: str) -> None:
        self._network = _Network(session)
        self._where = where

    def reset(self, chain: ServiceChain, drop_cost: npt.ArrayLike) -> None:
        """Forget the past readings.

        Args:
            chain: to decide for.
            drop_cost: cost of losing one interval's mean traffic, core intervals; a number, or one
                for each chain of a batch.
        """
        self.chain = chain
        self._drop_cost = np.asarray(drop_cost, np.float64)
        # Compiled now: that takes longer than an interval may.
        prepare()
        self._choose(np.zeros((chain.types, len(OFFSETS)), np.float32), np.zeros(chain.types))
        self._encoder: ObservationEncoder | None = None

    def decide(self, reading: Reading) -> npt.NDArray[np.int64]:
        """Targets of the likeliest action of every NF type, [..., T].

        Raises:
            BackendError: the network's answer is not finite.
        """
        if self._encoder is None:
            self._encoder = ObservationEncoder(self.chain, reading.batch)
        rows = self._encoder.encode(reading, self._drop_cost)
        logits = self._network(rows.reshape(-1, rows.shape[-1]))
        return self._choose(logits, self._encoder.demand_pps)

    def _choose(
        self, logits: npt.NDArray[np.float32], demand: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        chain = self.chain
        targets = np.empty(demand.shape, np.int64)
        shape = (-1, chain.types)
        finite = compiled(choose)(
            logits.reshape(*shape, len(OFFSETS)),
            demand.reshape(shape),
            chain.capacity_pps,
            chain.min_instances,
            chain.max_instances,
            targets.reshape(shape),
        )
        if not finite:
            raise BackendError(f"{self._where}: the network's answer is not finite")
        return targets

    def export_state(self) -> State:
        """The encoder's window; empty before the first reading."""
        return {} if self._encoder is None else self._encoder.export_state()

    def restore_state(self, state: State) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: not a state of this policy on this chain.
        """
        if not state:
            self._encoder = None
            return
        if set(state) != set(ObservationEncoder.state_names):
            raise ValueError(f"the policy keeps {', '.join(ObservationEncoder.state_names)}")
        if self._encoder is None or self._encoder.batch != state["age"].shape:
            self._encoder = ObservationEncoder(self.chain, state["age"].shape)
        self._encoder.restore_state(state)
