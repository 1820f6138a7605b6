"""What a grid runs on: a backend by its name, and whether it takes batches of episodes.

Backends are found as `flexnfv.backends` says; a third-party one takes part by its entry point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend, Description
from flexnfv.backends import backend_class, make_backend
from flexnfv.chain import ServiceChain
from flexnfv.reading import Reading
from flexnfv.traces import Trace


class BatchBackend(Protocol):
    """Many episodes of one chain at once, all of the same length."""

    description: Description

    def reset(self, traces: Sequence[Trace], seeds: Sequence[int]) -> Reading:
        """Start one episode per trace and seed; the reading has batch shape [B]."""
        ...

    def step(self, targets: npt.NDArray[np.int64]) -> Reading:
        """Apply targets [B, T] and let one monitor interval pass."""
        ...


@dataclass(frozen=True)
class BackendKind:
    """A backend by its name.

    Attributes:
        one: makes a backend for single episodes.
        batch: makes a backend for a number of episodes at once, where there is one.
        parallel: whether several may run at a time.
    """

    name: str
    one: Callable[[ServiceChain], Backend]
    batch: Callable[[ServiceChain, int], BatchBackend] | None = None
    parallel: bool = True


def find_backend(name: str, options: Mapping[str, Any] | None = None) -> BackendKind:
    """The backend of that name, made with those options.

    Raises:
        InputError: no such backend (the nearest is given), or it cannot be imported here.
    """
    backend_class(name)
    given = dict(options or {})

    def one(chain: ServiceChain) -> Backend:
        return make_backend(name, chain, **given)

    if name == "model":
        from flexnfv.evaluation.batch import ModelBatch

        # Options are for single episodes: a model with some runs without batches.
        return BackendKind(name, one, batch=None if given else ModelBatch)
    # There is one dataplane on a machine.
    return BackendKind(name, one, parallel=name != "dpdk")
