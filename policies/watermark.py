"""The paper's scaling law (Sec. III-B): watermarks on load, thresholds on queues.

`decide` is a pure function of a reading's arrays, the law's memory and its thresholds. The manager
runs the same law in C (`hw_backend/dataplane/common/law.c`) when no controller is there, held to
this one on random readings; so the floating-point work is kept to few operations in a stated order:

- load = arrived_pps x processing_ns x 1e-9, multiplied from left to right (`Reading.load`);
- H = high x max_load, L = low x H, queue threshold = queue_threshold x ring_slots;
- wanted additions = floor(load / H) where load > H;
- everything else compares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.parameters import check, per_type, whole_from_one
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading
from flexnfv.space import Real, Space
from flexnfv.states import LAUNCHING, RUNNING

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """The readings of the paper that the law follows; defaults as `Watermark` documents them.

    `queue_checks` may be an array with a number for each row of a batch.
    """

    queue_checks: Any = 5
    extra_on_queue: bool = True
    block_on_queue: Literal["victim", "any", "never"] = "victim"
    wait_for_full_interval: bool = True
    capacity_guard: bool = True
    load_of: Literal["instance", "type"] = "instance"
    request: Literal["addition", "total"] = "addition"
    replace_dead: bool = True


class Thresholds(NamedTuple):
    """What loads and queues are compared with: per NF type, [T], or for each row too, [B, T].

    Attributes:
        high: H, erlangs.
        low: L, erlangs.
        queue: packets.
    """

    high: FloatArray
    low: FloatArray
    queue: FloatArray


class Memory(NamedTuple):
    """What the law remembers from one reading to the next.

    Attributes:
        long_checks: checks in a row that found the queue above the threshold, [..., T, I].
        short_checks: checks in a row that found it below, [..., T, I].
        wanted: the targets last asked for, [..., T].
    """

    long_checks: IntArray
    short_checks: IntArray
    wanted: IntArray

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Memory:
        """Nothing seen yet, for instance states of `shape` [..., T, I]."""
        return cls(
            np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape[:-1], np.int64)
        )


def decide(
    reading: Reading, memory: Memory, thresholds: Thresholds, rules: Rules
) -> tuple[IntArray, Memory]:
    """One decision of the law for every NF type of a reading or of a batch of readings.

    Per type, with `here` = running + launching instances and only running instances looked at:

    1. Judged, unless the reading is unsettled (an instance joined or died within the interval).
    2. Each running instance of a judged type counts its checks in a row with a queue above, and
       below, the threshold, up to `queue_checks`; a queue at the threshold ends both. In a type
       not judged counts stay. An instance that does not run has counts of 0.
    3. `base` = `here`; after deaths as many more as died, but no more than were wanted before.
    4. Overload: any load > H. Targets are running + max(launching, num), num the largest
       floor(load / H), and at least `base`.
    5. Else, if any instance has `queue_checks` checks with a long queue: the same with num = 1.
    6. Else, if nothing launches, more than one runs and `base` = `here`: the victim (least load,
       ties the highest slot) is blocked if its load < L or it has `queue_checks` checks with a
       short queue, and the rest can carry it (`load_if_blocked` <= H). Targets are `here` - 1.
    7. Else targets are `base`. Always at least 1.
    8. Targets other than `here` are an action: it sets the type's counts to 0.

    Args:
        reading: the newest reading, [...].
        memory: of the reading before, or `Memory.blank`.
        thresholds: see `Thresholds`.
        rules: see `Rules`.

    Returns:
        Targets, [..., T], and the new memory; the arguments stay as they are.
    """
    shape = reading.state.shape
    rows = (-1, *shape[-2:])
    types = shape[:-1]
    long_checks, short_checks = memory.long_checks.copy(), memory.short_checks.copy()
    targets = np.empty(types, np.int64)
    compiled(_decide_rows)(
        *(
            plain(array).reshape(rows)
            for array in (reading.state, reading.load, reading.queue, reading.load_if_blocked)
        ),
        *(
            plain(array).reshape(rows[:2])
            for array in (reading.unsettled, reading.deaths, memory.wanted)
        ),
        *(plain(array).reshape(-1, shape[-2]) for array in thresholds),
        plain(np.asarray(rules.queue_checks)).reshape(-1),
        _Rules(
            rules.extra_on_queue,
            rules.block_on_queue == "victim",
            rules.block_on_queue == "any",
            rules.wait_for_full_interval,
            rules.capacity_guard,
            rules.load_of == "type",
            rules.request == "total",
            rules.replace_dead,
        ),
        long_checks.reshape(rows),
        short_checks.reshape(rows),
        targets.reshape(rows[:2]),
    )
    return targets, Memory(long_checks, short_checks, targets)


class _Rules(NamedTuple):
    """`Rules` as the compiled law takes them: one flag for each choice."""

    extra_on_queue: bool
    block_on_queue_of_victim: bool
    block_on_any_queue: bool
    wait_for_full_interval: bool
    capacity_guard: bool
    load_of_type: bool
    request_is_total: bool
    replace_dead: bool


def _decide_rows(
    state: npt.NDArray[np.int8],
    load: FloatArray,
    queue: FloatArray,
    load_if_blocked: FloatArray,
    unsettled: npt.NDArray[np.bool_],
    deaths: IntArray,
    wanted: IntArray,
    high: FloatArray,
    low: FloatArray,
    threshold: FloatArray,
    queue_checks: IntArray,
    rules: _Rules,
    long_checks: IntArray,
    short_checks: IntArray,
    targets: IntArray,
) -> None:
    """`decide` for every row and NF type.

    Readings and what is filled, the last three, are [N, T] or [N, T, I]; thresholds are [N, T] and
    checks [N], or with one row for all.
    """
    for n in range(state.shape[0]):
        of_thresholds = n if high.shape[0] > 1 else 0
        checks = queue_checks[n] if queue_checks.shape[0] > 1 else queue_checks[0]
        for t in range(state.shape[1]):
            targets[n, t] = _decide_type(
                state[n, t],
                load[n, t],
                queue[n, t],
                load_if_blocked[n, t],
                not (rules.wait_for_full_interval and unsettled[n, t]),
                deaths[n, t],
                wanted[n, t],
                high[of_thresholds, t],
                low[of_thresholds, t],
                threshold[of_thresholds, t],
                checks,
                rules,
                long_checks[n, t],
                short_checks[n, t],
            )


def _decide_type(
    state: npt.NDArray[np.int8],
    load: FloatArray,
    queue: FloatArray,
    load_if_blocked: FloatArray,
    judged: bool,
    deaths: int,
    wanted: int,
    high: float,
    low: float,
    threshold: float,
    queue_checks: int,
    rules: _Rules,
    long_checks: IntArray,
    short_checks: IntArray,
) -> int:
    """The law for one NF type; instance arrays are [I], the checks are updated in place."""
    running = 0
    launching = 0
    total = 0.0
    victim = -1
    for slot in range(state.shape[0]):
        if state[slot] == RUNNING:
            running += 1
            total += load[slot]
            if victim < 0 or load[slot] <= load[victim]:
                victim = slot
        elif state[slot] == LAUNCHING:
            launching += 1
    here = running + launching
    base = max(here, min(wanted, here + deaths)) if rules.replace_dead else here
    _count_checks(state, queue, judged, threshold, queue_checks, long_checks, short_checks)
    target = base
    if judged:
        more = _requested(state, load, total, high, queue_checks, rules, long_checks)
        if more > 0 and rules.request_is_total:
            target = max(base, here, more)
        elif more > 0:
            target = max(base, running + max(launching, more))
        elif launching == 0 and running > 1 and base == here:
            of_victim = total if rules.load_of_type else load[victim]
            idle = of_victim < low or _short(short_checks, victim, queue_checks, rules)
            if idle and (not rules.capacity_guard or load_if_blocked[victim] <= high):
                target = here - 1
    target = max(target, 1)
    if target != here:
        for slot in range(state.shape[0]):
            long_checks[slot] = 0
            short_checks[slot] = 0
    return target


def _count_checks(
    state: npt.NDArray[np.int8],
    queue: FloatArray,
    judged: bool,
    threshold: float,
    queue_checks: int,
    long_checks: IntArray,
    short_checks: IntArray,
) -> None:
    """Step 2 of the law for one NF type, in place."""
    for slot in range(state.shape[0]):
        if state[slot] != RUNNING:
            long_checks[slot] = 0
            short_checks[slot] = 0
        elif judged:
            long = queue[slot] > threshold
            short = queue[slot] < threshold
            long_checks[slot] = min(long_checks[slot] + 1, queue_checks) if long else 0
            short_checks[slot] = min(short_checks[slot] + 1, queue_checks) if short else 0


def _requested(
    state: npt.NDArray[np.int8],
    load: FloatArray,
    total: float,
    high: float,
    queue_checks: int,
    rules: _Rules,
    long_checks: IntArray,
) -> int:
    """Steps 4 and 5: num, 0 if neither loads nor queues ask for more."""
    most = 0
    backlog = False
    for slot in range(state.shape[0]):
        if state[slot] == RUNNING:
            of_slot = total if rules.load_of_type else load[slot]
            if of_slot > high:
                most = max(most, int(np.floor(of_slot / high)))
            backlog = backlog or long_checks[slot] >= queue_checks
    return 1 if most == 0 and backlog and rules.extra_on_queue else most


def _short(short_checks: IntArray, victim: int, queue_checks: int, rules: _Rules) -> bool:
    """Whether a short queue makes the type idle: the victim's, or any."""
    found = rules.block_on_queue_of_victim and short_checks[victim] >= queue_checks
    if rules.block_on_any_queue:
        for slot in range(short_checks.shape[0]):
            found = found or short_checks[slot] >= queue_checks
    return found


