"""At 80 columns, as in a log file, no command cuts what it has to say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flexnfv.chain import load_chain, shipped
from flexnfv.cli import dataplane, main
from flexnfv.policy import registered


@pytest.fixture(autouse=True)
def _eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def whole(text: str, *, width: int | None = 80) -> str:
    """`text`, if nothing in it was cut and every line fits."""
    assert "…" not in text
    if width:
        assert max(map(len, text.splitlines()), default=0) <= width
    return text


COMMANDS = [
    ("chains", "list"),
    *(("chains", "show", name) for name in shipped("chains")),
    ("policies", "list"),
    *(("policies", "show", name) for name in registered()),
    ("traces", "list"),
    ("--help",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_lists_fit(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    assert whole(capsys.readouterr().out)


@pytest.mark.parametrize("command", [("traces", "show", "synthetic/on_off"), ("doctor",)])
def test_sentences_run_on_and_are_not_cut(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) in (0, 1)
    assert whole(capsys.readouterr().out, width=None)


def test_every_word_of_a_list_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    main(("chains", "list"))
    words = set(capsys.readouterr().out.split())
    for path in shipped("chains").values():
        chain = load_chain(path)
        assert {chain.name, *chain.nf_names, *chain.description.split()} <= {
            *words,
            *(word.rstrip(",") for word in words),
        }


def _running(name: str, instances: int) -> dict[str, Any]:
    """What `flexnfv.hw_backend.status.figures` tells of a busy chain."""
    one = {
        "state": "launching",
        "core": 127,
        "arrived_pps": 12_345_600.0,
        "served_pps": 12_345_600.0,
        "ring_dropped_pps": 12_345_600.0,
        "load": 12.345,
        "processing_ns": 290.0,
        "declared": True,
        "queue": 4095,
        "ring_size": 4096,
    }
    counts = dict.fromkeys(("target", "launches", "reruns", "blocks", "deaths"), 12_345)
    return {
        "name": "edge",
        "up_s": 1e6,
        "paced": True,
        "run_to_completion": False,
        "scale": 0.05,
        "control": "flexnfv deploy",
        "cores_held": 48,
        "core_budget": 48,
        "spares_ready": 3,
        "offered_pps": 12_345_600.0,
        "delivered_pps": 12_345_600.0,
        "dropped_pps": 12_345_600.0,
        "in_flight": 123_456,
        "dropped": {"ring full": 123_456_789, "no instance": 1},
        "types": [
            {
                "name": name,
                "function": "encryptor",
                "high_load": 0.556,
                "low_load": 0.278,
                **counts,
                "instances": [one | {"slot": slot} for slot in range(instances)],
            }
        ],
        "ports": [
            {
                "name": "net_memif0",
                "link_up": True,
                "received_pps": 12_345_600.0,
                "sent_pps": 12_345_600.0,
                "dropped": 123_456_789,
                "missed": 123_456_789,
            }
        ],
    }


@pytest.mark.parametrize("name", ["encryptor", "n" * 31])
def test_a_running_chain_is_told_of_by_whole_names(name: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(dataplane._view(_running(name, 12)))
    shown = whole(out.getvalue())
    for slot in range(12):
        assert f"{name}.{slot}" in shown
    assert f"{name} (encryptor)" in shown
    assert shown.count("4095/4096") == 12


def test_a_deployments_page_names_its_types_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    deploy = ("deploy", "--policy", "static", "--trace", "synthetic/step?duration_s=4")
    chain = tmp_path / "long.toml"
    text = shipped("chains")["paper"].read_text().replace('"NF1"', f'"{"n" * 31}"')
    chain.write_text(text)
    assert main([*deploy, "--chain", str(chain), "--backend", "model", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["deploy", "status", str(out)]) == 0
    shown = whole(capsys.readouterr().out)
    assert "n" * 31 in shown
    status = json.loads((out / "status.json").read_text())
    assert str(status["intervals"]) in shown
