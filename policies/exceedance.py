"""Exceedance: a network says how likely the demand is to exceed what, a newsvendor decides.

After every reading the policy remembers the offered traffic (`flexnfv.memory`), asks the network
how likely the demand is to exceed each level soon, corrects the answer by how often such answers
have come true on this very link, and provides for it at the drop cost (`flexnfv.provision`).
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.decision import Decision
from flexnfv.errors import BackendError
from flexnfv.memory import (
    FLOOR,
    LEVEL,
    LEVELS,
    TRAFFIC,
    Levels,
    Memory,
    describe_level,
    describe_traffic,
    remember,
    rhythm,
)
from flexnfv.policy import State
from flexnfv.provision import HORIZONS, Prices, Types, area_above, areas, follow, imagine, provide
from flexnfv.reading import Reading

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BUCKETS: Final = 16
"""Classes of probability that are calibrated apart, an octave each, from 1 downwards."""
FACTORS: Final = (1.0, 0.3, 3.0)
"""What the drop cost is multiplied by in the chains that are only imagined, 1 first."""
COSTS: Final = (3.0, 3e4)
"""Drop costs between which a drop target moves."""


class Tuning(NamedTuple):
    """Numbers of the policy that are not the network's; a bundle may state its own.

    Attributes:
        prior: exceedances that the network is trusted for before a link has shown its own.
        discount: of what a link has shown, per interval.
        first_use, regret, stay: see `flexnfv.provision.Prices`.
        presumed, trust: mean demand, relative to the most that the chain carries, that a link is
            thought to have before it is seen, and intervals that this counts for.
        memory: discount of what the imagined chains have cost, per interval.
        doubt: intervals' worth of lost traffic that another factor than 1 must be cheaper by.
        pace: expected losses, relative to the allowed one, that move the drop cost by a factor of
            e.
        horizon: intervals within which a drop target makes up for what was lost too much.
    """

    prior: float = 1.0
    discount: float = 0.999
    first_use: float = 0.5
    regret: float = 1.0
    stay: float = 4.0
    presumed: float = 0.1
    trust: float = 100.0
    memory: float = 0.998
    doubt: float = 1.0
    pace: float = 200.0
    horizon: float = 1000.0


class Links(NamedTuple):
    """What is known of B links beside their memory.

    Attributes:
        predicted: exceedances of the last interval as the network saw them, [B, LEVELS].
        expected, seen: discounted sums of predicted and of true exceedances by class of
            probability, [B, BUCKETS].
        exceedance, area: as provided for, [B, LEVELS, 1 + H].
    """

    predicted: FloatArray
    expected: FloatArray
    seen: FloatArray
    exceedance: FloatArray
    area: FloatArray

    @classmethod
    def of(cls, links: int) -> Self:
        """Of so many links that have seen nothing."""
        shape = (links, LEVELS, 1 + len(HORIZONS))
        return cls(
            np.zeros((links, LEVELS)),
            np.zeros((links, BUCKETS)),
            np.zeros((links, BUCKETS)),
            np.zeros(shape),
            np.zeros(shape),
        )


class Imagined(NamedTuple):
    """For each of B chains one for each of `FACTORS`, which decides by that share of the drop cost.

    Traffic does not react to scaling, so what each of them costs is what it would have cost.

    Attributes:
        instances: running, parked and launching, and intervals that launches still take,
            [B, factors, 4, T].
        cost: discounted, core intervals, [B, factors].
    """

    instances: IntArray
    cost: FloatArray

    @classmethod
    def of(cls, batch: int, chain: ServiceChain) -> Self:
        """Of a batch of chains that begin."""
        instances = np.zeros((batch, len(FACTORS), 4, chain.types), np.int64)
        instances[:, :, 0] = chain.initial_instances
        return cls(instances, np.zeros((batch, len(FACTORS))))


def bucket(probability: float) -> int:
    """The class of a probability."""
    return min(int(-log(max(probability, 1e-9)) / 0.6931471805599453), BUCKETS - 1)


def observe_links(
    memory: Memory,
    links: Links,
    used: IntArray,
    offered_pps: FloatArray,
    levels: Levels,
    discount: float,
    traffic: FloatRows,
    level: FloatRows,
) -> None:
    """Take in the demand of some links, and describe them to the network.

    Args:
        memory, links: updated.
        used: the links, [N].
        offered_pps: of each, [N].
        levels: of the chain.
        discount: see `Tuning`.
        traffic, level: filled, [N, features] and [N, LEVELS, features].
    """
    for n in range(len(used)):
        b = used[n]
        if memory.age[b] > 0.0:
            for i in range(BUCKETS):
                links.expected[b, i] *= discount
                links.seen[b, i] *= discount
            for j in range(LEVELS):
                i = bucket(links.predicted[b, j])
                links.expected[b, i] += links.predicted[b, j]
                links.seen[b, i] += 1.0 if offered_pps[n] > levels.rate[j] else 0.0
        remember(memory, b, offered_pps[n], levels)
        describe_traffic(memory, b, levels, traffic[n])
        period, _ = rhythm(memory, b)
        for j in range(LEVELS):
            describe_level(memory, b, j, period, levels, level[n, j])


def predict_links(
    links: Links, used: IntArray, logits: FloatRows, levels: Levels, prior: float
) -> bool:
    """Take in the network's answer for some links, corrected by what they have shown.

    Args:
        links: updated.
        used: the links, [N].
        logits: of each, [N, LEVELS, 1 + H].
        levels: of the chain.
        prior: see `Tuning`.

    Returns:
        Whether the answer is finite.
    """
    for n in range(len(used)):
        b = used[n]
        for j in range(LEVELS):
            for i in range(logits.shape[2]):
                logit = float(logits[n, j, i])
                if not np.isfinite(logit):
                    return False
                links.exceedance[b, j, i] = 1.0 / (1.0 + exp(-min(max(logit, -30.0), 30.0)))
            predicted = links.exceedance[b, j, 0]
            links.predicted[b, j] = predicted
            i = bucket(predicted)
            ratio = (links.seen[b, i] + prior) / (links.expected[b, i] + prior)
            links.exceedance[b, j, 0] = min(predicted * ratio, 1.0)
        areas(links.exceedance[b], levels, links.area[b])
    return True


def decide_chains(
    link: IntArray,
    memory: Memory,
    links: Links,
    imagined: Imagined,
    states: IntArray,
    offered_pps: FloatArray,
    levels: Levels,
    types: Types,
    drop_cost: FloatArray,
    parked_weight: FloatArray,
    targeted: npt.NDArray[np.bool_],
    launch: float,
    tuning: Tuning,
    targets: IntArray,
    spares: IntArray,
    expected: FloatArray,
    paid: FloatArray,
) -> None:
    """Decide for B chains.

    Args:
        link: of each chain, [B].
        memory, links: of the links.
        imagined: of the chains, updated.
        states: running, parked and launching instances, [3, B, T].
        offered_pps: in the last interval, [B].
        levels, types: of the chain.
        drop_cost, parked_weight: of each, [B].
        targeted: whether a drop target rules the drop cost: nothing is imagined then, [B].
        launch: intervals that a launch takes.
        tuning: of the policy.
        targets, spares: filled, [B, T].
        expected: loss that is expected of the next interval, packets/s; filled, [B].
        paid: filled with the prices that it was decided at, [B, fields].
    """
    for n in range(len(link)):
        b = link[n]
        mean = max(memory.total[b] / memory.age[b], FLOOR * levels.rate[0])
        presumed = tuning.trust * tuning.presumed * levels.rate[LEVELS - 1]
        usual = max((memory.total[b] + presumed) / (memory.age[b] + tuning.trust), mean)
        prices = Prices(
            drop_cost[n],
            mean,
            usual,
            parked_weight[n],
            launch,
            tuning.first_use,
            tuning.regret,
            tuning.stay,
        )
        factor = 1.0
        if not targeted[n]:
            best = 0.0
            for i in range(len(FACTORS)):
                running, parked, launching, left = imagined.instances[n, i]
                spent = imagine(offered_pps[n], prices, types, running, parked, launching, left)
                imagined.cost[n, i] = imagined.cost[n, i] * tuning.memory + spent
                provide(
                    running,
                    parked,
                    launching,
                    links.exceedance[b],
                    links.area[b],
                    levels,
                    types,
                    scaled(prices, FACTORS[i]),
                    targets[n],
                    spares[n],
                )
                follow(targets[n], spares[n], launch, running, parked, launching, left)
                cost = imagined.cost[n, i] + (tuning.doubt * drop_cost[n] if i > 0 else 0.0)
                if i == 0 or cost < best:
                    best, factor = cost, FACTORS[i]
        prices = scaled(prices, factor)
        for i in range(len(prices)):
            paid[n, i] = prices[i]
        capacity = provide(
            states[0, n],
            states[1, n],
            states[2, n],
            links.exceedance[b],
            links.area[b],
            levels,
            types,
            prices,
            targets[n],
            spares[n],
        )
        expected[n] = area_above(capacity, 0, links.exceedance[b], links.area[b], levels)


def scaled(prices: Prices, factor: float) -> Prices:
    """The prices with another drop cost."""
    return Prices(
        prices.drop_cost * factor,
        prices.mean,
        prices.usual,
        prices.parked,
        prices.launch,
        prices.first_use,
        prices.regret,
        prices.stay,
    )


class Knobs(NamedTuple):
    """What an operator sets, a number or one for each chain of a batch.

    Attributes:
        drop_cost: cost of losing one interval's mean traffic, core intervals.
        drop_target: share that may be lost; NaN where the drop cost holds instead.
        parked_weight: cost of a parked core relative to a running one.
    """

    drop_cost: FloatArray
    drop_target: FloatArray
    parked_weight: FloatArray

    @property
    def targeted(self) -> npt.NDArray[np.bool_]:
        """Which chains have a drop target."""
        return np.isfinite(self.drop_target)

    def of(self, batch: int) -> Knobs:
        """The knobs of so many chains, [B] each."""
        return Knobs(*(np.ascontiguousarray(np.broadcast_to(knob, batch)) for knob in self))


class Network:
    """A bundle's network that keeps its inputs and output where they are, which saves time."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._binding = session.io_binding()
        self.traffic = np.empty((0, len(TRAFFIC)), np.float32)
        self.level = np.empty((0, LEVELS, len(LEVEL)), np.float32)
        self.logits = np.empty((0, LEVELS, 1 + len(HORIZONS)), np.float32)

    def room(self, links: int) -> None:
        """Make room for so many links."""
        if len(self.traffic) == links:
            return
        self.traffic = np.empty((links, len(TRAFFIC)), np.float32)
        self.level = np.empty((links, LEVELS, len(LEVEL)), np.float32)
        self.logits = np.empty((links, LEVELS, 1 + len(HORIZONS)), np.float32)
        memory = "cpu", 0, np.float32
        for name, array in (("traffic", self.traffic), ("level", self.level)):
            self._binding.bind_input(name, *memory, array.shape, array.ctypes.data)
        self._binding.bind_output("logits", *memory, self.logits.shape, self.logits.ctypes.data)

    def run(self) -> FloatRows:
        """The logits, valid until the next call."""
        self._session.run_with_iobinding(self._binding)
        return self.logits


