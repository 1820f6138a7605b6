"""A park timeout inside a policy: which parked instances a decision keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import KEEP, Decision
from flexnfv.parameters import check, per_type
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING

IntArray = npt.NDArray[np.int64]


def check_park_timeout(park_timeout: Any) -> None:
    """See to it that a park timeout is none, or a number of intervals or more of them.

    Raises:
        ValueError: it is not above 0.
    """
    if park_timeout is not None:
        check("park_timeout", park_timeout, lambda v: v > 0, "be above 0, in intervals, or none")


def decision(
    targets: IntArray, reading: Reading, chain: ServiceChain, park_timeout: Any
) -> Decision | IntArray:
    """The decision for these targets that stops what has been parked for too long.

    Args:
        targets: wanted instances, [..., T].
        reading: that they were decided from.
        chain: that is decided for.
        park_timeout: intervals that a parked instance is kept, one number or an array [B]; none or
            infinite: for ever.

    Returns:
        The targets alone without a timeout, else with the lever `spares`.
    """
    if park_timeout is None:
        return targets
    return Decision(targets, spares=fresh_spares(targets, reading, chain, park_timeout))


def fresh_spares(
    targets: IntArray, reading: Reading, chain: ServiceChain, park_timeout: Any
) -> IntArray:
    """Parked instances that are neither rerun nor over the timeout, or `KEEP` if none is over it.

    Beyond the spares the longest-parked are stopped (`flexnfv.scaling.plan`), so that exactly those
    go that the chain's own `park_timeout_s` would stop.

    Args, Returns: see `decision`; [..., T].
    """
    timeout_s = np.asarray(per_type(park_timeout) * chain.interval_s)[..., None]
    blocked = reading.state == BLOCKED
    over = blocked & (reading.parked_s >= timeout_s)
    if not over.any():
        return np.full(targets.shape, KEEP)
    wanted = np.clip(targets, chain.min_instances, chain.max_instances)
    missing = wanted - reading.running - reading.launching
    idle = blocked | (reading.state == DRAINING)
    # The plan reruns what is missing from the lowest slot on.
    left = blocked & (np.cumsum(idle, axis=-1) > missing[..., None])
    fresh = (left & ~over).sum(axis=-1)
    return np.where((left & over).any(axis=-1), fresh, KEEP)
