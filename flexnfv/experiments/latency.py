"""How long a launch and a rerun take, on any workbench.

A live chain stamps an instance's first packet. Where there are no stamps the readings have to do,
which come once an interval, far too coarse for a rerun of a millisecond. But traffic is constant,
so the share of a full interval's packets that an instance got in its first interval tells which
part of it the instance ran.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError
from flexnfv.experiments.workbench import Workbench
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, RUNNING

INTERVAL_S: Final = 0.05
"""Monitor interval of these measurements: the shortest that a live chain keeps."""
SETTLE: Final = 5
"""Intervals before a command, so that traffic is steady."""
PATIENCE_S: Final = 20.0
"""What takes longer counts as failed."""


class Latencies(NamedTuple):
    """One launch and one rerun: seconds from the reading at which it was commanded until the
    instance got packets."""

    launch_s: float
    rerun_s: float


def for_latency(chain: ServiceChain) -> ServiceChain:
    """The chain with the short interval."""
    return chain.replace(interval_s=INTERVAL_S)


def measure(bench: Workbench, offered_pps: float) -> Latencies:
    """Launch a second instance, block it, rerun it.

    Args:
        bench: with an interval well below a launch.
        offered_pps: constant rate, which one instance carries.

    Raises:
        InputError: what the backend refuses.
        BackendError: an instance did not come up, or did not park, within `PATIENCE_S`.
    """
    bench.set_rate(offered_pps)
    launch_s = _until_running(bench)
    bench.set_instances(1)
    for _ in range(_patience(bench)):
        if (bench.read().state[bench.nf_type] == BLOCKED).sum() == 1:
            break
    else:
        raise BackendError(f"no instance parked within {PATIENCE_S:g} s")
    return Latencies(launch_s, _until_running(bench))


def _until_running(bench: Workbench) -> float:
    """Seconds from the command, given when traffic is steady, until the second one got packets."""
    for _ in range(SETTLE):
        before = bench.read()
    bench.set_instances(2)
    for _ in range(_patience(bench)):
        first = bench.read()
        running = first.state[bench.nf_type] == RUNNING
        joined = running & (before.state[bench.nf_type] != RUNNING)
        if joined.any():
            return _start_s(bench, first, joined) - float(before.time_s)
    raise BackendError(f"no instance came up within {PATIENCE_S:g} s")


def _start_s(bench: Workbench, first: Reading, joined: npt.NDArray[Any]) -> float:
    """When an instance began: by its stamp, or from its share of a full interval's packets."""
    # Packets that waited for the instance may still be served in the next interval.
    bench.read()
    full, nf_type = bench.read(), bench.nf_type
    stamps = bench.first_packet_s()
    if stamps is not None and np.isfinite(stamps[joined]).all():
        return float(stamps[joined].min())
    part = float(first.arrived_pps[nf_type][joined].sum())
    whole = float(full.arrived_pps[nf_type][joined].sum())
    share = min(part / whole, 1.0) if whole > 0 else 0.0
    return float(first.time_s) - share * float(first.interval_s)


def _patience(bench: Workbench) -> int:
    return round(PATIENCE_S / bench.interval_s)
