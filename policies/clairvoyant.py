"""Clairvoyant: knows the traffic to come; the bound that no policy can beat."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.decision import KEEP
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.mapping import bucket_weights, empty_table, modulus_weights, shares, update_table
from flexnfv.policy import BasePolicy
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


def fewest(
    kind: int,
    state: npt.NDArray[np.int8],
    load: FloatArray,
    parked_s: FloatArray,
    park_timeout_s: float,
    table: npt.NDArray[np.int16],
    bucket_weight: FloatArray,
    modulus_weight: FloatArray,
    rate_pps: float,
    capacity_pps: float,
    least: int,
    most: int,
    launched: bool,
) -> int:
    """The fewest instances of one NF type none of which is offered more than it can carry.

    Each count is tried out: what the scaling code would command, and how the mapping would then
    split the rate.

    Args:
        kind: `MappingKind`.
        state: instance states of the type, [I].
        load, parked_s: of a reading, [I].
        park_timeout_s: of the chain, infinity for never.
        table: bucket table in force, [BUCKETS].
        bucket_weight: popularity of the flows in each bucket, [BUCKETS].
        modulus_weight: popularity of the flows with hash % j == index, [I + 1, I].
        rate_pps: what will be offered to the type.
        capacity_pps: what one instance carries.
        least, most: limits of the count.
        launched: whether launches count as completed; else launching instances carry nothing yet.

    Returns:
        The count; if none suffices, the one whose most loaded instance is offered least.
    """
    slots = state.shape[0]
    trial = np.empty((1, slots), dtype=np.int8)
    command = np.empty((1, slots), dtype=np.int8)
    clipped = np.empty(1, dtype=np.int64)
    one = np.ones(1, dtype=np.int64)
    row = np.empty(slots, dtype=np.int64)
    share = np.empty(slots, dtype=np.float64)
    best = most
    lowest = np.inf
    for count in range(least, most + 1):
        trial[0] = state
        plan(
            one * count,
            one * KEEP,
            trial,
            load.reshape(1, slots),
            parked_s.reshape(1, slots),
            one * least,
            one * most,
            one,
            NO_BUDGET,
            park_timeout_s,
            command,
            clipped,
        )
        for slot in range(slots):
            if command[0, slot] == RERUN:
                trial[0, slot] = RUNNING
            elif command[0, slot] == BLOCK:
                trial[0, slot] = DRAINING
            elif command[0, slot] == STOP:
                trial[0, slot] = STOPPED
            elif launched and (command[0, slot] == LAUNCH or trial[0, slot] == LAUNCHING):
                trial[0, slot] = RUNNING
        new_table = table.copy()
        update_table(kind, trial[0], new_table)
        if shares(kind, trial[0], new_table, bucket_weight, modulus_weight, row, share) > 0:
            continue
        highest = rate_pps * share.max()
        if highest <= capacity_pps:
            return count
        if highest < lowest:
            lowest = highest
            best = count
    return best


class Clairvoyant(BasePolicy):
    """The fewest instances that lose nothing, given perfect knowledge of the traffic.

    For the next interval it takes the fewest that carry its rate under the mapping in force, with
    blocked instances rerun at once. What has to be launched is launched as many intervals ahead as
    a launch takes; what is rerun likewise, as far as the rings would overflow while it takes place.
    It knows rates, not luck: jitter is allowed for in full, deaths are not foreseen.

    Args:
        margin: share of an instance's capacity left free; below 0 it accepts losses.

    Raises:
        ValueError: a margin of 1 or more, or below -1.
    """

    foresight: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("tables",)
    front: ClassVar[tuple[str, tuple[float, ...]]] = (
        "margin",
        (-0.2, -0.15, -0.1, -0.07, -0.05, -0.03, -0.02, -0.01, 0.0, 0.02, 0.05),
    )

    tables: npt.NDArray[np.int16] | None

    def __init__(self, margin: float = 0.0) -> None:
        if not -1 <= margin < 1:
            raise ValueError(f"margin is {margin}, it must lie in [-1, 1)")
        self.margin = margin

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Trace | None = None
    ) -> None:
        """Look at the trace that is to come.

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
        through = np.zeros(chain.types)
        for path, part in zip(chain.paths, chain.path_shares, strict=True):
            through[list(path)] += part
        self._rates = highest_rates(trace, chain.interval_s)[:, None] * through
        self._capacity = chain.capacity_pps * (1.0 - chain.jitter) * (1.0 - self.margin)
        flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
        self._bucket_weight = bucket_weights(flows.hashes, flows.weights)
        self._modulus_weight = modulus_weights(flows.hashes, flows.weights, chain.slots)
        measured = chain.measured
        launch_s = measured.launch_s * (1.0 + measured.launch_spread)
        rerun_s = measured.rerun_s * (1.0 + measured.rerun_spread)
        self._launch_ahead = math.ceil(launch_s / chain.interval_s)
        self._rerun_ahead = math.ceil(rerun_s / chain.interval_s)
        # While a rerun takes its time, what the others cannot carry waits in their rings.
        waiting = chain.ring_packets / rerun_s if rerun_s > 0 else np.full(chain.types, np.inf)
        self._burst = self._capacity + waiting

    def decide(self, reading: Reading) -> IntArray:
        """The fewest instances without loss, [T]."""
        chain = self.chain
        if self.tables is None:
            self.tables = np.repeat(empty_table()[None], chain.types, axis=0)
        now = min(round(float(reading.time_s) / chain.interval_s), len(self._rates) - 1)
        targets = np.empty(chain.types, dtype=np.int64)
        for t in range(chain.types):
            kind, state, table = int(chain.mapping_kinds[t]), reading.state[t], self.tables[t]
            compiled(update_table)(kind, state, table)
            rate = self._rates[now:, t]
            wanted = self._fewest(t, reading, table, rate[0], self._capacity, launched=False)
            soon = rate[1 : 1 + self._rerun_ahead].max(initial=0.0)
            ready = self._fewest(t, reading, table, soon, self._burst, launched=False)
            wanted = max(wanted, ready)
            later = rate[: 1 + self._launch_ahead].max()
            ahead = self._fewest(t, reading, table, later, self._capacity, launched=True)
            here = int((state != STOPPED).sum())
            # Only what does not exist yet has to be asked for ahead of its time.
            targets[t] = max(wanted, ahead) if ahead > here else wanted
        return targets

    def _fewest(
        self,
        t: int,
        reading: Reading,
        table: npt.NDArray[np.int16],
        rate_pps: float,
        capacity_pps: FloatArray,
        *,
        launched: bool,
    ) -> int:
        chain = self.chain
        return int(
            compiled(fewest)(
                int(chain.mapping_kinds[t]),
                reading.state[t],
                reading.load[t],
                reading.parked_s[t],
                np.inf if chain.park_timeout_s is None else chain.park_timeout_s,
                table,
                self._bucket_weight,
                self._modulus_weight,
                float(rate_pps),
                float(capacity_pps[t]),
                int(chain.min_instances[t]),
                int(chain.max_instances[t]),
                launched,
            )
        )


def highest_rates(trace: Trace, interval_s: float) -> FloatArray:
    """Highest rate within each interval, packets/s, [n]: of its tenths where the trace is finer."""
    if trace.step_s >= interval_s * (1 - 1e-9):
        return trace.rates(interval_s)
    fine = trace.rates(interval_s / FINE)
    whole = len(fine) // FINE * FINE
    return np.asarray(fine[:whole].reshape(-1, FINE).max(axis=1))
