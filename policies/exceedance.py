"""Exceedance: a network says how likely the demand is to exceed what, a newsvendor decides.

After every reading the policy remembers the offered traffic (`flexnfv.memory`), asks the network
how likely the demand is to exceed each level soon, corrects the answer by how often such answers
have come true on this very link, and provides for it at the drop cost (`flexnfv.provision`).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import bound, plain
from flexnfv.decision import Decision
from flexnfv.errors import BackendError
from flexnfv.memory import (
    FLOOR,
    LEVEL,
    LEVELS,
    TRAFFIC,
    Levels,
    Memory,
    describe_levels,
    describe_traffic,
    remember,
)
from flexnfv.policy import State
from flexnfv.provision import HORIZONS, Prices, Types, area_above, areas, follow, imagine, provide
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BUCKETS: Final = 16
"""Classes of probability that are calibrated apart, an octave each, from 1 downwards."""
FACTORS: Final = (1.0, 0.3, 3.0)
"""What the drop cost is multiplied by in the chains that are only imagined, 1 first."""
UNEVENNESS_STEP: Final = 1.0 / 32.0
"""Step of the running mean of how unevenly flows spread."""
MOST_UNEVEN: Final = 2.0
TOLERATED: Final = 0.06
"""Unevenness that costs next to nothing: little is lost at one of many instances."""
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
    stay: float = 8.0
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
    levels: Levels,
    tuning: Tuning,
    used: IntArray,
    offered_pps: FloatArray,
    traffic: FloatRows,
    level: FloatRows,
) -> None:
    """Take in the demand of some links, and describe them to the network.

    Args:
        memory, links: updated.
        levels: of the chain.
        tuning: of the policy.
        used: the links, [N].
        offered_pps: of each, [N].
        traffic, level: filled, [N, features] and [N, LEVELS, features].
    """
    every = np.arange(LEVELS)
    for n in range(len(used)):
        b = used[n]
        if memory.age[b] > 0.0:
            for i in range(BUCKETS):
                links.expected[b, i] *= tuning.discount
                links.seen[b, i] *= tuning.discount
            for j in range(LEVELS):
                i = bucket(links.predicted[b, j])
                links.expected[b, i] += links.predicted[b, j]
                links.seen[b, i] += 1.0 if offered_pps[n] > levels.rate[j] else 0.0
        remember(memory, b, offered_pps[n], levels)
        describe_traffic(memory, b, levels, traffic[n])
        describe_levels(memory, b, every, levels, level[n])


def predict_links(
    links: Links, levels: Levels, tuning: Tuning, used: IntArray, logits: FloatRows
) -> bool:
    """Take in the network's answer for some links, corrected by what they have shown.

    Args:
        links: updated.
        levels: of the chain.
        tuning: of the policy.
        used: the links, [N].
        logits: of each, [N, LEVELS, 1 + H].

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
            ratio = (links.seen[b, i] + tuning.prior) / (links.expected[b, i] + tuning.prior)
            links.exceedance[b, j, 0] = min(predicted * ratio, 1.0)
        areas(links.exceedance[b], levels, links.area[b])
    return True


def decide_chains(
    memory: Memory,
    links: Links,
    chains: Chains,
    imagined: Imagined,
    levels: Levels,
    types: Types,
    tuning: Tuning,
    launch: float,
    state: npt.NDArray[np.int8],
    arrived_pps: FloatArray,
    offered_pps: FloatArray,
) -> None:
    """Decide for B chains.

    Args:
        memory, links: of the links.
        chains: the chains, whose targets, spares and prices are filled, and what is expected.
        imagined: of the chains, updated.
        levels, types: of the chain.
        tuning: of the policy.
        launch: intervals that a launch takes.
        state: of every instance (`flexnfv.states`), [B, T, I].
        arrived_pps: offered to every instance, [B, T, I].
        offered_pps: in the last interval, [B].
    """
    now = np.empty((3, state.shape[1]), np.int64)
    carried = np.empty(state.shape[1])
    every = types
    for n in range(len(offered_pps)):
        b = chains.link[n]
        targets, spares = chains.targets[n], chains.spares[n]
        prices = prices_of(n, memory, chains, levels, tuning, launch)
        count_instances(state[n], now)
        learn_unevenness(chains.ran[n], chains.unevenness[n], now[0], state[n], arrived_pps[n])
        for t in range(len(carried)):
            carried[t] = every.capacity[t] / max(chains.unevenness[n, t] - TOLERATED, 1.0)
        types = Types(carried, every.cores, every.fewest, every.most)
        if not chains.drop_target[n] > 0.0:  # nothing is imagined under a drop target
            exceedance, area = links.exceedance[b], links.area[b]
            factor = cheapest_factor(
                offered_pps[n],
                exceedance,
                area,
                levels,
                types,
                prices,
                tuning,
                imagined.instances[n],
                imagined.cost[n],
                targets,
                spares,
            )
            prices = scaled(prices, factor)
        for i in range(len(prices)):
            chains.paid[n, i] = prices[i]
        capacity = provide(
            now[0],
            now[1],
            now[2],
            links.exceedance[b],
            links.area[b],
            levels,
            types,
            prices,
            targets,
            spares,
        )
        expected = area_above(capacity, 0, links.exceedance[b], links.area[b], levels)
        chains.balance[n, 4] = expected


