"""A run's directory: what it holds, how it is begun, and how it is found again.

runs/NAME/
    args.json           the arguments, for `--resume`
    seed-S/best.onnx    the kept policy of training seed S, a bundle
    seed-S/best.safetensors     its whole network, for fine-tuning, and its score
    seed-S/checkpoint.zip       SB3's own format (it holds pickles: for `--resume` alone)
    seed-S/progress.json        rows of experience done
    seed-S/tensorboard/         curves
    benchmark/          records and report of the comparison at the end
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexnfv.errors import InputError
from flexnfv.files import refuse_existing, replace_text

ARGUMENTS = "args.json"


@dataclass(frozen=True)
class Run:
    """The directory of a run, and of one training seed in it."""

    path: Path

    @classmethod
    def begin(cls, path: Path, arguments: dict[str, Any]) -> Run:
        """Make a new run's directory and note its arguments.

        Raises:
            InputError: the path exists and is not an empty directory.
        """
        refuse_existing(path)
        path.mkdir(parents=True, exist_ok=True)
        replace_text(path / ARGUMENTS, json.dumps(arguments, indent=2, default=str) + "\n")
        return cls(path)

    @classmethod
    def reopen(cls, path: Path) -> tuple[Run, dict[str, Any]]:
        """A run that was begun before, and its arguments.

        Raises:
            InputError: the path holds no run.
        """
        try:
            arguments: dict[str, Any] = json.loads((path / ARGUMENTS).read_text())
        except (OSError, ValueError):
            raise InputError(
                f"holds no run (no readable {ARGUMENTS})",
                where=str(path),
                fix="name the directory that an interrupted run printed",
            ) from None
        return cls(path), arguments

    def seed(self, seed: int) -> Path:
        """Directory of one training seed."""
        folder = self.path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def benchmark(self) -> Path:
        """Directory of the comparison at the end."""
        return self.path / "benchmark"


def next_free(folder: Path, stem: str) -> Path:
    """`folder/stem-1`, or the first such name with a higher number that is free."""
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"
