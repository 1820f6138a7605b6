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

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.policy import BasePolicy
from flexnfv.reading import Reading
from flexnfv.states import RUNNING
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """The readings of the paper that the law follows; defaults as `Watermark` documents them."""

    queue_checks: int = 5
    extra_on_queue: bool = True
    block_on_queue: Literal["victim", "any", "never"] = "victim"
    wait_for_full_interval: bool = True
    capacity_guard: bool = True
    load_of: Literal["instance", "type"] = "instance"
    request: Literal["addition", "total"] = "addition"
    replace_dead: bool = True


class Thresholds(NamedTuple):
    """What loads and queues are compared with, per NF type, [T] each.

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
    running = reading.state == RUNNING
    running_count = reading.running
    launching = reading.launching
    here = running_count + launching
    load = reading.load
    if rules.load_of == "type":
        total = np.where(running, load, 0.0).sum(axis=-1, keepdims=True)
        load = np.broadcast_to(total, load.shape)
    high = thresholds.high[:, None]

    judged = ~reading.unsettled if rules.wait_for_full_interval else np.ones(here.shape, np.bool_)
    long_checks, short_checks = _count_checks(
        reading.queue, running, judged, memory, thresholds, rules
    )

    base = here
    if rules.replace_dead:
        base = np.maximum(here, np.minimum(memory.wanted, here + reading.deaths))

    over = running & (load > high)
    requested = np.floor(np.where(over, load, 0.0) / high).astype(np.int64).max(axis=-1)
    if rules.extra_on_queue:
        backlog = (long_checks >= rules.queue_checks).any(axis=-1)
        requested = np.where((requested == 0) & backlog, 1, requested)
    if rules.request == "addition":
        grown = running_count + np.maximum(launching, requested)
    else:
        grown = np.maximum(here, requested)
    targets = np.where(judged & (requested > 0), np.maximum(base, grown), base)

    victim = _victim(running, reading.load)
    low_load = _at(load, victim) < thresholds.low
    short = short_checks >= rules.queue_checks
    if rules.block_on_queue == "victim":
        idle = low_load | _at(short, victim)
    elif rules.block_on_queue == "any":
        idle = low_load | short.any(axis=-1)
    else:
        idle = low_load
    block = judged & idle & (requested == 0) & (launching == 0)
    block &= (running_count > 1) & (base == here)
    if rules.capacity_guard:
        block &= _at(reading.load_if_blocked, victim) <= thresholds.high
    targets = np.maximum(np.where(block, here - 1, targets), 1)

    untouched = (targets == here)[..., None]
    return targets, Memory(long_checks * untouched, short_checks * untouched, targets)


def _count_checks(
    queue: FloatArray,
    running: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    memory: Memory,
    thresholds: Thresholds,
    rules: Rules,
) -> tuple[IntArray, IntArray]:
    threshold = thresholds.queue[:, None]
    checked = judged[..., None]

    def after(checks: IntArray, beyond: npt.NDArray[np.bool_]) -> IntArray:
        counted = np.minimum(checks + 1, rules.queue_checks) * beyond
        return np.asarray(np.where(checked, counted, checks) * running)

    return after(memory.long_checks, queue > threshold), after(
        memory.short_checks, queue < threshold
    )


def _victim(running: npt.NDArray[np.bool_], load: FloatArray) -> npt.NDArray[np.intp]:
    """`flexnfv.scaling.victim` for batches, [..., T]; meaningless where nothing runs."""
    from_the_top = np.where(running, load, np.inf)[..., ::-1]
    return np.asarray(load.shape[-1] - 1 - from_the_top.argmin(axis=-1))


def _at(values: npt.NDArray[Any], slot: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """values[..., t, slot[..., t]], [..., T]."""
    return np.take_along_axis(values, slot[..., None], axis=-1)[..., 0]


class Watermark(BasePolicy):
    """The FlexNFV paper's law: watermarks on load and thresholds on queues (Sec. III-B).

    One action per NF type and interval; overload beats underload. Where the paper is silent or
    ambiguous the law follows a reading of ours, each a parameter.

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
    state_names: ClassVar[tuple[str, ...]] = Memory._fields
    front: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("high", (0.3, 0.4, 0.5, 0.6, 0.682, 0.76, 0.82, 0.88, 0.92, 0.96, 1.0)),
        ("low", (0.3, 0.5, 0.7, 0.85)),
    )

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
        if high is not None and not 0 < high <= 2:
            raise ValueError(f"high is {high}, it must lie in (0, 2]")
        if low is not None and not 0 <= low < 1:
            raise ValueError(f"low is {low}, it must lie in [0, 1)")
        if not 0 < queue_threshold < 1:
            raise ValueError(f"queue_threshold is {queue_threshold}, it must lie in (0, 1)")
        if queue_checks < 1 or queue_checks != int(queue_checks):
            raise ValueError(f"queue_checks is {queue_checks}, it must be a whole number from 1")
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
            queue_checks=int(queue_checks),
            extra_on_queue=extra_on_queue,
            block_on_queue=block_on_queue,
            wait_for_full_interval=wait_for_full_interval,
            capacity_guard=capacity_guard,
            load_of=load_of,
            request=request,
            replace_dead=replace_dead,
        )

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Trace | None = None
    ) -> None:
        """Forget all checks and take the chain's watermarks and rings."""
        super().reset(chain, seed)
        high: FloatArray = chain.high_load if self.high is None else self.high * chain.max_load
        low = np.array([nf.low_watermark if self.low is None else self.low for nf in chain.nf])
        queue = self.queue_threshold * chain.ring_slots.astype(np.float64)
        self.thresholds = Thresholds(high, low * high, queue)

    def decide(self, reading: Reading) -> IntArray:
        """Targets by the law, [..., T]."""
        if self.long_checks is None or self.short_checks is None or self.wanted is None:
            memory = Memory.blank(reading.state.shape)
        else:
            memory = Memory(self.long_checks, self.short_checks, self.wanted)
        targets, memory = decide(reading, memory, self.thresholds, self.rules)
        self.long_checks, self.short_checks, self.wanted = memory
        return targets
