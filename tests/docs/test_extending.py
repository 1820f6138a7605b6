"""The examples of docs/extending.md work as they stand there.

Each section is carried out in a folder of its own: what it calls a new file is written, what it
puts below a line of a source and what it changes there is done (in a copy of the sources), its
entry points are registered, and its commands and programs are run.
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
BUILD = ROOT / "hw_backend" / "dataplane" / "build"
LEFT_OUT = shutil.ignore_patterns("build", "_site")
SECONDS = 240
WARM = """
import gymnasium, flexnfv.envs
from flexnfv.evaluation.bench import benchmark
gymnasium.make("flexnfv/ServiceChain-v0", chain="paper").reset(seed=1)
flash_crowd = "synthetic/flash_crowd?duration_s=128"
benchmark(["watermark", "static"], "paper", flash_crowd, seeds=1, sweep=False, progress=False)
"""
"""What most examples do, without what they add."""


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

    def __init__(self, folder: Path, build: Path = BUILD) -> None:
        self.folder = folder
        for name in SOURCES:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=LEFT_OUT)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "FLEXNFV_DATAPLANE_BUILD": str(build),
            "NUMBA_OPT": "0",  # what a change makes numba compile anew runs for a moment only
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def carry_out(self, block: Block) -> None:
        """Do what the page says about a block."""
        if new := re.match(r"A new file `([^`]+)`", block.before):
            self.write(new[1], block.text)
        elif edit := re.fullmatch(r"In `([^`]+)`, below `(.+)`:", block.before):
            self.insert(edit[1], edit[2], block.text)
        elif block.language == "diff":
            self.change(block.text)
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

    def change(self, diff: str) -> None:
        """Apply a unified diff; its hunks say by their lines, not by numbers, where they belong."""
        for change in re.split(r"^--- a/", diff, flags=re.MULTILINE)[1:]:
            head, *hunks = re.split(r"^@@\n", change, flags=re.MULTILINE)
            path = self.folder / head.splitlines()[0]
            text = path.read_text(encoding="utf-8")
            for hunk in hunks:
                lines = hunk.splitlines(keepends=True)
                before = "".join(line[1:] for line in lines if line[0] != "+")
                assert text.count(before) == 1, f"{path.name} has not this, or twice:\n{before}"
                after = "".join(line[1:] for line in lines if line[0] != "-")
                text = text.replace(before, after)
            path.write_text(text, encoding="utf-8")

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
    return any(word in block.text for word in ("nf_alone", '"dpdk"', "ninja"))


def prepares(block: Block) -> bool:
    """Whether a block writes or changes files, and runs nothing."""
    return block.language == "diff" or block.before.startswith(("A new file", "In "))


@pytest.fixture(scope="module")
def _compiled() -> None:
    """The sources' own machine code is made: a copy takes it along, as far as it still fits."""
    subprocess.run([sys.executable, "-c", WARM], cwd=ROOT, check=True, timeout=SECONDS)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("name", [name for name, found in sections().items() if found])
def test_the_example_of_a_section_works(name: str, tmp_path: Path) -> None:
    example = Example(tmp_path)
    steps = [block for block in sections()[name] if not needs_dpdk(block)]
    assert steps
    for block in steps:
        example.carry_out(block)


@pytest.mark.dataplane
@pytest.mark.parametrize("name", ["An NF", "A reading field", "A lever"])
def test_the_live_part_of_an_example_works(name: str, tmp_path: Path) -> None:
    own = any("ninja" in block.text for block in sections()[name])
    example = Example(tmp_path, tmp_path / "build" if own else BUILD)
    assert any(needs_dpdk(block) for block in sections()[name])
    for block in sections()[name]:
        if needs_dpdk(block) or prepares(block):
            example.carry_out(block)


def test_the_table_names_every_section() -> None:
    table = PAGE.partition("\n## ")[0]
    assert re.findall(r"^\| \[[\w ]+\]\(#([\w-]+)\)", table, flags=re.MULTILINE) == [
        name.lower().replace(" ", "-") for name in sections()
    ]