def prices_of(
    n: int, memory: Memory, chains: Chains, levels: Levels, tuning: Tuning, launch: float
) -> Prices:
    """The prices that a chain is decided at before anything is imagined; see `decide_chains`."""
    b = chains.link[n]
    mean = max(memory.total[b] / memory.age[b], FLOOR * levels.rate[0])
    presumed = tuning.trust * tuning.presumed * levels.rate[LEVELS - 1]
    usual = max((memory.total[b] + presumed) / (memory.age[b] + tuning.trust), mean)
    return Prices(
        chains.drop_cost[n],
        mean,
        usual,
        chains.parked_weight[n],
        launch,
        tuning.first_use,
        tuning.regret,
        tuning.stay,
    )


def cheapest_factor(
    offered_pps: float,
    exceedance: FloatArray,
    area: FloatArray,
    levels: Levels,
    types: Types,
    prices: Prices,
    tuning: Tuning,
    instances: IntArray,
    costs: FloatArray,
    targets: IntArray,
    spares: IntArray,
) -> float:
    """Let an interval pass in the imagined chains of a chain, and decide for each of them.

    Args:
        offered_pps: in the interval.
        exceedance, area, levels, types, prices: see `flexnfv.provision.provide`.
        tuning: of the policy.
        instances, costs: see `Imagined`; updated, [factors, 4, T] and [factors].
        targets, spares: room, [T].

    Returns:
        The factor of the drop cost by which the chain would have cost least so far.
    """
    best, factor = 0.0, 1.0
    for i in range(len(FACTORS)):
        running, parked, launching, left = instances[i]
        spent = imagine(offered_pps, prices, types, running, parked, launching, left)
        costs[i] = costs[i] * tuning.memory + spent
        provide(
            running,
            parked,
            launching,
            exceedance,
            area,
            levels,
            types,
            scaled(prices, FACTORS[i]),
            targets,
            spares,
        )
        follow(targets, spares, prices.launch, running, parked, launching, left)
        cost = costs[i] + (tuning.doubt * prices.drop_cost if i > 0 else 0.0)
        if i == 0 or cost < best:
            best, factor = cost, FACTORS[i]
    return factor


def count_instances(state: npt.NDArray[np.int8], counts: IntArray) -> None:
    """Fill in how many instances of each type run, are parked (or drain) and launch, [3, T].

    What `flexnfv.reading.Reading` counts, for one chain and without numpy's calls.
    """
    for t in range(state.shape[0]):
        running = parked = launching = 0
        for slot in range(state.shape[1]):
            found = state[t, slot]
            running += found == RUNNING
            parked += found in (DRAINING, BLOCKED)
            launching += found == LAUNCHING
        counts[0, t], counts[1, t], counts[2, t] = running, parked, launching


def learn_unevenness(
    ran: IntArray,
    unevenness: FloatArray,
    running: IntArray,
    state: npt.NDArray[np.int8],
    arrived_pps: FloatArray,
) -> None:
    """Take in how evenly the flows spread, where as many instances ran as in the interval before.

    Args:
        ran, unevenness: see `Chains`; updated, [T].
        running: instances that run now, [T].
        state, arrived_pps: of every instance, [T, I].
    """
    for t in range(len(running)):
        if running[t] > 1 and running[t] == ran[t]:
            total = busiest = 0.0
            for slot in range(state.shape[1]):
                if state[t, slot] == RUNNING:
                    total += arrived_pps[t, slot]
                    busiest = max(busiest, arrived_pps[t, slot])
            if total > 0.0:
                step = UNEVENNESS_STEP * (busiest * running[t] / total - unevenness[t])
                unevenness[t] = min(max(unevenness[t] + step, 1.0), MOST_UNEVEN)
        ran[t] = running[t]


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


