"""The model as a backend: a batch of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Description, check_targets
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.model.batch import BatchModel
from flexnfv.reading import Reading
from flexnfv.traces import Trace


class ModelBackend:
    """A chain on the calibrated model (`flexnfv.backend.Backend`).

    Traffic that varies within an interval keeps its burstiness: the model is offered a rate per
    sub-step where the trace is finer than the interval, a rate per interval otherwise.

    Args:
        chain: the chain.
        substeps, count_flows, death_rate_per_s, plain: see `BatchModel`; flows are counted here
            unless told otherwise.
    """

    def __init__(
        self,
        chain: ServiceChain,
        *,
        substeps: int = 10,
        count_flows: bool = True,
        death_rate_per_s: float = 0.0,
        plain: bool = False,
    ) -> None:
        self.chain = chain
        self.description = Description("model", machine=chain.measured.machine, deterministic=True)
        self.model = BatchModel(
            chain,
            1,
            substeps=substeps,
            count_flows=count_flows,
            death_rate_per_s=death_rate_per_s,
            plain=plain,
        )
        self._make_views()

    def _make_views(self) -> None:
        self._views = {name: array[0, ...] for name, array in self.model.reading.items()}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_views": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_views()

    def reset(self, trace: Trace | None, seed: int | None = None) -> Reading:
        """Start an episode on `trace`; the reading of its first interval.

        Raises:
            InputError: no trace, or one shorter than two intervals.
        """
        if trace is None:
            raise InputError(
                "the model needs a trace", where="reset", fix="give one; only a live chain has none"
            )
        interval_s = self.chain.interval_s
        if trace.duration_s < 2 * interval_s * (1 - 1e-9):
            raise InputError(
                f"the trace lasts {trace.duration_s:g} s, less than two intervals of "
                f"{interval_s:g} s",
                where=f"trace {trace.name!r}",
                fix="use a longer trace or a chain with a shorter interval",
            )
        finer = trace.step_s < interval_s * (1 - 1e-9)
        per_interval = self.model.substeps if finer else 1
        rates = trace.rates(interval_s / per_interval)
        whole = rates.size // per_interval * per_interval
        self.model.reset_envs(
            np.zeros(1, np.int64),
            rates[None, :whole],
            None if seed is None else np.array([seed % (1 << 64)], np.uint64),
            rates_per_interval=per_interval,
        )
        return self._reading()

    def step(self, targets: npt.ArrayLike) -> Reading:
        """Apply targets, whole numbers [T], let one monitor interval pass, and read.

        Raises:
            InputError: targets of a wrong shape or kind, or no traffic left.
        """
        try:
            self.model.step(check_targets(targets, (self.chain.types,))[None])
        except ValueError as error:
            raise InputError(str(error), where="step") from error
        return self._reading()

    @property
    def remaining(self) -> int:
        """Intervals that the trace still holds."""
        return int(self.model.remaining[0])

    def kill(self, nf_type: int, slot: int) -> None:
        """Let an instance die (see `BatchModel.kill`)."""
        self.model.kill(0, nf_type, slot)

    def close(self) -> None:
        """Nothing to free."""

    def _reading(self) -> Reading:
        reading = object.__new__(Reading)
        reading.__dict__.update(self._views)
        return reading
