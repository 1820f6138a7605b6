"""A queueing rule: the fewest instances whose rings overflow with less than a given probability.

Square-root staffing, n = R + z sqrt(R), takes the arrivals of an interval as Poisson and their
number as Gaussian (Halfin and Whitt, "Heavy-Traffic Limits for Queues with Many Exponential
Servers", Operations Research 29(3), 1981); where demand moves, it is applied to what is current
(Jennings, Mandelbaum, Massey and Whitt, "Server Staffing to Meet Time-Varying Demand", Management
Science 42(10), 1996). Traffic is burstier than Poisson: here an interval brings a number of packets
with the mean m and the index of dispersion I (variance / mean, 1 for Poisson) of a window. It is
negative binomial, a Poisson number whose rate is gamma-distributed, and for as many packets as a
core's the gamma distribution of shape m / I and scale I itself. Its quantiles are Wilson
and Hilferty's ("The Distribution of Chi-Square", PNAS 17(12), 1931), at most 12 % off from a
shape of 0.5 on. n instances take
n x (rate x interval + ring) packets.
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
from flexnfv.space import Choice, Real, Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def exceeded(mean: FloatArray, dispersion: FloatArray, quantile: float | FloatArray) -> FloatArray:
    """The number of packets that an interval exceeds with a given probability.

    Args:
        mean: of the number, above 0, [..., T].
        dispersion: variance / mean, [..., T].
        quantile: of the standard normal distribution at 1 - probability, a number or [..., 1].
    """
    spread = dispersion / mean / 9.0
    root = 1.0 - spread + quantile * np.sqrt(spread)
    return np.asarray(mean * np.maximum(root, 0.0) ** 3)


def moments(
    numbers: FloatArray,
    newest: int,
    known: int,
    window: IntArray,
    mean: FloatArray,
    dispersion: FloatArray,
) -> None:
    """Mean and index of dispersion of each row's own window.

    Args:
        numbers: the last numbers of packets, as a ring, [W, B, T].
        newest: place of the newest.
        known: numbers that the ring holds.
        window: numbers that each row looks at, [B].
        mean: filled, at least 1, [B, T].
        dispersion: filled, at least 1, which is Poisson traffic, [B, T].
    """
    length, rows, types = numbers.shape
    for row in range(rows):
        count = min(window[row], known)
        for t in range(types):
            total = 0.0
            for age in range(count):
                total += numbers[(newest - age) % length, row, t]
            centre = total / count
            squares = 0.0
            for age in range(count):
                squares += (numbers[(newest - age) % length, row, t] - centre) ** 2
            mean[row, t] = max(centre, 1.0)
            dispersion[row, t] = max(squares / count / mean[row, t], 1.0)


class Queueing(BasePolicy):
    """Runs the fewest instances whose rings overflow with less than a given probability.

    Mean and index of dispersion of the arrivals are those of a window. The numbers may be arrays
    with one for each row of a batch.

    Args:
        overflow: probability that an interval brings more than instances and rings take.
        window: intervals that mean and dispersion are measured over.
        park_timeout: intervals that a parked instance is kept; for ever if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("overflow", "window", "park_timeout")
    state_names: ClassVar[tuple[str, ...]] = ("numbers", "seen")
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("overflow", (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6)),
        ("window", (4, 8, 16, 64)),
    )
    space: ClassVar[Space] = {
        "overflow": Real(1e-7, 0.5, log=True),
        "window": Choice((4, 8, 16, 32, 64, 128, 256)),
        "park_timeout": Real(2.0, 1000.0, log=True),
    }

    numbers: FloatArray | None
    seen: IntArray | None

    def __init__(
        self, overflow: float = 0.01, window: int = 16, park_timeout: float | None = None
    ) -> None:
        check("overflow", overflow, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        check("window", window, whole_from_one, "be a whole number from 1")
        check_park_timeout(park_timeout)
        quantiles = [-NormalDist().inv_cdf(float(one)) for one in np.ravel(overflow)]
        self.quantile = np.reshape(quantiles, np.shape(overflow))
        self.window = np.asarray(window, np.int64)
        self.park_timeout = park_timeout

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the window, and compile now: that takes longer than an interval may."""
        super().reset(chain, seed)
        batch = np.broadcast_shapes(self.quantile.shape, self.window.shape)
        self._moments(np.ones((*batch, chain.types)))
        super().reset(chain, seed)

    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets by the rule, at least 1, [..., T], and the spares if there is a park timeout."""
        chain = self.chain
        mean, dispersion = self._moments(reading.demand_pps(chain) * chain.interval_s)
        room = chain.capacity_pps * chain.interval_s + chain.ring_packets
        wanted = np.ceil(exceeded(mean, dispersion, per_type(self.quantile)) / room)
        targets = np.clip(wanted, 1, chain.slots).astype(np.int64)
        return decision(targets, reading, chain, self.park_timeout)

    def _moments(self, packets: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and index of dispersion once this number of packets has come, [..., T] each."""
        newest = plain(packets).reshape(-1, packets.shape[-1])
        length = int(self.window.max())
        if self.numbers is None or self.seen is None:
            self.numbers = np.zeros((length, *newest.shape))
            self.seen = np.zeros((), np.int64)
        place = int(self.seen) % length
        self.numbers[place] = newest
        self.seen = self.seen + 1
        mean, dispersion = np.empty_like(newest), np.empty_like(newest)
        window = np.broadcast_to(self.window, len(newest)).copy()
        known = min(int(self.seen), length)
        compiled(moments)(self.numbers, place, known, window, mean, dispersion)
        return mean.reshape(packets.shape), dispersion.reshape(packets.shape)
