"""Outputs appear whole or not at all, and never in the place of an older one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexnfv.errors import InputError


def refuse_existing(path: Path) -> None:
    """See to it that `path` can be made: before any work is done for it.

    Raises:
        InputError: it exists (an empty directory counts as not there), or it would lie in something
            that is no directory or may not be written to.
    """
    _check_above(path)
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise InputError(
            "already exists and is never overwritten",
            where=str(path),
            fix="name another output or remove it first",
        )


def _check_above(path: Path) -> None:
    """The nearest thing above `path` that exists must take new entries."""
    for above in path.absolute().parents:
        if os.path.lexists(above):
            if not above.is_dir():
                raise InputError(
                    "is no directory", where=str(above), fix=f"name another place than {path}"
                )
            if not os.access(above, os.W_OK | os.X_OK):
                raise InputError(
                    "may not be written to", where=str(above), fix=f"name another place than {path}"
                )
            return


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well.

    The temporary file lies beside `path` with the same suffix, so that the rename is atomic and
    a library that looks at the suffix is not misled. When the block raises, it is removed.

    Raises:
        InputError: `path` exists.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        temporary = Path(scratch) / path.name
        yield temporary
        temporary.rename(path)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory to fill; it becomes `path` when the block ends well.

    When the block raises, the temporary directory is removed with what it holds.

    Raises:
        InputError: `path` exists and is not an empty directory.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, in the place of an older one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
