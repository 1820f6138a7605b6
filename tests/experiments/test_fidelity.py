"""The model against another backend: equal ones agree, different ones are told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flexnfv.backends
from flexnfv.backend import Single
from flexnfv.chain import Calibration, ServiceChain, load_chain
from flexnfv.cli import main
from flexnfv.decision import Decision
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.episodes import run_episode
from flexnfv.evaluation.records import Episode
from flexnfv.experiments.fidelity import (
    Replay,
    closed_loop_claims,
    compare,
    core_usage,
    drop_rate,
    fidelity,
    per_second,
    replay_claims,
)
from flexnfv.model import ModelBackend
from flexnfv.policies.watermark import Watermark
from flexnfv.policy import Policy, make_policy
from flexnfv.traces import Trace, load_trace

TRACE = load_trace("synthetic/flash_crowd?peak=8.9e6").cut(0, 120)


def episode(chain: ServiceChain, policy: str | Policy, trace: Trace = TRACE) -> Episode:
    made = make_policy(policy) if isinstance(policy, str) else policy
    return run_episode(made, ModelBackend(chain), trace, seed=3)


def slower(share: float) -> ServiceChain:
    """The paper's chain on a machine that is slower by some share."""
    chain = load_chain("paper")
    data = chain.measured.model_dump()
    for values in data["nf"].values():
        values["loss_free_pps"] *= 1 - share
    return chain.with_calibration(Calibration.model_validate(data))


@pytest.mark.parametrize("policy", ["watermark", "target_tracking:park_timeout=1,window=2"])
def test_decisions_replayed_in_the_same_model_give_the_same_run(policy: str) -> None:
    chain = load_chain("paper")
    waves = Trace("waves", 6e6 + 5e6 * np.sin(np.arange(120) / 6), 1.0)
    first = episode(chain, policy, waves)
    assert (first.types["running"].max(axis=0) > 1).all()
    assert (first.types["spares"] >= 0).any() == ("park_timeout" in policy)
    again = episode(chain, Replay.of(first), waves)
    for name, values in first.types.items():
        np.testing.assert_array_equal(values, again.types[name])
    assert all(claim.holds for claim in replay_claims(again, first))


def test_a_replay_goes_by_time_so_that_a_late_reading_shifts_nothing() -> None:
    # The third interval was missed: its reading covers two.
    policy = Replay(
        [1.0, 2.0, 4.0, 5.0], Decision(np.array([[1, 1, 1], [2, 1, 1], [3, 1, 1], [4, 1, 1]]))
    )
    policy.reset(load_chain("paper"))
    backend = Single(ModelBackend(load_chain("paper")))
    reading = backend.reset(TRACE, 0)
    said = []
    for _ in range(6):
        said.append(int(policy.decide(reading).targets[0]))
        reading = backend.step(np.ones(3, np.int64))
    assert said == [2, 3, 3, 4, 4, 4]


def late(found: Episode, first: int, last: int) -> Episode:
    """The same run as a live chain tells of it that reads the intervals first .. last at once."""
    lengths = found.chain["interval_s"][first : last + 1]
    keep = np.r_[0:first, last : len(found)]
    chain = {name: values[keep].copy() for name, values in found.chain.items()}
    chain["interval_s"][first] = lengths.sum()
    for name in ("offered_pps", "delivered_pps", "dropped_pps"):
        packets = found.chain[name][first : last + 1] * lengths
        chain[name][first] = packets.sum() / lengths.sum()
    return replace(found, chain=chain, types={n: v[keep] for n, v in found.types.items()})


def test_a_late_reading_is_compared_over_all_the_seconds_that_it_covers() -> None:
    ours = episode(load_chain("paper"), "watermark")
    theirs = late(ours, 20, 59)
    theirs = replace(
        theirs, facts={"timing": {"late": 39, "lag_p99_s": 0.0004, "seconds_off_rate": 0}}
    )
    (near, _) = replay_claims(ours, theirs)
    assert near.measured == "in 100.0% of 120 seconds, 120 of them compared"
    theirs.chain["delivered_pps"][20] *= 1.1  # one reading, a third of the run
    (near, _) = replay_claims(ours, theirs)
    assert near.measured.startswith("in 66.7% of 120 seconds")
    assert not near.holds
    found = compare("watermark", "live", theirs, ours, ours)
    assert "39 intervals were late, 99 % of readings were taken within 0.4 ms" in found.notes[1]
    rows = found.rows
    assert [row["seconds"] for row in rows[19:22]] == [1, 40, 1]
    assert [row["second"] for row in rows[19:22]] == [19, 20, 60]
    assert rows[20]["the model: queue"] == float(ours.types["queue"][59].sum())


def test_seconds_that_one_run_lacks_count_as_failures() -> None:
    ours = episode(load_chain("paper"), "watermark")
    columns = [
        {name: values[:90] for name, values in of.items()} for of in (ours.chain, ours.types)
    ]
    short = replace(ours, chain=columns[0], types=columns[1])
    (near, _) = replay_claims(ours, short)
    assert near.measured == "in 75.0% of 120 seconds, 90 of them compared"
    assert not near.holds


def test_a_slower_machine_fails_the_claims_that_it_should() -> None:
    busy = Trace("busy", np.full(60, 6e6), 1.0)
    ours = episode(load_chain("paper"), "static", busy)
    theirs = episode(slower(0.1), "static", busy)
    assert [claim.holds for claim in replay_claims(ours, theirs)] == [False, False]
    cores, drops = closed_loop_claims(ours, theirs)
    assert cores.holds
    assert not drops.holds
    more = episode(load_chain("paper"), "static:instances=2", busy)
    assert not closed_loop_claims(more, theirs)[0].holds


