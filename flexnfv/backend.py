"""The verbs that every backend implements: the calibrated model and the DPDK dataplane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.traces import Trace

MAX_SCALE = 1000
"""Highest scale that a dataplane takes."""


@dataclass(frozen=True)
class Description:
    """What a report says of the backend that its figures come from.

    Attributes:
        name: `model` or `dpdk`, or a third party's name.
        scale: packet rates relative to the chain's own (1/20 where a paced dataplane runs it).
        pacing: how instances are slowed down, "none" if they are not.
        machine: processor and kernel, or the calibration's machine for the model.
        deterministic: whether the same trace and seed give the same readings.
        traffic: what a live chain was last sent: a capture's packets, or rates with synthetic
            flows.
    """

    name: str
    scale: float = 1.0
    pacing: str = "none"
    machine: str = ""
    deterministic: bool = False
    traffic: str = ""


@dataclass(frozen=True)
class Timing:
    """How punctual an episode on a live backend was so far; the attribute `timing` of such a one.

    Attributes:
        late: intervals whose edge had passed before their step came.
        lag_p99_s: how long after their edges readings were taken, 99th percentile, seconds.
        off_rate: seconds in which the generator's rate was off by more than 1 %.
    """

    late: int
    lag_p99_s: float
    off_rate: int


def timing_of(backend: object) -> Timing | None:
    """The timing of a backend that tells it, as those do that run on a clock."""
    timing = getattr(backend, "timing", None)
    return timing if isinstance(timing, Timing) else None


@runtime_checkable
class Backend(Protocol):
    """What a chain runs on.

    Readings are always in the chain's own rates: a backend that runs at a scale divides by it.
    A reading's arrays may be reused by the next call; `copy()` what is to be kept.
    """

    chain: ServiceChain
    description: Description

    def reset(self, trace: Trace | None, seed: int | None = None) -> Reading:
        """Start an episode on `trace` and return the reading of its first interval.

        The first interval runs with the chain's initial instances. A live backend attaches to
        whatever traffic comes if `trace` is None; the model raises `InputError` then.

        Raises:
            InputError: the trace is shorter than two intervals, or faster than can be carried.
        """
        ...

    def step(self, targets: npt.NDArray[np.int64]) -> Reading:
        """Apply targets ([T]), let one monitor interval pass, and read.

        Raises:
            InputError: targets of a wrong shape or kind.
            BackendError: the backend died.
        """
        ...

    @property
    def remaining(self) -> int | None:
        """Intervals that the trace still holds; None if it does not end."""
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

    def send(self, targets: npt.NDArray[np.int64]) -> None:
        """The first half: send targets ([T]). The last reading's arrays stay as they are."""
        ...

    def wait(self) -> Reading:
        """The second half: let the monitor interval pass, and read."""
        ...


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


def check_targets(targets: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Targets as an int64 array of that shape.

    Raises:
        ValueError: another shape, not whole numbers, not finite, or below zero.
    """
    array = np.asarray(targets)
    if array.shape != shape:
        raise ValueError(f"targets have shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            raise ValueError("targets must be whole numbers")
        if (np.abs(array) > 1e9).any():
            raise ValueError("targets must be below 1e9")
    elif array.dtype.kind not in "iu":
        raise ValueError(f"targets have dtype {array.dtype}, expected whole numbers")
    values = array.ravel().tolist()  # for a few numbers quicker than the array's own functions
    if min(values) < 0 or max(values) > 10**9:
        raise ValueError("targets must lie between 0 and 1e9")
    return array.astype(np.int64)
