"""Clairvoyant: knows the traffic to come; the bound that no policy can beat."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.decision import KEEP
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.mapping import (
    ALGORITHM1,
    BUCKETS,
    EVEN,
    bucket_weights,
    empty_table,
    modulus_weights,
    shares,
    update_table,
)
from flexnfv.parameters import check, per_type
from flexnfv.policy import BasePolicy, Foreseen, State
from flexnfv.reading import Reading
from flexnfv.scaling import plan
from flexnfv.states import (
    BLOCK,
    DRAINING,
    LAUNCH,
    LAUNCHING,
    RERUN,
    RUNNING,
    STOP,
    STOPPED,
)
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FINE = 10
"""Parts of an interval whose highest rate counts, where the trace is finer than the interval."""
NO_BUDGET = 1 << 30
ROUNDING = 1.0 - 1e-9
"""Slack that keeps a bound below what rounding may make of it."""


class Shape(NamedTuple):
    """What the trials need of a chain.

    Attributes:
        kinds: `MappingKind` of each NF type, [T].
        least, most: limits of the instances, [T].
        park_timeout_s: infinity for never.
        bucket_weight: popularity of the flows in each bucket, [BUCKETS].
        modulus_weight: popularity of the flows with hash % j == index, [I + 1, I].
        rerun_ahead, launch_ahead: intervals that a rerun, a launch takes.
    """

    kinds: IntArray
    least: IntArray
    most: IntArray
    park_timeout_s: float
    bucket_weight: FloatArray
    modulus_weight: FloatArray
    rerun_ahead: int
    launch_ahead: int


class Trials(NamedTuple):
    """What trials found, kept from one interval to the next: most instances stay as they are.

    A batch's arrays have [B, T] before the dimensions told here.

    Attributes:
        before: instance states of the interval before, [I].
        order: running instances in the order in which they would be blocked, then -1, [I].
        held: buckets of each instance in the table in force, [I].
        own: share of each instance in the table in force, [I].
        top: share of the most loaded instance in a trial, infinity where none carries anything,
            [2, I + 1]; trials are told apart by whether launches count as completed (1) or
            launching instances carry nothing yet (0), and by the count.
        known: whether a trial of this interval would find the same, [2, I + 1].
    """

    before: npt.NDArray[np.int8]
    order: IntArray
    held: IntArray
    own: FloatArray
    top: FloatArray
    known: npt.NDArray[np.bool_]


class OfType(NamedTuple):
    """One NF type of one row.

    Attributes:
        t: its number.
        state, load, parked_s: of the reading, [I].
        table: bucket table in force, [BUCKETS].
        trials: its own.
    """

    t: int
    state: npt.NDArray[np.int8]
    load: FloatArray
    parked_s: FloatArray
    table: npt.NDArray[np.int16]
    trials: Trials


class Scratch(NamedTuple):
    """Arrays that a trial works in, of one NF type."""

    trial: npt.NDArray[np.int8]
    command: npt.NDArray[np.int8]
    clipped: IntArray
    one: IntArray
    row: IntArray
    share: FloatArray
    quota: IntArray
    kept: IntArray
    table: npt.NDArray[np.int16]


def fewest_of_rows(
    shape: Shape,
    state: npt.NDArray[np.int8],
    load: FloatArray,
    parked_s: FloatArray,
    now: IntArray,
    trace: IntArray,
    rates: FloatArray,
    length: IntArray,
    through: FloatArray,
    capacity: FloatArray,
    burst: FloatArray,
    tables: npt.NDArray[np.int16],
    trials: Trials,
    scratch: Scratch,
    targets: IntArray,
) -> None:
    """The clairvoyant's decision for every row and NF type.

    Args:
        shape: see `Shape`.
        state, load, parked_s: of a reading, [B, T, I].
        now: the interval that is decided for, [B].
        trace: which of the traces a row follows, [B].
        rates: highest rate of each interval of each trace, packets/s, [traces, N].
        length: intervals of each trace, [traces].
        through: share of the traffic that passes an NF type, [T].
        capacity: what one instance carries, packets/s, [B, T].
        burst: what one instance takes while another reruns, packets/s, [B, T].
        tables: bucket tables in force, brought up to date, [B, T, BUCKETS].
        trials: of the interval before, brought up to date.
        scratch: see `Scratch`.
        targets: filled, [B, T]; 0 where the trace has ended.
    """
    for b in range(state.shape[0]):
        first, end = now[b], length[trace[b]]
        if first >= end:
            targets[b] = 0
            continue
        rate, soon, later = rates[trace[b], first], 0.0, rates[trace[b], first]
        for k in range(first + 1, min(first + 1 + shape.rerun_ahead, end)):
            soon = max(soon, rates[trace[b], k])
        for k in range(first + 1, min(first + 1 + shape.launch_ahead, end)):
            later = max(later, rates[trace[b], k])
        for t in range(state.shape[1]):
            of_type = OfType(
                t,
                state[b, t],
                load[b, t],
                parked_s[b, t],
                tables[b, t],
                Trials(
                    trials.before[b, t],
                    trials.order[b, t],
                    trials.held[b, t],
                    trials.own[b, t],
                    trials.top[b, t],
                    trials.known[b, t],
                ),
            )
            refresh(shape, of_type, scratch)
            targets[b, t] = wanted_of_type(
                shape,
                of_type,
                rate * through[t],
                soon * through[t],
                later * through[t],
                capacity[b, t],
                burst[b, t],
                scratch,
            )


def refresh(shape: Shape, of: OfType, scratch: Scratch) -> None:
    """Bring one NF type's table up to date, and forget the trials that no longer hold.

    What a mapping does depends on the table, and the table on who runs. Who is chosen depends on
    the states; if instances are blocked also on their loads, if parked ones may be stopped on time.
    """
    running = 0
    same = np.isinf(shape.park_timeout_s)
    same_table = True
    for slot in range(of.state.shape[0]):
        runs = of.state[slot] == RUNNING
        running += runs
        same_table = same_table and runs == (of.trials.before[slot] == RUNNING)
        same = same and of.state[slot] == of.trials.before[slot]
        of.trials.before[slot] = of.state[slot]
    if not same_table:
        update_table(shape.kinds[of.t], of.state, of.table)
        of.trials.held[:] = 0
        of.trials.own[:] = 0.0
        for bucket in range(BUCKETS):
            if of.table[bucket] >= 0:
                of.trials.held[of.table[bucket]] += 1
                of.trials.own[of.table[bucket]] += shape.bucket_weight[bucket]
    for count in range(of.trials.known.shape[1]):
        if not same:
            of.trials.known[0, count] = False
            of.trials.known[1, count] = False
    forget_other_victims(of, running, scratch)


def forget_other_victims(of: OfType, running: int, scratch: Scratch) -> None:
    """Forget the trials that would block other instances than before; keep in which order they go.

    Loads differ a little in every interval, but the least loaded are mostly the same ones.
    """
    order, marks = of.trials.order, scratch.kept
    for slot in range(order.shape[0]):
        marks[slot] = 0
    later = scratch.quota
    for place in range(running):  # the order of `scaling.victim`: least load, ties highest slot
        later[place] = -1
        for slot in range(order.shape[0]):
            if of.state[slot] == RUNNING and marks[slot] == 0:
                chosen = later[place]
                if chosen < 0 or of.load[slot] <= of.load[chosen]:
                    later[place] = slot
        marks[later[place]] = 1
    for slot in range(order.shape[0]):
        marks[slot] = 0
    differing = 0
    for place in range(running):
        for slot, step in ((order[place], -1), (later[place], 1)):
            if slot >= 0:
                differing -= marks[slot] != 0
                marks[slot] += step
                differing += marks[slot] != 0
        order[place] = later[place]
        if differing:
            of.trials.known[0, running - place - 1] = False
            of.trials.known[1, running - place - 1] = False
    for place in range(running, order.shape[0]):
        order[place] = -1


def wanted_of_type(
    shape: Shape,
    of: OfType,
    rate_pps: float,
    soon_pps: float,
    later_pps: float,
    capacity_pps: float,
    burst_pps: float,
    scratch: Scratch,
) -> int:
    """The clairvoyant's decision for one NF type.

    Args:
        shape, of, scratch: see there.
        rate_pps: what will be offered to the type in the next interval.
        soon_pps: at most, until a rerun would be complete.
        later_pps: at most, until a launch would be complete.
        capacity_pps: what one instance carries.
        burst_pps: what one instance takes while another reruns.
    """
    wanted = fewest(shape, of, rate_pps, capacity_pps, 0, scratch)
    # A search is left out where what is wanted suffices: its count would be no higher.
    if soon_pps * top_share(shape, of, wanted, 0, scratch) > burst_pps:
        wanted = max(wanted, fewest(shape, of, soon_pps, burst_pps, 0, scratch))
    here = 0
    for slot in range(of.state.shape[0]):
        here += of.state[slot] != STOPPED
    # Only what does not exist yet has to be asked for ahead of its time.
    if here >= shape.least[of.t]:
        all_here = min(here, shape.most[of.t])
        if later_pps * top_share(shape, of, all_here, 1, scratch) <= capacity_pps:
            return wanted
    ahead = fewest(shape, of, later_pps, capacity_pps, 1, scratch)
    return max(wanted, ahead) if ahead > here else wanted


def fewest(
    shape: Shape,
    of: OfType,
    rate_pps: float,
    capacity_pps: float,
    launched: int,
    scratch: Scratch,
) -> int:
    """The fewest instances of one NF type none of which is offered more than it can carry.

    Each count is tried out: what the scaling code would command, and how the mapping would then
    split the rate.

    Args:
        shape, of, scratch: see there.
        rate_pps: what will be offered to the type.
        capacity_pps: what one instance carries.
        launched: 1 if launches count as completed; else launching instances carry nothing yet.

    Returns:
        The count; if none suffices, the one whose most loaded instance is offered least.
    """
    least, most = shape.least[of.t], shape.most[of.t]
    here = 0
    for slot in range(of.state.shape[0]):
        here += of.state[slot] == RUNNING or of.state[slot] == LAUNCHING
    # However well the rate is split, so few instances cannot carry it: they need no trial.
    hopeless = rate_pps * ROUNDING / capacity_pps if capacity_pps > 0 else 0.0
    for count in range(least, most + 1):
        if max(count, here) >= hopeless:
            top = top_share(shape, of, count, launched, scratch)
            if rate_pps * top <= capacity_pps:
                return int(count)
    best = most
    lowest = np.inf
    for count in range(least, most + 1):
        highest = rate_pps * top_share(shape, of, count, launched, scratch)
        if highest < lowest:
            lowest = highest
            best = count
    return int(best)


def top_share(shape: Shape, of: OfType, count: int, launched: int, scratch: Scratch) -> float:
    """The share of the most loaded instance with that count."""
    if of.trials.known[launched, count]:
        return float(of.trials.top[launched, count])
    nobody_launches = choose(shape, of, count, launched, scratch)
    top = split(shape, of, scratch)
    of.trials.top[launched, count] = top
    of.trials.known[launched, count] = True
    if nobody_launches:  # then it makes no difference whether launches count
        of.trials.top[1 - launched, count] = top
        of.trials.known[1 - launched, count] = True
    return float(top)


def choose(shape: Shape, of: OfType, count: int, launched: int, scratch: Scratch) -> bool:
    """The states that a count leads to, into `scratch.trial`; whether nothing is launching then."""
    slots = of.state.shape[0]
    trial, command = scratch.trial, scratch.command
    trial[0] = of.state
    plan(
        scratch.one * count,
        scratch.one * KEEP,
        trial,
        of.load.reshape(1, slots),
        of.parked_s.reshape(1, slots),
        scratch.one * shape.least[of.t],
        scratch.one * shape.most[of.t],
        scratch.one,
        NO_BUDGET,
        shape.park_timeout_s,
        command,
        scratch.clipped,
    )
    nobody_launches = True
    for slot in range(slots):
        if command[0, slot] == RERUN:
            trial[0, slot] = RUNNING
        elif command[0, slot] == BLOCK:
            trial[0, slot] = DRAINING
        elif command[0, slot] == STOP:
            trial[0, slot] = STOPPED
        elif command[0, slot] == LAUNCH or trial[0, slot] == LAUNCHING:
            nobody_launches = False
            if launched:
                trial[0, slot] = RUNNING
    return nobody_launches


def split(shape: Shape, of: OfType, scratch: Scratch) -> float:
    """Share of the most loaded instance under `scratch.trial`; infinity if none carries any."""
    kind, trial = shape.kinds[of.t], scratch.trial[0]
    if kind == EVEN:
        return even_split(
            of.table, of.trials.held, of.trials.own, shape.bucket_weight, trial, scratch
        )
    if kind != ALGORITHM1:
        scratch.table[:] = of.table
        update_table(kind, trial, scratch.table)
    unmapped = shares(
        kind,
        trial,
        scratch.table,
        shape.bucket_weight,
        shape.modulus_weight,
        scratch.row,
        scratch.share,
    )
    return np.inf if unmapped > 0 else float(scratch.share.max())


def even_split(
    table: npt.NDArray[np.int16],
    held: IntArray,
    own: FloatArray,
    bucket_weight: FloatArray,
    trial: npt.NDArray[np.int8],
    scratch: Scratch,
) -> float:
    """`update_table` and `shares` of the even mapping in one pass, which leaves the table alone.

    Args:
        table: in force, [BUCKETS].
        held, own: buckets and share of each instance by that table, [I].
        bucket_weight: see `Shape`.
        trial: instance states that the table is to be brought up to date for, [I].
        scratch: see there.

    Returns:
        The share of the most loaded instance; infinity if none runs.
    """
    quota, kept, share = scratch.quota, scratch.kept, scratch.share
    running = 0
    for slot in range(trial.shape[0]):
        running += trial[slot] == RUNNING
    if running == 0:
        return np.inf
    base = BUCKETS // running
    for slot in range(trial.shape[0]):
        quota[slot] = base if trial[slot] == RUNNING else 0
        share[slot] = own[slot] if trial[slot] == RUNNING else 0.0
    for _ in range(BUCKETS % running):
        best = -1
        for slot in range(trial.shape[0]):
            if (
                trial[slot] == RUNNING
                and quota[slot] == base
                and (best < 0 or held[slot] > held[best])
            ):
                best = slot
        quota[best] = base + 1
    for slot in range(trial.shape[0]):
        kept[slot] = min(held[slot], quota[slot])
    # An instance keeps its first buckets; the others go, in order, to who has too few.
    receiver = 0
    for bucket in range(BUCKETS):
        owner = table[bucket]
        if owner >= 0 and kept[owner] > 0:
            kept[owner] -= 1
        else:
            while held[receiver] >= quota[receiver] or trial[receiver] != RUNNING:
                receiver += 1
            if owner >= 0:
                share[owner] -= bucket_weight[bucket]
            share[receiver] += bucket_weight[bucket]
            quota[receiver] -= 1
    top = 0.0
    for slot in range(trial.shape[0]):
        if trial[slot] == RUNNING:
            top = max(top, share[slot])
    return top


class Clairvoyant(BasePolicy):
    """The fewest instances that lose nothing, given perfect knowledge of the traffic.

    For the next interval it takes the fewest that carry its rate under the mapping in force, with
    blocked instances rerun at once. What has to be launched is launched as many intervals ahead as
    a launch takes; what is rerun likewise, as far as the rings would overflow while it takes place.
    It knows rates, not luck: jitter is allowed for in full, deaths are not foreseen. The margin may
    be an array with a number for each row of a batch.

    Args:
        margin: share of an instance's capacity left free; below 0 it accepts losses.

    Raises:
        ValueError: a margin of 1 or more, or below -1.
    """

    foresight: ClassVar[bool] = True
    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("margin",)
    state_names: ClassVar[tuple[str, ...]] = ("tables",)
    sweep: ClassVar[tuple[str, tuple[float, ...]]] = (
        "margin",
        (-0.2, -0.15, -0.1, -0.07, -0.05, -0.03, -0.02, -0.01, 0.0, 0.02, 0.05),
    )

    tables: npt.NDArray[np.int16] | None

    def __init__(self, margin: float = 0.0) -> None:
        check("margin", margin, lambda v: (v >= -1) & (v < 1), "lie in [-1, 1)")
        self.margin = margin

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Look at the trace that is to come, or at the traces of all rows of a batch.

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
        self._look(chain, [trace] if isinstance(trace, Trace) else list(trace))
        self._through = np.zeros(chain.types)
        for path, part in zip(chain.paths, chain.path_shares, strict=True):
            self._through[list(path)] += part
        whole = chain.capacity_pps * (1.0 - chain.jitter)
        capacity = np.atleast_2d(whole * (1.0 - per_type(self.margin)))
        self._capacity = np.ascontiguousarray(
            np.broadcast_to(capacity, (len(self._trace), chain.types))
        )
        flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
        measured = chain.measured
        launch_s = measured.launch_s * (1.0 + measured.launch_spread)
        rerun_s = measured.rerun_s * (1.0 + measured.rerun_spread)
        # While a rerun takes its time, what the others cannot carry waits in their rings.
        waiting = chain.ring_packets / rerun_s if rerun_s > 0 else np.full(chain.types, np.inf)
        self._burst = self._capacity + waiting
        self._shape = Shape(
            kinds=np.array(chain.mapping_kinds, np.int64),
            least=np.array(chain.min_instances, np.int64),
            most=np.array(chain.max_instances, np.int64),
            park_timeout_s=np.inf if chain.park_timeout_s is None else float(chain.park_timeout_s),
            bucket_weight=bucket_weights(flows.hashes, flows.weights),
            modulus_weight=modulus_weights(flows.hashes, flows.weights, chain.slots),
            rerun_ahead=math.ceil(rerun_s / chain.interval_s),
            launch_ahead=math.ceil(launch_s / chain.interval_s),
        )
        slots = chain.slots
        self._scratch = Scratch(
            trial=np.empty((1, slots), np.int8),
            command=np.empty((1, slots), np.int8),
            clipped=np.empty(1, np.int64),
            one=np.ones(1, np.int64),
            row=np.empty(slots, np.int64),
            share=np.empty(slots),
            quota=np.empty(slots, np.int64),
            kept=np.empty(slots, np.int64),
            table=empty_table(),
        )

    def _look(self, chain: ServiceChain, traces: list[Trace]) -> None:
        """Keep the highest rates of every trace once, however many rows follow it."""
        alike = list({id(trace): trace for trace in traces}.values())
        series = [highest_rates(trace, chain.interval_s) for trace in alike]
        self._length = np.array([len(rates) for rates in series])
        self._rates = np.zeros((len(series), int(self._length.max())))
        for row, rates in enumerate(series):
            self._rates[row, : len(rates)] = rates
        places = {id(trace): place for place, trace in enumerate(alike)}
        self._trace = np.array([places[id(trace)] for trace in traces])

    def decide(self, reading: Reading) -> IntArray:
        """The fewest instances without loss, [..., T]."""
        chain = self.chain
        rows, types, slots = len(self._trace), chain.types, chain.slots
        if self.tables is None:
            self.tables = np.tile(empty_table(), (*reading.batch, types, 1))
            self._trials = None
        if self._trials is None:  # a state that was restored knows the tables alone
            self._trials = Trials(
                before=np.full((rows, types, slots), -1, np.int8),
                order=np.full((rows, types, slots), -1, np.int64),
                held=np.zeros((rows, types, slots), np.int64),
                own=np.zeros((rows, types, slots)),
                top=np.zeros((rows, types, 2, slots + 1)),
                known=np.zeros((rows, types, 2, slots + 1), np.bool_),
            )
        targets = np.empty((rows, types), np.int64)
        of_rows = (rows, types, slots)
        compiled(fewest_of_rows)(
            self._shape,
            plain(reading.state).reshape(of_rows),
            plain(reading.load).reshape(of_rows),
            plain(reading.parked_s).reshape(of_rows),
            np.rint(reading.time_s / chain.interval_s).astype(np.int64).reshape(rows),
            self._trace,
            self._rates,
            self._length,
            self._through,
            self._capacity,
            self._burst,
            self.tables.reshape(rows, types, -1),
            self._trials,
            self._scratch,
            targets,
        )
        return targets.reshape(*reading.batch, types)

    def restore_state(self, state: State) -> None:
        """Continue from an exported state."""
        super().restore_state(state)
        self._trials = None


def highest_rates(trace: Trace, interval_s: float) -> FloatArray:
    """Highest rate within each interval, packets/s, [n]: of its tenths where the trace is finer."""
    if trace.step_s >= interval_s * (1 - 1e-9):
        return trace.rates(interval_s)
    fine = trace.rates(interval_s / FINE)
    whole = len(fine) // FINE * FINE
    return np.asarray(fine[:whole].reshape(-1, FINE).max(axis=1))
