"""The paper's evaluation on the model: every claim holds, and one that does not is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import flexnfv.backends
from flexnfv.backend import IntArray
from flexnfv.cli import main
from flexnfv.errors import BackendError, InputError
from flexnfv.experiments import fig3, paper
from flexnfv.experiments.findings import Finding
from flexnfv.experiments.reproduce import EXPERIMENTS, _intervals, reproduce
from flexnfv.experiments.runner import Runner, rate_errors, traffic_claim
from flexnfv.model import ModelBackend
from flexnfv.policy import make_policy
from flexnfv.reading import Reading
from flexnfv.traces import Trace

MODEL = EntryPoint("model", "flexnfv.model:ModelBackend", flexnfv.backends.GROUP)


@pytest.fixture
def only_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flexnfv.backends, "registered", lambda: {"model": MODEL})


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_claim_of_the_paper_holds_on_the_model_over_20_seeds(name: str) -> None:
    with Runner("model", runs=20) as runner:
        finding = EXPERIMENTS[name](runner)
    assert finding.claims
    assert not [claim.line() for claim in finding.claims if not claim.holds]


def test_table_1_has_a_claim_for_each_of_its_25_cells() -> None:
    with Runner("model", runs=1) as runner:
        finding = EXPERIMENTS["table1"](runner)
    assert sum("instances" in claim.name for claim in finding.claims) == 15
    assert sum("drops" in claim.name for claim in finding.claims) == 10


def test_a_run_writes_data_figures_and_a_page_that_needs_no_network(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = reproduce(["fig2", "fig4"], ["model"], out, runs=2)
    assert result.holds
    rows = list(csv.DictReader((out / "model/fig2.csv").read_text().splitlines()))
    assert [float(row["gbps"]) for row in rows] == [2, 3, 4, 5, 6]
    assert float(rows[-1]["flexnfv_mpps"]) == pytest.approx(8.929, abs=0.01)
    written = json.loads((out / "result.json").read_text())
    assert written["findings"]["model"]["fig4"]["holds"] is True
    assert written["facts"]["model"]["runs"] == 2
    page = (out / "report.html").read_text()
    assert "another testbed" in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert (out / "model/fig4.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_that_does_not_hold_is_told_and_ends_with_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paper, "OPENNETVM_DROPS_MPPS", (0.0, 0.5, 1.59, 3.21, 4.63))
    arguments = ["reproduce", "table1", "--backend", "model", "--runs", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert len(failed) == 1
    assert "OpenNetVM at 3 Gbps" in failed[0]


def test_an_output_that_exists_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").write_text("mine")
    arguments = ["reproduce", "fig3", "--backend", "model", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.usefixtures("only_the_model")
def test_a_missing_dataplane_is_one_line_unless_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLEXNFV_REQUIRE_DPDK", raising=False)
    arguments = ["reproduce", "launch", "--runs", "1", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    assert "dpdk: skipped: " in capsys.readouterr().err
    monkeypatch.setenv("FLEXNFV_REQUIRE_DPDK", "1")
    assert main([*arguments, str(tmp_path / "two")]) == 2
    assert f"what was finished is in {tmp_path / 'two'}" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "two/result.json").read_text())["findings"]) == ["model"]


def test_a_backend_is_found_by_name_and_a_live_one_is_judged_by_most_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Named:
        name = "other"

        def load(self) -> object:
            from dataclasses import replace

            from flexnfv.model import ModelBackend

            def make(chain: object, scale: float = 1.0) -> ModelBackend:
                backend = ModelBackend(chain)  # type: ignore[arg-type]
                backend.description = replace(
                    backend.description, name="other", deterministic=False, scale=scale
                )
                return backend

            return make

    monkeypatch.setattr(flexnfv.backends, "registered", lambda: {"model": MODEL, "other": Named()})
    result = reproduce(["fig3"], ["other"], tmp_path / "out", options={"scale": 1 / 20}, runs=3)
    assert result.holds
    facts = json.loads((tmp_path / "out/result.json").read_text())["facts"]
    assert facts["other"]["scale"] == pytest.approx(1 / 20)
    runner = Runner("other", runs=3)
    assert runner.enough([True, True, False])
    assert not runner.enough([True, False, False])
    runner.reproducible = True
    assert not runner.enough([True] * 17 + [False] * 3)
    assert runner.enough([True] * 18 + [False] * 2)


def test_a_policy_that_never_scales_fails_what_figure_3_claims() -> None:
    with Runner("model", runs=1) as runner:
        episode = runner.run(paper.doubled(), make_policy("static"), fig3.trace(), seed=0)
    assert not fig3.blocked_at_once(episode)
    assert not fig3.rerun_not_launched(episode)
    assert fig3.late_share(episode) == 0.0


def test_drops_after_the_step_are_told_from_those_within_it() -> None:
    with Runner("model", runs=1) as runner:
        episode = runner.run(paper.chain(), make_policy("static"), fig3.trace(), seed=0)
    assert not np.isclose(fig3.late_share(episode), 0.0)
    assert fig3.late_share(episode) > 1.0


def test_traffic_that_is_not_the_traces_is_told() -> None:
    chain = paper.chain()
    with Runner("model", runs=1) as runner:
        assert runner.traffic() == ()
        episode = runner.episode(chain, "static", fig3.trace(), 0)
        (kept,) = runner.traffic()
        assert kept.holds
        assert runner.traffic() == ()
        runner.episode(chain, "static", fig3.trace(), 0)
        assert len(runner.traffic()) == 1
    off = rate_errors(episode, paper.constant(4, chain, 22))
    assert (off > 0.01).sum() == fig3.UP_S - fig3.DOWN_S
    assert not traffic_claim(off).holds


def test_a_backend_that_dies_fails_the_run_but_loses_nothing_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(runner: Runner) -> Finding:
        raise BackendError("the manager (process 7) was killed")

    monkeypatch.setattr(
        "flexnfv.experiments.reproduce.EXPERIMENTS", {**EXPERIMENTS} | {"fig4": dies}
    )
    result = reproduce(["launch", "fig4"], ["model"], tmp_path / "out", runs=1)
    assert not result.holds
    assert [finding.name for finding in result.findings["model"]] == ["launch"]
    assert "process 7" in (tmp_path / "out/report.html").read_text()
    assert main(["reproduce", "fig4", "--backend", "model", "--out", str(tmp_path / "two")]) == 1
    assert "FAIL  did not get through fig4" in capsys.readouterr().out


class Slow(ModelBackend):
    """Carries no more than 10 Mpps."""

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        if traces[0] is not None and traces[0].peak_pps > 10e6:
            raise InputError("too fast", where="trace", fix="lower --scale")
        return super().reset(traces, seeds, rows)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> object:
            return Slow

    monkeypatch.setattr(flexnfv.backends, "registered", lambda: {"model": MODEL, "slow": Point()})


@pytest.mark.usefixtures("slow")
def test_a_rate_that_a_later_experiment_needs_is_refused_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(runner: Runner) -> Finding:
        raise AssertionError("must not get here")

    monkeypatch.setattr(
        "flexnfv.experiments.reproduce.EXPERIMENTS", {"launch": never, "fig4": never}
    )
    with pytest.raises(InputError, match="too fast"):
        reproduce(["launch", "fig4"], ["slow"], tmp_path / "out", runs=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("slow")
def test_what_the_model_found_is_kept_when_another_backend_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what was finished is in"):
        reproduce(["fig4"], ["model", "slow"], tmp_path / "out", runs=1)
    written = json.loads((tmp_path / "out/result.json").read_text())
    assert list(written["findings"]["model"]) == ["fig4"]
    assert "too fast" in written["facts"]["incomplete"]


@pytest.mark.parametrize(
    "names", [["table1"], ["table1", "fig2"], ["fig2"], ["fig3"], ["fig4"], ["fig2", "fig3"]]
)
def test_the_bar_ends_where_the_experiments_do(names: list[str]) -> None:
    passed = []
    with Runner("model", runs=2, tick=passed.append) as runner:
        for name in names:
            EXPERIMENTS[name](runner)
    assert sum(passed) == 2 * _intervals(names)


def test_a_late_reading_shifts_no_step_of_fig_3() -> None:
    with Runner("model", runs=1) as runner:
        (whole,) = runner.episodes(paper.doubled(), paper.FLEXNFV, fig3.trace())
    keep = np.r_[0:3, 4 : len(whole)]  # seconds 3 and 4 are one reading
    chain = {name: values[keep].copy() for name, values in whole.chain.items()}
    chain["interval_s"][3] = 2.0
    late = replace(whole, chain=chain, types={n: v[keep] for n, v in whole.types.items()})
    assert len(late) == len(whole) - 1
    for episode in (whole, late):
        assert fig3.blocked_at_once(episode)
        assert fig3.rerun_not_launched(episode)
        assert fig3.late_share(episode) <= fig3.LATE_SHARE
