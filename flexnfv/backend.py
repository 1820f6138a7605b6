"""The verbs that every backend implements: the calibrated model and the DPDK dataplane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.traces import Trace

IntArray = npt.NDArray[np.int64]

MAX_SCALE = 1000
"""Highest scale that a dataplane takes."""
ENDLESS = int(np.iinfo(np.int64).max)
"""Intervals that remain where no trace ends."""


@dataclass(frozen=True)
class Description:
    """What a backend is, and what it can do. Nobody asks for a backend's name to find that out.

    A backend's class has one as it is before it is made; the instance's own may say more.

    Attributes:
        name: `model` or `dpdk`, or a third party's name.
        batch: chains that it runs at once at most; None: any number.
        clocked: whether an interval takes its length in real time; such a backend is `Clocked`.
        exclusive: whether a machine carries one of it at a time.
        deterministic: whether the same traces and seeds give the same readings.
        scale: packet rates relative to the chain's own (1/20 where a paced dataplane runs it).
        pacing: how instances are slowed down, "none" if they are not.
        machine: processor and kernel, or the calibration's machine for the model.
        traffic: what a live chain was last sent: a capture's packets, or rates with synthetic
            flows.
    """

    name: str
    batch: int | None = 1
    clocked: bool = False
    exclusive: bool = False
    deterministic: bool = False
    scale: float = 1.0
    pacing: str = "none"
    machine: str = ""
    traffic: str = ""


@dataclass(frozen=True)
class Timing:
    """How punctual an episode on a clocked backend was so far; its attribute `timing`.

    Attributes:
        late: intervals whose edge had passed before their step came.
        lag_p99_s: how long after their edges readings were taken, 99th percentile, seconds.
        seconds_off_rate: seconds in which the generator was off the rate (`is_off_rate` of
            `flexnfv.records`).
    """

    late: int
    lag_p99_s: float
    seconds_off_rate: int


def timing_of(backend: object) -> Timing | None:
    """The timing of a backend that tells it, as those do that run on a clock."""
    timing = getattr(backend, "timing", None)
    return timing if isinstance(timing, Timing) else None


@runtime_checkable
class Backend(Protocol):
    """What chains run on: B chains of one kind at once, each with its own traffic. One is B = 1.

    Readings are always in the chain's own rates: a backend that runs at a scale divides by it.
    A reading's arrays may be reused by the next call; `copy()` what is to be kept.
    """

    chain: ServiceChain
    description: Description

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        """Start an episode on each trace, and return the readings of the first interval.

        The first interval runs with the chain's initial instances. A live backend attaches to
        whatever traffic comes where a trace is None; the model raises `InputError` then. Traces
        may differ in length.

        Args:
            traces: one for each chain that is started.
            seeds: of each chain's randomness; None: drawn.
            rows: which chains of the batch are started, [n], the others staying as they are;
                None: all, and the batch is as large as there are traces from now on.

        Returns:
            The reading of all chains, [B].

        Raises:
            InputError: a trace is shorter than two intervals, or faster than can be carried; or
                there are more traces than `description.batch`.
        """
        ...

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        """Apply a decision, let one monitor interval pass, and read.

        Args:
            decision: for all chains, [B, T], or for those of `rows`, [n, T].
            rows: which chains are stepped, [n]; None: all. One that is not keeps its last reading.

        Returns:
            The reading of all chains, [B].

        Raises:
            InputError: a decision of a wrong shape or kind, or no traffic left.
            BackendError: the backend died.
        """
        ...

    @property
    def remaining(self) -> IntArray:
        """Intervals that each chain's trace still holds, [B]; `ENDLESS` where it does not end."""
        ...

    def close(self) -> None:
        """Free what the backend holds; may be called twice."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A backend on a clock: `step` in two halves, so that a decision waits for nothing else.

    Attributes:
        rehearsal: given readings of the interval so far, one after the other in the last
            milliseconds before its end: code and data then lie in the caches when the reading that
            counts comes. Its answer is not used. None: nothing is rehearsed.
    """

    rehearsal: Callable[[Reading], object] | None

    def send(self, decision: Decision | IntArray) -> None:
        """The first half: send a decision, [B, T]. The last reading's arrays stay as they are."""
        ...

    def wait(self) -> Reading:
        """The second half: let the monitor interval pass, and read."""
        ...


class Single:
    """One chain of a backend, in words without a batch: a view of a batch of one.

    Args:
        backend: what the chain runs on.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._clocked = backend if isinstance(backend, Clocked) else None
        self._sent: Decision | IntArray | None = None
        self._buffers: tuple[Any, dict[str, npt.NDArray[Any]]] = (None, {})

    @property
    def chain(self) -> ServiceChain:
        """The chain."""
        return self.backend.chain

    @property
    def description(self) -> Description:
        """The backend's."""
        return self.backend.description

    def reset(self, trace: Trace | None, seed: int | None = None) -> Reading:
        """Start an episode on `trace`; the reading of its first interval (`Backend.reset`)."""
        return self._of(self.backend.reset([trace], [seed]))

    def step(self, decision: Decision | npt.ArrayLike) -> Reading:
        """Apply a decision, [T], let one monitor interval pass, and read (`Backend.step`)."""
        wanted = decision if isinstance(decision, Decision) else np.asarray(decision)
        return self._of(self.backend.step(wanted[None]))

    def send(self, decision: Decision | IntArray) -> None:
        """The first half of `step`; on a backend without a clock the decision waits for `wait`."""
        if self._clocked is None:
            self._sent = decision
        else:
            self._clocked.send(Decision.of(decision)[None])

    def wait(self) -> Reading:
        """The second half of `step`: let the monitor interval pass, and read."""
        if self._clocked is not None:
            return self._of(self._clocked.wait())
        sent, self._sent = self._sent, None
        assert sent is not None
        return self.step(sent)

    def rehearse(self, decide: Callable[[Reading], object] | None) -> None:
        """Let a backend on a clock rehearse `decide` (`Clocked.rehearsal`), or no more if None."""
        if self._clocked is not None:
            one = Single(self.backend)  # with views of its own: rehearsals have other arrays
            self._clocked.rehearsal = decide and (lambda reading: decide(one._of(reading)))

    @property
    def remaining(self) -> int | None:
        """Intervals that the trace still holds; None if it does not end."""
        left = int(self.backend.remaining[0])
        return None if left == ENDLESS else left

    def close(self) -> None:
        """Free what the backend holds; may be called twice."""
        self.backend.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_buffers": (None, {})}  # views would come back as copies

    def _of(self, batched: Reading) -> Reading:
        # A backend that fills the same arrays again needs no new views of them.
        first, views = self._buffers
        if batched.time_s is not first:
            views = {name: array[0, ...] for name, array in batched.items()}
            self._buffers = (batched.time_s, views)
        return Reading.of(views)


def parse_scale(value: str | float, *, where: str = "scale") -> float:
    """A scale from a number or its text, which may be a fraction such as 1/20.

    Raises:
        InputError: it is neither, or outside 0 .. 1000.
    """
    try:
        above, mark, below = str(value).partition("/")
        scale = float(above) / float(below) if mark else float(above)
    except (ValueError, ZeroDivisionError):
        scale = 0.0
    if isinstance(value, bool) or not 0 < scale <= MAX_SCALE:
        raise InputError(
            f"{value!r} is no scale",
            where=where,
            fix=f"give a number above 0, {MAX_SCALE} at most, or a fraction such as 1/20",
        )
    return scale