class Chains(NamedTuple):
    """What is decided for B chains, and what for.

    Attributes:
        link: that each is on, [B].
        drop_cost, drop_target, parked_weight: see `Knobs`; a drop target moves the cost, [B].
        balance: see `keep_pace`, [B, 5].
        ran: instances of each type that ran in the last interval, [B, T].
        unevenness: running mean of what a type's busiest instance was offered, relative to the mean
            of its instances: flows do not spread evenly, and the busiest one loses first, [B, T].
        targets, spares: the last decision, [B, T].
        paid: prices that it was made at, in the order of `flexnfv.provision.Prices`, [B, fields].
    """

    link: IntArray
    drop_cost: FloatArray
    drop_target: FloatArray
    parked_weight: FloatArray
    balance: FloatArray
    ran: IntArray
    unevenness: FloatArray
    targets: IntArray
    spares: IntArray
    paid: FloatArray

    @classmethod
    def of(cls, batch: int, types: int, knobs: Knobs) -> Self:
        """Of a batch of chains that begin, all on one link."""
        none = np.zeros((batch, types), np.int64)
        return cls(
            link=np.zeros(batch, np.int64),
            **{name: np.full(batch, knob) for name, knob in knobs._asdict().items()},
            balance=np.zeros((batch, 5)),
            ran=none.copy(),
            unevenness=np.ones((batch, types)),
            targets=none,
            spares=none.copy(),
            paid=np.zeros((batch, len(Prices._fields))),
        )


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
    chains: Chains, tuning: Tuning, offered_pps: FloatArray, lost_pps: FloatArray
) -> None:
    """Move the drop costs of chains so that the share that they lose comes to their targets.

    An integral controller of the logarithm of the cost. It is driven by the loss that is expected,
    which is smoother than the one that comes: one large loss in a thousand intervals would else
    drive the cost down in all others. Its set point makes up, within the horizon, for what was lost
    beyond the target or left unused so far (budget pacing).

    Args:
        chains: those with a drop target are updated. Their balance: demand and loss so far,
            packets/s summed over intervals, readings, the logarithm of the drop cost, and the loss
            that was expected of the last interval.
        tuning: of the policy.
        offered_pps, lost_pps: of the last interval, [B].
    """
    for n in range(len(offered_pps)):
        target, balance = chains.drop_target[n], chains.balance[n]
        if not target > 0.0:
            continue
        if balance[2] == 0.0:
            balance[3] = log(min(max(1.0 / target, COSTS[0]), COSTS[1]))
        balance[0] += offered_pps[n]
        balance[1] += lost_pps[n]
        balance[2] += 1.0
        mean = max(balance[0] / balance[2], 1e-9)
        spent = balance[1] / (target * mean) - balance[2]
        allowed = target * mean * min(max(1.0 - spent / tuning.horizon, 0.03), 2.0)
        moved = balance[3] + (balance[4] / allowed - 1.0) / tuning.pace
        balance[3] = min(max(moved, log(COSTS[0])), log(COSTS[1]))
        chains.drop_cost[n] = exp(balance[3])


