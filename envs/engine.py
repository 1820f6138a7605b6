"""A single backend in the batched model's words, so that every batched view runs on it too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend, timing_of
from flexnfv.errors import BackendError
from flexnfv.reading import FloatArray, IntArray, Reading
from flexnfv.traces import Trace


def death(backend: Backend, reading: Reading) -> str:
    """Why a reading ends an episode on a live chain: an instance died; "" if none did.

    What follows a fault of the machine is not the chain's dynamics. The model's deaths are: they
    come by a rate that somebody asked for.
    """
    if timing_of(backend) is None or not reading.deaths.any():
        return ""
    types = np.flatnonzero(reading.deaths.reshape(-1, backend.chain.types).any(axis=0))
    return f"an instance of {', '.join(backend.chain.nf_names[t] for t in types)} died"


class BackendEngine:
    """One backend as a batch of one: the two verbs of `BatchModel` that a rollout uses.

    A backend that dies ends the episode: the last reading stands, and the rollout's next reset
    starts it anew.

    Args:
        backend: what the episodes run on, at its own pace.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.died = ""
        self._reading: Reading

    @property
    def over(self) -> bool:
        """Whether the episode has no interval left: where steps came late on a live chain, sooner
        than after as many steps as it has intervals."""
        return bool(self.died) or self.backend.remaining == 0

    def reset_envs(
        self, envs: IntArray, rates: FloatArray, seeds: npt.NDArray[np.uint64]
    ) -> Reading:
        """Start an episode on rates [1, intervals]."""
        step_s = self.backend.chain.interval_s
        self.died = ""
        trace = Trace("episode", rates[0].copy(), step_s, source="a training episode")
        seed = int(seeds[0] % (1 << 31))
        self._reading = Reading.stack([self.backend.reset(trace, seed)])
        return self._reading

    def step(self, targets: IntArray, envs: IntArray | None = None) -> Reading:
        """Apply targets [1, T] (or [0, T]: nothing to step) and let one interval pass."""
        if len(targets) == 0:
            return self._reading
        try:
            self._reading = Reading.stack([self.backend.step(targets[0])])
            self.died = death(self.backend, self._reading)
        except BackendError as error:
            self.died = str(error)
        return self._reading
