"""Importing a public series: from the file that a user downloaded into the user's folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from flexnfv.errors import InputError
from flexnfv.suggest import known
from flexnfv.suite.definition import Definition
from flexnfv.suite.sources import SOURCES, Source
from flexnfv.suite.traffic import digest, path_of, to_peak
from flexnfv.traces import Trace, files
from flexnfv.traces.trace import FloatArray


def import_series(name: str, path: Path, folder: Path, definition: Definition) -> Path:
    """Check a downloaded file, parse it, check the series, and write it.

    Args:
        name: of a public source.
        path: what was downloaded; or a CSV `t_s,pps` (or `t_s,bps`) that was made otherwise.
        folder: to write to.
        definition: that pins the series.

    Returns:
        The file written.

    Raises:
        InputError: an unknown source; the file is missing, is not the one published, or gives
            another series; the output exists.
    """
    known(name, SOURCES, kind="public series")
    source = SOURCES[name]
    out = path_of(name, folder)
    if not path.exists():
        raise InputError("no such file", where=str(path), fix=f"download {address(source)}")
    if _is_series(path):
        series = files.read(path, packet_bytes=1024).rate_pps
    else:
        series = _parsed(name, source, path)
    _check_series(name, series, path, definition)
    files.write(Trace(name, series, source.step_s, None, address(source), "public"), out)
    return out


def address(source: Source) -> str:
    """Where a user finds the file."""
    return f"{source.path} of github.com/{source.repository} at commit {source.commit}"


def six_digits(values: FloatArray, *, keep_whole: bool = False) -> FloatArray:
    """The values with six significant digits: what the suite's series are kept to.

    Args:
        values: of any size.
        keep_whole: leave whole numbers as they are.
    """
    return np.array(
        [
            value if keep_whole and value.is_integer() else float(f"{value:.6g}")
            for value in values.tolist()
        ]
    )


def _is_series(path: Path) -> bool:
    """Whether a file is a rate series as FlexNFV reads it, whatever its publisher offers."""
    if path.is_dir() or not files.has_suffix(path, files.CSV_SUFFIXES):
        return False
    if path.suffix == ".gz":
        return True
    with path.open("rb") as file:
        return b"t_s" in file.readline(200)


def _parsed(name: str, source: Source, path: Path) -> FloatArray:
    if source.parse is None:
        raise InputError(
            f"{name} has no importer of its own",
            where=str(path),
            fix=f"make a CSV t_s,pps in steps of {source.step_s:g} s of {source.path} and give it",
        )
    if source.sha256 is not None and (found := _file_digest(path)) != source.sha256:
        raise InputError(
            f"is not the file of {name} (SHA-256 {found[:12]}…, not {source.sha256[:12]}…)",
            where=str(path),
            fix=f"download {address(source)}",
        )
    try:
        with files.readable(path):
            return six_digits(source.parse(path), keep_whole=source.keep_whole)
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise InputError(
            f"is not of the form that {name} is published in ({error or 'it ends early'})",
            where=str(path),
            fix=f"download {address(source)}",
        ) from error


def _file_digest(path: Path) -> str:
    with files.readable(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_series(name: str, series: FloatArray, path: Path, definition: Definition) -> None:
    for item in definition.of_part("public"):
        if item.trace == name:
            made = np.rint(to_peak(series, definition.chain(item.chain)))
            if made.size != item.intervals or digest(made) != item.sha256:
                raise InputError(
                    f"gives another series than {name} of suite {definition.version}",
                    where=str(path),
                    fix=f"download {address(SOURCES[name])}",
                )
