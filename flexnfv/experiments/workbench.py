"""What a measurement needs of a chain: set a rate, set instances, wait, read.

`BackendBench` drives any backend so: the model in tests, the dataplane for real.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend, Single
from flexnfv.reading import Reading
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]

TRACE_INTERVALS = 4096
"""Intervals of traffic that a rate is set for; it is set anew when they are over."""

FLOOD: Final = 1.2
"""What comes first of a rate that is flooded, relative to it."""
FLOOD_INTERVALS: Final = 2


class Workbench(Protocol):
    """One NF type under a constant rate.

    Attributes:
        nf_type: its index in the readings.
        interval_s: time that one reading covers, seconds.
    """

    nf_type: int
    interval_s: float

    def set_rate(self, pps: float, *, flood: bool = False) -> None:
        """Offer this rate from now on, to one instance; starts over.

        With `flood` more than the rate comes first, for `FLOOD_INTERVALS`: where the rate is too
        high, ring and pacer have no room left that would hide it.
        """
        ...

    def set_instances(self, count: int) -> None:
        """Want that many instances from the next reading on."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass without looking."""
        ...

    def read(self) -> Reading:
        """Let one interval pass and say what was measured in it; the reading is the caller's."""
        ...

    def first_packet_s(self) -> FloatArray | None:
        """When each instance got its first packet since its start, on readings' `time_s`, [I].

        None where the backend has no stamps of its own.
        """
        ...


class BackendBench:
    """A workbench on a backend; every other NF type keeps one instance.

    Args:
        backend: its chain starts with one instance of every type.
        nf_type: index of the NF type that is measured.
        seed: of its episodes; a rate set anew takes the next one.
    """

    def __init__(self, backend: Backend, nf_type: int = 0, seed: int = 0) -> None:
        self.backend = backend
        self._chain = Single(backend)
        self.nf_type = nf_type
        self.interval_s = backend.chain.interval_s
        self._seed = seed
        self._rate_pps = 0.0
        self._targets = np.ones(backend.chain.types, np.int64)

    def set_rate(self, pps: float, *, flood: bool = False) -> None:
        """Start an episode at this rate.

        Raises:
            InputError: more than the backend can carry.
        """
        chain = self.backend.chain
        rates = np.full(TRACE_INTERVALS, pps)
        if flood:
            rates[:FLOOD_INTERVALS] *= FLOOD
        self._rate_pps = pps
        self._targets[self.nf_type] = 1
        self._chain.reset(
            Trace(f"{pps:g} pps", rates, chain.interval_s, chain.packet_bytes), self._seed
        )
        self._seed += 1

    def set_instances(self, count: int) -> None:
        """Want that many instances of the NF type."""
        self._targets[self.nf_type] = count

    def wait(self, seconds: float) -> None:
        """Let whole intervals pass, at least that long."""
        for _ in range(int(np.ceil(seconds / self.interval_s - 1e-9))):
            self.read()

    def read(self) -> Reading:
        """The next interval's reading."""
        if self._chain.remaining == 0:
            wanted = self._targets.copy()
            self.set_rate(self._rate_pps)
            self._targets = wanted
        return self._chain.step(self._targets).copy()

    def first_packet_s(self) -> FloatArray | None:
        """The backend's own stamps (`LiveBackend.first_packet_s`), if it has any."""
        stamps = getattr(self.backend, "first_packet_s", None)
        return None if stamps is None else np.asarray(stamps[self.nf_type], np.float64)
