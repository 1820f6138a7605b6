"""Rate series in files: CSV and Parquet.

Both hold the same columns, one row a sample, the first row at the start of the trace:

==============  =========================================================================
`t_s`           seconds, ascending in constant steps
`pps`           packets/s
`bps`           instead of `pps`: bits/s of frames, without preamble and inter-frame gap
`packet_bytes`  optional: mean packet size in bytes; needed (here or as argument) by `bps`
==============  =========================================================================

Other columns are ignored. What is written reads back bit for bit: times, rates and packet size.

A record of a run (`flexnfv.records`: `time_s`, `interval_s` and `offered_pps`) is a rate series as
well. There time counts, not the row: a late reading of a live chain covers several intervals, and
each of them gets its mean rate; where rows were lost, the rate before holds on.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexnfv.errors import InputError
from flexnfv.files import new_file
from flexnfv.traces.trace import FloatArray, Trace, check_amount

if TYPE_CHECKING:
    from types import ModuleType

CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIXES = (".parquet",)

_RECORD = ("time_s", "interval_s", "offered_pps")
"""Columns that tell a record: end and length of the interval, seconds, and its mean rate."""

_STEP_TOLERANCE = 0.01
"""A step may differ from the others by this share: times are often written rounded."""


def read(path: Path, packet_bytes: float | None = None) -> Trace:
    """Reads a CSV (also gzipped) or Parquet file of the columns above.

    Args:
        path: file; its suffix tells the format.
        packet_bytes: mean packet size where the file has no such column.

    Raises:
        InputError: the file is missing, empty, of another format or without a needed column; a
            row has no number, a negative or non-finite rate, a time out of order, or a gap before
            it; or `bps` without a packet size.
    """
    if packet_bytes is not None:
        check_amount("packet_bytes", packet_bytes, where=str(path))
    if has_suffix(path, CSV_SUFFIXES):
        columns = _csv_columns(path)
    elif has_suffix(path, PARQUET_SUFFIXES):
        columns = _parquet_columns(path)
    else:
        raise InputError(
            f"unknown kind of trace file {path.suffix!r}",
            where=str(path),
            fix=f"use one of {', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}",
        )
    return _trace(path, columns, packet_bytes)


def write(trace: Trace, path: Path) -> None:
    """Writes `trace` as CSV or Parquet, by the suffix of `path`, whole or not at all.

    Raises:
        InputError: the file exists, its suffix is neither, it cannot be written, or the trace is
            one sample long (the distance of two rows is what tells the step).
    """
    if not has_suffix(path, (".csv", *PARQUET_SUFFIXES)):
        raise InputError(
            f"unknown kind of trace file {path.suffix!r}",
            where=str(path),
            fix="name it .csv or .parquet",
        )
    if len(trace) < 2:
        raise InputError(
            "a trace of one sample has no second row to tell its step",
            where=str(path),
            fix="write a longer trace or resample it to a shorter step",
        )
    columns = {"t_s": trace.times_s, "pps": trace.rate_pps}
    if trace.packet_bytes is not None:
        columns["packet_bytes"] = np.full(len(trace), float(trace.packet_bytes))
    try:
        with new_file(path) as temporary:
            if has_suffix(path, PARQUET_SUFFIXES):
                _write_parquet(columns, temporary)
            else:
                _write_csv(columns, temporary)
    except OSError as error:
        raise _cannot("write", path, error) from error


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the name of `path` ends in one of `suffixes`, in capitals or not."""
    return path.name.lower().endswith(suffixes)


def name_of(path: Path) -> str:
    """The file's name without its suffixes of format and compression."""
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what the system says about an unreadable file into an `InputError` that names it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("no such file", where=str(path), fix="check the path") from error
    except IsADirectoryError as error:
        raise InputError("is a directory", where=str(path), fix="name a file in it") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(
            "is not a whole gzip file", where=str(path), fix="fetch or compress it again"
        ) from error
    except OSError as error:
        raise _cannot("read", path, error) from error