def keep_pace(
    balance: FloatArray,
    offered_pps: FloatArray,
    lost_pps: FloatArray,
    target: FloatArray,
    tuning: Tuning,
) -> None:
    """Move the drop costs of B chains so that the share that they lose comes to their targets.

    An integral controller of the logarithm of the cost. It is driven by the loss that is expected,
    which is smoother than the one that comes: one large loss in a thousand intervals would else
    drive the cost down in all others. Its set point makes up, within the horizon, for what was lost
    beyond the target or left unused so far (budget pacing).

    Args:
        balance: demand and loss so far, packets/s summed over intervals, readings, the logarithm of
            the drop cost, and the loss that was expected of the last interval; updated, [B, 5].
        offered_pps, lost_pps: of the last interval, [B].
        target: share that may be lost, [B].
        tuning: of the policy.
    """
    for n in range(len(target)):
        if balance[n, 2] == 0.0:
            balance[n, 3] = log(min(max(1.0 / target[n], COSTS[0]), COSTS[1]))
        balance[n, 0] += offered_pps[n]
        balance[n, 1] += lost_pps[n]
        balance[n, 2] += 1.0
        mean = max(balance[n, 0] / balance[n, 2], 1e-9)
        spent = balance[n, 1] / (target[n] * mean) - balance[n, 2]
        allowed = target[n] * mean * min(max(1.0 - spent / tuning.horizon, 0.03), 2.0)
        moved = balance[n, 3] + (balance[n, 4] / allowed - 1.0) / tuning.pace
        balance[n, 3] = min(max(moved, log(COSTS[0])), log(COSTS[1]))


