"""What a step brought a batch of episodes: observations, rewards, needs and sums, in one pass.

Plain loops over arrays, to be compiled; `Outcomes` calls them.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.compiled import bound, plain
from flexnfv.envs.task import Task
from flexnfv.interval import Between, FloatArray, IntArray, Measured, Types, look
from flexnfv.observation import (
    BLOCK,
    Known,
    Memory,
    ObservationEncoder,
    Seen,
    observe,
    side_by_side,
)
from flexnfv.reading import Reading
from flexnfv.reward import TERMS, Interval, Prices, Spent, cost


class Episodes(NamedTuple):
    """What B episodes are about: cost of losing one interval's mean traffic, in core intervals, and
    mean offered rate, packets/s; [B] each."""

    drop_cost: FloatArray
    mean_pps: FloatArray


class Through(NamedTuple):
    """What went through the chains: the arrays of N readings."""

    offered_pps: FloatArray
    delivered_pps: FloatArray
    dropped_pps: FloatArray

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """Those of a reading."""
        return cls(reading.offered_pps, reading.delivered_pps, reading.dropped_pps)


class Found(NamedTuple):
    """What a step brought.

    Attributes:
        need: instances that would carry the demand at 100 % utilisation, [B, T].
        value: reward of each NF type, [B, T].
        terms: the terms that it is the sum of, [B, T, terms].
        cores, parked: cores in use, cores parked, [B].
        sums: over chains and steps since they were set to 0: of `SUMS`, then of every term.
    """

    need: IntArray
    value: FloatArray
    terms: FloatArray
    cores: FloatArray
    parked: FloatArray
    sums: FloatArray


SUMS = (
    "offered_pps",
    "dropped_pps",
    "throughput_pps",
    "core_usage",
    "parked_cores",
    "launches",
    "reruns",
)


def find(
    between: Between,
    known: Known,
    memory: Memory,
    prices: Prices,
    types: Types,
    seen: Seen,
    episodes: Episodes,
    found: Found,
    measured: Measured,
    spent: Spent,
    through: Through,
    weights: FloatArray,
    chains: IntArray,
    counts: bool,
    rows: npt.NDArray[np.float32],
) -> None:
    """Observe some chains after a reading, and find what it brought them.

    Args:
        between, known, prices: of the chain.
        memory: of the observations, updated.
        types, seen: room for a block.
        episodes: of the chains.
        found: filled, for those chains.
        measured, spent, through: the readings of all chains.
        weights: of the reward's terms, [terms].
        chains: which chains, rising.
        counts: whether it is a step: its rewards are found and added to the sums.
        rows: filled, for those chains, [B * T, features].
    """
    per_chain = measured.state.shape[1]
    first = 0
    while first < len(chains):
        count, place = side_by_side(chains, first), chains[first]
        look(place, count, measured, between, types)
        observe(place, count, place, measured, episodes.drop_cost, known, memory, types, seen, rows)
        for each in range(count):
            hold(place + each, each * per_chain, types, known, prices, found)
            if counts:
                mean_pps, drop_cost = (
                    episodes.mean_pps[place + each],
                    episodes.drop_cost[place + each],
                )
                interval = Interval(
                    place + each, each * per_chain, types, spent, prices, mean_pps, drop_cost
                )
                cost(
                    interval,
                    per_chain,
                    weights,
                    found.terms[place + each],
                    found.value[place + each],
                )
                add(place + each, spent, through, found)
        first += count


def hold(n: int, start: int, types: Types, known: Known, prices: Prices, found: Found) -> None:
    """Fill in what a chain needs and which cores it holds; `start` is its row in `types`."""
    cores = parked = 0.0
    for t in range(prices.cores.shape[0]):
        r = start + t
        found.need[n, t] = np.int64(np.ceil(types.demand_pps[r] / known.capacity_pps[r]))
        cores += (types.running[r] + types.launching[r] + types.draining[r]) * prices.cores[t]
        parked += types.parked[r] * prices.cores[t]
    found.cores[n], found.parked[n] = cores, parked


def reward(
    n: int,
    start: int,
    types: Types,
    spent: Spent,
    prices: Prices,
    episodes: Episodes,
    weights: FloatArray,
    found: Found,
) -> None:
    """Fill in a chain's reward and its terms; `start` is its row in `types`."""
    mean_pps, drop_cost = episodes.mean_pps[n], episodes.drop_cost[n]
    interval = Interval(n, start, types, spent, prices, mean_pps, drop_cost)
    cost(interval, prices.cores.shape[0], weights, found.terms[n], found.value[n])


def add(n: int, spent: Spent, through: Through, found: Found) -> None:
    """Add a chain's step to the sums."""
    sums, per_chain, terms = found.sums, found.terms.shape[1], found.terms.shape[2]
    sums[0] += through.offered_pps[n]
    sums[1] += through.dropped_pps[n]
    sums[2] += through.delivered_pps[n]
    sums[3] += found.cores[n]
    sums[4] += found.parked[n]
    for t in range(per_chain):
        sums[5] += spent.launches[n, t]
        sums[6] += spent.reruns[n, t]
        for k in range(terms):
            sums[7 + k] += found.terms[n, t, k]


class Outcomes:
    """Finds what steps brought a batch of episodes.

    Args:
        task: of the episodes.
        batch: number of episodes, B.

    Attributes:
        encoder: of the observations.
        episodes, found: see there.
    """

    def __init__(self, task: Task, batch: int) -> None:
        self.task = task
        self.encoder = ObservationEncoder(task.chain, (batch,))
        types, terms = task.chain.types, len(TERMS)
        self.episodes = Episodes(np.full(batch, task.drop_cost[0]), np.ones(batch))
        self.found = Found(
            np.zeros((batch, types), np.int64),
            np.zeros((batch, types)),
            np.zeros((batch, types, terms)),
            np.zeros(batch),
            np.zeros(batch),
            np.zeros(len(SUMS) + terms),
        )
        self._weights = task.weights.array()
        self._bound_to: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_find": None, "_bound_to": None}

    def find(
        self, reading: Reading, chains: IntArray, rows: npt.NDArray[np.float32], *, counts: bool
    ) -> None:
        """Observe chains (rising) into `rows` [B, T, F], and find what the reading brought them."""
        if reading.time_s is not self._bound_to:
            self._bind(reading)
        self._find(self._weights, chains, counts, rows.reshape(-1, rows.shape[-1]))

    def _bind(self, reading: Reading) -> None:
        """Let compiled code know a reading's arrays; a backend mostly fills the same ones again."""
        given: tuple[Any, ...] = Measured.of(reading), Spent.of(reading), Through.of(reading)
        tables = [type(table)(*(plain(array) for array in table)) for table in given]
        pairs = zip(chain(*given), chain(*tables), strict=True)
        same = all(one is other for one, other in pairs)
        self._bound_to = reading.time_s if same else None
        size = BLOCK * self.task.chain.types
        encoder = self.encoder
        self._find = bound(
            find,
            encoder.between,
            encoder.known,
            encoder.memory,
            Prices.of(self.task.chain),
            Types.of(size),
            Seen.of(size),
            self.episodes,
            self.found,
            *tables,
            inline=True,
        )
