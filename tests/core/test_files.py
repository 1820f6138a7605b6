"""Outputs appear whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from flexnfv.errors import InputError
from flexnfv.files import new_directory, new_file

Writer = Callable[[Path], AbstractContextManager[Path]]


def test_a_new_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.csv"
    with new_file(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_file(tmp_path / "out.csv") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), new_directory(tmp_path / "out") as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_older_output_is_refused_and_kept(tmp_path: Path) -> None:
    file, folder = tmp_path / "out.csv", tmp_path / "out"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").write_text("old")
    for writer, path in ((new_file, file), (new_directory, folder)):
        with pytest.raises(InputError, match="already exists") as refused, writer(path):
            raise AssertionError("must not get here")
        assert refused.value.where == str(path)
    assert file.read_text() == "old"
    assert (folder / "old").read_text() == "old"


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out") as temporary:
        (temporary / "a").write_text("whole")
    assert (tmp_path / "out" / "a").read_text() == "whole"


@pytest.mark.parametrize("writer", [new_file, new_directory])
def test_nothing_is_made_below_a_file(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "file").write_text("mine")
    for below in ("x", "deep/x"):
        path = tmp_path / "file" / below
        with pytest.raises(InputError, match="is no directory") as refused, writer(path):
            raise AssertionError("must not get here")
        assert refused.value.where == str(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
