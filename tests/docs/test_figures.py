"""The program that draws the README's picture, on series of our own."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import load_chain
from tests.policies.networks import write_random_bundle

PROGRAM = Path(__file__).parents[2] / "docs" / "figures" / "real_traffic.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *arguments])
    runpy.run_path(str(PROGRAM), run_name="__main__")


def test_the_picture_is_drawn_and_its_caption_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_random_bundle(tmp_path / "a.onnx", load_chain("edge"))
    for name, unit, rates in (
        ("smooth", "pps", 5 + np.sin(np.arange(80) / 9)),
        ("bits", "bps", 1e6 * np.random.default_rng(1).gamma(2.0, size=80)),
        ("silent", "pps", np.where(np.arange(80) < 70, 0, 1)),
    ):
        rows = [f"t_s,{unit}", *(f"{t},{rate:g}" for t, rate in enumerate(rates))]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("FLEXNFV_TRACES", str(tmp_path))
    picture = tmp_path / "result.png"
    given = ["--intervals", "64", "--rules", "target_tracking", "--processes", "1"]
    run(monkeypatch, str(bundle), *given, "--out", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr()
    assert "the rule: target_tracking [" in told.out
    assert "of 2, gap closed" in told.out
    assert "silent.csv" in told.err


def test_without_series_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLEXNFV_TRACES", raising=False)
    with pytest.raises(SystemExit):
        run(monkeypatch, "a.onnx", "--out", str(tmp_path / "result.png"))
    assert "FLEXNFV_TRACES" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
