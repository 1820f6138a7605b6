"""A grid runs every cell once, is continued, and is never mixed with another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation import Result
from flexnfv.evaluation.grid import MANIFEST, Cell
from flexnfv.evaluation.records import read_episode
from flexnfv.evaluation.store import Store
from flexnfv.evaluation.sums import segments_of, sums
from flexnfv.traces import Trace
from tests.evaluation.same import same_records

Bench = Callable[..., Result]


def records(out: Path) -> dict[str, Path]:
    return {str(path.relative_to(out)): path for path in sorted(out.rglob("*.parquet"))}


def test_every_policy_meets_every_trace_and_seed_once(bench: Bench, tmp_path: Path) -> None:
    bench(out=tmp_path / "out")
    facts = [read_episode(path).facts for path in records(tmp_path / "out").values()]
    met = {(one["policy"], one["trace"], one["seed"]) for one in facts}
    assert len(facts) == len(met) == 2 * 2 * 2


def test_a_policy_with_foresight_is_shown_the_trace(bench: Bench) -> None:
    result = bench(["oracle", "static"])
    assert result.intervals["oracle"]["drop_rate"].estimate < 0.02


def test_missing_cells_are_run_and_finished_ones_are_not_touched(
    bench: Bench, tmp_path: Path
) -> None:
    whole = bench(out=tmp_path / "out")
    files = records(tmp_path / "out")
    before = {name: read_episode(path) for name, path in files.items()}
    stamps = {name: path.stat().st_mtime_ns for name, path in files.items()}
    gone = list(files)[::3]
    for name in gone:
        files[name].unlink()
    resumed = bench(out=tmp_path / "out")
    for name, path in records(tmp_path / "out").items():
        assert same_records(read_episode(path), before[name])
        assert (path.stat().st_mtime_ns == stamps[name]) == (name not in gone)
    assert resumed.intervals["ample"]["core_usage"] == whole.intervals["ample"]["core_usage"]


def test_another_grid_in_the_same_directory_is_refused_and_named(
    bench: Bench, tmp_path: Path
) -> None:
    bench(out=tmp_path / "out")
    with pytest.raises(InputError, match="seeds differ"):
        bench(out=tmp_path / "out", seeds=3)
    with pytest.raises(InputError, match="policies differ"):
        bench(["ample:spare=2.0", "static"], out=tmp_path / "out")
    assert len(records(tmp_path / "out")) == 8


def test_a_directory_with_anything_else_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        bench(out=tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match="not a manifest of ours"):
        bench(out=tmp_path)


def test_the_manifest_names_the_grid_and_what_made_it(bench: Bench, tmp_path: Path) -> None:
    bench(out=tmp_path / "out")
    content = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert [one["name"] for one in content["grid"]["policies"]] == ["ample", "static"]
    assert content["grid"]["seeds"] == [0, 1]
    assert content["grid"]["chain"]["name"] == "paper"
    assert {"machine", "python", "numpy", "revision"} <= content["made"].keys()


def test_a_changed_bundle_or_trace_is_another_grid(
    bench: Bench, tmp_path: Path, waves: tuple[Trace, ...]
) -> None:
    bench(out=tmp_path / "out")
    louder = (waves[0].scale(1.1), waves[1])
    with pytest.raises(InputError, match="traces differ"):
        bench(out=tmp_path / "out", traces=louder)


def test_what_ctrl_c_stops_the_same_command_finishes(
    bench: Bench, kit: Path, tmp_path: Path, waves: tuple[Trace, ...]
) -> None:
    from flexnfv.traces import files

    for trace in waves:
        files.write(trace, tmp_path / f"{trace.name}.csv")
    arguments = ["bench", "--policies", "slow", "ample", "--baseline", "ample", "--no-sweep"]
    arguments += ["--chain", "paper", "--backend", "toy", "--seeds", "3", "--peak", "keep"]
    arguments += ["--traces", *(str(tmp_path / f"{trace.name}.csv") for trace in waves)]
    arguments += ["--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "flexnfv.cli", *arguments]
    environment = os.environ | {
        "PYTHONPATH": f"{kit}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not records(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to carry on: flexnfv bench --policies slow ample" in said
    assert "Traceback" not in said
    done = records(tmp_path / "out")
    assert 0 < len(done) < 12
    stamps = {name: path.stat().st_mtime_ns for name, path in done.items()}

    quick = environment | {"TOY_FAST": "1"}
    finished = subprocess.run(command, env=quick, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    now = records(tmp_path / "out")
    assert len(now) == 12
    assert {name: now[name].stat().st_mtime_ns for name in stamps} == stamps
    assert (tmp_path / "out" / "report.html").exists()


def test_a_batched_policy_gives_the_records_of_one_episode_at_a_time(bench: Bench) -> None:
    from flexnfv.evaluation.episodes import run_episode
    from flexnfv.model import ModelBackend
    from flexnfv.policy import make_policy

    result = bench(["watermark", "static"], backend="model")
    for index, trace in enumerate(result.grid.traces):
        for seed in (0, 1):
            alone = run_episode(
                make_policy("watermark"), ModelBackend(result.grid.chain), trace, seed
            )
            assert same_records(result.episode("watermark", index, seed), alone)


def test_traffic_finer_than_the_interval_keeps_its_bursts_in_a_batch(bench: Bench) -> None:
    from flexnfv.evaluation.episodes import run_episode
    from flexnfv.model import ModelBackend
    from flexnfv.policy import make_policy

    rng = np.random.default_rng(0)
    fine = Trace("fine", rng.gamma(0.5, 8e6, 640), 0.1)
    coarse = Trace("coarse", fine.rates(1.0), 1.0)
    result = bench(["watermark"], backend="model", traces=(fine, coarse), baseline="watermark")
    alone = run_episode(make_policy("watermark"), ModelBackend(result.grid.chain), fine, 1)
    assert same_records(result.episode("watermark", 0, 1), alone)
    assert not same_records(result.episode("watermark", 1, 1), alone)


def test_a_worker_that_is_lost_is_replaced(
    bench: Bench, kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(kit))
    spec = f"mortal:flag={tmp_path / 'flag'}"
    remote = bench([spec, "static"], out=tmp_path / "ray", ray="local")
    here = bench([spec, "static"], out=tmp_path / "here")
    assert (tmp_path / "flag").exists()
    for name, path in records(tmp_path / "here").items():
        assert same_records(read_episode(path), read_episode(tmp_path / "ray" / name))
    assert len(records(tmp_path / "ray")) == 8
    assert remote.intervals[spec]["drop_rate"] == here.intervals[spec]["drop_rate"]


def test_what_a_killed_run_left_half_written_is_cleared_away(bench: Bench, tmp_path: Path) -> None:
    bench(out=tmp_path / "out")
    record = next(iter(records(tmp_path / "out").values()))
    half = record.with_name(f".{record.name}.part")
    record.rename(half)
    bench(out=tmp_path / "out")
    assert record.exists()
    assert not half.exists()


def sums_files(out: Path) -> list[Path]:
    return sorted((out / "sums").glob("*.npz"))


def test_a_sweep_keeps_its_sums_alone_and_is_carried_on(bench: Bench, tmp_path: Path) -> None:
    whole = bench(["ample"], out=tmp_path / "out", sweep=True)
    assert {path.parent.name.split("-")[0] for path in records(tmp_path / "out").values()} == {
        "ample",
        "static",
    }
    files = sums_files(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in files}
    gone = files[::3]
    for path in gone:
        path.unlink()
    resumed = bench(["ample"], out=tmp_path / "out", sweep=True)
    assert sums_files(tmp_path / "out") == files
    for path in files:
        assert (path.stat().st_mtime_ns == before[path]) == (path not in gone)
    assert resumed.fronts == whole.fronts


def test_damaged_sums_are_told_of_in_one_line(bench: Bench, tmp_path: Path) -> None:
    bench(["ample"], out=tmp_path / "out", sweep=True)
    broken = sums_files(tmp_path / "out")[0]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged") as caught:
        bench(["ample"], out=tmp_path / "out", sweep=True)
    assert str(broken) in str(caught.value)


def test_sums_added_up_on_the_way_are_those_of_the_records(bench: Bench) -> None:
    policies = ["watermark", "static", "clairvoyant"]
    result = bench(policies, backend="model", peak=14e6)
    met = 0
    for spec in policies:
        for index, trace in enumerate(result.grid.traces):
            record = result.episode(spec, index, 1)
            segments = segments_of(result.grid.lengths[trace.name])
            again = sums(record, result.grid.chain.parked_weight, segments)
            kept = Store(result.grid, result.out).found()[Cell(spec, trace.name, 1)]
            np.testing.assert_allclose(kept.segments, again.segments, rtol=1e-6)
            np.testing.assert_array_equal(kept.reactions_s, again.reactions_s)
            met += kept.reactions_s.size
    assert met > 0


def test_several_processes_give_what_one_does(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = ["watermark", "random"]
    options = {"backend": "model", "sweep": True, "baseline": "watermark"}
    here = bench(policies, out=tmp_path / "here", **options)
    shared = bench(policies, out=tmp_path / "shared", processes=2, **options)
    assert len(sums_files(tmp_path / "shared")) > len(sums_files(tmp_path / "here"))
    for name, path in records(tmp_path / "here").items():
        assert same_records(read_episode(path), read_episode(tmp_path / "shared" / name))
    assert shared.fronts == here.fronts


def test_a_worker_process_that_dies_is_one_line_and_what_is_finished_is_kept(
    bench: Bench, kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(kit))
    spec = f"mortal:flag={tmp_path / 'flag'}"
    with pytest.raises(BackendError, match="a worker process died"):
        bench([spec, "static"], out=tmp_path / "out", processes=2)
    bench([spec, "static"], out=tmp_path / "out", processes=2)
    assert len(records(tmp_path / "out")) == 8


def test_batches_of_any_size_give_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backend": "model", "sweep": True, "seeds": 1}
    large = bench(["target_tracking"], out=tmp_path / "large", **options)
    monkeypatch.setattr("flexnfv.evaluation.jobs.ROWS", 7)
    small = bench(["target_tracking"], out=tmp_path / "small", **options)
    assert len(sums_files(tmp_path / "small")) > 5
    assert small.fronts == large.fronts
