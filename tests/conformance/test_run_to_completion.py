"""What every backend must do with `mode = "run_to_completion"`: the first NF type stands for the
replicas of the whole chain, the others have no instances. Rates are the chain's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flexnfv.backend import Backend
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, RUNNING, STOPPED
from tests.conformance.conftest import PATIENCE, Run, chain, steady

Replicas = Callable[..., Backend]

CALM = 1.0e6
"""Packets/s that one replica carries with ease."""
FULL = 5.0e6
"""More than one replica carries, less than three."""
QUIET = 25
"""Silent intervals: on a busy machine a generator sends late, but it sends everything."""


@pytest.fixture
def make(make: Callable[..., Backend]) -> Replicas:
    """make(**changes): the backend on the suite's chain, run to completion."""

    def replicas(**changes: Any) -> Backend:
        return make(mode="run_to_completion", **changes)

    return replicas


def replicas(count: int) -> Callable[[Reading], bool]:
    """Whether exactly so many run, and none is on its way."""

    def met(reading: Reading) -> bool:
        settled = not (reading.launching.any() or reading.draining.any())
        return settled and reading.running.tolist() == [count, 0, 0]

    return met


def test_readings_have_the_shape_of_the_pipelines_and_only_the_first_type_has_instances(
    make: Replicas,
) -> None:
    backend = make()
    run = Run(backend, steady(CALM, 6))
    assert replicas(1)(run.last)
    run.rest(2, 1, 1)
    like = Reading.zeros(3, backend.chain.slots)
    for reading in run.readings:
        for (name, array), (_, expected) in zip(reading.items(), like.items(), strict=True):
            assert (array.dtype, array.shape) == (expected.dtype, expected.shape), name
        assert (reading.state[1:] == STOPPED).all()
        for name in ("arrived_pps", "served_pps", "ring_dropped_pps", "queue", "load"):
            assert (getattr(reading, name)[1:] == 0).all(), name
        assert (reading.unmapped_pps == 0).all()


def test_a_packet_costs_the_processing_of_all_functions(make: Replicas) -> None:
    backend = make()
    run = Run(backend, steady(CALM, 12))
    run.rest(1, 1, 1)
    last = run.readings[-1]
    cost_ns = backend.chain.processing_ns[0]
    assert cost_ns == pytest.approx(92.1 + 108.2 + 101.5)
    np.testing.assert_allclose(last.processing_ns[0], cost_ns)
    served = run.packets("served_pps")
    load = sum(float(r.load[0, 0] * r.interval_s) for r in run.readings)
    arrived = run.packets("arrived_pps")
    assert load == pytest.approx(arrived * cost_ns * 1e-9, rel=1e-6)
    assert served == pytest.approx(CALM * 1.2, rel=0.1)


def test_every_packet_passes_one_replica_and_is_delivered_dropped_or_queued(
    make: Replicas,
) -> None:
    run = Run(make(), steady(FULL, 15, quiet=QUIET))
    run.rest(1, 1, 1)
    offered, delivered, dropped, arrived, served, lost = (
        run.packets(f"{name}_pps")
        for name in ("offered", "delivered", "dropped", "arrived", "served", "ring_dropped")
    )
    assert run.last.queue.sum() == 0
    assert offered == pytest.approx(FULL * 1.5, rel=0.01)
    assert offered == pytest.approx(delivered + dropped, rel=1e-6)
    assert arrived == pytest.approx(offered, rel=1e-6)
    assert served == pytest.approx(delivered, rel=1e-6)
    assert lost == pytest.approx(dropped, rel=1e-6)
    assert dropped > 0.2 * offered


def test_a_replica_carries_its_loss_free_rate_and_three_carry_all(make: Replicas) -> None:
    """The best of some intervals: on a busy machine others may carry little, or what was late."""
    backend = make(mapping="even")
    run = Run(backend, steady(FULL, 3 * PATIENCE))
    alone = np.array([float(run.step(1, 1, 1).delivered_pps) for _ in range(10)])
    assert np.median(alone) == pytest.approx(backend.chain.capacity_pps[0], rel=0.1)
    run.until(replicas(3), 3, 1, 1)
    together = max(float(run.step(3, 1, 1).delivered_pps) for _ in range(10))
    assert together > 0.95 * FULL


def test_replicas_are_launched_blocked_and_rerun(make: Replicas) -> None:
    run = Run(make(), steady(CALM, 5 * PATIENCE))
    run.until(replicas(3), 3, 1, 1)
    run.until(lambda r: bool(r.blocked[0] == 2), 1, 1, 1)
    assert (run.last.queue[run.last.state == BLOCKED] == 0).all()
    before = len(run.readings)
    run.until(replicas(4), 4, 1, 1)
    assert sum(r.launches for r in run.readings[:before]).tolist() == [2, 0, 0]
    since = run.readings[before:]
    assert sum(r.reruns for r in since).tolist() == [2, 0, 0]
    assert sum(r.launches for r in since).tolist() == [1, 0, 0]
    assert (run.last.state[0] == RUNNING).sum() == 4


def test_targets_of_the_other_types_are_refused_and_cost_no_cores(make: Replicas) -> None:
    backend = make(core_budget=3)
    run = Run(backend, steady(CALM, 2 * PATIENCE))
    assert run.step(1, 2, 3).clipped.tolist() == [0, 2, 3]
    run.until(replicas(3), 3, 5, 1)
    assert run.step(4, 0, 0).clipped.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(run.last.core_usage(backend.chain), [3, 0, 0])


def test_chains_that_share_a_file_share_the_replicas(make: Replicas) -> None:
    """A packet is one packet to the replicas, whichever functions its chain has."""
    paths = [
        {"name": "long", "nfs": [nf.name for nf in chain().nf], "share": 0.5},
        {"name": "short", "nfs": [chain().nf[1].name], "share": 0.5},
    ]
    backend = make(path=paths)
    run = Run(backend, steady(CALM, 10, quiet=QUIET))
    run.rest(1, 1, 1)
    assert run.packets("served_pps") == pytest.approx(CALM, rel=0.01)
    assert run.packets("delivered_pps") == pytest.approx(CALM, rel=0.01)
    cost_ns = 0.5 * (92.1 + 108.2 + 101.5) + 0.5 * 108.2
    np.testing.assert_allclose(run.last.processing_ns[0], cost_ns)
