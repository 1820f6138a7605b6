"""The measures of an episode.

Every figure is a ratio of two sums over intervals (`drop_rate` = lost / offered), so that figures
pool over traces and seeds without weights to argue about, and a bootstrap only has to add up
segments. An episode is cut into segments once; everything after works on their sums.

**Reaction time.** An interval is *short* if packets beyond 0.01 % of those offered were lost in
it, or if at its end the demand of some NF type is above what its running instances carry without
loss. A reaction is a run of consecutive short intervals, from the start of the first to the end of
the last: the time from the rise of demand (or the first losses) until running capacity covers
demand again. Its resolution is one interval. One that the episode's end cuts off counts with the
length seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.records import Episode

FloatArray = npt.NDArray[np.float64]

SHORT_DROP_RATE: Final = 1e-4
"""Share of lost packets above which an interval counts as short: 0.01 %, the claim's own margin."""

SEGMENTS: Final = 8
"""Segments that an episode is cut into for the bootstrap, if it is long enough."""
SEGMENT_INTERVALS: Final = 16
"""Fewest intervals of a segment: scaling's own memory must lie within one."""

QUANTITIES: Final[tuple[str, ...]] = (
    "time_s",
    "offered",
    "delivered",
    "lost",
    "core_s",
    "parked_core_s",
    "cost_s",
    "minutes",
    "launches",
    "reruns",
    "blocks",
    "flows_moved",
    "reactions",
    "reaction_s",
    "packet_latency_s",
    "energy_j",
    "decisions",
    "decision_s",
)
"""What is summed over the intervals of a segment."""


@dataclass(frozen=True)
class Figure:
    """One measure: `above` / `below`, both names of `QUANTITIES`.

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


FIGURES: Final[dict[str, Figure]] = {
    "drop_rate": Figure("lost", "offered", "drops %", "lost / offered packets", 100, 3),
    "throughput_pps": Figure("delivered", "time_s", "Mpps", "delivered packets/s", 1e-6, 3),
    "core_usage": Figure(
        "core_s", "time_s", "cores", "mean cores of running, launching and draining instances"
    ),
    "parked_cores": Figure("parked_core_s", "time_s", "parked", "mean cores of parked instances"),
    "cost": Figure(
        "cost_s", "time_s", "cost", "core usage + the chain's parked_weight x parked cores"
    ),
    "launches_per_min": Figure("launches", "minutes", "launches/min", "launches begun"),
    "reruns_per_min": Figure("reruns", "minutes", "reruns/min", "reruns commanded"),
    "blocks_per_min": Figure("blocks", "minutes", "blocks/min", "blocks commanded"),
    "flows_moved_per_min": Figure(
        "flows_moved", "minutes", "flows/min", "times that a flow's share changed instance"
    ),
    "reaction_s": Figure("reaction_s", "reactions", "reaction s", "mean time short of capacity"),
    "latency_s": Figure(
        "packet_latency_s", "delivered", "latency µs", "mean time in the chain", 1e6, 0
    ),
    "power_w": Figure("energy_j", "time_s", "power W", "mean power of all cores (estimate)", 1, 0),
    "decision_s": Figure("decision_s", "decisions", "decision µs", "time of a decision", 1e6, 1),
}
"""Every figure of the evaluation by its name (SI units)."""


@dataclass(frozen=True)
class Sums:
    """An episode's sums.

    Attributes:
        segments: sums over each segment, [G, Q] in the order of `QUANTITIES`.
        reactions_s: length of every reaction.
    """

    segments: FloatArray
    reactions_s: FloatArray


def sums(episode: Episode, parked_weight: float, segments: int) -> Sums:
    """Cut an episode into segments and add up each of them.

    Args:
        episode: to measure.
        parked_weight: cost of a parked core relative to a running one.
        segments: how many (`segments_of` its trace).
    """
    chain, types = episode.chain, episode.types
    seconds = chain["interval_s"]
    starts, lengths = reactions(episode)
    decided = np.isfinite(chain["decision_s"])
    delivered = chain["delivered_pps"] * seconds
    per_interval: dict[str, npt.NDArray[Any]] = {
        "time_s": seconds,
        "offered": chain["offered_pps"] * seconds,
        "delivered": delivered,
        "lost": chain["dropped_pps"] * seconds,
        "core_s": chain["cores"] * seconds,
        "parked_core_s": chain["parked_cores"] * seconds,
        "cost_s": (chain["cores"] + parked_weight * chain["parked_cores"]) * seconds,
        "minutes": seconds / 60,
        "launches": types["launches"].sum(axis=1),
        "reruns": types["reruns"].sum(axis=1),
        "blocks": types["blocks"].sum(axis=1),
        "flows_moved": types["flows_moved"].sum(axis=1),
        "reactions": _at(starts, np.ones_like(lengths), len(episode)),
        "reaction_s": _at(starts, lengths, len(episode)),
        # A latency is undefined where nothing was delivered; such an interval weighs nothing.
        "packet_latency_s": np.where(delivered > 0, chain["latency_s"], 0.0) * delivered,
        "energy_j": chain["energy_j"],
        "decisions": decided,
        "decision_s": np.where(decided, chain["decision_s"], 0.0),
    }
    table = np.stack([np.asarray(per_interval[name], np.float64) for name in QUANTITIES], axis=1)
    return Sums(np.add.reduceat(table, segment_starts(len(episode), segments), axis=0), lengths)


def segments_of(intervals: int) -> int:
    """Segments that an episode of that many intervals is cut into."""
    return max(1, min(SEGMENTS, intervals // SEGMENT_INTERVALS))


def segment_starts(intervals: int, segments: int) -> npt.NDArray[np.int64]:
    """First interval of every segment, [G]; the segments differ by one interval at most."""
    return np.arange(segments, dtype=np.int64) * intervals // segments


def reactions(episode: Episode) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """First interval and length in seconds of every reaction, [R] each (see the module)."""
    chain, types = episode.chain, episode.types
    lossy = chain["dropped_pps"] > SHORT_DROP_RATE * chain["offered_pps"]
    overloaded = (types["demand_pps"] > types["capacity_pps"]).any(axis=1)
    edges = np.diff(np.concatenate([[0], (lossy | overloaded).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    elapsed = np.concatenate([[0.0], np.cumsum(chain["interval_s"])])
    return starts, elapsed[ends] - elapsed[starts]


def figures(table: FloatArray) -> dict[str, float]:
    """Every figure of a table of sums, pooled over all its rows.

    Args:
        table: sums, [..., Q].

    Returns:
        Figures in SI units; NaN where the denominator is 0 (no reaction happened).
    """
    total = table.reshape(-1, len(QUANTITIES)).sum(axis=0)
    return {name: float(ratio(total, name)) for name in FIGURES}


def ratio(table: FloatArray, figure: str) -> FloatArray:
    """One figure of each row of sums, [..., Q] to [...]; NaN where the denominator is 0."""
    above = table[..., QUANTITIES.index(FIGURES[figure].above)]
    below = table[..., QUANTITIES.index(FIGURES[figure].below)]
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def p95(reactions_s: Sequence[FloatArray]) -> float:
    """95th percentile of reaction lengths over several episodes; NaN without any."""
    lengths = np.concatenate([np.empty(0), *reactions_s])
    return float(np.percentile(lengths, 95)) if lengths.size else float("nan")


def _at(index: npt.NDArray[np.int64], values: FloatArray, size: int) -> FloatArray:
    row = np.zeros(size)
    row[index] = values
    return row