class Watermark(BasePolicy):
    """The FlexNFV paper's law: watermarks on load and thresholds on queues (Sec. III-B).

    One action per NF type and interval; overload beats underload. Where the paper is silent or
    ambiguous the law follows a reading of ours, each a parameter. Watermarks and thresholds may be
    arrays with a number for each row of a batch.

    Args:
        high: high watermark H as a share of the maximum load, for every NF type; the chain's own
            (0.682 by our reading) if not given.
        low: low watermark L as a share of H; the chain's own (0.5 by our reading) if not given.
        queue_threshold: queue threshold as a share of the ring's usable slots (our reading: a
            ring of n holds n - 1, and can never exceed its size).
        queue_checks: checks in a row that a queue must be beyond the threshold (paper: 5).
        extra_on_queue: ask for one extra instance when any queue stayed long without overload.
        block_on_queue: whose short queue counts as underload: `victim` (our reading), `any`, or
            `never` (load alone).
        wait_for_full_interval: do not judge a type before one full interval has passed since an
            instance joined or died (our reading: else every overload is answered twice).
        capacity_guard: block only if the rest can carry the load below H (our reading of the
            introduction's condition; without it the law follows Sec. III-B to the letter).
        load_of: whose load is held against H: each `instance` (our reading) or the whole `type`.
        request: whether floor(load / H) is the `addition` (our reading) or the `total`.
        replace_dead: ask at once for as many instances as died (our reading).

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("high", "low", "queue_threshold", "queue_checks")
    state_names: ClassVar[tuple[str, ...]] = Memory._fields
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("high", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.682, 0.8, 0.9, 1.0)),
        ("low", (0.1, 0.3, 0.5, 0.85)),
    )
    space: ClassVar[Space] = {
        "high": Real(0.1, 1.1),
        "low": Real(0.05, 0.95),
    }

    long_checks: IntArray | None
    short_checks: IntArray | None
    wanted: IntArray | None

    def __init__(
        self,
        high: float | None = None,
        low: float | None = None,
        queue_threshold: float = 0.5,
        queue_checks: int = 5,
        extra_on_queue: bool = True,
        block_on_queue: Literal["victim", "any", "never"] = "victim",
        wait_for_full_interval: bool = True,
        capacity_guard: bool = True,
        load_of: Literal["instance", "type"] = "instance",
        request: Literal["addition", "total"] = "addition",
        replace_dead: bool = True,
    ) -> None:
        if high is not None:
            check("high", high, lambda v: (v > 0) & (v <= 2), "lie in (0, 2]")
        if low is not None:
            check("low", low, lambda v: (v >= 0) & (v < 1), "lie in [0, 1)")
        check("queue_threshold", queue_threshold, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        check("queue_checks", queue_checks, whole_from_one, "be a whole number from 1")
        for name, value, allowed in (
            ("block_on_queue", block_on_queue, ("victim", "any", "never")),
            ("load_of", load_of, ("instance", "type")),
            ("request", request, ("addition", "total")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, it must be one of {', '.join(allowed)}")
        for name, flag in (
            ("extra_on_queue", extra_on_queue),
            ("wait_for_full_interval", wait_for_full_interval),
            ("capacity_guard", capacity_guard),
            ("replace_dead", replace_dead),
        ):
            if not isinstance(flag, bool):
                raise ValueError(f"{name} is {flag!r}, it must be true or false")
        self.high = high
        self.low = low
        self.queue_threshold = queue_threshold
        self.rules = Rules(
            queue_checks=np.asarray(queue_checks).astype(np.int64),
            extra_on_queue=extra_on_queue,
            block_on_queue=block_on_queue,
            wait_for_full_interval=wait_for_full_interval,
            capacity_guard=capacity_guard,
            load_of=load_of,
            request=request,
            replace_dead=replace_dead,
        )

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget all checks and take the chain's watermarks and rings."""
        super().reset(chain, seed)
        own = np.array([nf.low_watermark for nf in chain.nf])
        high = chain.high_load if self.high is None else per_type(self.high) * chain.max_load
        low = own if self.low is None else per_type(self.low)
        queue = per_type(self.queue_threshold) * chain.ring_slots.astype(np.float64)
        self.thresholds = Thresholds(*np.broadcast_arrays(high, low * high, queue))
        # Compiled now: that takes longer than an interval may.
        blank = Reading.zeros(chain.types, chain.slots)
        alone = Thresholds(*(np.ones(chain.types) for _ in Thresholds._fields))
        decide(blank, Memory.blank(blank.state.shape), alone, replace(self.rules, queue_checks=1))

    def decide(self, reading: Reading) -> IntArray:
        """Targets by the law, [..., T]."""
        if self.long_checks is None or self.short_checks is None or self.wanted is None:
            memory = Memory.blank(reading.state.shape)
        else:
            memory = Memory(self.long_checks, self.short_checks, self.wanted)
        targets, memory = decide(reading, memory, self.thresholds, self.rules)
        self.long_checks, self.short_checks, self.wanted = memory
        return targets
