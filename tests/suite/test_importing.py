"""Public series from the files that their publishers offer."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.suite import definition, parsers
from flexnfv.suite.importing import import_series, six_digits
from flexnfv.suite.sources import SOURCES
from flexnfv.suite.traffic import path_of
from flexnfv.traces import files

V1 = definition.load("v1")
Values = np.ndarray[tuple[int], np.dtype[np.float64]]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- parsers: a file in, rates out ------------------------------------------------------------


def test_a_column_skips_the_heading_and_takes_the_rows_asked_for(tmp_path: Path) -> None:
    text = '"TimeStamp","Value"\n"2018-04-25T00:00:00Z","60.5"\n"x1","120"\n"x2","180"\n'
    path = write(tmp_path / "a.csv", text)
    assert parsers.column(path, 1, step_s=60).tolist() == [60.5 / 60, 2.0, 3.0]
    assert parsers.column(path, 1, first=1, last=2).tolist() == [120.0]
    headless = write(tmp_path / "b.csv", "00,01,7,8\n00,02,9,10\n")
    assert parsers.column(headless, 3).tolist() == [8.0, 10.0]


def test_rows_from_a_time_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "t,n\n09:00,1\n10:00,60\n10:01,120\n10:02,180\n")
    assert parsers.from_time(path, "10:00", 2, 60.0).tolist() == [1.0, 2.0]


def test_doubles_are_averaged_and_gaps_interpolated(tmp_path: Path) -> None:
    day = "2017-11-05T0"
    path = write(
        tmp_path / "a.csv",
        f"TimeStamp,Value\n{day}0:00:00Z,1\n{day}1:00:00Z,2\n{day}1:00:00Z,4\n{day}3:00:00Z,9\n",
    )
    assert parsers.on_grid(path, 3600, 1.0).tolist() == [1.0, 3.0, 6.0, 9.0]


def test_arrivals_count_from_the_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "TIMESTAMP,A\n2023-11-16 18:15:46.6805900,1\n2023-11-16 18:15:47.6805899,1\n"
        "2023-11-16 18:15:47.6805900,1\n2023-11-16 18:15:49.0,1\n",
    )
    assert parsers.arrivals(path, 1.0).tolist() == [2.0, 1.0, 1.0]


def test_a_vector_of_r(tmp_path: Path) -> None:
    path = write(tmp_path / "a.R", "traffic <- ts(c(\n1,20,\n3))\n\n")
    assert parsers.r_vector(path, 8.0).tolist() == [8.0, 160.0, 24.0]


def test_a_missing_demand_takes_the_one_before(tmp_path: Path) -> None:
    demand = '<demand id="A_B">\n <source>A</source>\n <demandValue> 1.5 </demandValue>'
    write(tmp_path / "m-0.xml", f'<demand id="A_A">..</demand>{demand}')
    write(tmp_path / "m-1.xml", '<demand id="A_C"> <demandValue> 7 </demandValue>')
    assert parsers.sndlib(tmp_path, "A_B", "m-*.xml", 2).tolist() == [1.5e6, 1.5e6]
    with pytest.raises(ValueError, match="2 files"):
        parsers.sndlib(tmp_path, "A_B", "m-*.xml", 3)
    with pytest.raises(ValueError, match="has no demand A_B"):
        parsers.sndlib(tmp_path, "A_B", "m-1.xml", 1)


def test_every_letter_is_a_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "300 g,|,b,m,|\n900 a,|\n")
    assert parsers.flavours(path, 300).tolist() == [3 / 300, 0.0, 1 / 300]


def test_packet_sizes_and_mahimahi(tmp_path: Path) -> None:
    sizes = write(tmp_path / "a.txt", "0E-9 100\n0.009999999 100\n0.010000000 50\n0.031 1\n")
    assert parsers.packet_sizes(sizes, 0.01, 0.03).tolist() == [160e3, 40e3, 0.0]
    lines = write(tmp_path / "b.txt", "0\n9\n10\n31\n")
    assert parsers.mahimahi(lines, 0.01, 0.04).tolist() == [200.0, 100.0, 0.0, 100.0]


def test_series_keep_six_digits() -> None:
    values = np.array([6034.73333333333, 0.2066666666, 0.0, 123456789.0])
    assert six_digits(values).tolist() == [6034.73, 0.206667, 0.0, 123457000.0]
    assert six_digits(values, keep_whole=True).tolist()[2:] == [0.0, 123456789.0]


# --- what is said of a wrong file -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("bellcore", "ts(c(1,2,3))", "is not the file of bellcore (SHA-256"),
        ("eu_isp", "Time,bits\n1,x\n", "is not of the form that eu_isp is published in"),
        ("eu_isp", "Time,bits\n1,300\n2,600\n", "gives another series than eu_isp of suite v1"),
        ("eu_isp", "t_s,pps\n0,1\n300,2\n", "gives another series than eu_isp of suite v1"),
        ("dec_udp", "abc", "dec_udp has no importer of its own"),
        ("wc98", "1998,2\n", "is not of the form"),
    ],
)
def test_a_wrong_file_is_one_line_and_nothing_is_written(
    name: str, text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write(tmp_path / "given.csv", text)
    assert main(["suite", "import", name, str(given), "--to", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_series_and_a_missing_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "import", "eu_ips", str(tmp_path)]) == 2
    assert "eu_isp" in capsys.readouterr().err
    assert main(["suite", "import", "eu_isp", str(tmp_path / "no.csv")]) == 2
    assert "download datasets/internet-traffic-data.csv" in capsys.readouterr().err


# --- published files, made anew from development's copies of the series -------------------------


def _clock(start: str, step_s: int, form: str = "%Y-%m-%d %H:%M:%S") -> Callable[[int], str]:
    begin = datetime.datetime.fromisoformat(start)
    return lambda row: (begin + datetime.timedelta(seconds=row * step_s)).strftime(form)


def _table(heading: str, time: Callable[[int], str], values: Values, before: int = 0) -> str:
    rows = [0.0] * before + values.tolist()
    return heading + "".join(f"{time(row)},{value!r}\n" for row, value in enumerate(rows))


def _bellcore(values: Values) -> str:
    numbers = [f"{value / 800:.0f}" for value in values]
    lines = ",\n".join(",".join(numbers[row : row + 10]) for row in range(0, len(numbers), 10))
    return f"ethernetTraffic <- ts(c(\n{lines}))\n\n"


def _azure(values: Values) -> str:
    rows = ["2023-11-16 18:15:46.6805900,1,1\n"]
    clock = _clock("2023-11-16 18:15:46", 1)
    for second, count in enumerate(values.astype(int).tolist()):
        again = count - 1 if second == 0 else count
        rows += [f"{clock(second)}.7000000,1,1\n"] * again
    return "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows)


def _flavours(values: Values) -> str:
    return "".join(
        f"{(row + 1) * 300} {','.join(['b', '|'] * round(value * 300))}\n"
        for row, value in enumerate(values[:6000])
    )


def _mahimahi(values: Values) -> str:
    return "".join(f"{row * 10}\n" * round(value / 100) for row, value in enumerate(values))


def _sizes(values: Values) -> str:
    return "".join(
        f"{row * 0.01 + 0.001:.9f} {value / 800:.0f}\n" for row, value in enumerate(values)
    )


_UTC = "%Y-%m-%dT%H:%M:%SZ"
_MINUTES = _clock("2018-04-25", 60, _UTC)

PUBLISHED: dict[str, Callable[[Values], str]] = {
    "eu_isp": lambda v: _table("Time,bits\n", _clock("2005-06-07 06:57", 300), v * 300),
    "wc98": lambda v: _table("", _clock("1998-06-10 21:00", 60), v * 60, before=60),
    "azure_llm_conv": _azure,
    "bellcore": _bellcore,
    "msft_db": lambda v: _table("TimeStamp,Value\n", _MINUTES, v),
    "msft_node": lambda v: _table("TimeStamp,Value\n", _MINUTES, v, before=10_080),
    "msft_launch": lambda v: _table("TimeStamp,Value\n", _MINUTES, v, before=8760),
    "msft_shop": lambda v: _table("TimeStamp,Value\n", _clock("2017-11-01", 3600, _UTC), v),
    "tweets_aapl": lambda v: _table("timestamp,value\n", _clock("2015-02-26", 300), v * 300),
    "aws_elb": lambda v: _table("timestamp,value\n", _clock("2014-04-10 00:04", 300), v * 300),
    "bgp_slammer": lambda v: "".join(f"1,2,3,4,{value * 60!r},6\n" for value in v.tolist()),
    "vm_requests": _flavours,
    "starlink": _mahimahi,
    "xr_uplink": _sizes,
}


@pytest.mark.parametrize("name", [name for name, one in SOURCES.items() if one.parse])
def test_a_published_file_gives_the_series_of_the_suite(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("FLEXNFV_TRACES")
    if not folder:
        pytest.skip("needs the development traces (FLEXNFV_TRACES)")
    known = path_of(name, Path(folder))
    # As in the file: packets, or bits of packets of one bit.
    values = files.read(known, packet_bytes=0.125).rate_pps
    given = tmp_path / "published.txt"
    if name == "abilene":
        given = tmp_path / "published"
        given.mkdir()
        clock = _clock("2004-03-01", 300, "demandMatrix-abilene-zhang-5min-%Y%m%d-%H%M.xml")
        for row, value in enumerate((values / 1e6).tolist()):
            demand = f'<demand id="LOSAng_CHINng"><demandValue> {value!r} </demandValue></demand>'
            write(given / clock(row), demand)
    else:
        write(given, PUBLISHED[name](values))
    out = import_series(name, given, tmp_path / "out", V1)
    written = files.read(out)
    assert written.step_s == pytest.approx(SOURCES[name].step_s)
    assert written.rate_pps.tolist() == values[: len(written)].tolist()


@pytest.mark.parametrize("name", SOURCES)
def test_a_series_converted_otherwise_is_checked_as_well(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("FLEXNFV_TRACES")
    if not folder:
        pytest.skip("needs the development traces (FLEXNFV_TRACES)")
    known = path_of(name, Path(folder))
    out = import_series(name, known, tmp_path, V1)
    with pytest.raises(InputError, match="already exists"):
        import_series(name, known, tmp_path, V1)
    assert out.name == SOURCES[name].file
