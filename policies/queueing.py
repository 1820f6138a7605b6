"""A queueing rule: the fewest instances whose rings overflow with less than a given probability.

An interval brings a number of packets with mean m and variance I x m, I the index of dispersion
(1 for Poisson traffic, more for what is bursty). For numbers as large as a core's it is Gaussian
(Guérin, Ahmadi and Naghshineh, "Equivalent Capacity and Its Application to Bandwidth Allocation in
High-Speed Networks", IEEE JSAC 9(7), 1991, the stationary approximation of Sec. II). n instances
take n x (rate x interval + ring) packets, so that the fewest are

    n = ceil((m + z sqrt(I m)) / (rate x interval + ring)), z the quantile of the probability.

With I = 1 and no ring this is square-root staffing, n = R + z sqrt(R) (Halfin and Whitt,
"Heavy-Traffic Limits for Queues with Many Exponential Servers", Operations Research 29(3), 1981).
Demand moves, so that m is the newest number and I m, the variance of the next number around it, is
taken from the changes within a window, as the rule follows a demand that changes with time
(Jennings, Mandelbaum, Massey and Whitt, "Server Staffing to Meet Time-Varying Demand", Management
Science 42(10), 1996).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.decision import Decision
from flexnfv.parameters import check, per_type, whole_from_one
from flexnfv.policies.parking import check_park_timeout, decision
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def fewest(
    packets: FloatArray,
    dispersion: FloatArray,
    quantile: float | FloatArray,
    room: FloatArray,
) -> IntArray:
    """The fewest instances that overflow with at most the quantile's probability.

    Args:
        packets: expected in the next interval, [..., T].
        dispersion: index of dispersion of their number, [..., T].
        quantile: of the standard normal distribution, a number or [..., 1].
        room: packets that one instance processes in an interval or keeps in its ring, [T].

    Returns:
        Instances, at least 1, [..., T].
    """
    wanted = np.ceil((packets + quantile * np.sqrt(dispersion * packets)) / room)
    return np.maximum(wanted, 1).astype(np.int64)


def dispersions(
    ring: FloatArray, newest: int, known: int, window: IntArray, found: FloatArray
) -> None:
    """The index of dispersion of each row over its own window: at least 1, Poisson traffic.

    It is the mean squared change from one number to the next over the mean number.

    Args:
        ring: the last numbers of packets, [W, B, T].
        newest: place of the newest.
        known: numbers that the ring holds.
        window: changes that each row looks at, [B].
        found: filled, [B, T].
    """
    length, rows, types = ring.shape
    for row in range(rows):
        changes = min(window[row], known - 1)
        for t in range(types):
            squares = 0.0
            total = 0.0
            for age in range(changes):
                later = ring[(newest - age) % length, row, t]
                before = ring[(newest - age - 1) % length, row, t]
                squares += (later - before) ** 2
                total += before
            found[row, t] = max(squares / total, 1.0) if total > 0.0 else 1.0


class Queueing(BasePolicy):
    """Runs the fewest instances whose rings overflow with less than a given probability.

    Arrivals are Gaussian around the newest number, with the index of dispersion measured over a
    window. Numbers may be arrays with one for each row of a batch.

    Args:
        overflow: probability of an overflow within an interval that is accepted.
        window: changes of demand that the dispersion is measured over, in intervals.
        park_timeout: intervals that a parked instance is kept; for ever if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("overflow", "window", "park_timeout")
    state_names: ClassVar[tuple[str, ...]] = ("packets", "seen")
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("overflow", (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 1e-4, 1e-6)),
        ("window", (8, 32, 128, 512)),
    )

    packets: FloatArray | None
    seen: IntArray | None

    def __init__(
        self, overflow: float = 0.01, window: int = 128, park_timeout: float | None = None
    ) -> None:
        check("overflow", overflow, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        check("window", window, whole_from_one, "be a whole number from 1")
        check_park_timeout(park_timeout)
        levels = [NormalDist().inv_cdf(1.0 - float(one)) for one in np.ravel(overflow)]
        self.quantile = np.reshape(levels, np.shape(overflow))
        self.window = np.asarray(window, np.int64)
        self.park_timeout = park_timeout

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the window, and compile now: that takes longer than an interval may."""
        super().reset(chain, seed)
        one = np.ones((1, 1, chain.types))
        compiled(dispersions)(one, 0, 1, np.ones(1, np.int64), np.empty((1, chain.types)))

    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets by the rule, [..., T], and the spares if there is a park timeout."""
        chain = self.chain
        packets = reading.demand_pps(chain) * chain.interval_s
        found = self._dispersion(plain(packets).reshape(-1, chain.types)).reshape(packets.shape)
        room = chain.capacity_pps * chain.interval_s + chain.ring_packets
        targets = fewest(packets, found, per_type(self.quantile), room)
        return decision(targets, reading, chain, self.park_timeout)

    def _dispersion(self, packets: FloatArray) -> FloatArray:
        """The index of dispersion once this number of packets has come, [B, T] both."""
        length = int(self.window.max()) + 1
        if self.packets is None or self.seen is None:
            self.packets = np.zeros((length, *packets.shape))
            self.seen = np.zeros((), np.int64)
        place = int(self.seen) % length
        self.packets[place] = packets
        self.seen = self.seen + 1
        found = np.empty_like(packets)
        window = np.broadcast_to(self.window, len(packets)).copy()
        known = min(int(self.seen), length)
        compiled(dispersions)(self.packets, place, known, window, found)
        return found
