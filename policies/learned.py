"""Learned: a trained network from a bundle, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.action import OFFSETS, choose
from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.errors import BackendError
from flexnfv.observation import ObservationEncoder, prepare
from flexnfv.parameters import check
from flexnfv.policies.bundle import INPUT, OUTPUT, read_bundle, refuse_other_chain
from flexnfv.policy import BasePolicy, Foreseen, State
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


class Learned(BasePolicy):
    """A trained policy: encodes a reading as in training, takes the action of highest logit.

    Args:
        bundle: path of a bundle (one ONNX file, see `flexnfv.policies.bundle`).
        drop_cost: cost of losing one interval's mean traffic, in core intervals; the bundle's own
            if not given. Higher keeps more instances. May be an array with one for each row of a
            batch.
        transfer: run it on chains of another shape than those that it was trained for.

    Raises:
        InputError: the bundle cannot be used, or the drop cost lies outside those it was trained
            for.
        ValueError: a drop cost that is not positive.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("drop_cost",)
    sweep: ClassVar[tuple[str, tuple[float, ...]]] = (
        "drop_cost",
        (10, 30, 100, 180, 300, 560, 1000, 1800, 3000, 10000, 30000),
    )

    def __init__(
        self, bundle: str | Path, drop_cost: float | None = None, transfer: bool = False
    ) -> None:
        self.bundle = Path(bundle)
        self.metadata, session = read_bundle(bundle)
        self._network = _Network(session)
        trained = self.metadata.drop_costs
        if drop_cost is not None:
            check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be positive")
            if trained and (np.min(drop_cost) < trained[0] or np.max(drop_cost) > trained[1]):
                raise ValueError(
                    f"drop_cost is {drop_cost}, the bundle knows {trained[0]:g} to {trained[1]:g}"
                )
        if not isinstance(transfer, bool):
            raise ValueError(f"transfer is {transfer!r}, it must be true or false")
        self.drop_cost: Any = self.metadata.drop_cost if drop_cost is None else drop_cost
        self.transfer = transfer

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the past readings.

        Raises:
            InputError: the bundle was trained for chains of another shape.
        """
        if not self.transfer:
            refuse_other_chain(self.metadata, chain, str(self.bundle))
        super().reset(chain, seed)
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
        rows = self._encoder.encode(reading, self.drop_cost)
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
            raise BackendError(f"{self.bundle}: the network's answer is not finite")
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
            raise ValueError(f"Learned keeps {', '.join(ObservationEncoder.state_names)}")
        if self._encoder is None or self._encoder.batch != state["age"].shape:
            self._encoder = ObservationEncoder(self.chain, state["age"].shape)
        self._encoder.restore_state(state)