def test_short_intervals_are_gathered_into_seconds_without_losing_packets() -> None:
    chain = load_chain("paper").replace(interval_s=0.1)
    found = episode(chain, "watermark", TRACE.cut(0, 20))
    seconds = per_second(found)
    assert len(seconds["second"]) == 20
    np.testing.assert_array_equal(seconds["second"], np.arange(20))
    np.testing.assert_allclose(
        seconds["offered_pps"], found.chain["offered_pps"].reshape(20, 10).mean(axis=1)
    )
    np.testing.assert_array_equal(seconds["instances"], found.types["running"].sum(axis=1)[9::10])
    assert (seconds["dropped_pps"] * 1.0).sum() == pytest.approx(
        (found.chain["dropped_pps"] * 0.1).sum()
    )


def test_measures_are_ratios_of_sums() -> None:
    found = episode(load_chain("paper"), "static", Trace("two", np.array([0.0, 8.86e6]), 1.0))
    assert drop_rate(found) == pytest.approx(0.5, abs=0.02)
    assert core_usage(found) == 3.0


class Slow:
    """A third party's backend: the model of a machine a tenth slower, at a scale."""

    name = "slow"

    def load(self) -> Any:
        def make(chain: ServiceChain, scale: float = 1.0) -> ModelBackend:
            backend = ModelBackend(slower(0.1).replace(interval_s=chain.interval_s))
            backend.description = replace(
                backend.description, name="slow", scale=scale, deterministic=False, clocked=True
            )
            return backend

        return make


def test_the_command_compares_any_backend_and_says_what_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = flexnfv.backends.registered() | {"slow": Slow()}
    monkeypatch.setattr(flexnfv.backends, "registered", lambda: known)
    trace = "synthetic/flash_crowd?peak=8.9e6&end=120"
    command = ["fidelity", "--trace", trace, "--backend", "slow", "--scale", "1/20"]
    command += ["--policy", "static", "watermark", "--replay-targets"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().out
    assert "static: FAIL  targets replayed: throughput" in told
    written = json.loads((tmp_path / "out/result.json").read_text())
    assert set(written["findings"]["slow"]) == {"static", "watermark"}
    assert written["facts"]["slow"]["scale"] == pytest.approx(1 / 20)
    rows = written["findings"]["slow"]["watermark"]["rows"]
    assert len(rows) == 120
    assert "the model, targets replayed: queue" in rows[0]
    assert (tmp_path / "out/slow/static.png").exists()


def test_a_backend_that_agrees_passes_with_every_policy(tmp_path: Path) -> None:
    findings = fidelity(
        load_chain("paper"),
        TRACE,
        ["watermark", "watermark:queue_checks=3"],
        tmp_path / "out",
        backend="model",
        replay_targets=True,
    )
    assert all(finding.holds for finding in findings)
    assert len({finding.name for finding in findings}) == 2
    assert [len(finding.claims) for finding in findings] == [5, 5]


class Other:
    """A third party's backend that keeps what the policies are told; dies when it is to."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.episodes = 0
        self.dies_at = dies_at

    def load(self) -> Any:
        def make(chain: ServiceChain) -> ModelBackend:
            backend = ModelBackend(chain)
            backend.description = replace(
                backend.description, name="other", scale=1 / 20, clocked=True
            )
            whole = backend.reset

            def reset(*given: Any) -> Any:
                if self.episodes == self.dies_at:
                    raise BackendError("it died")
                self.episodes += 1
                return whole(*given)

            backend.reset = reset  # type: ignore[method-assign]
            return backend

        return make


def install(monkeypatch: pytest.MonkeyPatch, backend: Other) -> None:
    known = flexnfv.backends.registered() | {"other": backend}
    monkeypatch.setattr(flexnfv.backends, "registered", lambda: known)


def test_policies_decide_for_the_calibrated_chain_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Other())
    told: list[ServiceChain] = []
    whole = Watermark.reset

    def reset(self: Watermark, chain: ServiceChain, *rest: Any, **more: Any) -> None:
        told.append(chain)
        whole(self, chain, *rest, **more)

    monkeypatch.setattr(Watermark, "reset", reset)
    calibrated = slower(0.1)
    (finding,) = fidelity(
        load_chain("paper"),
        TRACE.cut(0, 20),
        ["watermark"],
        tmp_path / "out",
        backend="other",
        modelled=calibrated,
    )
    assert len(told) >= 2
    assert all(chain is calibrated for chain in told)
    assert any("20 times as many" in note for note in finding.notes)


def test_every_policy_is_checked_before_the_first_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Other()
    install(monkeypatch, other)
    for wrong in (["watermark", "wotermark"], []):
        with pytest.raises(InputError):
            fidelity(load_chain("paper"), TRACE, wrong, tmp_path / "out", backend="other")
    assert other.episodes == 0
    assert not (tmp_path / "out").exists()


def test_what_was_found_before_the_backend_died_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Other(dies_at=2))
    policies = ["static", "watermark", "target_tracking"]
    with pytest.raises(BackendError):
        fidelity(load_chain("paper"), TRACE, policies, tmp_path / "out", backend="other")
    written = json.loads((tmp_path / "out/result.json").read_text())
    assert set(written["findings"]["other"]) == {"static", "watermark"}
    assert written["facts"]["policies"] == policies
    kept = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert kept == {
        *("report.html", "result.json", "static.csv", "static.png"),
        *("watermark.csv", "watermark.png"),
    }
