"""The examples of docs/extending.md work as they stand there.

Each section is carried out in a folder of its own: what it calls a new file is written, what it
puts below a line of a source is put there (in a copy of the sources), its entry points are
registered, and its commands and programs are run.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")

SOURCES = ("flexnfv", "envs", "policies", "hw_backend", "train")
LEFT_OUT = shutil.ignore_patterns("build", "_site")
SECONDS = 240


@dataclass(frozen=True)
class Block:
    """A fenced block of the page: its language, its text, and the last line before it."""

    language: str
    text: str
    before: str


@functools.cache
def sections() -> dict[str, tuple[Block, ...]]:
    """The page's blocks by the heading that they stand under."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return {name: tuple(blocks(text)) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def blocks(text: str) -> Iterator[Block]:
    before = ""
    for part in re.split(r"^(```\w+\n.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
        if fence := re.fullmatch(r"```(\w+)\n(.*?)```", part, flags=re.DOTALL):
            yield Block(fence[1], fence[2], before)
            before = ""
        elif part.strip():
            before = part.strip().splitlines()[-1]


class Example:
    """One section, carried out in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in SOURCES:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=LEFT_OUT)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def carry_out(self, block: Block) -> None:
        """Do what the page says about a block."""
        if new := re.match(r"A new file `([^`]+)`", block.before):
            self.write(new[1], block.text)
        elif edit := re.fullmatch(r"In `([^`]+)`, below `(.+)`:", block.before):
            self.insert(edit[1], edit[2], block.text)
        elif block.language == "toml":
            self.register(block.text)
        elif block.language == "sh":
            self.run("bash", "-ec", block.text)
        elif block.language == "python":
            self.run(sys.executable, "-c", block.text)
        else:
            raise AssertionError(f"what is to be done with this block? {block}")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        assert path.parent.is_dir(), f"{name}: there is no such folder"
        assert not path.exists(), f"{name} is no new file"
        path.write_text(text, encoding="utf-8")

    def insert(self, name: str, below: str, text: str) -> None:
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (place,) = [i for i, line in enumerate(lines) if line.strip().endswith(below)]
        lines.insert(place + 1, text)
        path.write_text("".join(lines), encoding="utf-8")

    def register(self, text: str) -> None:
        """What installing the reader's package does."""
        table = re.search(r'\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "([\w.:]+)"', text)
        assert table, f"no entry point: {text}"
        info = self.folder / f"{table[2]}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {table[2]}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{table[1]}]\n{table[2]} = {table[3]}\n")

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def needs_dpdk(block: Block) -> bool:
    return "nf_alone" in block.text


@pytest.mark.parametrize("name", [name for name, found in sections().items() if found])
def test_the_example_of_a_section_works(name: str, tmp_path: Path) -> None:
    example = Example(tmp_path)
    steps = [block for block in sections()[name] if not needs_dpdk(block)]
    assert steps
    for block in steps:
        example.carry_out(block)


@pytest.mark.dataplane
def test_the_nf_of_the_page_is_built_and_drops_what_it_says(tmp_path: Path) -> None:
    example = Example(tmp_path)
    for block in sections()["An NF"]:
        if needs_dpdk(block) or block.before.startswith(("A new file", "In ")):
            example.carry_out(block)


def test_the_table_names_every_section() -> None:
    table = PAGE.partition("\n## ")[0]
    assert re.findall(r"^\| \[[\w ]+\]\(#([\w-]+)\)", table, flags=re.MULTILINE) == [
        name.lower().replace(" ", "-") for name in sections()
    ]
