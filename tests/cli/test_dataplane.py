"""`flexnfv dataplane` and `flexnfv doctor` as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.hw_backend import manager_process, running
from flexnfv.hw_backend.client import Client
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.leftovers import huge_mounts
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
        try:
            assert process.stdout is not None
            words = process.stdout.readline()
            folder, pid = Path(words.split()[3]), int(words.split("process ")[1].split(")")[0])
            assert alive(pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()  # the manager ends with it
    assert not alive(pid)
    assert not (folder / "control.sock").exists()


@pytest.fixture
def asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `up` asks a manager for; nothing is started."""
    values: dict[str, Any] = {}

    class Asked:
        def __init__(self, chain: object, **options: Any) -> None:
            values.update(options)

        def start(self) -> None:
            raise InputError("that is all")

    monkeypatch.setattr(manager_process, "ManagerProcess", Asked)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    return values


def test_what_an_operator_says_is_what_the_manager_is_told(asked: dict[str, Any]) -> None:
    up = "dataplane up paper --rx-threads 2 --tx-threads 1 --cores 0,2-3 --nf-cores 4-7 --spares 3"
    more = "--busy-polling --ring-size 1024 --huge-dir /mnt/huge"
    assert main([*up.split(), *more.split()]) == 2
    assert asked["options"] == ManagerOptions(
        rx_threads=2, tx_threads=1, spares=3, busy_polling=True, ring_size=1024
    )
    assert asked["huge_dir"] == Path("/mnt/huge")
    assert asked["placement"].manager == (0, 2, 3)
    assert asked["placement"].nfs == (4, 5, 6, 7)


@pytest.mark.parametrize(
    ("words", "manager", "nfs"),
    [
        ("--cores 1", (1,), (0, 2, 3, 4, 5, 6, 7)),
        ("--nf-cores 0-5", (6,), (0, 1, 2, 3, 4, 5)),
        ("--nf-cores 0-5 --tx-threads 1", (6, 7), (0, 1, 2, 3, 4, 5)),
        ("--cores 0-7", (0, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 6, 7)),
    ],
)
def test_cpus_that_are_not_given_are_those_left(
    asked: dict[str, Any], words: str, manager: tuple[int, ...], nfs: tuple[int, ...]
) -> None:
    assert main(["dataplane", "up", "paper", *words.split()]) == 2
    assert (asked["placement"].manager, asked["placement"].nfs) == (manager, nfs)


@pytest.mark.parametrize("cpus", ["", "x", "1,", "3-1", "0-8", "8", "99999", "0;1"])
def test_lists_of_cpus_that_make_no_sense(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str], cpus: str
) -> None:
    assert main(["dataplane", "up", "paper", f"--nf-cores={cpus}"]) == 2
    assert "--nf-cores" in said(capsys)
    assert not asked


@pytest.mark.dataplane
def test_a_huge_dir_that_is_none_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataplane", "up", "paper", "--huge-dir", str(tmp_path)]) == 2
    assert f"mount -t hugetlbfs nodev {tmp_path}" in said(capsys)


@pytest.mark.dataplane
def test_up_with_threads_rings_and_huge_pages_of_its_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = max(os.sched_getaffinity(0))
    up = f"dataplane up paper --background --tx-threads 1 --ring-size 512 --nf-cores {last}"
    assert main([*up.split(), "--huge-dir", str(next(huge_mounts()))]) == 0
    capsys.readouterr()
    with Client(place / "paper") as client:
        snapshot = client.snapshot()
    assert snapshot.header["workers"] == 2
    assert snapshot.types["ring_size"].tolist() == [512] * 3
    assert all(os.sched_getaffinity(pid) == {last} for pid in snapshot.pids)


@pytest.mark.dataplane
def test_top_draws_the_chain_until_ctrl_c(place: Path) -> None:
    assert main(["dataplane", "up", "paper", "--background"]) == 0
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "flexnfv.cli", "dataplane", "top", str(place / "paper")]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [*command, "--period-s", "0.1"], stdout=terminal, stdin=terminal, env=environment
    ) as top:
        try:
            os.close(terminal)
            drawn = ""
            while "NF3.0" not in drawn:
                drawn += os.read(screen, 65536).decode(errors="replace")
            top.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # the terminal's end
                while os.read(screen, 65536):
                    pass
            assert top.wait(30) == 0
        finally:
            top.kill()
            os.close(screen)


@pytest.mark.dataplane
def test_bench_tells_machine_placement_and_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataplane", "bench", "idle", "--trials", "1", "--trial-s", "0.2"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("machine: ")
    assert re.search(r"idle chain on .*: \d+\.\d % CPU", told)


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
