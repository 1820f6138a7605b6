"""Clairvoyant: knows the traffic to come, and plans the cheapest instances for it."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.decision import KEEP, Decision
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.mapping import (
    ALGORITHM1,
    EVEN,
    bucket_weights,
    empty_table,
    modulus_weights,
    shares,
    update_table,
)
from flexnfv.model.backend import rates_of
from flexnfv.model.bound import decouple
from flexnfv.model.levels import (
    Launch,
    Levels,
    Lives,
    Scratch,
    cheapest,
    new_lives,
    new_scratch,
)
from flexnfv.parameters import check
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading
from flexnfv.states import RUNNING, STOPPED
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FINE = 10
"""Parts of an interval that a plan tells apart where the trace is finer than the interval."""
STEPS = 20
"""Steps of finding what each NF type pays for losses that all types share."""
ROUNDS = 3
"""Times that the plan of each NF type is made anew around those of the others."""
LUCK = 0.5
"""Part of the jitter that a plan takes to be against it; rings make up for the rest."""


class Clairvoyant(BasePolicy):
    """The instances that cost least with their drops, given perfect knowledge of the traffic.

    It plans a whole trace at once: the lives of the levels of every NF type that the bound is made
    of (`flexnfv.model.bound`), each type around what the others lose anyway, as flows spread over
    so many instances. Parked instances are kept as long as they pay. Types under Algorithm 1, which
    piles a parked instance's flows on one neighbour, are spread evenly. It knows rates, not luck:
    deaths are not foreseen. The numbers may be arrays with one for each row of a batch.

    This is a policy, so that it lies above the bound; by how much, `docs/evaluation.md` says.

    Args:
        drop_cost: what losing all packets would cost, in cores.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.

    Raises:
        ValueError: a cost below 0, or a weight outside 0..1.
    """

    foresight: ClassVar[bool] = True
    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("drop_cost", "parked_weight")
    sweep: ClassVar[tuple[str, tuple[float, ...]]] = (
        "drop_cost",
        (3.0, 10.0, 30.0, 60.0, 100.0, 200.0, 300.0, 600.0, 1000.0, 3000.0, 10000.0),
    )

    def __init__(self, drop_cost: float = 300.0, parked_weight: float | None = None) -> None:
        check("drop_cost", drop_cost, lambda v: (v >= 0) & (v < np.inf), "be 0 or more")
        if parked_weight is not None:
            check("parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        self.drop_cost = drop_cost
        self.parked_weight = parked_weight

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Plan for the trace that is to come, or for the traces of all rows of a batch.

        Raises:
            InputError: no trace is given: foresight is for evaluations only.
        """
        if trace is None:
            raise InputError(
                "the clairvoyant needs the trace to come",
                where="policy 'clairvoyant'",
                fix="use it in an evaluation; live traffic cannot be foreseen",
            )
        super().reset(chain, seed)
        traces = [trace] if isinstance(trace, Trace) else list(trace)
        weight = chain.parked_weight if self.parked_weight is None else self.parked_weight
        drop_costs, weights = (
            np.broadcast_to(np.asarray(each, np.float64), len(traces)).tolist()
            for each in (self.drop_cost, weight)
        )
        # Rows that share trace and setting share a plan.
        planners = {id(one): Planner(chain, one) for one in {id(t): t for t in traces}.values()}
        wanted = list(zip(map(id, traces), drop_costs, weights, strict=True))
        plans = {key: planners[key[0]].plan(*key[1:]) for key in dict.fromkeys(wanted)}
        places = {key: place for place, key in enumerate(plans)}
        self._of = np.array([places[key] for key in wanted])
        self._length = np.array([targets.shape[1] for targets, _ in plans.values()])
        self._targets, self._spares = np.zeros(
            (2, len(plans), self._length.max(), chain.types), int
        )
        for place, (targets, spares) in enumerate(plans.values()):
            self._targets[place, : targets.shape[1]] = targets.T
            self._spares[place, : spares.shape[1]] = spares.T
        self._mapping = np.where(chain.mapping_kinds == ALGORITHM1, EVEN, KEEP)

    def decide(self, reading: Reading) -> Decision:
        """What the plan says for the next interval, [..., T]."""
        shape = reading.unsettled.shape
        now = np.rint(reading.time_s / self.chain.interval_s).astype(np.int64).reshape(-1)
        now = np.minimum(now, self._length[self._of] - 1)
        return Decision(
            targets=self._targets[self._of, now].reshape(shape),
            mapping=np.broadcast_to(self._mapping, shape),
            spares=self._spares[self._of, now].reshape(shape),
        )


