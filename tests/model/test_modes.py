"""Backpressure and run to completion, beside the pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.model import BatchModel, ModelBackend
from flexnfv.reading import Reading
from flexnfv.traces import Trace, gbps_to_pps


def _steady(
    mode: str,
    gbps: float,
    targets: list[int],
    chain_name: str = "paper",
    calibration: str = "paper",
) -> Reading:
    chain = load_chain(chain_name, calibration=calibration).replace(mode=mode)
    backend = Single(ModelBackend(chain))
    backend.reset(Trace("constant", np.full(8, gbps_to_pps(gbps)), 1.0), seed=1)
    for _ in range(6):
        backend.step(np.array(targets))
    return backend.step(np.array(targets))


@pytest.mark.parametrize("chain", ["paper", "paper-reverse", "two-paths"])
@pytest.mark.parametrize("gbps", [2, 4, 6, 10])
@pytest.mark.parametrize("targets", [[1, 1, 1], [2, 1, 1], [3, 2, 1]])
def test_backpressure_carries_no_less_than_dropping_at_the_rings(
    chain: str, gbps: float, targets: list[int]
) -> None:
    pipeline = _steady("pipeline", gbps, targets, chain)
    backpressure = _steady("backpressure", gbps, targets, chain)
    assert backpressure.delivered_pps >= 0.99 * pipeline.delivered_pps


@pytest.mark.parametrize("gbps", [6, 10])
@pytest.mark.parametrize("calibration", ["paper", "two-core"])
def test_backpressure_sheds_at_the_entry_what_a_later_nf_would_lose(
    gbps: float, calibration: str
) -> None:
    # Reverse order: the encryptor could carry 7.9 Mpps, the monitor behind it 4.43 Mpps. With
    # `two-core` rings take up twenty times as much of the traffic.
    pipeline = _steady("pipeline", gbps, [1, 1, 1], "paper-reverse", calibration)
    backpressure = _steady("backpressure", gbps, [1, 1, 1], "paper-reverse", calibration)
    assert pipeline.ring_dropped_pps.sum() > 1e6
    assert backpressure.ring_dropped_pps.sum() < 1e4
    assert backpressure.shed_pps == pytest.approx(
        float(backpressure.offered_pps - backpressure.delivered_pps), rel=1e-6
    )
    assert backpressure.served_pps[0].sum() < 0.8 * pipeline.served_pps[0].sum()


def test_the_entrys_own_ring_drops_as_without_backpressure() -> None:
    pipeline = _steady("pipeline", 6, [1, 2, 2])
    backpressure = _steady("backpressure", 6, [1, 2, 2])
    assert backpressure.shed_pps == 0
    np.testing.assert_allclose(backpressure.ring_dropped_pps, pipeline.ring_dropped_pps)
    np.testing.assert_allclose(backpressure.arrived_pps, pipeline.arrived_pps)


def test_the_fullest_ring_decides_for_all_flows() -> None:
    # Few and uneven flows: one of the two monitors behind the entry gets more than the other.
    chain = load_chain("paper-reverse").replace(
        mode="backpressure", flows={"count": 16, "zipf": 0.0, "seed": 3}
    )
    backend = Single(ModelBackend(chain))
    backend.reset(Trace("constant", np.full(8, 12e6), 1.0), seed=1)
    for _ in range(6):
        backend.step(np.array([2, 2, 2]))
    reading = backend.step(np.array([2, 2, 2]))
    arrived = reading.arrived_pps[2, :2]
    assert arrived.max() == pytest.approx(chain.capacity_pps[2], rel=0.03)
    assert arrived.min() < 0.9 * arrived.max()
    assert reading.ring_dropped_pps.sum() < 1e4
    assert reading.shed_pps == pytest.approx(12e6 - arrived.sum(), rel=0.01)


@pytest.mark.parametrize("gbps", [8, 9, 10])
def test_an_unevenly_loaded_entry_drops_no_more_than_in_a_pipeline(gbps: float) -> None:
    # Of three entry instances one is parked: by Algorithm 1 another one gets two thirds.
    paper = load_chain("paper")
    backwards = [nf.model_dump() for nf in reversed(paper.nf)]
    delivered = []
    for mode in ("pipeline", "backpressure"):
        backend = Single(ModelBackend(paper.replace(mode=mode, nf=backwards)))
        backend.reset(Trace("constant", np.full(24, gbps_to_pps(gbps)), 1.0), seed=1)
        for targets in [[3, 3, 3]] * 5 + [[2, 3, 3]] * 10:
            reading = backend.step(np.array(targets))
        assert reading.blocked[0] == 1
        delivered.append(float(reading.delivered_pps))
    assert delivered[1] >= 0.99 * delivered[0]


def test_backpressure_ends_below_the_low_mark() -> None:
    chain = load_chain("paper-reverse").replace(mode="backpressure")
    model = BatchModel(chain, 1)
    rates = np.array([[6e6, 6e6, 6e6, 1e6, 1e6]])
    model.reset_envs([0], rates, [1])
    for _ in range(2):
        reading = model.step([[1, 1, 1]])
    assert reading.shed_pps[0] > 1e6
    assert 0.6 <= reading.queue[0, 2, 0] / chain.ring_slots[2] <= 0.85
    for _ in range(2):
        reading = model.step([[1, 1, 1]])
    assert reading.shed_pps[0] == 0
    assert reading.queue[0].max() == 0


def test_run_to_completion_scales_replicas_of_the_whole_chain() -> None:
    chain = load_chain("paper").replace(mode="run_to_completion")
    one = _steady("run_to_completion", 6, [1, 1, 1])
    three = _steady("run_to_completion", 6, [3, 1, 1])
    assert one.delivered_pps == pytest.approx(chain.capacity_pps[0], rel=0.05)
    assert three.delivered_pps == pytest.approx(3 * chain.capacity_pps[0], rel=0.05)
    np.testing.assert_array_equal(three.running, [3, 0, 0])
    np.testing.assert_array_equal(three.core_usage(chain), [3, 0, 0])
    # A packet costs all processing times, and receiving and sending but once.
    assert chain.processing_ns[0] == pytest.approx(92.1 + 108.2 + 101.5)
    assert chain.capacity_pps[0] == pytest.approx(1e9 / (301.8 + 1e3 / 4.43 - 92.1))


def test_latency_is_the_processing_time_until_queues_grow() -> None:
    calm = _steady("pipeline", 2, [2, 2, 2])
    assert calm.latency_s == pytest.approx((92.1 + 108.2 + 101.5) * 1e-9)
    full = _steady("pipeline", 6, [1, 4, 4])
    assert full.latency_s == pytest.approx(4095 / 4.3e6, rel=0.05)


def test_a_replica_with_a_stateful_function_must_keep_its_flows() -> None:
    chain = load_chain("paper")
    types = [nf.model_dump() for nf in chain.nf]
    types[2] |= {"function": "nat", "mapping": "rendezvous"}
    chain.replace(nf=types)
    with pytest.raises(InputError, match=r"nf\.NF1: 'nat' keeps state per flow"):
        chain.replace(nf=types, mode="run_to_completion")
    types[0]["mapping"] = "rendezvous"
    assert chain.replace(nf=types, mode="run_to_completion").own_slots.tolist() == [8, 0, 0]


def test_the_budget_holds_the_replicas_alone() -> None:
    chain = load_chain("paper")
    with pytest.raises(InputError, match="core_budget"):
        chain.replace(core_budget=2)
    assert chain.replace(core_budget=2, mode="run_to_completion").core_budget == 2
