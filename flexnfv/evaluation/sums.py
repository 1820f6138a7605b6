"""What is summed over the intervals of an episode, and how: while it runs, segment by segment.

An episode is cut into segments once; everything after works on their sums, so that nothing else
need be kept of an episode.

**Reaction time.** An interval is *short* if packets beyond 0.01 % of those offered were lost in
it, or if at its end the demand of some NF type is above what its running instances carry without
loss. A reaction is a run of consecutive short intervals, from the start of the first to the end of
the last: the time from the rise of demand (or the first losses) until running capacity covers
demand again. Its resolution is one interval. One that the episode's end cuts off counts with the
length seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.evaluation.records import Episode
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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
(
    TIME_S,
    OFFERED,
    DELIVERED,
    LOST,
    CORE_S,
    PARKED_CORE_S,
    COST_S,
    MINUTES,
    LAUNCHES,
    RERUNS,
    BLOCKS,
    FLOWS_MOVED,
    REACTIONS,
    REACTION_S,
    PACKET_LATENCY_S,
    ENERGY_J,
    DECISIONS,
    DECISION_S,
) = range(len(QUANTITIES))


@dataclass(frozen=True)
class Sums:
    """An episode's sums.

    Attributes:
        segments: sums over each segment, [G, Q] in the order of `QUANTITIES`.
        reactions_s: length of every reaction.
    """

    segments: FloatArray
    reactions_s: FloatArray


def segments_of(intervals: int) -> int:
    """Segments that an episode of that many intervals is cut into."""
    return max(1, min(SEGMENTS, intervals // SEGMENT_INTERVALS))


def segment_starts(intervals: int, segments: int) -> npt.NDArray[np.int64]:
    """First interval of every segment, [G]; the segments differ by one interval at most."""
    return np.arange(segments, dtype=np.int64) * intervals // segments


class Amounts(NamedTuple):
    """What one interval adds to the sums: of every row, [B], or of every NF type of it, [B, T]."""

    interval_s: FloatArray
    offered_pps: FloatArray
    delivered_pps: FloatArray
    dropped_pps: FloatArray
    latency_s: FloatArray
    energy_j: FloatArray
    cores: FloatArray
    parked_cores: FloatArray
    decision_s: FloatArray
    launches: IntArray
    reruns: IntArray
    blocks: IntArray
    flows_moved: FloatArray
    demand_pps: FloatArray
    capacity_pps: FloatArray

    @classmethod
    def of_reading(cls, reading: Reading, chain: ServiceChain, decision_s: FloatArray) -> Self:
        """Those of a batch of readings.

        Args:
            reading: of the interval, [B].
            chain: that they are of.
            decision_s: how long each row's decision took, seconds, [B]; NaN where nothing was
                decided.
        """
        return cls(
            reading.interval_s,
            reading.offered_pps,
            reading.delivered_pps,
            reading.dropped_pps,
            reading.latency_s,
            reading.energy_j,
            reading.core_usage(chain).sum(axis=-1),
            reading.parked_cores(chain).sum(axis=-1),
            decision_s,
            reading.launches,
            reading.reruns,
            reading.blocks,
            reading.flows_moved,
            reading.demand_pps(chain),
            reading.running * chain.capacity_pps,
        )

    @classmethod
    def of_record(cls, episode: Episode, interval: int) -> Self:
        """Those of one interval of a record, as of a batch of one."""
        columns = {**episode.chain, **{name: episode.types[name] for name in _OF_TYPES}}
        values: dict[str, Any] = {
            name: columns[name][interval][None].astype(np.int64 if name in _COUNTS else np.float64)
            for name in cls._fields
        }
        return cls(**values)


_OF_TYPES = ("launches", "reruns", "blocks", "flows_moved", "demand_pps", "capacity_pps")
_COUNTS = ("launches", "reruns", "blocks")


class _Reactions(NamedTuple):
    """Where every row stands in its reactions, [B] each.

    Attributes:
        elapsed_s: time since the episode's start.
        start_s: when the reaction under way began; NaN where there is none.
        segment: the segment that it began in.
        ended: reactions that have.
    """

    elapsed_s: FloatArray
    start_s: FloatArray
    segment: IntArray
    ended: IntArray


class Meter:
    """Adds up the episodes of a batch while they run.

    Args:
        lengths: monitor intervals of each row's episode, [B].
        segments: that each episode is cut into, [B].
        parked_weight: cost of a parked core relative to a running one.
    """

    def __init__(self, lengths: IntArray, segments: IntArray, parked_weight: float) -> None:
        self._lengths = lengths
        self._segments = segments
        self._parked_weight = float(parked_weight)
        rows = lengths.size
        self._table = np.zeros((rows, int(segments.max()), len(QUANTITIES)))
        self._reactions = _Reactions(
            elapsed_s=np.zeros(rows),
            start_s=np.full(rows, np.nan),
            segment=np.zeros(rows, np.int64),
            ended=np.zeros(rows, np.int64),
        )
        self._reactions_s = np.zeros((rows, 16))
        self._interval = 0

    def add(self, amounts: Amounts, rows: IntArray) -> None:
        """Add one interval of the rows whose episodes go on, [n]."""
        if self._reactions.ended.max() == self._reactions_s.shape[1]:
            self._reactions_s = np.concatenate([self._reactions_s, self._reactions_s], axis=1)
        compiled(add_interval)(
            self._interval,
            rows,
            self._lengths,
            self._segments,
            amounts,
            self._parked_weight,
            self._reactions,
            self._reactions_s,
            self._table,
        )
        self._interval += 1

    def sums(self) -> list[Sums]:
        """What was added up of each row; a reaction that is under way counts with its length."""
        found, made = self._reactions, []
        for row in range(len(self._lengths)):
            table = self._table[row, : self._segments[row]].copy()
            reactions_s = self._reactions_s[row, : found.ended[row]].copy()
            if np.isfinite(found.start_s[row]):
                cut_off_s = found.elapsed_s[row] - found.start_s[row]
                table[found.segment[row], REACTION_S] += cut_off_s
                reactions_s = np.append(reactions_s, cut_off_s)
            made.append(Sums(table, reactions_s))
        return made


def sums(episode: Episode, parked_weight: float, segments: int) -> Sums:
    """The sums of a recorded episode.

    Args:
        episode: to measure.
        parked_weight: cost of a parked core relative to a running one.
        segments: that it is cut into (`segments_of` its trace).
    """
    meter = Meter(np.array([len(episode)]), np.array([segments]), parked_weight)
    for interval in range(len(episode)):
        meter.add(Amounts.of_record(episode, interval), np.zeros(1, np.int64))
    (found,) = meter.sums()
    return found


def add_interval(
    interval: int,
    rows: IntArray,
    lengths: IntArray,
    segments: IntArray,
    amounts: Amounts,
    parked_weight: float,
    found: _Reactions,
    reactions_s: FloatArray,
    table: FloatArray,
) -> None:
    """Add one interval to the sums of some rows; compiled, since there are many.

    Args:
        interval: its number.
        rows: to add to, [n].
        lengths, segments: intervals and segments of each row's episode, [B].
        amounts: of the interval.
        parked_weight: cost of a parked core relative to a running one.
        found: brought up to date.
        reactions_s: length of each reaction that has ended, seconds, filled, [B, R].
        table: sums, added to, [B, G, Q].
    """
    for row in rows:
        segment = 0
        while segment + 1 < segments[row] and (
            interval >= (segment + 1) * lengths[row] // segments[row]
        ):
            segment += 1
        seconds = amounts.interval_s[row]
        total = table[row, segment]
        delivered = amounts.delivered_pps[row] * seconds
        total[TIME_S] += seconds
        total[OFFERED] += amounts.offered_pps[row] * seconds
        total[DELIVERED] += delivered
        total[LOST] += amounts.dropped_pps[row] * seconds
        total[CORE_S] += amounts.cores[row] * seconds
        total[PARKED_CORE_S] += amounts.parked_cores[row] * seconds
        cost = amounts.cores[row] + parked_weight * amounts.parked_cores[row]
        total[COST_S] += cost * seconds
        total[MINUTES] += seconds / 60
        if delivered > 0:
            total[PACKET_LATENCY_S] += amounts.latency_s[row] * delivered
        total[ENERGY_J] += amounts.energy_j[row]
        if np.isfinite(amounts.decision_s[row]):
            total[DECISIONS] += 1
            total[DECISION_S] += amounts.decision_s[row]
        short = amounts.dropped_pps[row] > SHORT_DROP_RATE * amounts.offered_pps[row]
        for t in range(amounts.demand_pps.shape[1]):
            total[LAUNCHES] += amounts.launches[row, t]
            total[RERUNS] += amounts.reruns[row, t]
            total[BLOCKS] += amounts.blocks[row, t]
            total[FLOWS_MOVED] += amounts.flows_moved[row, t]
            short = short or amounts.demand_pps[row, t] > amounts.capacity_pps[row, t]
        under_way = not np.isnan(found.start_s[row])
        if short and not under_way:
            found.start_s[row] = found.elapsed_s[row]
            found.segment[row] = segment
            total[REACTIONS] += 1
        elif under_way and not short:
            length_s = found.elapsed_s[row] - found.start_s[row]
            table[row, found.segment[row], REACTION_S] += length_s
            reactions_s[row, found.ended[row]] = length_s
            found.ended[row] += 1
            found.start_s[row] = np.nan
        found.elapsed_s[row] += seconds
