"""What a grid runs on, by name: the calibrated model, the live dataplane, or a third party's.

A third-party package offers a backend under the entry-point group `flexnfv.backends`: a callable
that takes a `ServiceChain` and returns a `flexnfv.backend.Backend`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend, Description
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.suggest import known
from flexnfv.traces import Trace

GROUP: Final = "flexnfv.backends"
OURS: Final = {
    "model": "flexnfv.model:ModelBackend",
    "dpdk": "flexnfv.hw_backend.live:LiveBackend",
}

BackendFactory = Callable[[ServiceChain], Backend]


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
    one: BackendFactory
    batch: Callable[[ServiceChain, int], BatchBackend] | None = None
    parallel: bool = True


def third_party() -> dict[str, EntryPoint]:
    """Backends that other packages offer, by name; ours keep their names."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in OURS}


def find_backend(name: str) -> BackendKind:
    """The backend of that name.

    Raises:
        InputError: no such backend (the nearest is given), or it cannot be imported here.
    """
    offered = third_party()
    known(name, [*OURS, *offered], kind="backend")
    target = OURS.get(name)
    try:
        if target is None:
            return BackendKind(name, offered[name].load())
        module, _, attribute = target.partition(":")
        factory: BackendFactory = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise InputError(
            f"backend {name!r} is not available here ({error})",
            where="backend",
            fix="use the model, or build the dataplane with `flexnfv dataplane build`"
            if name == "dpdk"
            else "install what it needs",
        ) from error
    if name == "model":
        from flexnfv.evaluation.batch import ModelBatch

        return BackendKind(name, factory, batch=ModelBatch)
    return BackendKind(name, factory, parallel=name not in OURS)