class Exceedance:
    """Decides by a network that says how likely the demand is to exceed what.

    Chains of a batch that have been offered the same so far share a link: what is known of their
    traffic, and the network's answer, are computed once.

    Args:
        session: runs the network.
        tuning: of the policy.
        where: the bundle, for messages.
    """

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
        self._levels, self._types = Levels.of(chain), Types.of(chain)
        self._launch = float(chain.measured.launch_s / chain.interval_s)
        self._knobs = Knobs(*(knob.reshape(-1)[:1] for knob in knobs))
        self._begin(1)
        ones = np.ones(1)
        shape = 1, chain.types, chain.slots
        self._decide(ones, ones, np.ones(shape, np.int8), np.ones(shape))
        self._knobs = knobs
        self._begin(max(knob.size for knob in knobs))

    def _begin(self, batch: int) -> None:
        chain, levels, tuning = self._chain, self._levels, self.tuning
        self._memory, self._links = Memory.of(batch), Links.of(batch)
        self._imagined = Imagined.of(batch, chain)
        self._chains = Chains.of(batch, chain.types, self._knobs)
        self._targeted = bool((self._chains.drop_target > 0.0).any())
        known = self._memory, self._links
        self._observe = bound(observe_links, *known, levels, tuning)
        self._predict = bound(predict_links, self._links, levels, tuning)
        self._keep_pace = bound(keep_pace, self._chains, tuning)
        self._provide = bound(
            decide_chains, *known, self._chains, self._imagined, levels, self._types, tuning
        )

    @property
    def paid(self) -> FloatArray:
        """Prices that the last decisions were made at, see `Chains`, [B, fields]."""
        return self._chains.paid

    def _forget(self) -> None:
        """Begin anew where the arrays are, which takes less than binding others."""
        batch = len(self._chains.link)
        mine = self._memory, self._links, self._imagined, self._chains
        anew = (
            Memory.of(batch),
            Links.of(batch),
            Imagined.of(batch, self._chain),
            Chains.of(batch, self._chain.types, self._knobs),
        )
        for table, fresh in zip(mine, anew, strict=True):
            for array, values in zip(table, fresh, strict=True):
                array[...] = values

    def decide(self, reading: Reading) -> Decision:
        """Targets and spares, [..., T].

        Raises:
            BackendError: the network's answer is not finite.
        """
        shape = reading.state.shape
        batch = prod(shape[:-2])
        if len(self._chains.link) != batch:
            self._begin(batch)
        self._decide(
            plain(reading.offered_pps).reshape(batch),
            plain(reading.dropped_pps).reshape(batch),
            plain(reading.state).reshape(batch, *shape[-2:]),
            plain(reading.arrived_pps).reshape(batch, *shape[-2:]),
        )
        targets, spares = self._chains.targets, self._chains.spares
        return Decision(
            targets.reshape(shape[:-1]).copy(), spares=spares.reshape(shape[:-1]).copy()
        )

    def _decide(
        self,
        offered: FloatArray,
        dropped: FloatArray,
        state: npt.NDArray[np.int8],
        arrived: FloatArray,
    ) -> None:
        used, shown = self._share(offered)
        network = self._network
        network.room(len(used))
        self._observe(used, shown, network.traffic, network.level)
        if not self._predict(used, network.run()):
            raise BackendError(f"{self._where}: the network's answer is not finite")
        if self._targeted:
            self._keep_pace(offered, dropped)
        self._provide(self._launch, state, arrived, offered)

    def _share(self, offered: FloatArray) -> tuple[IntArray, FloatArray]:
        """The links in use once chains that were offered different rates part, and their demand.

        Returns:
            Links, rising, and what each is offered, packets/s, [N] each.
        """
        if len(offered) == 1:
            return self._chains.link, offered
        order = np.lexsort((offered, self._chains.link))
        link, rate = self._chains.link[order], offered[order]
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
                    self._chains.link[order[start:end]] = own
        links, first = np.unique(self._chains.link, return_index=True)
        return links, offered[first]

    def export_state(self) -> State:
        """Memory, calibration and balance; empty before the first reading."""
        if not self._memory.age.any():
            return {}
        return {name: array.copy() for name, array in self._state()}

    def restore_state(self, state: State) -> None:
        """Continue from an exported state.

        Raises:
            ValueError: not a state of this policy.
        """
        if not state:
            self._forget()
            return
        names = {name for name, _ in self._state()}
        if set(state) != names:
            raise ValueError(f"the policy keeps {', '.join(sorted(names))}")
        if len(state["link"]) != len(self._chains.link):
            self._begin(len(state["link"]))
        for name, array in self._state():
            if array.shape != state[name].shape:
                raise ValueError(f"{name} has shape {state[name].shape}, not {array.shape}")
        for name, array in self._state():
            array[...] = state[name]

    def _state(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Names and arrays of what it remembers."""
        tables: tuple[Any, ...] = (self._memory, self._links, self._imagined)
        for table in tables:
            yield from zip(table._fields, table, strict=True)
        for name in ("link", "balance", "ran", "unevenness"):
            yield name, getattr(self._chains, name)