class Planner:
    """Plans for one trace on one chain.

    Args:
        chain: T NF types.
        trace: N intervals.

    Raises:
        InputError: the trace is shorter than two intervals.
    """

    def __init__(self, chain: ServiceChain, trace: Trace) -> None:
        offered = rates_of(trace, chain, FINE)
        self._chain = chain
        self._packets = float(offered.sum()) * chain.interval_s / offered.shape[1]
        self._levels = expected_levels(chain, offered)
        self._common = common_share(chain)

    def plan(self, drop_cost: float, parked_weight: float) -> tuple[IntArray, IntArray]:
        """Targets and spares of every interval, [T, N] each; those of the first have no effect."""
        chain, levels = self._chain, self._levels
        intervals = levels.idle.shape[2]
        price = drop_cost * intervals / self._packets if self._packets > 0 else 0.0
        launch = expected_launch(chain)
        _, _, shared = decouple(chain, levels, price, parked_weight, launch=launch, steps=STEPS)
        # Around what others lose nobody gains by running more: so another plan starts from no loss.
        found = {}
        for lives in (shared, new_lives(chain.types, intervals)):
            rest = levels._replace(
                idle=np.empty_like(levels.idle), fresh=np.empty_like(levels.fresh)
            )
            cost = compiled(settle)(
                levels,
                price,
                parked_weight,
                launch,
                self._common,
                lives,
                new_scratch(intervals),
                rest,
                ROUNDS,
            )
            found[cost] = lives
        lives = found[min(found)]
        early = self._early(price, parked_weight)
        targets = np.where(early[:, None], self._ahead(lives), lives.running)
        # Instances are launched only where no parked one is left to be rerun.
        launches = np.diff(lives.held, axis=1, prepend=lives.held[:, :1]) > 0
        targets = np.where(launches, lives.held, targets)
        return targets, lives.held - targets

    def _early(self, price: float, parked_weight: float) -> npt.NDArray[np.bool_]:
        """Whether a rerun ahead of its time costs less than what a ring cannot hold during it."""
        chain = self._chain
        lost = slowest_rerun_s(chain) * chain.capacity_pps - chain.ring_packets
        return np.asarray(price * lost > (1.0 - parked_weight) * chain.cores_per_instance)

    def _ahead(self, lives: Lives) -> IntArray:
        """Running instances if those that are parked are rerun as far ahead as a rerun takes."""
        highest = lives.running.copy()
        for step in range(1, math.ceil(slowest_rerun_s(self._chain) / self._chain.interval_s) + 1):
            highest[:, :-step] = np.maximum(highest[:, :-step], lives.running[:, step:])
        return np.minimum(highest, lives.held)


def slowest_rerun_s(chain: ServiceChain) -> float:
    """The longest that a rerun takes, seconds."""
    return chain.measured.rerun_s * (1.0 + chain.measured.rerun_spread)


def expected_launch(chain: ServiceChain) -> Launch:
    """A launch at its slowest."""
    slowest = chain.measured.launch_s * (1.0 + chain.measured.launch_spread) / chain.interval_s
    intervals = max(1, math.ceil(slowest))
    return Launch(intervals, True, slowest - (intervals - 1))


