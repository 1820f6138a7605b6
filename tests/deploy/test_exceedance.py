"""Bundles of exceedances on a deployment: knobs, levers, states, shadows, ready from the start."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from pyarrow import parquet

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import compiled
from flexnfv.decision import KEEP
from flexnfv.deploy import Deployment, deploy, wire
from flexnfv.deploy.answer import Fault
from flexnfv.deploy.host import InProcess, OwnProcess
from flexnfv.deploy.record import readings
from flexnfv.errors import InputError
from flexnfv.model import ModelBackend
from flexnfv.policies.exceedance import decide_chains, keep_pace, observe_links, predict_links
from flexnfv.policy import make_policy
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.deploy.test_guard import Rehearsed
from tests.policies.networks import write_exceedance_bundle

KNOBS = ("drop_cost=300", "drop_target=0.001", "drop_target=0.01,parked_weight=0")
COMPILED = observe_links, predict_links, keep_pace, decide_chains


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_exceedance_bundle(tmp_path_factory.mktemp("bundle") / "any.onnx"))


def readings_of(chain: ServiceChain, traffic: Trace, count: int) -> list[Reading]:
    """What a chain that the law scales shows."""
    single, law = Single(ModelBackend(chain)), make_policy("watermark")
    law.reset(chain)
    found = [single.reset(traffic).copy()]
    while len(found) < count:
        found.append(single.step(np.asarray(law.decide(found[-1]))).copy())
    return found


@pytest.mark.parametrize("knobs", KNOBS)
def test_a_bundle_decides_every_interval_and_stops_what_is_parked(
    bundle: str, chain: ServiceChain, waves: Trace, tmp_path: Path, knobs: str
) -> None:
    out, spec = tmp_path / "run", f"{bundle}:{knobs}"
    status = deploy(
        spec,
        chain,
        out=out,
        shadows=(spec, "target_tracking"),
        trace=waves,
        intervals=80,
        backend="model",
        deadline_s=1.0,
    )
    assert (status["policy"]["decided"], status["policy"]["replaced_by_law"]) == (79, 0)
    assert status["shadows"][0]["agreed"] == 1.0, "in a process of its own it decides the same"
    assert status["shadows"][1]["agreed"] < 1.0
    table = parquet.ParquetFile(out / "record.parquet").read()
    spares, parked = (
        np.stack([table[f"{nf}.{name}"].to_numpy() for nf in chain.nf_names], axis=1)
        for name in ("spares", "blocked")
    )
    assert (spares[1:] != KEEP).all()
    assert (parked > 0).any()
    if "parked_weight=0" not in knobs:
        assert parked[-1].sum() < parked.max(axis=0).sum(), "some of it was stopped"
    # The record is enough to run the policy once more.
    policy = make_policy(spec)
    policy.reset(chain)
    again = [policy.decide(reading) for reading in readings(out / "record.parquet")]
    targets = np.stack([table[f"{nf}.targets"].to_numpy() for nf in chain.nf_names], axis=1)
    np.testing.assert_array_equal(np.stack([one.targets for one in again[:-1]]), targets[1:])
    np.testing.assert_array_equal(np.stack([one.spares for one in again[:-1]]), spares[1:])


@pytest.mark.parametrize("knobs", KNOBS[:2])
def test_a_rehearsed_decision_leaves_nothing_behind(
    bundle: str, chain: ServiceChain, waves: Trace, knobs: str
) -> None:
    plain, rehearsed = ([], [])
    for backend, found in zip(
        (ModelBackend(chain), Rehearsed(chain)), (plain, rehearsed), strict=True
    ):
        with Deployment(f"{bundle}:{knobs}", backend, trace=waves, deadline_s=1.0) as deployment:
            for row, _ in zip(deployment.rows(), range(60), strict=False):
                found.append(row.under.array().tolist())
    assert rehearsed == plain
    assert len({str(each) for each in plain}) > 3


@pytest.mark.parametrize("knobs", KNOBS[:2])
def test_all_is_compiled_before_the_first_reading(
    bundle: str, chain: ServiceChain, waves: Trace, knobs: str
) -> None:
    host = InProcess(f"{bundle}:{knobs}", chain, None)
    known = [len(compiled(function).signatures) for function in COMPILED]
    for number, reading in enumerate(readings_of(chain, waves, 12)):
        for array in (reading.offered_pps, reading.dropped_pps, reading.state):
            array.flags.writeable = number % 2 == 0
        host.rehearse(reading)
        host.ask(reading)
        assert host.answer(monotonic() + 10.0).fault is None
    assert [len(compiled(function).signatures) for function in COMPILED] == known


def test_a_process_that_was_killed_goes_on_from_what_it_remembered(
    bundle: str, chain: ServiceChain, waves: Trace
) -> None:
    spec, seen = f"{bundle}:drop_target=0.001", readings_of(chain, waves, 40)
    policy = make_policy(spec)
    policy.reset(chain)
    host = OwnProcess(spec, chain, None, patient=True)
    try:
        for number, reading in enumerate(seen):
            if number == 30:
                assert host.pid is not None
                os.kill(host.pid, signal.SIGKILL)
            host.ask(reading)
            answer = host.answer(monotonic() + 10.0)
            if answer.fault is Fault.DIED:  # it was asked before it was known to be dead
                host.ask(reading)
                answer = host.answer(monotonic() + 10.0)
            assert answer.decision == policy.decide(reading), number
    finally:
        host.close()
    assert host.restarts == 1


def test_its_state_fits_into_a_message_many_times(bundle: str) -> None:
    chain = load_chain("edge")
    policy = make_policy(bundle)
    policy.reset(chain)
    assert policy.export_state() == {}
    policy.decide(Reading.zeros(chain.types, chain.slots))
    assert 3 * len(pickle.dumps(policy.export_state())) < wire.LIMIT


def test_a_later_decision_leaves_an_earlier_one_alone(
    bundle: str, chain: ServiceChain, waves: Trace
) -> None:
    policy = make_policy(bundle)
    policy.reset(chain)
    found = [policy.decide(reading) for reading in readings_of(chain, waves, 20)]
    assert len({str(decision.targets) for decision in found}) > 1


@pytest.mark.parametrize(
    "knobs", ["drop_target=0", "drop_cost=30,drop_target=0.1", "parked_weight=2"]
)
def test_bad_knobs_are_refused_before_anything_starts(
    bundle: str, chain: ServiceChain, tmp_path: Path, knobs: str
) -> None:
    with pytest.raises(InputError, match=r"drop_target|parked_weight"):
        deploy(f"{bundle}:{knobs}", chain, out=tmp_path / "run", backend="model", intervals=3)
    assert not (tmp_path / "run").exists()
