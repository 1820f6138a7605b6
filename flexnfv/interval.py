"""What one interval was like for each NF type of a chain, as plain numbers.

Observations and rewards are made of these. The functions loop over plain arrays, to be compiled:
one pass over a reading serves both, and a deployment's decision waits for it.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Measured(NamedTuple):
    """The arrays of N readings that observations and rewards look at, as `Reading` holds them."""

    state: npt.NDArray[np.int8]
    arrived_pps: FloatArray
    ring_dropped_pps: FloatArray
    queue_peak: FloatArray
    unmapped_pps: FloatArray
    clipped: IntArray
    shed_pps: FloatArray

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """Those of a reading of any batch dimensions, which become one, [N, ...]."""
        arrays = [getattr(reading, name) for name in cls._fields]
        ndim = reading.time_s.ndim
        if ndim != 1:
            arrays = [array.reshape(-1, *array.shape[ndim:]) for array in arrays]
        return cls(*arrays)


class Between(NamedTuple):
    """How traffic passes between the NF types of a chain: its `through` [T], `upstream` [T, T]."""

    through: FloatArray
    upstream: FloatArray

    @classmethod
    def of(cls, chain: ServiceChain) -> Self:
        """Of a chain, as arrays that compiled code takes."""
        return cls(np.array(chain.through), np.array(chain.upstream))


class Types(NamedTuple):
    """NF types of some chains in one interval, chain by chain, [chains * T] each.

    Attributes:
        demand_pps: what the type would be offered if nothing upstream were lost.
        dropped_pps: lost at the type.
        running, launching, draining, parked: instances.
        busiest_pps: offered to the instance that was offered most.
        longest: longest ring of any instance, packets.
    """

    demand_pps: FloatArray
    dropped_pps: FloatArray
    running: FloatArray
    launching: FloatArray
    draining: FloatArray
    parked: FloatArray
    busiest_pps: FloatArray
    longest: FloatArray

    @classmethod
    def of(cls, rows: int) -> Self:
        """Room for so many rows."""
        return cls(*np.zeros((len(cls._fields), rows)))


def look(n: int, count: int, measured: Measured, between: Between, types: Types) -> None:
    """Fill in what the NF types of some chains did.

    Args:
        n, count: the first of the readings, and how many they are.
        measured: the readings.
        between: of the chain.
        types: filled.
    """
    per_chain, slots = measured.state.shape[1], measured.state.shape[2]
    for chain in range(count):
        for t in range(per_chain):
            look_at_one(n + chain, t, chain * per_chain + t, slots, measured, between, types)
        for t in range(per_chain):
            for after in range(per_chain):
                types.demand_pps[chain * per_chain + after] += (
                    types.dropped_pps[chain * per_chain + t] * between.upstream[t, after]
                )


def look_at_one(
    n: int, t: int, row: int, slots: int, measured: Measured, between: Between, types: Types
) -> None:
    """Fill in what one NF type did; its demand without what is lost upstream."""
    demand = measured.unmapped_pps[n, t] + measured.shed_pps[n] * between.through[t]
    dropped = measured.unmapped_pps[n, t]
    running = launching = draining = parked = 0
    busiest = longest = 0.0
    states, arrived, lost = (
        measured.state[n, t],
        measured.arrived_pps[n, t],
        measured.ring_dropped_pps[n, t],
    )
    peaks = measured.queue_peak[n, t]
    for i in range(slots):
        running += states[i] == RUNNING
        launching += states[i] == LAUNCHING
        draining += states[i] == DRAINING
        parked += states[i] == BLOCKED
        demand += arrived[i]
        dropped += lost[i]
        busiest = max(busiest, arrived[i])
        longest = max(longest, peaks[i])
    types.demand_pps[row], types.dropped_pps[row] = demand, dropped
    types.running[row], types.launching[row] = running, launching
    types.draining[row], types.parked[row] = draining, parked
    types.busiest_pps[row], types.longest[row] = busiest, longest
