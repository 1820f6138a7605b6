"""Static: as many instances as at the start, whatever the traffic does."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.parameters import check, per_type, whole_from_one
from flexnfv.policy import BasePolicy
from flexnfv.reading import Reading

IntArray = npt.NDArray[np.int64]


class Static(BasePolicy):
    """Never scales, as OpenNetVM does: it keeps what the first reading found.

    An instance that dies is asked for again.

    Args:
        instances: instances of every NF type (or an array with a number for each row of a batch);
            those that the first reading finds running or launching if not given.

    Raises:
        ValueError: fewer than one instance.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("instances",)
    state_names: ClassVar[tuple[str, ...]] = ("kept",)
    sweep: ClassVar[tuple[str, tuple[float, ...]]] = ("instances", tuple(range(1, 17)))

    kept: IntArray | None

    def __init__(self, instances: int | None = None) -> None:
        if instances is not None:
            check("instances", instances, whole_from_one, "be a whole number from 1")
        self.instances = instances

    def decide(self, reading: Reading) -> IntArray:
        """The same targets at every reading, [..., T]."""
        if self.kept is None:
            found = reading.running + reading.launching
            if self.instances is not None:
                limits = self.chain.min_instances, self.chain.max_instances
                found = np.broadcast_to(np.clip(per_type(self.instances), *limits), found.shape)
            self.kept = np.maximum(found, 1).astype(np.int64)
        return self.kept.copy()
