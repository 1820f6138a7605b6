"""Whatever a policy does, every interval has valid targets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from flexnfv.backend import check_targets
from flexnfv.chain import ServiceChain
from flexnfv.deploy import Deployment
from flexnfv.deploy.answer import Fault
from flexnfv.deploy.host import OwnProcess
from flexnfv.model import ModelBackend
from flexnfv.policies.watermark import Watermark
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.policies.networks import write_random_bundle

GARBAGE = "not a number+fraction+infinite+shape+scalar+negative+huge+text+nothing+ragged+booby trap"


class Watched(ModelBackend):
    """The model, counting steps and refusing targets that are none."""

    steps = 0

    def step(self, targets):
        assert isinstance(targets, np.ndarray)
        check_targets(targets, (self.chain.types,))
        self.steps += 1
        return super().step(targets)


def test_a_thousand_faults_leave_no_interval_without_valid_targets(
    wild: Path, chain: ServiceChain, waves: Trace
) -> None:
    backend = Watched(chain)
    seen: Counter[Fault] = Counter()
    rows = []
    with Deployment("fickle:share=0.5", backend, trace=waves, deadline_s=0.1) as deployment:
        for row in deployment.rows():
            rows.append(row)
            if row.decision is not None and row.decision.answer.fault is not None:
                seen[row.decision.answer.fault] += 1
            if seen.total() >= 1000:
                break
        restarts = deployment.policy.restarts
    assert seen.total() == 1000
    assert {Fault.RAISED, Fault.INVALID, Fault.LATE, Fault.DIED} <= set(seen)
    assert restarts > 50
    assert backend.steps == rows[-1].number
    decisions = [row.decision for row in rows[1:]]
    assert all(decision is not None for decision in decisions)
    for row, decision in zip(rows[1:], decisions, strict=True):
        chosen = decision.law if decision.answer.fault else decision.answer.targets
        np.testing.assert_array_equal(row.targets, chosen)


@pytest.mark.parametrize("kind", GARBAGE.split("+"))
def test_every_kind_of_garbage_is_told_from_targets(
    wild: Path, chain: ServiceChain, kind: str
) -> None:
    host = OwnProcess(f"fickle:share=1,faults={kind}", chain, None, patient=True)
    reading = Reading.zeros(chain.types, chain.slots)
    try:
        host.ask(reading)
        answer = host.answer(until=monotonic() + 10)
    finally:
        host.close()
    assert (answer.targets, answer.fault) == (None, Fault.INVALID)
    assert answer.detail
    assert "\n" not in answer.detail


def test_a_policy_that_always_fails_leaves_the_chain_to_the_law_alone(
    wild: Path, chain: ServiceChain, waves: Trace
) -> None:
    with Deployment("fickle:share=1,faults=raise", ModelBackend(chain), trace=waves) as failing:
        found = [row for row, _ in zip(failing.rows(), range(300), strict=False)]
    alone, law = ModelBackend(chain), Watermark()
    law.reset(chain)
    reading = alone.reset(waves)
    for row in found:
        assert row.reading == reading
        reading = alone.step(law.decide(reading))


def test_a_policy_that_hung_goes_on_from_its_last_state(
    wild: Path, chain: ServiceChain, waves: Trace, tmp_path: Path
) -> None:
    spec = f"counting:flag={tmp_path / 'hung'}"
    with Deployment(spec, ModelBackend(chain), trace=waves, deadline_s=0.2) as deployment:
        rows = [row for row, _ in zip(deployment.rows(), range(10), strict=False)]
        assert deployment.policy.restarts == 1
    answers = [row.decision.answer for row in rows[1:]]
    assert [answer.fault for answer in answers] == [*[None] * 4, Fault.LATE, *[None] * 4]
    counts = [int(answer.targets[0]) for answer in answers if answer.targets is not None]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_policy_that_hangs_again_and_again_is_started_less_and_less_often(
    wild: Path, chain: ServiceChain, waves: Trace
) -> None:
    spec = "fickle:share=1,faults=sleep"
    with Deployment(spec, ModelBackend(chain), trace=waves, deadline_s=0.02) as deployment:
        for row in deployment.rows():
            if row.number == 100:
                break
        assert 4 <= deployment.policy.restarts <= 7


def test_a_slow_answer_is_thrown_away(wild: Path, chain: ServiceChain, waves: Trace) -> None:
    spec = "sleepy:seconds=0.05"
    with Deployment(
        spec, ModelBackend(chain), trace=waves, deadline_s=0.01, realtime=False
    ) as deployment:
        rows = [row for row, _ in zip(deployment.rows(), range(4), strict=False)]
    assert {row.decision.answer.fault for row in rows[1:]} <= {Fault.LATE, Fault.ABSENT}


def test_a_bundle_decides_within_the_process_and_a_late_one_is_replaced(
    chain: ServiceChain, waves: Trace, tmp_path: Path
) -> None:
    spec = str(write_random_bundle(tmp_path / "some.onnx", chain))
    with Deployment(spec, ModelBackend(chain), trace=waves) as deployment:
        rows = [row for row, _ in zip(deployment.rows(), range(50), strict=False)]
    assert all(row.decision.answer.fault is None for row in rows[1:])
    with Deployment(spec, ModelBackend(chain), trace=waves, deadline_s=1e-9) as deployment:
        rows = [row for row, _ in zip(deployment.rows(), range(5), strict=False)]
    for row in rows[1:]:
        assert row.decision.answer.fault is Fault.LATE
        np.testing.assert_array_equal(row.targets, row.decision.law)
