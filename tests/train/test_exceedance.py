"""`train/exceedance.py`: what examples say, how a fit goes on, what a run leaves and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from flexnfv.chain import load_chain
from flexnfv.compiled import compiled
from flexnfv.errors import InputError
from flexnfv.evaluation.episodes import run_episode
from flexnfv.memory import (
    LEVEL,
    TRAFFIC,
    Levels,
    Memory,
    describe_levels,
    describe_traffic,
    remember,
)
from flexnfv.model import ModelBackend
from flexnfv.policies.bundle import read_bundle, read_metadata
from flexnfv.policy import make_policy
from flexnfv.provision import HORIZONS
from flexnfv.traces import Trace
from flexnfv.train import examples
from flexnfv.train import exceedance as program
from flexnfv.train.exceedance_fit import ExceedanceNetwork, Fit, onnx_bytes

PROGRAM = Path(__file__).parents[2] / "train" / "exceedance.py"
TRACE = "synthetic/flash_crowd?duration_s=60"


def exceedance(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@contextmanager
def begin(*_: object) -> Iterator[object]:
    """A phase that is not shown."""
    yield lambda count: None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> program.Args:
    """A run of three batches with two short series each, drawn by this process."""
    monkeypatch.setattr(examples, "INTERVALS", 300)
    monkeypatch.setattr(examples, "PICKS", 40)
    monkeypatch.setattr(program, "BATCH", 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: [])
    return program.Args(series=6, width=8, benchmark_seeds=0, test=(TRACE,), seed=3)


# --- examples -------------------------------------------------------------------------------------


def test_examples_say_what_was_known_and_what_came() -> None:
    rng = np.random.default_rng(1)
    horizon = int(HORIZONS[-1])
    series = 1e6 * np.exp(np.cumsum(rng.normal(0.0, 0.2, 200 + horizon + 1)))
    levels = Levels.between(2e5, float(series.max()) * 1.2)
    picked = np.array([0, 1, 17, 18, 120, 199])
    chosen = rng.integers(0, len(levels.rate), (len(picked), examples.EACH))
    found = examples.Examples.of(len(picked) + 2)
    compiled(examples.read_series)(series, levels, Memory.of(1), picked, chosen, found, 2)
    memory = Memory.of(1)
    for at, demand in enumerate(series[: picked[-1] + 1]):
        compiled(remember)(memory, 0, demand, levels)
        if at not in picked:
            continue
        row = int(np.flatnonzero(picked == at)[0])
        traffic = np.zeros(len(TRAFFIC), np.float32)
        compiled(describe_traffic)(memory, 0, levels, traffic)
        np.testing.assert_array_equal(found.traffic[2 + row], traffic)
        level = np.zeros((examples.EACH, len(LEVEL)), np.float32)
        compiled(describe_levels)(memory, 0, chosen[row], levels, level)
        np.testing.assert_array_equal(found.level[2 + row], level)
        for each, j in enumerate(chosen[row]):
            above = series > levels.rate[j]
            came = [above[at + 1], *(above[at + 2 : at + int(h) + 1].any() for h in HORIZONS)]
            assert found.exceeded[2 + row, each].tolist() == [int(one) for one in came]
    assert found.exceeded[2:].any()
    assert not found.exceeded[2:].all()


def test_a_batch_is_known_by_its_seed_and_number(small: program.Args) -> None:
    one, again = (examples.draw_examples(3, 5, 2) for _ in range(2))
    other, third = examples.draw_examples(3, 6, 2), examples.draw_examples(4, 5, 2)
    for array, same in zip(one, again, strict=True):
        np.testing.assert_array_equal(array, same)
    assert (one.traffic != other.traffic).any()
    assert (one.traffic != third.traffic).any()
    assert np.isfinite(one.traffic).all()
    assert np.isfinite(one.level).all()
    assert (np.diff(one.exceeded[..., 1:].astype(int), axis=-1) >= 0).all()
    drawn = list(examples.batches(3, [5, 6], 2, 0))
    np.testing.assert_array_equal(drawn[1].level, other.level)


# --- the fit --------------------------------------------------------------------------------------


def test_a_fit_learns_what_a_feature_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexnfv.train.exceedance_fit.MINIBATCH", 128)
    rng, count = np.random.default_rng(2), 2048
    made = examples.Examples.of(count)
    made.traffic[:] = rng.normal(size=made.traffic.shape)
    made.level[:] = rng.normal(size=made.level.shape)
    made.exceeded[:] = (made.level[..., :1] < 0.0).astype(np.uint8)
    fit = Fit(16, 1e-2, 12, seed=1)
    losses = [fit.learn(made) for _ in range(12)]
    assert fit.done == 12
    assert max(losses[-1]) < 0.25
    assert min(losses[0]) > 0.5


def test_the_exported_network_answers_as_the_fitted_one(
    tmp_path: Path, small: program.Args
) -> None:
    torch.manual_seed(5)
    network = ExceedanceNetwork(8)
    program.write_bundle(small, 3, tmp_path, type("Fitted", (), {"network": network}))
    _, session = read_bundle(tmp_path / program.BUNDLE)
    rng = np.random.default_rng(6)
    rows = {
        port.name: rng.normal(size=(4, *port.shape[1:])).astype(np.float32)
        for port in session.get_inputs()
    }
    (logits,) = session.run(["logits"], rows)
    with torch.no_grad():
        wanted = network(torch.from_numpy(rows["traffic"]), torch.from_numpy(rows["level"]))
    np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert onnx_bytes(network) == onnx_bytes(network)


@pytest.mark.parametrize("content", [b"nothing", None], ids=["no checkpoint", "another network's"])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        Fit(4, 1e-3, 1, seed=1).save(tmp_path)
    else:
        (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: is no checkpoint of this"):
        Fit(8, 1e-3, 1, seed=1).load(tmp_path)


# --- runs -----------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    small: program.Args,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    program.main(small)
    whole = tmp_path / "runs" / "any-1" / "seed-3" / "best.onnx"
    assert "bundle: runs/any-1/seed-3/best.onnx" in capsys.readouterr().out
    learn = Fit.learn

    def interrupted(fit: Fit, batch: examples.Examples) -> list[float]:
        if fit.done == 2:
            raise KeyboardInterrupt
        return learn(fit, batch)

    monkeypatch.setattr(Fit, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt, match="--resume runs/any-2"):
        program.main(small)
    folder = tmp_path / "runs" / "any-2" / "seed-3"
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "tensorboard"}
    monkeypatch.setattr(Fit, "learn", learn)
    program.main(program.Args(resume=Path("runs/any-2")))
    assert (folder / "best.onnx").read_bytes() == whole.read_bytes()
    told = read_metadata(whole)
    assert (told.kind, told.seeds, told.drop_cost, told.chains) == ("exceedance", (3,), 300.0, ())
    assert list((whole.parent / "tensorboard").glob("events*"))
    policy = make_policy(str(whole), drop_cost=100.0)
    record = run_episode(
        policy, ModelBackend(load_chain("edge")), Trace("flat", np.full(20, 5e6), 1.0), 0
    )
    assert len(record) >= 19


def test_a_run_from_the_command_line_leaves_bundle_and_report(tmp_path: Path) -> None:
    """One batch drawn by other processes: the same as this one draws, to the byte."""
    done = exceedance(
        *("--series", "50", "--width", "8", "--test", TRACE, "--quick", "--out", "run"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "report: run/benchmark/report.html" in done.stdout
    assert "flexnfv bench --policies run/seed-1/best.onnx" in done.stdout
    run = tmp_path / "run"
    assert (run / "benchmark" / "report.html").exists()
    args = program.restore(json.loads((run / "args.json").read_text()))
    assert (args.series, args.width, args.out) == (50, 8, Path("run"))
    (tmp_path / "again").mkdir()
    here = program.train_seed(args, 1, tmp_path / "again", begin, 0)
    assert b'"out"' not in here.read_bytes(), "a bundle tells of no folder of this machine"
    assert here.read_bytes() == (run / "seed-1" / "best.onnx").read_bytes()


def test_arguments_come_back_as_they_were_noted() -> None:
    args = program.Args(out=Path("x"), seed=4, width=5, test=("a", "b"), drop_cost=30.0)
    assert program.restore(json.loads(json.dumps(asdict(args), default=str))) == args


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"series": 49}, "--series: is 49; use at least 50"),
        ({"seeds": 0}, "--seeds: is 0"),
        ({"width": 0}, "--width: is 0"),
        ({"benchmark_seeds": -1}, "--benchmark_seeds: is -1"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"drop_cost": float("nan")}, "--drop_cost"),
        ({"chain": "edgy"}, "did you mean 'edge'"),
        ({"test": ("tset",)}, "test"),
        ({"resume": Path("nowhere")}, "holds no run"),
        ({"out": Path()}, "already exists"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_anything_is_written(
    arguments: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    with pytest.raises(InputError, match=says):
        program.main(program.Args(**arguments))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_run_of_another_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(json.dumps({"chain": "edge", "rows": 20_000}))
    with pytest.raises(InputError, match="another recipe"):
        program.main(program.Args(resume=tmp_path))


@pytest.mark.parametrize(
    "arguments", [("--series", "1"), ("--series", "many"), ("--resume", "nowhere")]
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = exceedance(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
