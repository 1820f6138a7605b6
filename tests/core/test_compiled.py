"""Compiled functions are never older than the source files they are made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import flexnfv
from flexnfv.compiled import bound, compiled
from flexnfv.mapping import algorithm1_row

PROBE = """
import numpy as np
from flexnfv.compiled import compiled
from flexnfv.scaling import plan
from flexnfv.states import LAUNCH, RUNNING


def launches(targets, ones, state, load, command, clipped):
    plan(targets, -ones, state, load, load, ones, 8 * ones, ones, 99, 60.0, command, clipped)
    count = 0
    for slot in range(command.shape[1]):
        count += command[0, slot] == LAUNCH
    return count


ones, state = np.ones(1, np.int64), np.zeros((1, 8), np.int8)
state[0, 0] = RUNNING
command, clipped = np.zeros((1, 8), np.int8), np.zeros(1, np.int64)
print(compiled(launches)(3 * ones, ones, state, np.zeros((1, 8)), command, clipped))
"""


def _launches(package: Path, cache: Path, probe: Path, **more: str) -> str:
    """What the probe prints, with the package found in a folder."""
    probe.write_text(PROBE)
    environment = os.environ | {
        "PYTHONPATH": str(package),
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-P", probe],
        cwd=package,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_an_edit_of_the_scaling_code_reaches_what_calls_it(tmp_path: Path) -> None:
    source = Path(flexnfv.__file__).parent
    package = tmp_path / "site" / "flexnfv"
    shutil.copytree(source, package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    places = package.parent, tmp_path / "cache", tmp_path / "probe.py"
    assert _launches(*places) == "2"
    assert list((tmp_path / "cache").rglob("*.nbc"))
    scaling = package / "scaling.py"
    text = scaling.read_text()
    assert text.count("wanted = clipped[t]\n") == 1
    scaling.write_text(text.replace("wanted = clipped[t]\n", "wanted = clipped[t] + 1\n"))
    assert _launches(*places) == "3"


def test_a_folder_that_cannot_be_written_costs_no_more_than_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    package = Path(flexnfv.__file__).parent.parent
    nowhere_else = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    places = package, blocked / "cache", tmp_path / "probe.py"
    assert _launches(*places, **nowhere_else) == "2"


class Table(NamedTuple):
    """Some arrays of common dimensions, and numbers."""

    amounts: Annotated[npt.NDArray[np.float64], "AB"]
    counts: Annotated[npt.NDArray[np.int64], "AB"]
    flags: Annotated[npt.NDArray[np.bool_], "B"]
    states: Annotated[npt.NDArray[np.int8], "AB"]
    factor: float
    offset: int
    reversed: bool


def mix(table: Table, other: Table, a: int, scale: float) -> float:
    """Fill a row of both tables from each other, and sum one up."""
    total = 0.0
    for place in range(table.counts.shape[1]):
        b = table.counts.shape[1] - 1 - place if table.reversed else place
        table.amounts[a, b] = other.amounts[a, b] * table.factor * scale
        table.counts[a, b] = other.counts[a, b] + table.offset
        table.flags[b] = not other.flags[b]
        total += table.amounts[a, b]
    return total + algorithm1_row(table.states[a], table.counts[a])


def _tables() -> tuple[Table, Table]:
    rng = np.random.default_rng(1)
    first, second = (
        Table(
            rng.random((3, 5)),
            rng.integers(0, 9, (3, 5)),
            rng.random(5) < 0.5,
            rng.integers(0, 5, (3, 5)).astype(np.int8),
            factor,
            7,
            back,
        )
        for factor, back in ((-2.5, True), (1.0, False))
    )
    return first, second


def test_a_bound_function_works_on_its_tables_as_the_plain_one_does() -> None:
    plain_tables, compiled_tables = _tables(), _tables()
    plain = bound(mix, *plain_tables, plain=True)
    quick = bound(mix, *compiled_tables)
    for a in (2, 0):
        assert plain(a, 0.5) == quick(a, 0.5)
    for one, other in zip(plain_tables, compiled_tables, strict=True):
        for name, value in one._asdict().items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)
    compiled_tables[1].amounts[1] = 4.0
    quick(1, 1.0)
    assert (compiled_tables[0].amounts[1] == -10.0).all()


def test_a_table_whose_shapes_contradict_its_dimensions_is_refused() -> None:
    table, other = _tables()
    with pytest.raises(ValueError, match="counts AB has shape"):
        bound(mix, table._replace(counts=table.counts[:2].copy()), other)
    with pytest.raises(ValueError, match="is not contiguous"):
        bound(mix, table._replace(amounts=np.zeros((5, 3)).T), other)


class Rates(NamedTuple):
    """A table with an attribute of the name of the function below."""

    grow: float


def grow(amount: float, rates: Rates) -> float:
    return amount * rates.grow


def test_an_attribute_may_have_the_name_of_the_function_that_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grow, "__module__", "flexnfv.compiled")  # as if it were one of FlexNFV's
    assert compiled(grow)(3.0, Rates(2.0)) == 6.0
