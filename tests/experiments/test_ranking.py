"""The order of policies on two backends: equal ones pass, turned ones are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flexnfv.evaluation.store
from flexnfv.chain import Calibration, ServiceChain, load_chain
from flexnfv.cli import main
from flexnfv.evaluation.statistics import Interval
from flexnfv.experiments.ranking import Order, apart, order_claim, orders, rank, ranking

SHORT = (
    "synthetic/on_off?on_s=4&off_s=4&duration_s=16&step_s=0.25",
    "synthetic/diurnal?period_s=16&duration_s=16&step_s=0.25",
)
LOW, MIDDLE, HIGH = Interval(1, 0.9, 1.1), Interval(2, 1.0, 3.0), Interval(4, 3.5, 5.0)


def quick(chain: ServiceChain | None = None) -> ServiceChain:
    return (chain or load_chain("paper")).replace(interval_s=0.25)


def slower(share: float) -> ServiceChain:
    """The chain on a machine that is slower by some share."""
    chain = quick()
    data = chain.measured.model_dump()
    for values in data["nf"].values():
        values["loss_free_pps"] *= 1 - share
    return chain.with_calibration(Calibration.model_validate(data))


def test_only_intervals_that_do_not_overlap_are_apart() -> None:
    assert (apart(LOW, HIGH), apart(HIGH, LOW)) == (-1, 1)
    assert apart(LOW, MIDDLE) == apart(MIDDLE, LOW) == apart(LOW, LOW) == 0
    assert apart(Interval(1, 0.9, 1.1), Interval(1.2, 1.1, 1.3)) == 0  # they touch


def test_policies_that_are_not_apart_share_a_rank() -> None:
    figures = {"few": LOW, "some": MIDDLE, "many": HIGH}
    assert [rank(name, figures) for name in figures] == [1, 1, 3]


def test_a_pair_counts_only_where_both_backends_tell_it_apart() -> None:
    model = {"a": LOW, "b": HIGH, "c": MIDDLE}
    assert orders(model, model) == [Order("a", "b", True), Order("c", "b", True)]
    turned = {"a": HIGH, "b": LOW, "c": LOW}
    assert orders(model, turned) == [Order("a", "b", False)]


def test_a_claim_fails_by_one_turned_pair_and_names_it() -> None:
    pairs = [Order("a", "b", True), Order("c", "b", True)]
    assert order_claim("cost", pairs, 3).holds
    failed = order_claim("cost", [*pairs, Order("a", "c", False)], 3)
    assert not failed.holds
    assert "a before c" in failed.measured


def test_the_model_ranks_as_a_model_of_a_slightly_slower_machine_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    findings = ranking(
        quick(), out, traces=SHORT, backend="model", modelled=slower(0.03), progress=False
    )
    assert len(findings) == 2
    for finding in findings:
        assert finding.holds, [claim.line() for claim in finding.claims]
        assert len(finding.rows) == 5
        ranks = {row["policy"]: row["the model: cost rank"] for row in finding.rows}
        assert ranks["static"] == 1
        assert ranks["watermark"] > 1
    data = json.loads((out / "report/result.json").read_text())
    assert {"ranking-1", "ranking-2"} == set(data["findings"]["model"])
    assert (out / "report/report.html").stat().st_size > 10_000
    assert (out / "report/model/ranking-2.csv").read_text().startswith("policy,the model: cost,")


def test_an_order_that_differs_fails(tmp_path: Path) -> None:
    # Where everything starts with all eight instances, the policy that never scales is the dearest.
    full = quick().replace(
        nf=[nf.model_dump() | {"initial_instances": 8} for nf in quick().nf],
    )
    (finding,) = ranking(
        quick(),
        tmp_path / "out",
        policies=["static", "watermark"],
        traces=SHORT[:1],
        backend="model",
        modelled=full,
        progress=False,
    )
    failed = [claim for claim in finding.claims if not claim.holds]
    assert "order by cost" in [claim.name for claim in failed]
    assert any("watermark before static on the model only" in claim.measured for claim in failed)


def test_policies_decide_by_the_same_calibration_on_both_sides(tmp_path: Path) -> None:
    """With half the capacity, target tracking wants twice the instances, whatever runs them."""
    (finding,) = ranking(
        quick(),
        tmp_path / "out",
        policies=["static", "target_tracking"],
        traces=SHORT[:1],
        backend="model",
        modelled=slower(0.5),
        progress=False,
    )
    costs = {row["policy"]: row for row in finding.rows}["target_tracking"]
    assert costs["model: cost"] == pytest.approx(costs["the model: cost"], rel=0.1)
    assert costs["model: cost"] > 8


def test_policies_that_nothing_tells_apart_are_no_proof(tmp_path: Path) -> None:
    (finding,) = ranking(
        quick(),
        tmp_path / "out",
        policies=["one=static", "two=static:instances=1"],
        traces=SHORT[:1],
        backend="model",
        progress=False,
    )
    assert [claim.name for claim in finding.claims if not claim.holds] == [
        "policies are told apart at all"
    ]


def test_an_interrupted_ranking_keeps_what_it_has_and_is_carried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = [
        "ranking",
        "--policies",
        "static",
        "watermark",
        "--backend",
        "model",
        "--out",
        str(out),
    ]
    command += ["--traces", *SHORT]
    real = flexnfv.evaluation.store.write_episode
    written: list[Path] = []

    def interrupted(episode: Any, path: Path, note: bytes) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        real(episode, path, note)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr("flexnfv.evaluation.store.write_episode", interrupted)
        assert main(command) == 130
    assert "to carry on" in capsys.readouterr().err
    times = {path: path.stat().st_mtime_ns for path in written}
    assert main(command) == 0
    assert capsys.readouterr().out.count("PASS") == 8
    assert times == {path: path.stat().st_mtime_ns for path in written}
    assert main(command) == 0  # nothing left to do: the same again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policies", "static"], "one policy has no rank"),
        (["--policies", "static", "watermarc"], "watermark"),
        (["--traces", "nothing.csv"], "nothing.csv"),
        (["--backend", "modell"], "model"),
        (["--repetitions", "0"], "0 repetitions"),
        (["--peak", "-1"], "--peak"),
        (["--scale", "fast"], "is no scale"),
        (["--interval", "-1"], "interval_s"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    out = tmp_path / "out"
    chosen = arguments if "--backend" in arguments else [*arguments, "--backend", "model"]
    assert main(["ranking", *chosen, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not out.exists()


def test_a_directory_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["ranking", "--backend", "model", "--out", str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
