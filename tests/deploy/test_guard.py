"""Whatever a policy does, every interval has valid targets."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain
from flexnfv.decision import check_decision
from flexnfv.deploy import Deployment, wire
from flexnfv.deploy.answer import MOST_TIMES, Fault, judge
from flexnfv.deploy.host import OwnProcess
from flexnfv.errors import BackendError
from flexnfv.model import ModelBackend
from flexnfv.policies.watermark import Watermark
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.policies.networks import write_random_bundle

GARBAGE = "not a number+fraction+infinite+shape+scalar+negative+huge+text+nothing+ragged+booby trap"


class Watched(ModelBackend):
    """The model, counting steps and refusing targets that are none."""

    steps = 0

    def step(self, decision, rows=None):
        check_decision(decision, (1, self.chain.types))
        self.steps += 1
        return super().step(decision, rows)


class Rehearsed(Watched):
    """The model in two halves, rehearsing decisions on other traffic before those that count."""

    rehearsal: Callable[[Reading], object] | None = None
    rehearsals = 0

    def send(self, decision):
        self.decision = decision

    def wait(self):
        reading = self.step(self.decision)
        for factor in (0.0, 0.3, 5.0):
            other = reading.copy()
            other.arrived_pps[...] *= factor
            assert self.rehearsal is not None
            self.rehearsal(other)
            self.rehearsals += 1
        return reading


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
    alone, law = Single(ModelBackend(chain)), Watermark()
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


def test_a_rehearsed_decision_leaves_nothing_behind(
    chain: ServiceChain, waves: Trace, tmp_path: Path
) -> None:
    spec = str(write_random_bundle(tmp_path / "some.onnx", chain))
    backends = ModelBackend(chain), Rehearsed(chain)
    plain, rehearsed = ([], [])
    for backend, targets in zip(backends, (plain, rehearsed), strict=True):
        with Deployment(spec, backend, trace=waves, deadline_s=1.0) as deployment:
            for row, _ in zip(deployment.rows(), range(60), strict=False):
                targets.append(row.targets.tolist())
    assert rehearsed == plain
    assert len({str(targets) for targets in plain}) > 1
    assert backends[1].rehearsals > 100
    assert backends[1].rehearsal is None


def test_targets_far_above_the_limits_are_garbage_and_those_a_load_may_want_are_not(
    chain: ServiceChain,
) -> None:
    most = MOST_TIMES * chain.max_instances
    np.testing.assert_array_equal(judge(most, chain).targets, most)
    with pytest.raises(ValueError, match="max_instances"):
        judge(most + 1, chain)


def test_a_process_that_cannot_be_started_again_leaves_the_chain_to_the_law(
    wild: Path, chain: ServiceChain, waves: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Deployment("fickle:share=1,faults=die", ModelBackend(chain), trace=waves) as deployment:

        def broken() -> None:
            raise EOFError("the fork server is gone")

        found = []
        for row in deployment.rows():
            found.append(row)
            if row.number == 1:
                monkeypatch.setattr(deployment.policy, "_launch", broken)
            if row.number == 20:
                break
    answers = [row.decision.answer for row in found[1:]]
    assert [answer.fault for answer in answers] == [Fault.DIED] * 2 + [Fault.ABSENT] * 18


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"\xff" * 40,
        wire.pack(wire.Message(wire.Kind.DECISION, 1, body=b"abc")),
        wire.pack(wire.Message(wire.Kind.DECISION, 1, body=b"\xff" * 24)),
        wire.pack(wire.Message(wire.Kind.DECISION, 1, body=b"\x00" * 8)),
        wire.pack(wire.Message(wire.Kind.FAULT, 1, body=b"{")),
        wire.pack(wire.Message(wire.Kind.REFUSED, 1, body=b"[]")),
    ],
)
def test_a_message_that_is_none_costs_the_policy_its_process_and_nothing_else(
    wild: Path, chain: ServiceChain, message: bytes
) -> None:
    host = OwnProcess("sleepy:seconds=3600", chain, None, patient=True)
    ours, theirs = wire.link()
    try:
        host.ask(Reading.zeros(chain.types, chain.slots))
        assert host._link is not None
        host._link.close()
        ours.setblocking(False)
        host._link = ours
        theirs.send(message or wire.pack(wire.Message(wire.Kind.DECISION, 1)))
        answer = host.answer(until=monotonic() + 10)
        assert (answer.targets, answer.fault) == (None, Fault.INVALID)
        assert host.pid is None
    finally:
        theirs.close()
        host.close()


def test_a_script_without_a_main_guard_may_deploy(waves_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from flexnfv.deploy import deploy\n"
        "print('once')\n"
        f"deploy('static', 'paper', out=Path('run'), trace={str(waves_file)!r}, backend='model',\n"
        "       intervals=3)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr


def test_a_chain_that_dies_when_targets_are_sent_leaves_its_last_reading(
    chain: ServiceChain, waves: Trace
) -> None:
    class Dying(ModelBackend):
        """The model in two halves, dead at the third decision."""

        rehearsal: Callable[[Reading], object] | None = None
        decisions = 0

        def send(self, decision):
            self.decision, self.decisions = decision, self.decisions + 1
            if self.decisions == 3:
                raise BackendError("the manager has ended")

        def wait(self):
            return self.step(self.decision)

    rows = []
    with (
        Deployment("watermark", Dying(chain), trace=waves) as deployment,
        pytest.raises(BackendError, match="has ended"),
    ):
        for row in deployment.rows():
            rows.append(row)
    assert [row.number for row in rows] == [0, 1, 2]


def test_nothing_is_decided_after_the_last_interval(chain: ServiceChain, waves: Trace) -> None:
    backend = Watched(chain)
    with Deployment("watermark", backend, trace=waves) as deployment:
        assert [row.number for row in deployment.rows(intervals=5)] == [0, 1, 2, 3, 4]
    assert backend.steps == 4
