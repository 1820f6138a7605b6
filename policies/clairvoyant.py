"""Clairvoyant: knows the traffic to come; the bound that no policy can beat."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.mapping import bucket_weights, empty_table, modulus_weights, shares, update_table
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


class Tried(NamedTuple):
    """What trials found, kept from one interval to the next: most instances stay as they are.

    Attributes:
        state: instance states that the trials began with, [B, T, I].
        top_share: share of the most loaded instance by count; the first row with launching
            instances carrying nothing yet, the second with launches completed; infinity where no
            instance carries anything, NaN where it was not tried, [B, T, 2, I + 1].
    """

    state: npt.NDArray[np.int8]
    top_share: FloatArray


class Scratch(NamedTuple):
    """Arrays that a trial works in, of one NF type."""

    trial: npt.NDArray[np.int8]
    command: npt.NDArray[np.int8]
    clipped: IntArray
    one: IntArray
    row: IntArray
    share: FloatArray
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
    tried: Tried,
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
        tried: of the interval before, brought up to date.
        scratch: see `Scratch`.
        targets: filled, [B, T].
    """
    for b in range(state.shape[0]):
        end = length[trace[b]]
        first = min(now[b], end - 1)
        rate, soon, later = rates[trace[b], first], 0.0, rates[trace[b], first]
        for k in range(first + 1, min(first + 1 + shape.rerun_ahead, end)):
            soon = max(soon, rates[trace[b], k])
        for k in range(first + 1, min(first + 1 + shape.launch_ahead, end)):
            later = max(later, rates[trace[b], k])
        for t in range(state.shape[1]):
            refresh(shape, t, state[b, t], tables[b, t], tried.state[b, t], tried.top_share[b, t])
            targets[b, t] = wanted_of_type(
                shape,
                t,
                state[b, t],
                load[b, t],
                parked_s[b, t],
                tables[b, t],
                (rate * through[t], soon * through[t], later * through[t]),
                capacity[b, t],
                burst[b, t],
                tried.top_share[b, t],
                scratch,
            )


def wanted_of_type(
    shape: Shape,
    t: int,
    state: npt.NDArray[np.int8],
    load: FloatArray,
    parked_s: FloatArray,
    table: npt.NDArray[np.int16],
    rates: tuple[float, float, float],
    capacity_pps: float,
    burst_pps: float,
    top_share: FloatArray,
    scratch: Scratch,
) -> int:
    """The clairvoyant's decision for one NF type.

    Args:
        shape, t, state, load, parked_s, table, top_share, scratch: see `fewest`.
        rates: what will be offered to the type in the next interval; at most while a rerun would
            take place; and at most until a launch would be complete.
        capacity_pps: what one instance carries.
        burst_pps: what one instance takes while another reruns.
    """
    rate, soon, later = rates
    of_type = state, load, parked_s, table
    wanted = fewest(shape, t, *of_type, rate, capacity_pps, 0, top_share, scratch)
    # A search is left out where what is wanted suffices: its count would be no higher.
    top = top_share_of(shape, t, *of_type, wanted, 0, top_share, scratch)
    if soon * top > burst_pps:
        ready = fewest(shape, t, *of_type, soon, burst_pps, 0, top_share, scratch)
        wanted = max(wanted, ready)
    here = 0
    for slot in range(state.shape[0]):
        here += state[slot] != STOPPED
    # Only what does not exist yet has to be asked for ahead of its time.
    if here >= shape.least[t]:
        most = min(here, shape.most[t])
        top = top_share_of(shape, t, *of_type, most, 1, top_share, scratch)
        if later * top <= capacity_pps:
            return wanted
    ahead = fewest(shape, t, *of_type, later, capacity_pps, 1, top_share, scratch)
    return max(wanted, ahead) if ahead > here else wanted


def refresh(
    shape: Shape,
    t: int,
    state: npt.NDArray[np.int8],
    table: npt.NDArray[np.int16],
    before: npt.NDArray[np.int8],
    top_share: FloatArray,
) -> None:
    """Bring one NF type's table up to date, and forget the trials that no longer hold.

    A trial depends on the states; one that blocks instances also on their loads, and one that may
    stop parked ones on their time.
    """
    running = 0
    same = np.isinf(shape.park_timeout_s)
    for slot in range(state.shape[0]):
        running += state[slot] == RUNNING
        same = same and state[slot] == before[slot]
        before[slot] = state[slot]
    update_table(shape.kinds[t], state, table)
    for count in range(top_share.shape[1]):
        if not same or count < running:
            top_share[0, count] = np.nan
            top_share[1, count] = np.nan


