"""Rewards: what one interval cost, per NF type and per term.

Each term is a small function of a reading that returns a cost per NF type, [..., T]. Costs count in
core intervals: one running core for one interval costs 1. The reward of a type is minus the
weighted sum of its terms, the reward of the chain the sum over its types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RewardWeights:
    """What each term weighs; `drops` is multiplied by the drop cost.

    Attributes:
        cores: per core interval of running, launching and draining instances.
        parked: per core interval of parked instances, on top of the chain's `parked_weight`.
        drops: per drop cost x share of the episode's mean traffic that was lost.
        launch: per launch.
        rerun: per rerun.
        energy: per core interval's energy at busy power.
    """

    cores: float = 1.0
    parked: float = 1.0
    drops: float = 1.0
    launch: float = 0.0
    rerun: float = 0.0
    energy: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not np.isfinite(value) or value < 0:
                raise InputError(
                    f"weight {name} is {value!r}", where="reward", fix="give a number of at least 0"
                )


def cores(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Cores of running, launching and draining instances, [..., T]."""
    return reading.core_usage(chain)


def parked(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Parked cores at the chain's parked weight, [..., T]."""
    return reading.parked_cores(chain) * chain.parked_weight


def drops(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Packets lost at the type, as a share of the episode's mean traffic, [..., T].

    What is shed at the entry counts for the first type of each path, by the path's share.
    """
    lost = reading.type_dropped_pps.copy()
    for path, share in zip(chain.paths, chain.path_shares, strict=True):
        lost[..., path[0]] += share * reading.shed_pps
    return np.asarray(lost / np.maximum(mean_pps, 1e-9)[..., None])


def launch(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Launches, [..., T]."""
    return np.asarray(reading.launches, dtype=np.float64)


def rerun(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Reruns, [..., T]."""
    return np.asarray(reading.reruns, dtype=np.float64)


def energy(reading: Reading, chain: ServiceChain, mean_pps: FloatArray) -> FloatArray:
    """Energy of the type's cores, relative to one busy core for one interval, [..., T].

    A core is busy for the share of time that its packets take, else it polls idly; parked ones
    draw parked power. The constants are the calibration's.
    """
    power = chain.measured.power
    if power.busy_w == 0:
        return np.zeros_like(reading.unmapped_pps)
    busy = np.minimum(reading.served_pps * reading.processing_ns * 1e-9, 1.0).sum(axis=-1)
    awake = (reading.running + reading.launching + reading.draining) * 1.0
    watts = (
        np.minimum(busy, awake) * (power.busy_w - power.idle_poll_w)
        + awake * power.idle_poll_w
        + reading.blocked * power.parked_w
    )
    return np.asarray(watts * chain.cores_per_instance / power.busy_w)


Term = Callable[[Reading, ServiceChain, FloatArray], FloatArray]
TERMS: dict[str, Term] = {
    "cores": cores,
    "parked": parked,
    "drops": drops,
    "launch": launch,
    "rerun": rerun,
    "energy": energy,
}


def reward(
    reading: Reading,
    chain: ServiceChain,
    mean_pps: npt.ArrayLike,
    drop_cost: npt.ArrayLike = 1000.0,
    weights: RewardWeights | None = None,
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Reward of each NF type for one interval, and the terms that it is the sum of.

    Args:
        reading: the interval's reading.
        chain: the chain that it is of.
        mean_pps: mean offered rate of the episode, packets/s, [...].
        drop_cost: cost of losing one interval's mean traffic, in core intervals, [...].
        weights: of the terms.

    Returns:
        Reward per NF type (never positive), [..., T]; the same by term, weighted, terms of weight 0
        left out.
    """
    scale = asdict(weights or RewardWeights())
    mean = np.asarray(mean_pps, dtype=np.float64)
    terms: dict[str, FloatArray] = {}
    for name, term in TERMS.items():
        if scale[name] == 0.0:
            continue
        cost = term(reading, chain, mean) * scale[name]
        if name == "drops":
            cost = cost * np.asarray(drop_cost, dtype=np.float64)[..., None]
        terms[name] = -cost
    total = np.zeros_like(reading.unmapped_pps)
    for value in terms.values():
        total = total + value
    return total, terms
