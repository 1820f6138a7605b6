"""`train/ppo.py` end to end, small: what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from flexnfv import backends
from flexnfv.backend import Description
from flexnfv.chain import load_chain
from flexnfv.errors import BackendError
from flexnfv.evaluation import progress
from flexnfv.model import ModelBackend
from flexnfv.policies.bundle import read_metadata
from flexnfv.train import arguments, callbacks, live
from flexnfv.train import ppo as program

PROGRAM = Path(__file__).parents[2] / "train" / "ppo.py"
SMALL = (
    "--chain", "paper", "--rows", "20000", "--warm-start", "1000", "--chains", "32",
    "--steps", "16", "--minibatch", "512", "--episode", "64", "--critic-first", "1",
    "--benchmark-seeds", "0", "--validation", "synthetic/flash_crowd?duration_s=120",
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
    assert metadata.drop_costs is not None
    assert metadata.drop_costs[0] <= metadata.drop_cost <= metadata.drop_costs[1]
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
        (("--drop_costs", "5", "1"), "--drop_costs"),
        (("--resume", "nowhere"), "holds no run"),
        (("--backend", "dpkd"), "dpdk"),
        (("--weights", "lunch=1"), "did you mean 'launch'"),
        (("--weights", "launch=much"), "TERM=WEIGHT"),
        (("--weights", "launch=-1"), "at least 0"),
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


def test_a_run_starts_from_the_weights_of_another(run: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    small = [*SMALL, "--rows", "1", "--critic-first", "100", "--init-from", str(run)]
    done = ppo(*small, "--out", "tuned", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    given = load_file(run / "seed-1" / "best.safetensors")
    tuned = load_file(tmp_path / "tuned" / "seed-1" / "best.safetensors")
    actor = [name for name in given if "policy_net" in name or "action_net" in name]
    assert actor
    for name in actor:  # the critic alone has learnt
        np.testing.assert_array_equal(given[name], tuned[name])


@pytest.mark.dataplane
def test_a_live_chain_fine_tunes_and_leaves_nothing_running(run: Path, tmp_path: Path) -> None:
    shipped = (resources.files("flexnfv") / "chains" / "paper.toml").read_text(encoding="utf-8")
    quick = tmp_path / "quick.toml"
    quick.write_text(shipped.replace("interval_s = 1.0", "interval_s = 0.1"))
    place = tmp_path / "manager"
    done = ppo(
        *SMALL, "--chain", str(quick), "--chains", "1", "--rows", "96", "--episode", "24",
        "--backend", "dpdk", "--scale", "1/16", "--options", f"folder={place}",
        "--init-from", str(run), "--peaks", "0.3", "2", "--out", "tuned",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "live: 32 intervals of 0.1 s" in done.stdout
    assert "to 16 Mpps, the highest that is carried at this scale" in done.stdout
    seed = tmp_path / "tuned" / "seed-1"
    assert json.loads((seed / "progress.json").read_text())["rows"] >= 96
    metadata = read_metadata(seed / "best.onnx")
    assert metadata.training["kept"] == "last"
    assert metadata.training["rows_done"] >= 96
    assert not (place / "control.sock").exists()


def test_a_backend_that_does_not_start_anew_leaves_a_checkpoint(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Mortal(ModelBackend):
        """Dies in the middle of the first episode, comes back once, and then not any more."""

        description = Description("mortal", clocked=True)
        resets = steps = 0
        closed = False

        def reset(self, traces, seeds=None, rows=None):
            Mortal.resets += 1
            if Mortal.resets > 2:
                raise BackendError("there is no manager any more")
            return super().reset(traces, seeds, rows)

        def step(self, decision, rows=None):
            Mortal.steps += 1
            if Mortal.steps % 20 == 0:
                raise BackendError("the manager was killed")
            return super().step(decision, rows)

        def close(self):
            Mortal.closed = True

    monkeypatch.setattr(backends, "backend_class", lambda name: Mortal)
    args = program.Args(
        chain="paper", chains=1, rows=600, steps=16, episode=64, backend="mortal",
        init_from=run, out=tmp_path / "out", benchmark_seeds=0, minibatch=64,
    )  # fmt: skip
    with pytest.raises(BackendError, match=r"no manager any more; go on: .*--resume"):
        program.main(args)
    said = capsys.readouterr().err
    assert "an episode ended early, the next starts anew: the manager was killed" in said
    assert Mortal.closed
    assert json.loads((tmp_path / "out/seed-1/progress.json").read_text())["rows"] > 0
    assert (tmp_path / "out/seed-1/checkpoint.zip").exists()


def test_a_live_run_takes_half_an_hour_unless_it_is_told_otherwise() -> None:
    timed = program.settled(program.Args(chain="paper", backend="dpdk"))
    assert timed.rows == 1800 * 3
    assert program.settled(program.Args(chain="paper", backend="dpdk", rows=7)).rows == 7
    assert program.settled(program.Args()).rows == arguments.ROWS


def test_live_peaks_are_those_that_the_scale_carries() -> None:
    edge = load_chain("edge")
    timed = program.Args(chain="edge", backend="dpdk", scale="1/20")
    assert live.peaks(timed, edge) == pytest.approx((6e6, 20e6))
    assert live.peaks(program.Args(chain="edge"), edge) == pytest.approx((6e6, 24e6))


def test_ctrl_c_keeps_what_there_is_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = callbacks.Progress._on_step

    def stop(self: callbacks.Progress) -> bool:
        if self.num_timesteps > 4000:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(callbacks.Progress, "_on_step", stop)
    args = program.Args(
        chain="paper", chains=32, rows=8000, warm_start=1000, steps=16, episode=64,
        validation=("synthetic/flash_crowd?duration_s=120",), out=tmp_path / "out",
        benchmark_seeds=0,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        program.main(args)
    seed = tmp_path / "out/seed-1"
    assert 4000 < json.loads((seed / "progress.json").read_text())["rows"] < 8000
    assert read_metadata(seed / "best.onnx").training["rows_done"] < 8000
    monkeypatch.setattr(callbacks.Progress, "_on_step", real)
    program.main(program.Args(resume=tmp_path / "out"))
    assert json.loads((seed / "progress.json").read_text())["rows"] >= 8000


def test_weights_reach_the_terms_of_the_reward() -> None:
    args = program.settled(
        program.Args(chain="paper", chains=2, weights=("launch=0.1", "parked=0"))
    )
    env = program.make_env(args, load_chain("paper"), seed=1)
    env.reset()
    names = set()
    for _ in range(8):
        env.step(np.full(env.num_envs, 4))
        names |= set(env.rollout.statistics.take())
    env.close()
    assert env.task.weights.launch == 0.1
    assert "reward/launch" in names
    assert "reward/parked" not in names


def test_a_log_tells_of_every_phase_while_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    args = program.Args(
        chain="paper", chains=32, rows=20000, warm_start=100_000, steps=16, episode=64,
        validation=("synthetic/flash_crowd?duration_s=120",), out=tmp_path / "out",
        benchmark_seeds=0,
    )  # fmt: skip
    program.main(args)
    said = capsys.readouterr().err
    for phase, unit in (("warm start", "rows"), ("validation", "intervals"), ("PPO", "rows")):
        assert re.search(
            rf"^{phase}: \d+ %, [\d,]+ of [\d,]+ {unit}, [\d,]+ {unit}/s, \d+ s left$", said, re.M
        ), said