def _csv_columns(path: Path) -> dict[str, FloatArray]:
    with readable(path):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "is not a text file", where=str(path), fix="save it as CSV in UTF-8"
        ) from error
    rows = csv.reader(io.StringIO(text))
    header = [cell.strip() for cell in next(rows, [])]
    wanted = _wanted(header, path)
    places = [header.index(name) for name in wanted]
    values: list[list[float]] = []
    try:
        for number, row in enumerate(rows, start=1):
            if row:
                values.append(_numbers(row, places, wanted, f"{path}, row {number}"))
    except csv.Error as error:
        raise InputError(
            f"is not CSV ({error})", where=str(path), fix="save it as CSV in UTF-8"
        ) from error
    table = np.array(values, dtype=np.float64).reshape(len(values), len(wanted))
    return {name: table[:, place] for place, name in enumerate(wanted)}


def _numbers(row: list[str], places: list[int], wanted: list[str], where: str) -> list[float]:
    numbers = []
    for name, place in zip(wanted, places, strict=True):
        cell = row[place].strip() if place < len(row) else ""
        try:
            numbers.append(float(cell))
        except ValueError:
            what = f"{name} is {cell!r}, not a number" if cell else f"{name} is missing"
            raise InputError(what, where=where, fix="mend or cut the row") from None
    return numbers


def _parquet_columns(path: Path) -> dict[str, FloatArray]:
    pyarrow = _pyarrow(path)
    from pyarrow import parquet

    with readable(path):
        path.open("rb").close()
        try:
            wanted = _wanted(parquet.read_schema(path).names, path)
            table = parquet.read_table(path, columns=wanted)
        except pyarrow.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"is not a Parquet file ({reason})", where=str(path), fix="write it again"
            ) from error
    columns = {}
    for name in wanted:
        column = table.column(name)
        if not (pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type)):
            raise InputError(
                f"column {name} holds {column.type}, not numbers",
                where=str(path),
                fix="write it as float64",
            )
        if column.null_count:
            row = column.is_null().to_pylist().index(True) + 1
            raise InputError(
                f"{name} is missing", where=f"{path}, row {row}", fix="mend or cut the row"
            )
        columns[name] = np.asarray(column.to_numpy(), dtype=np.float64)
    return columns


def _wanted(present: list[str], path: Path) -> list[str]:
    """Which columns to read, in the order t_s, rate, packet size."""
    if not any(present):
        raise InputError(
            "is empty", where=str(path), fix="give a header `t_s,pps` or `t_s,bps` and rows"
        )
    if set(_RECORD) <= set(present):
        return [*_RECORD, *(["t_s"] if "t_s" in present else [])]
    rate = "pps" if "pps" in present else "bps"
    missing = [name for name in ("t_s", rate) if name not in present]
    if missing:
        names = " and ".join("pps (or bps)" if name == "bps" else name for name in missing)
        raise InputError(
            f"has no column {names}, only {', '.join(present)}",
            where=str(path),
            fix="name the columns t_s,pps or t_s,bps in the first row",
        )
    return ["t_s", rate, *(["packet_bytes"] if "packet_bytes" in present else [])]


def _trace(path: Path, columns: Mapping[str, FloatArray], packet_bytes: float | None) -> Trace:
    if next(iter(columns.values())).size == 0:
        raise InputError("has no rows", where=str(path), fix="give at least two samples")
    for name, column in columns.items():
        _check_rows(path, name, column)
    if "time_s" in columns:
        return _of_record(path, columns, packet_bytes)
    times = columns["t_s"]
    step = _constant_step(path, times)
    sizes = columns.get("packet_bytes")
    if sizes is None and packet_bytes is not None:
        sizes = np.full(times.size, packet_bytes)
    if "pps" in columns:
        rate = columns["pps"]
    elif sizes is None:
        raise InputError(
            "bits/s need a packet size",
            where=str(path),
            fix="add a column packet_bytes, or give packet_bytes beside the file",
        )
    else:
        rate = columns["bps"] / (8.0 * sizes)
    return Trace(
        name=name_of(path),
        rate_pps=rate,
        step_s=step,
        packet_bytes=None if sizes is None else _mean_size(sizes, rate),
        source=str(path),
        family="file",
    )


