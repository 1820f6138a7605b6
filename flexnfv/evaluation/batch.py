"""The model for many episodes at once, with the readings that `ModelBackend` gives one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Description
from flexnfv.chain import ServiceChain
from flexnfv.model import BatchModel
from flexnfv.reading import Reading
from flexnfv.traces import Trace


class ModelBatch:
    """A batch of episodes on the calibrated model (`flexnfv.evaluation.backends.BatchBackend`).

    Args:
        chain: the chain.
        batch: number of episodes, B.
    """

    def __init__(self, chain: ServiceChain, batch: int) -> None:
        self.chain = chain
        self.description = Description("model", machine=chain.measured.machine, deterministic=True)
        self.model = BatchModel(chain, batch, count_flows=True)

    def reset(self, traces: Sequence[Trace], seeds: Sequence[int]) -> Reading:
        """Start one episode per trace and seed; the reading has batch shape [B].

        Raises:
            ValueError: the traces differ in intervals, or some are finer than the interval.
        """
        interval_s = self.chain.interval_s
        finer = {finer_than(trace, interval_s) for trace in traces}
        if len(finer) > 1:
            raise ValueError("traces finer than the interval need a batch of their own")
        # As `ModelBackend` does: a trace finer than the interval keeps its burstiness.
        per_interval = self.model.substeps if finer.pop() else 1
        series = [trace.rates(interval_s / per_interval) for trace in traces]
        whole = {len(rates) // per_interval * per_interval for rates in series}
        if len(whole) > 1:
            raise ValueError("traces of different lengths need batches of their own")
        length = whole.pop()
        return self.model.reset_envs(
            np.arange(len(traces)),
            np.stack([rates[:length] for rates in series]),
            np.array([seed % (1 << 64) for seed in seeds], np.uint64),
            rates_per_interval=per_interval,
        )

    def step(self, targets: npt.NDArray[np.int64]) -> Reading:
        """Apply targets [B, T] and let one monitor interval pass.

        Raises:
            ValueError: targets of a wrong shape, or no traffic left.
        """
        return self.model.step(targets)


def finer_than(trace: Trace, interval_s: float) -> bool:
    """Whether a trace has more than one sample per interval."""
    return trace.step_s < interval_s * (1 - 1e-9)
