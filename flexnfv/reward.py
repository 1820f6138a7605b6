"""Rewards: what one interval cost, per NF type and per term.

Costs count in core intervals: one running core for one interval costs 1. The reward of a type is
minus the weighted sum of its terms, the reward of the chain the sum over its types. `TERMS` says
what the terms are: a new one is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, writer
from flexnfv.energy import core_energy
from flexnfv.errors import InputError
from flexnfv.interval import Between, FloatArray, Measured, Types, look
from flexnfv.reading import Reading
from flexnfv.suggest import known


class Spent(NamedTuple):
    """What costs are made of in an interval, beside `Types`: the arrays of N readings."""

    launches: npt.NDArray[np.int64]
    reruns: npt.NDArray[np.int64]
    served_pps: FloatArray
    processing_ns: FloatArray
    shed_pps: FloatArray

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """Those of a reading of any batch dimensions, which become one, [N, ...]."""
        ndim = reading.time_s.ndim
        arrays = (getattr(reading, name) for name in cls._fields)
        return cls(*(array.reshape(-1, *array.shape[ndim:]) for array in arrays))


class Prices(NamedTuple):
    """What a chain's NF types cost.

    Attributes:
        cores: of an instance, [T].
        parked: weight of a parked core.
        entry: share of what is shed at the entry that counts for the type, [T]: for the first of
            each path, by the path's share.
        busy_w, idle_poll_w, parked_w: power of a core that is busy, polls idly, is parked.
    """

    cores: FloatArray
    parked: float
    entry: FloatArray
    busy_w: float
    idle_poll_w: float
    parked_w: float

    @classmethod
    def of(cls, chain: ServiceChain) -> Self:
        """Of a chain."""
        entry = np.zeros(chain.types)
        for path, share in zip(chain.paths, chain.path_shares, strict=True):
            entry[path[0]] += share
        power = chain.measured.power
        return cls(
            np.array(chain.cores_per_instance, np.float64),
            float(chain.parked_weight),
            entry,
            *(float(watts) for watts in (power.busy_w, power.idle_poll_w, power.parked_w)),
        )


class Interval(NamedTuple):
    """All that a term is made of, for a chain (`n` among the readings) and its episode.

    Attributes:
        n: number of the chain's reading.
        row: of the chain's first NF type in `types`.
        mean_pps: mean offered rate of the episode, packets/s.
        drop_cost: cost of losing one interval's mean traffic, in core intervals.
    """

    n: int
    row: int
    types: Types
    spent: Spent
    prices: Prices
    mean_pps: float
    drop_cost: float


class Term(NamedTuple):
    """One term: its name, its cost for NF type `t`, its weight by default, what the weight is."""

    name: str
    of: Callable[[Interval, int], float]
    weight: float
    doc: str


def awake(o: Interval, t: int) -> float:
    """Running, launching and draining instances."""
    types, r = o.types, o.row + t
    count: float = types.running[r] + types.launching[r] + types.draining[r]
    return count


def lost(o: Interval, t: int) -> float:
    """Packets lost at a type, as a share of the episode's mean traffic."""
    packets = o.types.dropped_pps[o.row + t] + o.prices.entry[t] * o.spent.shed_pps[o.n]
    share: float = packets / max(o.mean_pps, 1e-9)
    return share


def energy(o: Interval, t: int) -> float:
    """Energy of a type's cores, relative to one busy core for one interval (the calibration's
    constants; 0 where there are none)."""
    prices, served, cost_ns = o.prices, o.spent.served_pps[o.n, t], o.spent.processing_ns[o.n, t]
    if prices.busy_w == 0.0:
        return 0.0
    busy = 0.0
    for i in range(len(served)):
        busy += min(served[i] * cost_ns[i] * 1e-9, 1.0)
    parked = o.types.parked[o.row + t]
    watts = core_energy(
        busy, awake(o, t) + parked, parked, prices.busy_w, prices.idle_poll_w, prices.parked_w
    )
    relative: float = watts * prices.cores[t] / prices.busy_w
    return relative


_TERMS: tuple[Term, ...] = (
    Term(
        "cores",
        lambda o, t: awake(o, t) * o.prices.cores[t],
        1.0,
        "per core interval of running, launching and draining instances",
    ),
    Term(
        "parked",
        lambda o, t: o.types.parked[o.row + t] * o.prices.cores[t] * o.prices.parked,
        1.0,
        "per core interval of parked instances, on top of the chain's `parked_weight`",
    ),
    Term(
        "drops",
        lambda o, t: lost(o, t) * o.drop_cost,
        1.0,
        "per drop cost x share of the episode's mean traffic that was lost",
    ),
    Term("launch", lambda o, t: o.spent.launches[o.n, t], 0.0, "per launch"),
    Term("rerun", lambda o, t: o.spent.reruns[o.n, t], 0.0, "per rerun"),
    Term("energy", energy, 0.0, "per core interval's energy at busy power"),
)
TERMS: Mapping[str, Term] = {term.name: term for term in _TERMS}
"""The terms by name."""

