"""`flexnfv traces`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexnfv.cli import main
from flexnfv.cli.traces import sparkline
from flexnfv.traces import Trace, load_trace, split
from flexnfv.traces.synthetic import FAMILIES


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_list_names_every_family_and_split_member(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["traces", "list"]) == 0
    out = capsys.readouterr().out
    for name in FAMILIES:
        assert f"synthetic/{name} " in out
    for name in ("train", "validation", "test"):
        assert all(trace_name in out for trace_name in split(name).names)


def test_show_prints_figures_and_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["traces", "show", "synthetic/step"]) == 0
    out = capsys.readouterr().out
    assert "20 samples of 1 s = 20 s, mean 4.762 Mpps, peak 5.952 Mpps, 64-byte packets" in out
    assert "██████▅▅▅▅▅▅▅▅██████" in out


def test_show_draws_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "step.png"
    assert main(["traces", "show", "synthetic/step", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert str(out) in capsys.readouterr().out


def test_import_converts_and_scales(tmp_path: Path) -> None:
    source, out = tmp_path / "link.csv", tmp_path / "link.parquet"
    source.write_text("t_s,bps\n0,800\n60,1600\n120,2400\n180,3200\n")
    options = ["--compress", "60", "--step", "2", "--peak", "7e6", "--packet-bytes", "100"]
    assert main(["traces", "import", str(source), "--out", str(out), *options]) == 0
    trace = load_trace(out)
    assert (trace.step_s, trace.packet_bytes) == (2.0, 100.0)
    assert trace.rate_pps.tolist() == [3e6, 7e6]


def test_bad_input_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, bad = tmp_path / "old.parquet", tmp_path / "bad.csv"
    old.write_text("mine")
    bad.write_text("t_s,pps\n0,1\n1,-1\n")
    new = str(tmp_path / "new.parquet")
    for arguments, says in {
        ("show", "synthetic/stepp"): "did you mean 'step'",
        ("show", str(bad)): "row 2: pps is -1",
        ("show", "synthetic/step", "--out", str(old)): "already exists",
        ("show", "synthetic/step", "--out", str(tmp_path / "a.nothing")): "unknown kind of picture",
        ("import", str(bad), "--out", new): "row 2: pps is -1",
        ("import", "synthetic/step", "--out", str(old)): "already exists",
        ("import", str(tmp_path / "none.pcap"), "--out", new): "no such file",
        ("import", "synthetic/step", "--out", str(tmp_path / "a.txt")): "name it .csv or .parquet",
    }.items():
        assert main(["traces", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [bad, old]
    assert old.read_text() == "mine"


def test_a_sparkline_is_as_long_as_the_trace_or_the_line() -> None:
    flat = Trace("t", np.zeros(5), 1.0)
    assert sparkline(flat) == "▁" * 5
    assert sparkline(Trace("t", np.arange(1000.0), 0.1), 8) == "▁▂▃▄▅▆▇█"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate_pps", [0, 5e6])
def test_a_constant_rate_is_drawn_without_a_warning(tmp_path: Path, rate_pps: float) -> None:
    out = tmp_path / "plot.png"
    name = f"synthetic/constant?rate_pps={rate_pps:g}&duration_s=20"
    assert main(["traces", "show", name, "--out", str(out)]) == 0
    assert out.stat().st_size > 1_000


def test_import_takes_large_and_small_numbers(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("t_s,pps\n0,1\n1,2\n")
    assert main(["traces", "import", str(source), "--out", str(out), "--peak", "2e16"]) == 0
    assert load_trace(str(out)).peak_pps == 2e16
