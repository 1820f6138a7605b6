"""`train/ppo.py` end to end, small: what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flexnfv.policies.bundle import read_metadata

PROGRAM = Path(__file__).parents[2] / "train" / "ppo.py"
SMALL = (
    "--chain", "paper", "--rows", "20000", "--warm-start", "6000", "--chains", "32",
    "--steps", "16", "--minibatch", "512", "--episode", "64", "--critic-first", "1",
    "--benchmark-seeds", "0",
)  # fmt: skip


def ppo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("runs")
    done = ppo(*SMALL, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "flexnfv bench" in done.stdout
    return folder / "run"


def test_a_run_leaves_bundle_weights_checkpoint_and_curves(run: Path) -> None:
    seed = run / "seed-1"
    assert {"best.onnx", "best.safetensors", "checkpoint.zip", "progress.json"} <= {
        path.name for path in seed.iterdir()
    }
    assert list((seed / "tensorboard").glob("events*"))
    metadata = read_metadata(seed / "best.onnx")
    assert metadata.chains[0].name == "paper"
    assert metadata.seeds == (1,)
    assert metadata.preferences is not None
    assert metadata.preferences[0] <= metadata.preference <= metadata.preferences[1]
    assert metadata.scores["validation_law_cores"] > 0


def test_curves_hold_reward_terms_and_measures(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "seed-1" / "tensorboard"))
    events.Reload()
    assert {
        "reward/cores",
        "reward/drops",
        "rollout/drop_rate",
        "rollout/core_usage",
        "rollout/throughput_pps",
        "train/entropy_loss",
        "train/approx_kl",
        "time/fps",
        "validation/cores_at_law_drops",
    } <= set(events.Tags()["scalars"])


def test_a_finished_run_resumes_without_training_again(run: Path) -> None:
    before = (run / "seed-1" / "progress.json").read_text()
    again = ppo("--resume", str(run), cwd=run.parent)
    assert again.returncode == 0, again.stderr
    assert (run / "seed-1" / "progress.json").read_text() == before


def test_a_stopped_run_goes_on_from_its_checkpoint(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    arguments = json.loads((copy / "args.json").read_text())
    arguments["rows"] = 30000  # as if the run had been stopped two thirds through
    (copy / "args.json").write_text(json.dumps(arguments))
    rows = json.loads((copy / "seed-1" / "progress.json").read_text())["rows"]
    again = ppo("--resume", str(copy), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    done = json.loads((copy / "seed-1" / "progress.json").read_text())["rows"]
    assert rows < 30000 <= done < 30000 + 10000


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--out", "run"), "already exists"),
        (("--chain", "papr"), "did you mean 'paper'"),
        (("--traces", "trian"), "train"),
        (("--rows", "0"), "--rows"),
        (("--preferences", "5", "1"), "--preferences"),
        (("--resume", "nowhere"), "holds no run"),
        (("--backend", "dpkd"), "dpdk"),
        (("--backend", "dpdk"), "--init-from"),
        (("--init-from", "nowhere", "--out", "other"), "best.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Path, arguments: tuple[str, ...], line: str
) -> None:
    done = ppo(*arguments, cwd=run.parent)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