def fewest(
    shape: Shape,
    t: int,
    state: npt.NDArray[np.int8],
    load: FloatArray,
    parked_s: FloatArray,
    table: npt.NDArray[np.int16],
    rate_pps: float,
    capacity_pps: float,
    launched: int,
    top_share: FloatArray,
    scratch: Scratch,
) -> int:
    """The fewest instances of one NF type none of which is offered more than it can carry.

    Each count is tried out: what the scaling code would command, and how the mapping would then
    split the rate.

    Args:
        shape: see `Shape`.
        t: the NF type.
        state, load, parked_s: of a reading, [I].
        table: bucket table in force, [BUCKETS].
        rate_pps: what will be offered to the type.
        capacity_pps: what one instance carries.
        launched: 1 if launches count as completed; else launching instances carry nothing yet.
        top_share: of the trials, see `Tried`, [2, I + 1].
        scratch: see `Scratch`.

    Returns:
        The count; if none suffices, the one whose most loaded instance is offered least.
    """
    least, most = shape.least[t], shape.most[t]
    here = 0
    for slot in range(state.shape[0]):
        here += state[slot] == RUNNING or state[slot] == LAUNCHING
    # However well the rate is split, so few instances cannot carry it: they need no trial.
    hopeless = rate_pps * (1.0 - 1e-9) / capacity_pps if capacity_pps > 0 else 0.0
    for count in range(least, most + 1):
        if max(count, here) >= hopeless:
            top = top_share_of(
                shape, t, state, load, parked_s, table, count, launched, top_share, scratch
            )
            if rate_pps * top <= capacity_pps:
                return int(count)
    best = most
    lowest = np.inf
    for count in range(least, most + 1):
        highest = rate_pps * top_share_of(
            shape, t, state, load, parked_s, table, count, launched, top_share, scratch
        )
        if highest < lowest:
            lowest = highest
            best = count
    return best


def top_share_of(
    shape: Shape,
    t: int,
    state: npt.NDArray[np.int8],
    load: FloatArray,
    parked_s: FloatArray,
    table: npt.NDArray[np.int16],
    count: int,
    launched: int,
    top_share: FloatArray,
    scratch: Scratch,
) -> float:
    """The share of the most loaded instance with that count, tried if it was not before."""
    if not np.isnan(top_share[launched, count]):
        return float(top_share[launched, count])
    slots = state.shape[0]
    trial, command, share = scratch.trial, scratch.command, scratch.share
    trial[0] = state
    least, most = shape.least[t], shape.most[t]
    plan(
        scratch.one * count,
        trial,
        load.reshape(1, slots),
        parked_s.reshape(1, slots),
        scratch.one * least,
        scratch.one * most,
        scratch.one,
        NO_BUDGET,
        shape.park_timeout_s,
        command,
        scratch.clipped,
    )
    alike = True
    for slot in range(slots):
        if command[0, slot] == RERUN:
            trial[0, slot] = RUNNING
        elif command[0, slot] == BLOCK:
            trial[0, slot] = DRAINING
        elif command[0, slot] == STOP:
            trial[0, slot] = STOPPED
        elif command[0, slot] == LAUNCH or trial[0, slot] == LAUNCHING:
            alike = False
            if launched:
                trial[0, slot] = RUNNING
    scratch.table[:] = table
    update_table(shape.kinds[t], trial[0], scratch.table)
    unmapped = shares(
        shape.kinds[t],
        trial[0],
        scratch.table,
        shape.bucket_weight,
        shape.modulus_weight,
        scratch.row,
        share,
    )
    top = np.inf if unmapped > 0 else share.max()
    top_share[launched, count] = top
    if alike:  # nothing launches, so it makes no difference whether launches count
        top_share[1 - launched, count] = top
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
            self._tried = None
        if self._tried is None:  # a state that was restored knows the tables alone
            self._tried = Tried(
                np.full((rows, types, slots), -1, np.int8),
                np.full((rows, types, 2, slots + 1), np.nan),
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
            self._tried,
            self._scratch,
            targets,
        )
        return targets.reshape(*reading.batch, types)

    def restore_state(self, state: State) -> None:
        """Continue from an exported state."""
        super().restore_state(state)
        self._tried = None


def highest_rates(trace: Trace, interval_s: float) -> FloatArray:
    """Highest rate within each interval, packets/s, [n]: of its tenths where the trace is finer."""
    if trace.step_s >= interval_s * (1 - 1e-9):
        return trace.rates(interval_s)
    fine = trace.rates(interval_s / FINE)
    whole = len(fine) // FINE * FINE
    return np.asarray(fine[:whole].reshape(-1, FINE).max(axis=1))
