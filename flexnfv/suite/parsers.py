"""From the files that publishers offer to a series of rates at a constant step.

Every parser takes the path of what a user downloads and returns events or bits per second (or a
shape in a unit of its own), [samples]. A ValueError, KeyError or IndexError of a parser means that
the file is of another form.
"""

from __future__ import annotations

import csv
import datetime
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from flexnfv.traces.trace import FloatArray

TICKS: Final = 10_000_000
"""Parts of a second in the finest timestamps."""


def column(
    path: Path, place: int, *, first: int = 0, last: int | None = None, step_s: float = 1.0
) -> FloatArray:
    """A column of a CSV file without gaps, its rows `first` up to `last`, divided by `step_s`."""
    values = [float(row[place]) for row in _rows(path)]
    return np.array(values[first:last]) / step_s


def from_time(path: Path, start: str, count: int, step_s: float) -> FloatArray:
    """`count` rows of `time,value` from the one whose time is `start`, divided by `step_s`."""
    rows = list(_rows(path))
    begin = next(place for place, row in enumerate(rows) if row[0] == start)
    return np.array([float(row[1]) for row in rows[begin : begin + count]]) / step_s


def on_grid(path: Path, step_s: int, divide_by: float) -> FloatArray:
    """Rows of `time,value` on a grid of `step_s`: doubles averaged, gaps interpolated."""
    found: dict[int, list[float]] = {}
    for row in _rows(path):
        found.setdefault(_ticks(row[0]) // TICKS, []).append(float(row[1]))
    times = np.array(sorted(found))
    values = np.array([sum(found[time]) / len(found[time]) for time in times.tolist()])
    grid = np.arange(times[0], times[-1] + 1, step_s)
    return np.asarray(np.interp(grid, times, values) / divide_by)


def arrivals(path: Path, step_s: float) -> FloatArray:
    """Events/s of a CSV whose first column is each event's time, counted from the first."""
    ticks = np.array([_ticks(row[0]) for row in _rows(path)])
    return _counted(ticks - ticks[0], round(step_s * TICKS)) / step_s


def r_vector(path: Path, factor: float) -> FloatArray:
    """The numbers of an R file `name <- ts(c(...))`, times `factor`."""
    inside = re.search(r"c\(([\d,\s]+)\)", path.read_text("utf-8"))
    if inside is None:
        raise ValueError("no vector of numbers")
    return np.array([float(number) for number in inside[1].split(",")]) * factor


def sndlib(path: Path, demand: str, pattern: str, count: int) -> FloatArray:
    """Bits/s of one demand in the first `count` SNDlib matrices of a folder, in order of name.

    A matrix without that demand takes the value of the one before.
    """
    wanted = re.compile(
        rf'<demand id="{demand}">.*?<demandValue>\s*([\d.eE+-]+)\s*</demandValue>', re.DOTALL
    )
    rates: list[float] = []
    for file in sorted(path.glob(pattern))[:count]:
        found = wanted.search(file.read_text("utf-8"))
        if found is None and not rates:
            raise ValueError(f"{file.name} has no demand {demand}")
        rates.append(float(found[1]) * 1e6 if found else rates[-1])
    if len(rates) < count:
        raise ValueError(f"{len(rates)} files {pattern}, not {count}")
    return np.array(rates)


def flavours(path: Path, step_s: int) -> FloatArray:
    """Requests/s of lines `SECONDS a,b,|,c,|`: every letter is a request, a bar ends a user's."""
    counts: dict[int, int] = {}
    for line in path.read_text("utf-8").splitlines():
        seconds, _, tokens = line.partition(" ")
        requests = sum(token not in ("|", "") for token in tokens.split(","))
        counts[int(seconds) // step_s - 1] = requests
    rates = np.zeros(max(counts) + 1)
    rates[list(counts)] = list(counts.values())
    return rates / step_s


def packet_sizes(path: Path, step_s: float, seconds: float) -> FloatArray:
    """Bits/s of lines `SECONDS BYTES`, one a packet."""
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line]
    ticks = np.array([round(float(row[0]) * 1e9) for row in rows])
    bins = ticks // round(step_s * 1e9)
    sizes = np.array([float(row[1]) for row in rows])
    return np.bincount(bins, sizes)[: round(seconds / step_s)] * 8 / step_s


def mahimahi(path: Path, step_s: float, seconds: float) -> FloatArray:
    """Packets/s of a Mahimahi trace: a line a packet, the millisecond at which it may pass."""
    milliseconds = np.array([int(line) for line in path.read_text("utf-8").split()])
    counts = _counted(milliseconds, round(step_s * 1000))
    return counts[: round(seconds / step_s)] / step_s


def _counted(times: np.ndarray[tuple[int], np.dtype[np.int64]], step: int) -> FloatArray:
    return np.bincount(times // step).astype(np.float64)


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file behind its heading, if it has one."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file)):
            if row and not (number == 0 and _is_heading(row)):
                yield row


def _is_heading(row: list[str]) -> bool:
    return not any(cell.strip()[:1].isdigit() for cell in row)


def _ticks(text: str) -> int:
    """A timestamp such as 2023-11-16 18:15:46.6805900 in parts of a second, exactly."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
    digits = round(math.log10(TICKS))
    return int(moment.timestamp()) * TICKS + int(fraction[:digits].ljust(digits, "0"))
