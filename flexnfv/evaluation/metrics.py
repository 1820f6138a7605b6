"""The measures of an episode.

Every measure is a ratio of two sums over intervals (`drop_rate` = lost / offered), so that measures
pool over traces and seeds without weights to argue about, and a bootstrap only has to add up
segments (see `flexnfv.evaluation.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.sums import QUANTITIES

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A ratio of two sums: `above` / `below`, both names of `QUANTITIES`.

    Attributes:
        title: heading in tables, with the unit that `factor` leads to.
        factor: from SI units to those of the heading.
        digits: decimals in tables.
    """

    above: str
    below: str
    title: str
    doc: str
    factor: float = 1.0
    digits: int = 2


MEASURES: Final[dict[str, Measure]] = {
    "drop_rate": Measure("lost", "offered", "drops %", "lost / offered packets", 100, 3),
    "throughput_pps": Measure("delivered", "time_s", "Mpps", "delivered packets/s", 1e-6, 3),
    "core_usage": Measure(
        "core_s", "time_s", "cores", "mean cores of running, launching and draining instances"
    ),
    "parked_cores": Measure("parked_core_s", "time_s", "parked", "mean cores of parked instances"),
    "cost": Measure(
        "cost_s", "time_s", "cost", "core usage + the chain's parked_weight x parked cores"
    ),
    "launches_per_min": Measure("launches", "minutes", "launches/min", "launches begun"),
    "reruns_per_min": Measure("reruns", "minutes", "reruns/min", "reruns commanded"),
    "blocks_per_min": Measure("blocks", "minutes", "blocks/min", "blocks commanded"),
    "flows_moved_per_min": Measure(
        "flows_moved", "minutes", "flows/min", "times that a flow's share changed instance"
    ),
    "reaction_s": Measure("reaction_s", "reactions", "reaction s", "mean time short of capacity"),
    "latency_s": Measure(
        "packet_latency_s", "delivered", "latency µs", "mean time in the chain", 1e6, 0
    ),
    "power_w": Measure("energy_j", "time_s", "power W", "mean power of all cores (estimate)", 1, 0),
    "decision_s": Measure("decision_s", "decisions", "decision µs", "time of a decision", 1e6, 1),
}
"""Every measure of the evaluation by its name (SI units)."""


def measures(table: FloatArray) -> dict[str, float]:
    """Every measure of a table of sums, pooled over all its rows.

    Args:
        table: sums, [..., Q].

    Returns:
        Measures in SI units; NaN where the denominator is 0 (no reaction happened).
    """
    total = table.reshape(-1, len(QUANTITIES)).sum(axis=0)
    return {name: float(ratio(total, name)) for name in MEASURES}


def ratio(table: FloatArray, measure: str) -> FloatArray:
    """One measure of each row of sums, [..., Q] to [...]; NaN where the denominator is 0."""
    above, below = columns_of(measure)
    return quotient(table[..., above], table[..., below])


def columns_of(measure: str) -> list[int]:
    """Places in `QUANTITIES` of a measure's numerator and denominator."""
    found = MEASURES[measure]
    return [QUANTITIES.index(found.above), QUANTITIES.index(found.below)]


def quotient(above: FloatArray, below: FloatArray) -> FloatArray:
    """`above / below`; NaN where `below` is 0."""
    return np.asarray(
        np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    )


def p95(reactions_s: Sequence[FloatArray]) -> float:
    """95th percentile of reaction lengths over several episodes; NaN without any."""
    lengths = np.concatenate([np.empty(0), *reactions_s])
    return float(np.percentile(lengths, 95)) if lengths.size else float("nan")
