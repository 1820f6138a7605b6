"""How long a launch and a rerun take, read off the readings of any backend.

Readings come once an interval, far too coarse for a rerun of a millisecond. But traffic is
constant, so the share of a full interval's packets that an instance got in its first interval tells
which part of it the instance ran.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend
from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, RUNNING
from flexnfv.traces import Trace

INTERVAL_S: Final = 0.05
"""Monitor interval of these measurements: the shortest that a live chain keeps."""
SETTLE: Final = 5
"""Intervals before a command, so that traffic is steady."""
PATIENCE_S: Final = 20.0
"""A launch that takes longer counts as failed."""


class Latencies(NamedTuple):
    """One launch and one rerun, seconds from the command to the first packet's time."""

    launch_s: float
    rerun_s: float


def measure(backend: Backend, offered_pps: float, nf_type: int = 0, seed: int = 0) -> Latencies:
    """Launch a second instance of one NF type, block it, rerun it.

    Args:
        backend: one whose chain has a short interval, starts with one instance of each type, and
            may have two of this one.
        offered_pps: constant rate, which one instance of every type carries.
        nf_type: index of the NF type.
        seed: of the episode.

    Raises:
        InputError: what the backend refuses.
        BackendError: an instance did not come up, or did not park, within `PATIENCE_S`.
    """
    chain = backend.chain
    patience = round(PATIENCE_S / chain.interval_s)
    trace = Trace(
        f"{offered_pps:g} pps",
        np.full(3 * patience + 8 * SETTLE, offered_pps),
        chain.interval_s,
        chain.packet_bytes,
    )
    one = np.ones(chain.types, np.int64)
    two = one.copy()
    two[nf_type] = 2
    reading = backend.reset(trace, seed).copy()
    for _ in range(SETTLE):
        reading = backend.step(one).copy()
    launch_s = _until_running(backend, two, nf_type, reading, patience)
    for _ in range(patience):
        reading = backend.step(one).copy()
        if (reading.state[nf_type] == BLOCKED).sum() == 1:
            break
    else:
        raise BackendError(f"{_name(chain, nf_type)}: no instance parked within {PATIENCE_S:g} s")
    for _ in range(SETTLE):
        reading = backend.step(one).copy()
    rerun_s = _until_running(backend, two, nf_type, reading, patience)
    return Latencies(launch_s, rerun_s)


def for_latency(chain: ServiceChain) -> ServiceChain:
    """The chain with the short interval, and flows spread evenly so that shares are exact."""
    return chain.replace(interval_s=INTERVAL_S, mapping="even")


def _until_running(
    backend: Backend, targets: npt.NDArray[np.int64], nf_type: int, before: Reading, patience: int
) -> float:
    """Seconds from the command, given now, until the second instance got packets."""
    commanded_s = float(before.time_s)
    for _ in range(patience):
        first = backend.step(targets).copy()
        joined = (first.state[nf_type] == RUNNING) & (before.state[nf_type] != RUNNING)
        if joined.any():
            # The interval after may still serve what waited for the instance.
            for _ in range(2):
                full = backend.step(targets).copy()
            return _start_s(first, full, nf_type, joined) - commanded_s
    raise BackendError(
        f"{_name(backend.chain, nf_type)}: no instance came up within {PATIENCE_S:g} s"
    )


def _start_s(first: Reading, full: Reading, nf_type: int, joined: npt.NDArray[Any]) -> float:
    """When an instance began, from its share of a full interval's packets."""
    part = float(first.arrived_pps[nf_type][joined].sum())
    whole = float(full.arrived_pps[nf_type][joined].sum())
    share = min(part / whole, 1.0) if whole > 0 else 0.0
    return float(first.time_s) - share * float(first.interval_s)


def _name(chain: ServiceChain, nf_type: int) -> str:
    return f"NF type {chain.nf_names[nf_type]!r}"