class Exceedance:
    """Decides by a network that says how likely the demand is to exceed what.

    Chains of a batch that have been offered the same so far share a link: what is known of their
    traffic, and the network's answer, are computed once.

    Args:
        session: runs the network.
        tuning: of the policy.
        where: the bundle, for messages.

    Attributes:
        paid: prices that the last decisions were made at, in the order of
            `flexnfv.provision.Prices`, [B, fields].
    """

    paid: FloatArray

    def __init__(self, session: InferenceSession, tuning: Tuning, where: str) -> None:
        self._network = Network(session)
        self.tuning = tuning
        self._where = where

    def reset(self, chain: ServiceChain, knobs: Knobs) -> None:
        """Forget the traffic; what takes long (compiling) is done now.

        Args:
            chain: to decide for.
            knobs: of each chain of the batches to come.
        """
        self._chain = chain
        self._knobs = Knobs(*(knob.reshape(-1)[:1] for knob in knobs))
        self._levels, self._types = Levels.of(chain), Types.of(chain)
        self._launch = float(chain.measured.launch_s / chain.interval_s)
        self._batch: int | None = None
        self._begin(1)
        ones = np.ones(1)
        self._decide(ones, ones, np.ones((3, 1, chain.types), np.int64))
        self._batch, self._knobs = None, knobs

    def _begin(self, batch: int) -> None:
        self._batch = batch
        self._memory, self._links = Memory.of(batch), Links.of(batch)
        self._imagined = Imagined.of(batch, self._chain)
        self._link = np.zeros(batch, np.int64)
        self._balance = np.zeros((batch, 5))
        self._targets = np.zeros((batch, self._chain.types), np.int64)
        self._spares = np.zeros_like(self._targets)
        self.paid = np.zeros((batch, len(Prices._fields)))

    def decide(self, reading: Reading) -> Decision:
        """Targets and spares, [..., T].

        Raises:
            BackendError: the network's answer is not finite.
        """
        shape = reading.unsettled.shape
        batch = int(np.prod(shape[:-1], dtype=np.int64))
        if self._batch != batch:
            self._begin(batch)
        parked = reading.blocked + reading.draining
        states = np.stack([reading.running, parked, reading.launching]).reshape(3, batch, -1)
        offered = np.ascontiguousarray(reading.offered_pps, np.float64).reshape(batch)
        dropped = np.ascontiguousarray(reading.dropped_pps, np.float64).reshape(batch)
        self._decide(offered, dropped, np.ascontiguousarray(states, np.int64))
        return Decision(self._targets.reshape(shape), spares=self._spares.reshape(shape))

    def _decide(self, offered: FloatArray, dropped: FloatArray, states: IntArray) -> None:
        used, first = self._share(offered)
        network, levels, tuning = self._network, self._levels, self.tuning
        network.room(len(used))
        compiled(observe_links)(
            self._memory,
            self._links,
            used,
            offered[first],
            levels,
            tuning.discount,
            network.traffic,
            network.level,
        )
        if not compiled(predict_links)(self._links, used, network.run(), levels, tuning.prior):
            raise BackendError(f"{self._where}: the network's answer is not finite")
        knobs = self._knobs.of(len(offered))
        drop_cost = knobs.drop_cost
        if knobs.targeted.any():
            target = np.where(knobs.targeted, knobs.drop_target, 1.0)
            compiled(keep_pace)(self._balance, offered, dropped, target, tuning)
            drop_cost = np.where(knobs.targeted, np.exp(self._balance[:, 3]), drop_cost)
        compiled(decide_chains)(
            self._link,
            self._memory,
            self._links,
            self._imagined,
            states,
            offered,
            levels,
            self._types,
            drop_cost,
            knobs.parked_weight,
            knobs.targeted,
            self._launch,
            tuning,
            self._targets,
            self._spares,
            self._balance[:, 4],
            self.paid,
        )

    def _share(self, offered: FloatArray) -> tuple[IntArray, IntArray]:
        """The links in use once chains that were offered different rates part, and who shows each.

        Returns:
            Links, rising, and of each a chain that is on it, [N] each.
        """
        if len(offered) == 1:
            return self._link, np.zeros(1, np.int64)
        order = np.lexsort((offered, self._link))
        link, rate = self._link[order], offered[order]
        new_link = np.concatenate([[True], link[1:] != link[:-1]])
        part = new_link | np.concatenate([[True], rate[1:] != rate[:-1]])
        starts = np.flatnonzero(part)
        if len(starts) > new_link.sum():
            free = iter(np.setdiff1d(np.arange(len(offered)), link))
            ends = np.append(starts[1:], len(offered))
            for start, end in zip(starts, ends, strict=True):
                if not new_link[start]:
                    own = int(next(free))
                    for table in (self._memory, self._links):
                        for array in table:
                            array[own] = array[link[start]]
                    self._link[order[start:end]] = own
        links, first = np.unique(self._link, return_index=True)
        return links, first

    def export_state(self) -> State:
        """Memory, calibration and balance; empty before the first reading."""
        if self._batch is None:
            return {}
        tables: tuple[Any, ...] = (self._memory, self._links, self._imagined)
        state = {
            name: array.copy()
            for table in tables
            for name, array in zip(table._fields, table, strict=True)
        }
        return state | {"link": self._link.copy(), "balance": self._balance.copy()}

    def restore_state(self, state: State) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: not a state of this policy.
        """
        if not state:
            self._batch = None
            return
        names = {*Memory._fields, *Links._fields, *Imagined._fields, "link", "balance"}
        if set(state) != names:
            raise ValueError(f"the policy keeps {', '.join(sorted(names))}")
        self._begin(len(state["link"]))
        tables: tuple[Any, ...] = (self._memory, self._links, self._imagined)
        for table in tables:
            for name, array in zip(table._fields, table, strict=True):
                if array.shape != state[name].shape:
                    raise ValueError(f"{name} has shape {state[name].shape}, not {array.shape}")
                array[...] = state[name]
        self._link[...] = state["link"]
        self._balance[...] = state["balance"]
