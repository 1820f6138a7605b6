"""Rate series in CSV and Parquet files."""

from __future__ import annotations

import builtins
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from flexnfv.errors import InputError
from flexnfv.traces import Trace
from flexnfv.traces.files import read, write


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_pps_and_bps_mean_the_same(tmp_path: Path) -> None:
    pps = read(put(tmp_path / "a.csv", "t_s,pps\n0,1\n0.5,2\n"))
    assert (pps.name, pps.step_s, pps.rate_pps.tolist()) == ("a", 0.5, [1, 2])
    assert (pps.packet_bytes, pps.family) == (None, "file")
    bps = read(put(tmp_path / "b.csv", "t_s,bps\n0,800\n0.5,1600\n"), packet_bytes=100)
    assert (bps.rate_pps.tolist(), bps.packet_bytes) == ([1, 2], 100)
    own = read(put(tmp_path / "c.csv", "t_s,bps,packet_bytes\n0,800,100\n1,1600,200\n"))
    assert (own.rate_pps.tolist(), own.packet_bytes) == ([1, 1], 150)


def test_what_editors_leave_behind_is_read(tmp_path: Path) -> None:
    text = "\ufefft_s, pps ,note\r\n10,1,x\r\n\r\n11, 2 ,y\r\n"
    trace = read(put(tmp_path / "a.CSV", text))
    assert (trace.step_s, trace.rate_pps.tolist()) == (1.0, [1, 2])


def test_times_written_rounded_give_the_mean_step(tmp_path: Path) -> None:
    trace = read(put(tmp_path / "a.csv", "t_s,pps\n0,1\n0.333,1\n0.667,1\n1,1\n"))
    assert trace.step_s == pytest.approx(1 / 3)


BAD_ROWS = [
    ("t_s,pps\n0,1\n1,-3\n", "pps is -3", "row 2"),
    ("t_s,pps\n0,1\n1,nan\n", "pps is nan", "row 2"),
    ("t_s,pps\n0,inf\n1,1\n", "pps is inf", "row 1"),
    ("t_s,bps,packet_bytes\n0,1,9\n1,-1,9\n", "bps is -1", "row 2"),
    ("t_s,bps,packet_bytes\n0,1,9\n1,1,0\n", "packet_bytes is 0", "row 2"),
    ("t_s,pps\n0,1\nnan,1\n", "t_s is nan", "row 2"),
    ("t_s,pps\n0,1\n1,many\n", "pps is 'many', not a number", "row 2"),
    ("t_s,pps\n0,1\n1\n", "pps is missing", "row 2"),
    ("t_s,pps\n0,1\n1,1\n3,1\n4,1\n", "gap of 2 s before t_s = 3", "row 3"),
    ("t_s,pps\n0,1\n1,1\n1.5,1\n2.5,1\n", "short step of 0.5 s", "row 3"),
    ("t_s,pps\n0,1\n2,1\n1,1\n", "t_s = 1 steps back from 2", "row 3"),
    ("t_s,pps\n0,1\n1,1\n1,1\n", "t_s = 1 repeats 1", "row 3"),
]


@pytest.mark.parametrize(("text", "says", "row"), BAD_ROWS, ids=[case[1] for case in BAD_ROWS])
def test_a_bad_row_is_named(tmp_path: Path, text: str, says: str, row: str) -> None:
    path = put(tmp_path / "bad.csv", text)
    with pytest.raises(InputError, match=says) as refused:
        read(path)
    assert refused.value.where == f"{path}, {row}"
    assert refused.value.fix


BAD_FILES = [
    ("", "is empty"),
    ("\n", "is empty"),
    ("t_s,pps\n", "has no rows"),
    ("t_s,pps\n0,1\n", "tells no step"),
    ("time,pps\n0,1\n", "has no column t_s, only time, pps"),
    ("t_s,rate\n0,1\n", r"has no column pps \(or bps\)"),
    ("t_s,bps\n0,1\n1,1\n", "need a packet size"),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES, ids=[case[1] for case in BAD_FILES])
