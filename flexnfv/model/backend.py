"""The model as a backend: any number of chains at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Description
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision, check_decision
from flexnfv.errors import InputError
from flexnfv.model.batch import BatchModel
from flexnfv.reading import Reading
from flexnfv.traces import Trace

IntArray = npt.NDArray[np.int64]


class ModelBackend:
    """Chains on the calibrated model (`flexnfv.backend.Backend`).

    Traffic that varies within an interval keeps its burstiness: the model is offered a rate per
    sub-step where the trace is finer than the interval, a rate per interval otherwise.

    Args:
        chain: the chain.
        substeps, count_flows, death_rate_per_s, plain: see `BatchModel`; flows are counted here
            unless told otherwise.
    """

    description: Description = Description("model", batch=None, deterministic=True)

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
        self.description = Description(
            "model", batch=None, machine=chain.measured.machine, deterministic=True
        )
        self._options = {
            "substeps": substeps,
            "count_flows": count_flows,
            "death_rate_per_s": death_rate_per_s,
            "plain": plain,
        }
        self.model = BatchModel(chain, 1, **self._options)  # type: ignore[arg-type]

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        """Start episodes."""
        interval_s = self.chain.interval_s
        given: list[Trace] = []
        for trace in traces:
            if trace is None:
                raise InputError(
                    "the model needs a trace",
                    where="reset",
                    fix="give one; only a live chain has none",
                )
            if trace.duration_s < 2 * interval_s * (1 - 1e-9):
                raise InputError(
                    f"the trace lasts {trace.duration_s:g} s, less than two intervals of "
                    f"{interval_s:g} s",
                    where=f"trace {trace.name!r}",
                    fix="use a longer trace or a chain with a shorter interval",
                )
            given.append(trace)
        if rows is None and len(given) != self.model.batch:
            self.model = BatchModel(self.chain, len(given), **self._options)  # type: ignore[arg-type]
        finer = any(trace.step_s < interval_s * (1 - 1e-9) for trace in given)
        per_interval = self.model.substeps if finer else 1
        series = [trace.rates(interval_s / per_interval) for trace in given]
        lengths = np.array([rates.size // per_interval for rates in series])
        padded = np.zeros((len(given), int(lengths.max()) * per_interval))
        for row, rates in enumerate(series):
            padded[row, : lengths[row] * per_interval] = rates[: lengths[row] * per_interval]
        chosen = np.arange(len(given)) if rows is None else rows
        words = None
        if seeds is not None and None not in seeds:
            words = np.array([int(seed or 0) % (1 << 64) for seed in seeds], np.uint64)
        self.model.reset_envs(chosen, padded, words, rates_per_interval=per_interval)
        self.model._length[chosen] = lengths
        return self.model.reading

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        """One interval."""
        count = self.model.batch if rows is None else len(rows)
        try:
            wanted = check_decision(decision, (count, self.chain.types))
            self.model.step(wanted.targets, rows)
        except ValueError as error:
            raise InputError(str(error), where="step") from error
        return self.model.reading

    @property
    def remaining(self) -> IntArray:
        """Intervals left."""
        return self.model.remaining

    def kill(self, nf_type: int, slot: int, row: int = 0) -> None:
        """Let an instance die."""
        self.model.kill(row, nf_type, slot)

    def close(self) -> None:
        """Nothing to free."""