write_terms = writer(
    __name__, [(term.name, term.of, -np.inf, np.inf) for term in _TERMS], optional=True
)


class RewardWeights:
    """What each term weighs; those that are not given weigh what their entries of `TERMS` say.

    Raises:
        InputError: an unknown term, or a weight that is negative or not finite.
    """

    def __init__(self, **weights: float) -> None:
        for name in weights:
            known(name, TERMS, kind="term of the reward", where="weights")
        self._values = {term.name: weights.get(term.name, term.weight) for term in _TERMS}
        for name, value in self._values.items():
            if not np.isfinite(value) or value < 0:
                raise InputError(
                    f"weight {name} is {value!r}", where="reward", fix="give a number of at least 0"
                )

    @classmethod
    def parse(cls, pairs: Sequence[str], *, where: str = "--weights") -> Self:
        """Weights from TERM=WEIGHT pairs.

        Raises:
            InputError: an unknown term (the nearest is given), or a weight that is none.
        """
        given: dict[str, float] = {}
        for pair in pairs:
            term, _, weight = pair.partition("=")
            known(term, TERMS, kind="term of the reward", where=where)
            try:
                given[term] = float(weight)
            except ValueError:
                raise InputError(
                    f"{pair!r} has no number", where=where, fix="write TERM=WEIGHT"
                ) from None
        return cls(**given)

    def __getattr__(self, name: str) -> float:
        values: dict[str, float] = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"there is no term {name!r}")
        return values[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RewardWeights) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values.values()))

    def __repr__(self) -> str:
        return f"RewardWeights({', '.join(f'{k}={v:g}' for k, v in self._values.items())})"

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the terms that weigh anything."""
        return tuple(name for name, value in self._values.items() if value)

    def array(self) -> FloatArray:
        """The weights in the order of `TERMS`, [terms]."""
        return np.array(list(self._values.values()))


def cost(
    interval: Interval, count: int, weights: FloatArray, terms: FloatArray, value: FloatArray
) -> None:
    """Fill in what a chain's interval cost.

    Args:
        interval: of the chain.
        count: of its NF types, T.
        weights: of the terms, [terms]; those of weight 0 are left out.
        terms: minus the weighted terms, filled, [T, terms].
        value: their sum, the reward of each type, filled, [T].
    """
    write_terms(terms, interval, count, weights)
    for t in range(count):
        value[t] = 0.0
        for k in range(len(weights)):
            if weights[k] != 0.0:
                terms[t, k] = -(terms[t, k] * weights[k])
                value[t] += terms[t, k]


def cost_all(
    measured: Measured,
    spent: Spent,
    between: Between,
    prices: Prices,
    types: Types,
    mean_pps: FloatArray,
    drop_cost: FloatArray,
    weights: FloatArray,
    terms: FloatArray,
    value: FloatArray,
) -> None:
    """Fill in what the intervals of N chains cost; terms [N, T, terms] and value [N, T]."""
    for n in range(len(mean_pps)):
        look(n, 1, measured, between, types)
        interval = Interval(n, 0, types, spent, prices, mean_pps[n], drop_cost[n])
        cost(interval, value.shape[1], weights, terms[n], value[n])


@lru_cache(maxsize=8)
def _of_chain(chain: ServiceChain) -> tuple[Between, Prices]:
    return Between.of(chain), Prices.of(chain)


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
    weighed = weights or RewardWeights()
    between, prices = _of_chain(chain)
    shape = reading.unmapped_pps.shape
    count = int(np.prod(reading.batch, dtype=np.int64))

    def each(values: npt.ArrayLike) -> FloatArray:
        return np.array(np.broadcast_to(np.asarray(values, np.float64), reading.batch)).reshape(-1)

    terms, value = np.zeros((count, chain.types, len(_TERMS))), np.zeros((count, chain.types))
    compiled(cost_all, inline=True)(
        Measured.of(reading),
        Spent.of(reading),
        between,
        prices,
        Types.of(chain.types),
        each(mean_pps),
        each(drop_cost),
        weighed.array(),
        terms,
        value,
    )
    names = list(TERMS)
    return value.reshape(shape), {
        name: terms[..., names.index(name)].reshape(shape) for name in weighed.used
    }