def _of_record(path: Path, columns: Mapping[str, FloatArray], packet_bytes: float | None) -> Trace:
    """The rate series of a record, one sample per monitor interval that passed."""
    end, length = columns["time_s"], columns["interval_s"]
    back = np.flatnonzero(np.diff(end) <= 0)
    if back.size:
        raise InputError(
            f"time_s = {end[back[0] + 1]:g} does not follow {end[back[0]]:g}",
            where=f"{path}, row {back[0] + 2}",
            fix="import every run by itself",
        )
    # `t_s` counts whole intervals; `interval_s` is how long each was by a live chain's clock.
    planned = np.diff(columns["t_s"]) if "t_s" in columns else np.empty(0)
    step = float(planned.min()) if planned.size else float(np.median(length))
    if step <= 0:
        raise InputError("t_s does not ascend", where=str(path), fix="sort the rows by t_s")
    begin = float(end[0] - length[0])
    last = np.maximum(np.rint((end - begin) / step).astype(np.int64), 1)
    covers = np.rint(length / step).astype(np.int64)
    rates = np.empty(int(last[-1]))
    known = 0
    for row, rate in enumerate(columns["offered_pps"]):
        first = max(known, int(last[row] - covers[row]))
        rates[known:first] = columns["offered_pps"][max(row - 1, 0)]
        rates[first : last[row]] = rate
        known = max(known, int(last[row]))
    return Trace(name_of(path), rates, step, packet_bytes, str(path), "file")


def _check_rows(path: Path, name: str, column: FloatArray) -> None:
    allowed = np.isfinite(column)
    fix = "give a finite number"
    if name in ("pps", "bps", "offered_pps"):
        allowed &= column >= 0
        fix = "rates must be finite and not negative"
    elif name in ("packet_bytes", "interval_s"):
        allowed &= column > 0
        fix = "sizes and lengths must be finite and positive"
    bad = np.flatnonzero(~allowed)
    if bad.size:
        raise InputError(
            f"{name} is {column[bad[0]]:g}", where=f"{path}, row {bad[0] + 1}", fix=fix
        )


def _constant_step(path: Path, times: FloatArray) -> float:
    if times.size == 1:
        raise InputError(
            "has one row, which tells no step", where=str(path), fix="give at least two samples"
        )
    distances = np.diff(times)
    back = np.flatnonzero(distances <= 0)
    if back.size:
        first = back[0]
        what = "repeats" if distances[first] == 0 else "steps back from"
        raise InputError(
            f"t_s = {times[first + 1]:g} {what} {times[first]:g}",
            where=f"{path}, row {first + 2}",
            fix="sort the rows by t_s and keep one for each time",
        )
    usual = float(np.median(distances))
    odd = np.flatnonzero(np.abs(distances - usual) > _STEP_TOLERANCE * usual)
    if odd.size:
        first = odd[0]
        what = "gap" if distances[first] > usual else "short step"
        raise InputError(
            f"a {what} of {distances[first]:g} s before t_s = {times[first + 1]:g}, "
            f"where the step is {usual:g} s",
            where=f"{path}, row {first + 2}",
            fix="fill or cut it, so that every step is the same",
        )
    mean = float((times[-1] - times[0]) / (times.size - 1))
    exact = float(distances[0])
    return exact if abs(exact - mean) <= 1e-9 * mean else mean


def _mean_size(sizes: FloatArray, rate: FloatArray) -> float:
    if np.all(sizes == sizes[0]) or not rate.any():
        return float(sizes[0])
    return float(np.average(sizes, weights=rate))


def _write_csv(columns: Mapping[str, FloatArray], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _write_parquet(columns: Mapping[str, FloatArray], path: Path) -> None:
    pyarrow = _pyarrow(path)
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(dict(columns)), path)


def _pyarrow(path: Path) -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow", where=str(path), fix="pip install 'flexnfv[traces]'"
        ) from error
    return pyarrow  # type: ignore[no-any-return]


def _cannot(verb: str, path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot {verb} it ({error.strerror or error})",
        where=str(path),
        fix="check the path, its permissions and the space on its disk",
    )
