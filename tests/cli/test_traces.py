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


def test_coverage_shows_percentiles_and_what_lies_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rates = load_trace("prior-test/0").rate_pps[:600]
    lone = np.full(600, 1e-9)
    lone[5] = 1.0
    for name, unit, values in (("drawn.csv", "bps", rates), ("lone.csv", "pps", lone)):
        rows = "".join(f"{place},{value!r}\n" for place, value in enumerate(values.tolist()))
        (tmp_path / name).write_text(f"t_s,{unit}\n{rows}")
    (tmp_path / "notes.md").write_text("no trace")
    options = ["--draws", "120", "--intervals", "600"]
    assert main(["traces", "coverage", str(tmp_path / "drawn.csv"), *options]) == 0
    assert "1 series; the prior's range is 2 to 98 %: all 7 values" in capsys.readouterr().out
    assert main(["traces", "coverage", str(tmp_path), "prior-test/4", *options]) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    marked = {line.split()[0] for line in out.splitlines() if "! " in line}
    assert "lone" in marked
    assert "drawn" not in marked
    assert "3 series" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no series given"),
        (("synthetic/step",), "20 intervals, 20 of which carry traffic"),
        (("prior-test/0", "--draws", "0"), "among 0 draws"),
        (("prior-test/99",), "unknown trace 'prior-test/99'"),
        ((".",), "holds no rate series"),
    ],
)
def test_coverage_refuses_what_it_cannot_compare(
    arguments: tuple[str, ...],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["traces", "coverage", "--draws", "10", "--intervals", "300", *arguments]) == 2
    assert says in capsys.readouterr().err


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
