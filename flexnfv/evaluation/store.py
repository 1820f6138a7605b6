"""What a grid's directory keeps of its cells.

A cell of the comparison is a file of records, with the cell's sums in it. The other cells, settings
of a sweep, leave their sums alone: one file for each batch that was run. A file appears whole or
not at all, so the files are the grid's progress: whatever stops a run (Ctrl-C, a lost worker, a
power cut), the same command carries on with the missing cells.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.errors import InputError
from flexnfv.evaluation.episodes import Outcome
from flexnfv.evaluation.grid import Cell, Grid
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.records import (
    Episode,
    read_episode,
    read_facts,
    read_note,
    small_file,
    write_episode,
)
from flexnfv.evaluation.sums import Sums

SUMS: Final = "sums"
"""Folder of the sums of swept settings."""


@dataclass(frozen=True)
class Store:
    """The cells of a grid in its directory.

    Attributes:
        grid: whose cells.
        out: its directory (`grid.open_directory`).
    """

    grid: Grid
    out: Path

    def found(self) -> dict[Cell, Sums]:
        """The sums of every cell that has been run.

        Raises:
            InputError: a file is damaged.
        """
        wanted = set(self.grid.cells())
        known = {
            cell: sums
            for path in sorted((self.out / SUMS).glob("*.npz"))
            for cell, sums in _read_batch(path)[0].items()
            if cell in wanted and cell.spec not in self.grid.recorded
        }
        for cell in wanted:
            path = self.out / self.grid.file(cell)
            if cell.spec in self.grid.recorded and path.is_file():
                known[cell] = _from_note(path)
        return known

    def keep(self, outcomes: Mapping[Cell, Outcome]) -> None:
        """Write what is known of some cells."""
        revision = made_with()["revision"]
        swept: dict[Cell, Outcome] = {}
        for cell, outcome in outcomes.items():
            if outcome.episode is None:
                swept[cell] = outcome
                continue
            facts = {
                **outcome.facts,
                "policy": cell.spec,
                "fingerprint": self.grid.fingerprints[cell.spec],
                "chain": self.grid.chain.name,
                "revision": revision,
            }
            stamped = replace(outcome.episode, facts=facts)
            write_episode(stamped, self.out / self.grid.file(cell), _to_note(outcome.sums))
        if swept:
            _write_batch(self.out / SUMS, swept, revision)

    def episode(self, cell: Cell) -> Episode:
        """The records of a cell of the comparison."""
        return read_episode(self.out / self.grid.file(cell))

    def facts(self) -> list[Mapping[str, Any]]:
        """Facts of one record of each policy and of each batch of swept settings."""
        first = [
            read_facts(self.out / self.grid.file(cell))
            for cell in self.grid.cells()
            if cell.spec in self.grid.recorded
            and cell.seed == self.grid.seeds[0]
            and cell.trace == self.grid.traces[0].name
        ]
        return [*first, *(_read_batch(path)[1] for path in (self.out / SUMS).glob("*.npz"))]


def _to_note(sums: Sums) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, segments=sums.segments, reactions_s=sums.reactions_s)
    return base64.b64encode(buffer.getvalue())


def _from_note(path: Path) -> Sums:
    try:
        with np.load(io.BytesIO(base64.b64decode(read_note(path)))) as found:
            return Sums(found["segments"], found["reactions_s"])
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _write_batch(folder: Path, outcomes: Mapping[Cell, Outcome], revision: str) -> None:
    """One file with the sums of the cells of a batch."""
    sums = [outcome.sums for outcome in outcomes.values()]
    facts = dict(next(iter(outcomes.values())).facts)
    del facts["trace"], facts["seed"]
    cells = json.dumps(list(outcomes))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(cells.encode()).hexdigest()[:16]}.npz"
    with small_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            cells=np.array(cells),
            facts=np.array(json.dumps({**facts, "revision": revision})),
            segments=np.concatenate([one.segments for one in sums]),
            segments_of=_lengths(one.segments for one in sums),
            reactions_s=np.concatenate([one.reactions_s for one in sums]),
            reactions_of=_lengths(one.reactions_s for one in sums),
        )


def _read_batch(path: Path) -> tuple[dict[Cell, Sums], Mapping[str, Any]]:
    """What `_write_batch` wrote: sums by cell, and facts."""
    try:
        with np.load(path) as found:
            cells = [Cell(*cell) for cell in json.loads(str(found["cells"]))]
            segments = np.split(found["segments"], np.cumsum(found["segments_of"])[:-1])
            reactions_s = np.split(found["reactions_s"], np.cumsum(found["reactions_of"])[:-1])
            facts: Mapping[str, Any] = json.loads(str(found["facts"]))
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    sums = [Sums(*both) for both in zip(segments, reactions_s, strict=True)]
    return dict(zip(cells, sums, strict=True)), facts


def _lengths(arrays: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.array([len(array) for array in arrays], np.int64)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"is damaged ({error})", where=str(path), fix="remove it and run the same command again"
    )
