"""`flexnfv dataplane` and `flexnfv doctor` as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexnfv.cli import main
from flexnfv.hw_backend import running
from flexnfv.hw_backend.processes import alive


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of the test's own; what runs there is ended."""
    folder = tmp_path / "run"
    monkeypatch.setattr(running, "runtime_folder", lambda: folder)
    yield folder
    for found in running.running().values():
        running.end(found)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


@pytest.mark.dataplane
def test_up_status_down(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up = ["dataplane", "up", "paper", "--port", "null", "--scale", "1/20", "--pacing"]
    assert main([*up, "--name", "mine", "--background"]) == 0
    capsys.readouterr()
    assert main(["dataplane", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["name"] == "mine"
    assert status["scale"] == 0.05
    assert status["paced"]
    assert status["offered_pps"] > 0
    assert [nf["name"] for nf in status["types"]] == ["NF1", "NF2", "NF3"]
    assert status["types"][0]["instances"][0]["state"] == "running"
    assert main(["dataplane", "status", "mine"]) == 0
    table = capsys.readouterr().out
    assert "NF3.0" in table
    assert "ring_full" in table
    assert main([*up, "--name", "mine", "--background"]) == 2
    assert "a manager runs there" in said(capsys)
    assert main(["dataplane", "down"]) == 0
    assert not alive(status["manager_pid"])
    assert main(["dataplane", "status"]) == 2
    assert "flexnfv dataplane up" in said(capsys)


@pytest.mark.dataplane
def test_down_cleans_up_behind_a_manager_that_was_killed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataplane", "up", "paper", "--background"]) == 0
    prefix = (place / "paper" / "prefix").read_text()
    capsys.readouterr()
    main(["dataplane", "status", "--json"])
    pid = json.loads(capsys.readouterr().out)["manager_pid"]
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.01)
    assert main(["dataplane", "down"]) == 0
    assert "had died" in capsys.readouterr().out
    assert not list(Path("/dev/hugepages").glob(f"{prefix}*"))
    assert running.running() == {}


@pytest.mark.dataplane
def test_up_in_the_foreground_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-m", "flexnfv.cli", "dataplane", "up", "paper"]
    with subprocess.Popen(
        [*command, "--name", f"test-{os.getpid()}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        words = process.stdout.readline()
        folder, pid = Path(words.split()[3]), int(words.split("process ")[1].split(")")[0])
        assert alive(pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not alive(pid)
    assert not (folder / "control.sock").exists()


@pytest.mark.parametrize("scale", ["x", "0", "1/0", "-1", "2000"])
def test_scales_that_make_no_sense(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataplane", "up", "paper", f"--scale={scale}"]) == 2
    assert "--scale" in said(capsys)


def test_names_that_are_paths_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataplane", "up", "paper", "--name", "../x"]) == 2
    assert "--name" in said(capsys)


def test_a_name_that_nobody_runs_under(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataplane", "down", "nobody"]) == 2
    assert "'nobody'" in said(capsys)


def test_the_doctor_says_what_is_missing_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEXNFV_DATAPLANE_BUILD", str(tmp_path))
    assert main(["doctor"]) == 1
    assert "flexnfv dataplane build" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"name", "state", "found", "mend"} == set(findings[0])
