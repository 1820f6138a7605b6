"""Readings made by hand: states as letters, rates in Mpps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.mapping import load_if_blocked
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, STOPPED

LETTERS = {
    "-": STOPPED,
    "L": LAUNCHING,
    "R": RUNNING,
    "D": DRAINING,
    "B": BLOCKED,
}


def reading(
    chain: ServiceChain,
    states: Sequence[str],
    mpps: Sequence[Sequence[float]] = (),
    queue: Sequence[Sequence[float]] = (),
    *,
    time_s: float = 1.0,
    **fields: Any,
) -> Reading:
    """A single reading: one string of state letters per NF type, missing slots are stopped.

    `mpps` and `queue` hold one list per NF type; `load_if_blocked` is what the chain's mapping
    predicts; further fields are set as given.
    """
    made = Reading.zeros(chain.types, chain.slots)
    made.time_s[...] = time_s
    made.interval_s[...] = chain.interval_s
    made.processing_ns[...] = chain.processing_ns[:, None]
    for t, letters in enumerate(states):
        made.state[t, : len(letters)] = [LETTERS[letter] for letter in letters]
    for target, rows, unit in ((made.arrived_pps, mpps, 1e6), (made.queue, queue, 1.0)):
        for t, row in enumerate(rows):
            target[t, : len(row)] = np.array(row) * unit
    made.queue_peak[...] = made.queue
    for t in range(chain.types):
        load_if_blocked(
            int(chain.mapping_kinds[t]), made.state[t], made.load[t], made.load_if_blocked[t]
        )
    for name, value in fields.items():
        getattr(made, name)[...] = value
    return made
