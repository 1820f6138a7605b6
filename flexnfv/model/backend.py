"""The model as a backend, for any number of chains at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
        seed: of the chains that `reset` gives no seed.

    Raises:
        ValueError: an argument is out of range.
    """

    description = Description("model", batch=None, deterministic=True)

    def __init__(
        self,
        chain: ServiceChain,
        *,
        substeps: int = 10,
        count_flows: bool = True,
        death_rate_per_s: float = 0.0,
        plain: bool = False,
        seed: int = 0,
    ) -> None:
        self.chain = chain
        self.description = replace(self.description, machine=chain.measured.machine)
        self._options: dict[str, Any] = {
            "substeps": substeps,
            "count_flows": count_flows,
            "death_rate_per_s": death_rate_per_s,
            "plain": plain,
        }
        self._rng = np.random.default_rng(seed)
        self.model = BatchModel(chain, 1, **self._options)
        self._shape = (1, chain.types)

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        """Start an episode on each trace (`Backend.reset`).

        Raises:
            InputError: a trace that is missing or shorter than two intervals.
        """
        count = len(traces)
        if rows is None and count != self.model.batch:
            self.model = BatchModel(self.chain, count, **self._options)
            self._shape = (count, self.chain.types)
        # Chains on one trace share its rates: an evaluation has thousands on a few.
        places: dict[int, int] = {}
        series: list[npt.NDArray[np.float64]] = []
        for trace in traces:
            if id(trace) not in places:
                places[id(trace)] = len(series)
                series.append(rates_of(trace, self.chain, self.model.substeps))
        of = np.array([places[id(trace)] for trace in traces])
        lengths = np.array([rates.size for rates in series])
        table = np.zeros((len(series), lengths.max()))
        for row, rates in zip(table, series, strict=True):
            row[: rates.size] = rates.ravel()
        shared = rows is None and len(series) < count
        self.model.reset_envs(
            np.arange(count) if rows is None else rows,
            table if shared else table[of],
            self._words([None] * count if seeds is None else seeds),
            rates_per_interval=np.array([rates.shape[1] for rates in series])[of],
            series=of if shared else None,
            lengths=lengths[of],
        )
        return self.model.reading

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        """Apply a decision, let one monitor interval pass, and read (`Backend.step`).

        Raises:
            InputError: a decision of a wrong shape or kind, or no traffic left.
        """
        shape = self._shape if rows is None else (len(rows), self.chain.types)
        try:
            return self.model.step(check_decision(decision, shape), rows)
        except ValueError as error:
            raise InputError(str(error), where="step") from error

    @property
    def remaining(self) -> IntArray:
        """Intervals that each chain's trace still holds, [B]."""
        return self.model.remaining

    def kill(self, nf_type: int, slot: int, row: int = 0) -> None:
        """Let an instance of a chain die (see `BatchModel.kill`)."""
        self.model.kill(row, nf_type, slot)

    def close(self) -> None:
        """Nothing to free."""

    def _words(self, seeds: Sequence[int | None]) -> npt.NDArray[np.uint64]:
        """Seeds as words of 64 bits, those that are None drawn."""
        return np.array(
            [
                self._rng.integers(0, 1 << 64, dtype=np.uint64)
                if seed is None
                else seed % (1 << 64)
                for seed in seeds
            ],
            np.uint64,
        )


def rates_of(trace: Trace | None, chain: ServiceChain, substeps: int) -> npt.NDArray[np.float64]:
    """What a chain is offered in each interval of a trace, packets/s, [N, R].

    R is 1, or the sub-steps of an interval where the trace is finer than it.

    Raises:
        InputError: a trace that is missing or shorter than two intervals.
    """
    if trace is None:
        raise InputError(
            "the model needs a trace", where="reset", fix="give one; only a live chain has none"
        )
    interval_s = chain.interval_s
    if trace.duration_s < 2 * interval_s * (1 - 1e-9):
        raise InputError(
            f"the trace lasts {trace.duration_s:g} s, less than two intervals of {interval_s:g} s",
            where=f"trace {trace.name!r}",
            fix="use a longer trace or a chain with a shorter interval",
        )
    finer = trace.step_s < interval_s * (1 - 1e-9)
    per_interval = substeps if finer else 1
    rates = trace.rates(interval_s / per_interval)
    return rates[: rates.size // per_interval * per_interval].reshape(-1, per_interval)