def expected_levels(chain: ServiceChain, offered: FloatArray) -> Levels:
    """What levels lose as the flows spread over instances; rings hold nothing.

    Args:
        chain: T NF types.
        offered: offered packets/s, [N, R].
    """
    count = np.array(chain.own_slots, np.int64)
    lost = np.zeros((chain.types, int(count.max()) + 1, len(offered)))
    span_s = chain.interval_s / offered.shape[1]
    for t, of_type in enumerate(spread_by_count(chain)):
        able = chain.capacity_pps[t] * (1.0 - LUCK * chain.jitter[t])
        lost[t, 0] = offered.sum(axis=1) * (chain.through[t] * span_s)
        for n, share in enumerate(of_type, start=1):
            excess = offered * chain.through[t] * share[:, None, None] - able
            lost[t, n] = np.maximum(excess, 0.0).sum(axis=(0, 2)) * span_s
        lost[t, count[t] + 1 :] = lost[t, count[t]]
    # A level counts for as much as any above it, so that levels run from the first one on.
    gained = (lost[:, :-1] - lost[:, 1:])[:, ::-1]
    idle = np.ascontiguousarray(np.maximum.accumulate(gained, axis=1)[:, ::-1])
    return Levels(
        idle=idle,
        fresh=idle * expected_launch(chain).late,
        beyond=np.ascontiguousarray(lost[:, -1]),
        size=count,
        least=np.array(chain.min_instances, np.int64),
        initial=np.array(chain.initial_instances, np.int64),
        cost=np.array(chain.cores_per_instance, np.float64),
    )


def spread_by_count(chain: ServiceChain) -> list[list[FloatArray]]:
    """Shares of each instance where 1, 2, ... run, for each NF type; Algorithm 1's as if even."""
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    weights = bucket_weights(flows.hashes, flows.weights)
    modulus = modulus_weights(flows.hashes, flows.weights, chain.slots)
    found: list[list[FloatArray]] = []
    for kind, slots in zip(chain.mapping_kinds.tolist(), chain.own_slots.tolist(), strict=True):
        kind = EVEN if kind == ALGORITHM1 else kind
        table, row = empty_table(), np.empty(chain.slots, np.int64)
        of_type = []
        for n in range(1, slots + 1):
            state = np.where(np.arange(chain.slots) < n, RUNNING, STOPPED).astype(np.int8)
            share = np.zeros(chain.slots)
            update_table(kind, state, table)
            shares(kind, state, table, weights, modulus, row, share)
            of_type.append(share[:n])
        found.append(of_type)
    return found


def common_share(chain: ServiceChain) -> FloatArray:
    """Of the packets that pass type u, the share that also pass type t, [T, T] as [u, t]."""
    both = np.zeros((chain.types, chain.types))
    for path, part in zip(chain.paths, chain.path_shares, strict=True):
        both[np.ix_(path, path)] += part
    return both / np.maximum(np.diag(both), 1e-300)[:, None]


def settle(
    levels: Levels,
    price: float,
    parked_weight: float,
    launch: Launch,
    common: FloatArray,
    lives: Lives,
    x: Scratch,
    rest: Levels,
    rounds: int,
) -> float:
    """Plan each type anew, at the whole price, for the packets that the others let through.

    Args:
        levels, price, parked_weight, launch: see `flexnfv.model.bound.raise_parts`.
        common: see `common_share`.
        lives: to start from, brought up to date.
        x: scratch space.
        rest: scratch space: what levels lose beside what is lost anyway.
        rounds: how often.

    Returns:
        What the plan costs, if all types lose packets of the same paths.
    """
    types, most, intervals = levels.idle.shape
    whole = np.full(intervals, price)
    spared = np.empty(intervals)
    for number in range(rounds * types):
        t = number % types
        for n in range(intervals):
            away = max(0.0, anyway(t, n, lives, common) - levels.beyond[t, n])
            spared[n] = away
            for j in range(most - 1, -1, -1):
                cut = min(away, levels.idle[t, j, n])
                away -= cut
                rest.idle[t, j, n] = levels.idle[t, j, n] - cut
                rest.fresh[t, j, n] = max(0.0, levels.fresh[t, j, n] - cut)
            spared[n] -= away
        cheapest(t, rest, whole, parked_weight, launch, x, lives)
        for n in range(intervals):
            lives.lost[t, n] += spared[n]
    cost = 0.0
    for n in range(intervals):
        lost = 0.0
        for t in range(types):
            parked = lives.held[t, n] - lives.running[t, n]
            cost += levels.cost[t] * (lives.running[t, n] + parked_weight * parked)
            lost = max(lost, lives.lost[t, n])
        cost += price * lost
    return cost


def anyway(t: int, n: int, lives: Lives, common: FloatArray) -> float:
    """What type t need not take in interval n, since other types lose it."""
    most = 0.0
    for u in range(common.shape[0]):
        if u != t:
            most = max(most, lives.lost[u, n] * common[u, t])
    return most