def test_a_bad_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = put(tmp_path / "bad.csv", text)
    with pytest.raises(InputError, match=says) as refused:
        read(path)
    assert refused.value.where == str(path)
    assert refused.value.fix


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"t_s,pps\n0,1\n1,1\n" * 99)[:-20])
    (tmp_path / "plain.csv.gz").write_bytes(b"t_s,pps\n0,1\n1,1\n")
    (tmp_path / "fake.parquet").write_bytes(b"t_s,pps\n0,1\n1,1\n")
    for name, says in {
        "none.csv": "no such file",
        "none.parquet": "no such file",
        "folder.csv": "is a directory",
        "binary.csv": "not a text file",
        "cut.csv.gz": "not a whole gzip file",
        "plain.csv.gz": "not a whole gzip file",
        "fake.parquet": "not a Parquet file",
        "notes.txt": "unknown kind of trace file '.txt'",
    }.items():
        with pytest.raises(InputError, match=says) as refused:
            read(tmp_path / name)
        assert str(tmp_path / name) in refused.value.where


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"t_s": [0.0, 1.0], "pps": [1.0, None]}, "row 2: pps is missing"),
        ({"t_s": [0.0, 1.0], "pps": ["a", "b"]}, "pps holds string, not numbers"),
        ({"t_s": [0.0, 1.0], "pps": [1.0, -1.0]}, "row 2: pps is -1"),
        ({"t_s": [0.0, 1.0]}, "has no column pps"),
        ({"t_s": pyarrow.array([], "double"), "pps": pyarrow.array([], "double")}, "has no rows"),
    ],
)
def test_bad_parquet_is_named(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(InputError) as refused:
        read(tmp_path / "bad.parquet")
    assert says in str(refused.value)


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.parquet", "")
    real_import = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'flexnfv\[traces\]'"):
        read(tmp_path / "a.parquet")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    rate=arrays(np.float64, st.integers(2, 40), elements=st.floats(0, 1e12)),
    step_s=st.floats(1e-4, 1e4),
    packet_bytes=st.none() | st.floats(1, 9000),
    suffix=st.sampled_from([".csv", ".parquet"]),
)
def test_a_round_trip_is_bit_equal(
    tmp_path: Path, rate: Any, step_s: float, packet_bytes: float | None, suffix: str
) -> None:
    path = tmp_path / f"t{suffix}"
    path.unlink(missing_ok=True)
    before = Trace("t", rate, step_s, packet_bytes)
    write(before, path)
    after = read(path)
    assert after.rate_pps.tobytes() == before.rate_pps.tobytes()
    assert (after.name, after.step_s, after.packet_bytes) == ("t", step_s, packet_bytes)


def test_a_gzipped_series_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"t_s,pps\n0,1\n1,2\n"))
    assert read(tmp_path / "a.csv.gz").name == "a"
    assert read(tmp_path / "a.csv.gz").rate_pps.tolist() == [1, 2]


def test_writing_refuses_what_it_should(tmp_path: Path) -> None:
    trace = Trace("t", np.array([1.0, 2.0]), 1.0)
    old = put(tmp_path / "old.csv", "mine")
    for path, says in ((old, "already exists"), (tmp_path / "t.txt", "unknown kind")):
        with pytest.raises(InputError, match=says):
            write(trace, path)
    with pytest.raises(InputError, match="one sample"):
        write(trace.cut(0, 1), tmp_path / "one.csv")
    with pytest.raises(InputError, match="is no directory"):
        write(trace, old / "below" / "t.csv")
    assert old.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("numbered", [True, False])
def test_a_record_is_read_by_time_so_that_late_and_lost_rows_distort_nothing(
    tmp_path: Path, numbered: bool
) -> None:
    path = tmp_path / "run.csv"
    # The second reading came late and covers three intervals; after the third, two rows were lost.
    rows = [
        (0.5001, 0.5001, 10.0, 0.0),
        (2.0003, 1.5002, 20.0, 0.5),
        (2.4999, 0.4996, 30.0, 1.0),
        (4.0, 0.5001, 40.0, 2.5),
        (4.5, 0.5, 50.0, 3.0),
    ]
    header = (
        "time_s,interval_s,offered_pps,pps,t_s" if numbered else "time_s,interval_s,offered_pps"
    )
    lines = [
        f"{end},{length},{pps}" + (f",{pps},{start}" if numbered else "")
        for end, length, pps, start in rows
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    trace = read(path)
    assert trace.rate_pps.tolist() == [10, 20, 20, 20, 30, 30, 30, 40, 50]
    assert trace.step_s == pytest.approx(0.5, rel=1e-3)
    if numbered:
        assert trace.step_s == 0.5


def test_a_record_of_two_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("time_s,interval_s,offered_pps\n1,1,5\n2,1,5\n1,1,5\n")
    with pytest.raises(InputError, match=r"time_s = 1 does not follow 2") as refused:
        read(path)
    assert refused.value.where.endswith("row 3")
