"""What every backend must do with `mode = "backpressure"`: shed at the chain's entry while a ring
behind the first NF type is full, and only then. Rates are the chain's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flexnfv.backend import Backend
from tests.conformance.conftest import Run, chain, steady

Make = Callable[..., Backend]

FULL = 6.0e6
"""Packets/s: more than a monitor carries (4.43e6), less than a forwarder or an encryptor."""
INTERVALS = 14
SETTLED = 7
"""Intervals after which rings are full: at a scale of 1/20 that takes twenty times as long."""
QUIET = 15
"""Silent intervals: on a busy machine a generator sends late, but it sends everything."""


def mean(run: Run, name: str) -> float:
    """Of all NF types together, over the settled intervals under load, packets/s."""
    under_load = run.readings[SETTLED:INTERVALS]
    return float(sum(getattr(reading, name).sum() for reading in under_load) / len(under_load))


def spilt(run: Run) -> float:
    """Packets that may be shed for nothing: a busy machine stops a process for longer than its
    ring can wait."""
    certain = run.backend.description.deterministic
    return 0.0 if certain else 0.05 * run.packets("offered_pps")


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]], ids=["monitor-first", "monitor-last"])
def test_only_what_a_later_type_would_lose_is_shed_at_the_entry(
    make: Make, order: list[int]
) -> None:
    types = [nf.model_dump() for nf in chain().nf]
    run = Run(
        make(mode="backpressure", nf=[types[t] for t in order]),
        steady(FULL, INTERVALS, quiet=QUIET),
    )
    run.rest(1, 1, 1)
    # An overloaded entry wastes some.
    assert mean(run, "delivered_pps") == pytest.approx(4.43e6, rel=0.05)
    if order[0] == 0:
        # Nobody is upstream of the entry's own ring: it drops, as in a pipeline.
        assert run.packets("shed_pps") <= spilt(run)
        assert mean(run, "ring_dropped_pps") == pytest.approx(FULL - 4.43e6, rel=0.1)
    else:
        assert mean(run, "shed_pps") == pytest.approx(FULL - 4.43e6, rel=0.1)
        assert mean(run, "ring_dropped_pps") < 0.01 * FULL
    offered, delivered, dropped = (
        run.packets(f"{name}_pps") for name in ("offered", "delivered", "dropped")
    )
    assert offered == pytest.approx(delivered + dropped, rel=1e-6)


def test_nothing_is_shed_of_what_the_chain_carries(make: Make) -> None:
    run = Run(make(mode="backpressure"), steady(4.0e6, INTERVALS, quiet=QUIET))
    run.rest(1, 1, 1)
    assert run.packets("dropped_pps") <= spilt(run)
