"""`flexnfv deploy` as its users meet it: how it starts, ends, is killed and is looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyarrow import parquet

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.cli import main
from flexnfv.deploy.record import readings
from flexnfv.deploy.status import read_status
from flexnfv.errors import BackendError
from flexnfv.model import ModelBackend
from tests.policies.networks import write_random_bundle

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(wild: Path, waves_file: Path) -> Iterator[Start]:
    """Starts `flexnfv deploy` in a process group of its own; ended whatever happens."""
    running = []

    def begin(out: Path, *arguments: str, policy: str = "watermark") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flexnfv.cli", "deploy", "--chain", "paper"),
                *("--backend", "model"),
                *("--policy", policy, "--trace", str(waves_file), "--out", str(out), *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(wild)},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        for pid in in_group(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.02)


def decided(out: Path) -> int:
    """Intervals that the status file tells of; 0 while there is none."""
    try:
        return int(json.loads((out / "status.json").read_text())["intervals"])
    except FileNotFoundError:
        return 0


def in_group(group: int) -> set[int]:
    """Processes of a process group that live."""
    found = set()
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.add(int(place.name))
    return found


def assert_gone(group: int) -> None:
    """Nothing of a process group lives, or soon not any more."""
    deadline = time.monotonic() + 30
    while left := in_group(group):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    process = start(out, "--realtime", "--shadow", "static", "--json")
    wait_for(lambda: decided(out) >= 2, process)
    assert read_status(out)["state"] == "running"
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as Ctrl-C does: policies, too
    else:
        process.send_signal(number)
    told, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    status = json.loads(told)
    assert status["state"] == "stopped"
    assert status == read_status(out)
    assert parquet.read_metadata(out / "record.parquet").num_rows == status["intervals"]
    assert f"stopped by {number.name}" in (out / "deploy.log").read_text()
    assert_gone(process.pid)


def test_a_killed_one_leaves_readable_records_and_no_process(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out)
    wait_for(lambda: any((out / "record").glob("[0-9]*.parquet")), process)
    process.kill()
    process.communicate()
    assert read_status(out)["state"] == "died"
    assert main(["deploy", "status", str(out)]) == 1
    parts = sorted((out / "record").glob("[0-9]*.parquet"))
    rows = sum(len(list(readings(part))) for part in parts)
    assert rows >= 1000
    assert main(["deploy", "join", str(out)]) == 0
    times = [float(reading.time_s) for reading in readings(out / "record.parquet")]
    assert times == [float(number + 1) for number in range(rows)]
    assert_gone(process.pid)


def test_a_policy_that_hangs_dies_with_a_killed_deployment(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, "--realtime", "--shadow", "fickle:share=1,faults=spin", policy="static")
    wait_for(lambda: decided(out) >= 2, process)
    assert len(in_group(process.pid)) > 1
    process.kill()
    assert_gone(process.pid)


def test_a_policy_that_hangs_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, "--realtime", "--json", policy="fickle:share=1,faults=spin")
    wait_for(lambda: decided(out) >= 2, process)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(told)["policy"]["decided"] == 0
    assert_gone(process.pid)


def test_the_end_of_the_trace_ends_it_and_the_page_tells_what_was(
    start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(out, "--intervals", "30", "--shadow", "static", "target_tracking")
    told, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert "paper on model, stopped: 30 intervals" in told
    assert "shadow target_tracking: the same targets in" in told
    again = subprocess.run(
        [sys.executable, "-m", "flexnfv.cli", "deploy", "status", str(out)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 0
    assert again.stdout == told.rpartition("recorded in")[0]


def test_what_a_policy_prints_stays_out_of_the_output(start: Start, tmp_path: Path) -> None:
    process = start(
        tmp_path / "run", "--intervals", "5", "--json", policy="fickle:share=1,faults=write"
    )
    told, _ = process.communicate(timeout=60)
    assert json.loads(told)["policy"]["faults"] == {"raised": 4}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused command says, in one line."""
    assert main(["deploy", *arguments]) == 2
    told, complaint = capsys.readouterr()
    assert told == ""
    assert complaint.count("\n") == 1
    return complaint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--policy": "watermrk"}, "unknown policy 'watermrk'; did you mean 'watermark'?"),
        ({"--policy": "watermark:hihg=0.5"}, "did you mean 'high'?"),
        ({"--policy": "watermark:high=9"}, "high is 9"),
        ({"--policy": "clairvoyant"}, "needs to know the trace beforehand"),
        ({"--policy": "stillborn"}, "was not ready within 60 s, or died"),
        ({"--policy": "nowhere.onnx"}, "nowhere.onnx"),
        ({"--shadow": "statik"}, "did you mean 'static'?"),
        ({"--chain": "papper"}, "papper"),
        ({"--backend": "modell"}, "did you mean 'model'?"),
        ({"--options": "substeps"}, "'substeps' has no value"),
        ({"--options": "steps=3"}, "unexpected keyword argument 'steps'"),
        ({"--trace": "synthetic/flash_croud"}, "did you mean 'flash_crowd'?"),
        ({"--trace": None}, "the model needs a trace"),
        ({"--deadline": "2"}, "deadline: 2 s"),
        ({"--intervals": "0"}, "intervals: 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    wild: Path,
    waves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    said: str,
) -> None:
    out = tmp_path / "run"
    options = {"--chain": "paper", "--policy": "watermark", "--trace": str(waves_file)}
    given = {"--backend": "model", **options, "--out": str(out), **changes}
    arguments = [word for pair in given.items() if pair[1] is not None for word in pair]
    assert said in refused(capsys, *arguments)
    assert not out.exists()


def test_a_directory_that_holds_something_is_refused(
    waves_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    given = ("--chain", "paper", "--policy", "static", "--trace", str(waves_file))
    given += ("--backend", "model")
    assert "never overwritten" in refused(capsys, *given, "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("role", ["--policy", "--shadow"])
def test_a_bundle_of_another_chain_is_refused(
    waves_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    bundle = str(write_random_bundle(tmp_path / "some.onnx", load_chain("edge")))
    given = {"--chain": "paper", "--policy": "static", "--trace": str(waves_file), role: bundle}
    given["--backend"] = "model"
    words = [word for pair in given.items() for word in pair]
    assert "some.onnx" in refused(capsys, *words, "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_status_or_join_of_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("status", "join"):
        assert "not the directory of a deployment" in refused(capsys, verb, str(tmp_path))


def test_a_backend_that_dies_is_told_and_its_record_kept(
    chain: ServiceChain,
    waves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = ModelBackend.step

    def mortal(self: ModelBackend, decision: object, rows: object = None) -> object:
        if self.remaining[0] < 3590:
            raise BackendError("the manager died")
        return step(self, decision, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelBackend, "step", mortal)
    out = tmp_path / "run"
    given = ("--chain", "paper", "--policy", "static", "--trace", str(waves_file))
    given += ("--backend", "model")
    assert main(["deploy", *given, "--out", str(out)]) == 1
    assert capsys.readouterr().err == "flexnfv: the manager died\n"
    status = read_status(out)
    assert (status["state"], status["reason"]) == ("failed", "BackendError: the manager died")
    assert "no reading came of the last targets, [1, 1, 1] by the policy" in (
        (out / "deploy.log").read_text()
    )
    assert len(list(readings(out / "record.parquet"))) == status["intervals"] > 5
