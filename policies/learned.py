"""Learned: a trained policy from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.parameters import check
from flexnfv.policies.actions import Actions
from flexnfv.policies.bundle import read_bundle, refuse_other_chain
from flexnfv.policies.exceedance import Exceedance, Knobs, Tuning
from flexnfv.policy import BasePolicy, Foreseen, State
from flexnfv.reading import Reading


class Learned(BasePolicy):
    """A trained policy of either kind (see `flexnfv.policies.bundle`).

    The numbers may be arrays with one for each chain of a batch.

    Args:
        bundle: path of a bundle, one ONNX file.
        drop_cost: cost of losing one interval's mean traffic, in core intervals; the bundle's own
            if not given. Higher keeps more instances.
        drop_target: share of the offered packets that may be lost, above 0 and at most 0.5; the
            policy then finds the drop cost by itself. Of bundles of exceedances.
        parked_weight: cost of a parked core relative to a running one, which decides how long
            instances stay parked; the chain's own if not given. Of bundles of exceedances.
        transfer: run it on chains of another shape than those that it was trained for. Of bundles
            of actions; one of exceedances serves any chain.

    Raises:
        InputError: the bundle cannot be used.
        ValueError: a drop cost that is not positive, or lies outside those that the bundle was
            trained for; a drop target and a drop cost at once; a parameter that the bundle's kind
            does not have.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("drop_cost", "drop_target", "parked_weight")
    sweep: ClassVar[tuple[str, tuple[float, ...]]] = (
        "drop_cost",
        (10, 30, 100, 180, 300, 560, 1000, 1800, 3000, 10000, 30000),
    )

    def __init__(
        self,
        bundle: str | Path,
        drop_cost: float | None = None,
        drop_target: float | None = None,
        parked_weight: float | None = None,
        transfer: bool = False,
    ) -> None:
        self.bundle = Path(bundle)
        self.metadata, session = read_bundle(bundle)
        if drop_cost is not None:
            self._check_cost(drop_cost)
        if not isinstance(transfer, bool):
            raise ValueError(f"transfer is {transfer!r}, it must be true or false")
        self.drop_cost: Any = self.metadata.drop_cost if drop_cost is None else drop_cost
        self.drop_target, self.parked_weight = drop_target, parked_weight
        self.transfer = transfer
        if self.metadata.kind == "exceedance":
            if drop_cost is not None and drop_target is not None:
                raise ValueError("it takes a drop_cost or a drop_target, not both")
            if drop_target is not None:
                share = "be a share above 0 and at most 0.5"
                check("drop_target", drop_target, lambda v: (v > 0) & (v <= 0.5), share)
            if parked_weight is not None:
                check(
                    "parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]"
                )
            self._decider: Actions | Exceedance = Exceedance(
                session, Tuning(**self.metadata.tuning), str(bundle)
            )
        else:
            for name, value in (("drop_target", drop_target), ("parked_weight", parked_weight)):
                if value is not None:
                    raise ValueError(f"{name}: a bundle of actions has no such knob")
            self._decider = Actions(session, str(bundle))

    def _check_cost(self, drop_cost: float) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be positive")
        trained = self.metadata.drop_costs
        if trained and (np.min(drop_cost) < trained[0] or np.max(drop_cost) > trained[1]):
            raise ValueError(
                f"drop_cost is {drop_cost}, the bundle knows {trained[0]:g} to {trained[1]:g}"
            )

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
        if isinstance(self._decider, Actions):
            self._decider.reset(chain, self.drop_cost)
            return
        weight = chain.parked_weight if self.parked_weight is None else self.parked_weight
        target = np.nan if self.drop_target is None else self.drop_target
        knobs = (np.asarray(knob, np.float64) for knob in (self.drop_cost, target, weight))
        self._decider.reset(chain, Knobs(*knobs))

    def decide(self, reading: Reading) -> Decision | npt.NDArray[np.int64]:
        """Targets, [..., T], or targets and spares.

        Raises:
            BackendError: the network's answer is not finite.
        """
        return self._decider.decide(reading)

    def export_state(self) -> State:
        """What is remembered of the traffic; empty before the first reading."""
        return self._decider.export_state()

    def restore_state(self, state: State) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: not a state of this policy on this chain.
        """
        self._decider.restore_state(state)
