"""What the pages say about the sources by name is there."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("architecture", "extending")
FOLDERS = ("flexnfv", "envs", "policies", "hw_backend", "train")


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@functools.cache
def sources() -> str:
    """Every source, one after the other."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for pattern in ("*.py", "*.[ch]")
        for path in sorted((ROOT / folder).rglob(pattern))
        if "build" not in path.parts
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_function_that_a_page_names_is_defined(name: str) -> None:
    for function in set(re.findall(r"`(\w+)\(\)`", page(name))):
        defined = rf"(?:def {function}\(|^\w[\w *]*\b{function}\([^;]*$|\(\*{function}\)\()"
        assert re.search(defined, sources(), re.MULTILINE), f"{function}() is nowhere"


def test_the_files_that_a_lever_touched_know_it() -> None:
    section = page("extending").partition("## A lever")[2].partition("\n## ")[0]
    files = re.findall(r"\]\(\.\./([^)]+)\)", section)
    assert len(files) >= 4
    for file in files:
        assert "spares" in (ROOT / file).read_text(encoding="utf-8"), file
