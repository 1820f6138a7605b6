"""Outputs that cannot be made are refused before any work is done; what was done is kept."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from flexnfv.chain import load_calibration
from flexnfv.cli import main
from flexnfv.errors import BackendError
from flexnfv.experiments import calibrate, fidelity, reproduce
from flexnfv.experiments.findings import Finding
from flexnfv.experiments.runner import Runner

TRACE = "synthetic/flash_crowd?peak=4e6&end=8"
COMMANDS = {
    "bench": ("bench", "--chain", "single"),
    "calibrate": ("calibrate", "--chain", "single", "--backend", "model"),
    "deploy": ("deploy", "--chain", "paper", "--policy", "static", "--backend", "model"),
    "explain": ("explain", "pretrained/any-chain", "--trace", TRACE),
    "fidelity": ("fidelity", "--trace", TRACE, "--backend", "model"),
    "reproduce": ("reproduce", "launch", "--backend", "model"),
}


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs or measures anything fails the test."""

    def runs(*arguments: object, **keywords: object) -> None:
        raise AssertionError("must not get here")

    for place in (
        "flexnfv.evaluation.bench.run",
        "flexnfv.evaluation.explain.explanation.run",
        "flexnfv.experiments.calibrate._on_backend",
        "flexnfv.experiments.runner.run_episode",
        "flexnfv.experiments.runner.Runner.try_out",
        "flexnfv.deploy.deployment.Deployment.rows",
    ):
        monkeypatch.setattr(place, runs)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_below_a_file_is_refused_before_any_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    arguments = [*COMMANDS[name], "--out", str(tmp_path / "file" / "out.toml")]
    arguments += ["--trace", TRACE] if name == "deploy" else []
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path / 'file'}: is no directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("no_work")
def test_a_name_that_no_calibration_may_have_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMANDS["calibrate"], "--out", str(tmp_path / "my cal.toml")]) == 2
    assert "'my cal'" in capsys.readouterr().err


def stops(how: BaseException | signal.Signals) -> None:
    if isinstance(how, signal.Signals):
        os.kill(os.getpid(), how)
    else:
        raise how


ENDS = pytest.mark.parametrize(
    ("how", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (BackendError("the manager died"), 1, "the manager died"),
    ],
)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@ENDS
def test_a_comparison_that_is_stopped_keeps_the_policies_it_has(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: BaseException | signal.Signals,
    code: int,
    word: str,
) -> None:
    original = fidelity.make_policy

    def make(spec: str) -> object:
        if spec == "static":
            stops(how)
        return original(spec)

    monkeypatch.setattr(fidelity, "make_policy", make)
    out = tmp_path / "out"
    command = [*COMMANDS["fidelity"], "--out", str(out), "--policy", "watermark", "static"]
    assert main(command) == code
    assert line(capsys) == f"flexnfv: {word}; what was finished is in {out}"
    assert list(json.loads((out / "result.json").read_text())["findings"]["model"]) == ["watermark"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_reproduction_that_is_stopped_keeps_the_experiments_it_has(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    def stopped(runner: Runner) -> Finding:
        stops(number)
        raise AssertionError("must not get here")

    ordered = {"launch": reproduce.EXPERIMENTS["launch"], "fig4": stopped}
    monkeypatch.setattr(reproduce, "EXPERIMENTS", ordered)
    out = tmp_path / "out"
    command = ["reproduce", "all", "--backend", "model", "--runs", "1", "--out", str(out)]
    assert main(command) == code
    assert line(capsys) == f"flexnfv: {word}; what was finished is in {out}"
    written = json.loads((out / "result.json").read_text())
    assert list(written["findings"]["model"]) == ["launch"]
    assert written["facts"]["incomplete"] == "interrupted"
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {"fig4": stopped})
    assert main([*command[:-1], str(tmp_path / "none")]) == code
    assert line(capsys) == f"flexnfv: {word}"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@ENDS
def test_a_calibration_that_is_stopped_keeps_the_functions_it_has(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: BaseException | signal.Signals,
    code: int,
    word: str,
) -> None:
    original = calibrate._on_backend

    def measure(chain: object, nf: object, *rest: object) -> object:
        if nf.function != "monitor":  # type: ignore[attr-defined]
            stops(how)
        return original(chain, nf, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrate, "_on_backend", measure)
    command = ["calibrate", "--chain", "paper", "--backend", "model", "--samples", "1"]
    part = tmp_path / "mine-part.toml"
    assert main([*command, "--out", str(tmp_path / "mine.toml")]) == code
    assert line(capsys) == f"flexnfv: {word}; what was finished is in {part}"
    assert list(load_calibration(part).nf) == ["monitor"]
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    assert main([*command, "--out", str(tmp_path / "mine.toml")]) == code
    assert line(capsys).endswith("mine-part-2.toml")
