"""What no policy should beat: the bound of J on every trace, as a file beside the submissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from flexnfv.errors import InputError
from flexnfv.evaluation.progress import bar
from flexnfv.files import new_file
from flexnfv.model.bound import lower_bound
from flexnfv.suite.definition import Definition
from flexnfv.suite.execution import available
from flexnfv.suite.submission import label
from flexnfv.suite.traffic import Shelf

HOW: Final = "the proven bound of `flexnfv.model.bound`, mean over seeds"


class Bound(BaseModel):
    """The file.

    Attributes:
        definition: SHA-256 of the suite's definition.
        how: how it was found.
        costs: J by part, trace and point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    definition: str
    how: str
    costs: dict[str, dict[str, dict[str, float]]]

    @classmethod
    def read(cls, path: Path, definition: Definition) -> Bound:
        """A file.

        Raises:
            InputError: no such file, no bound, or that of another definition.
        """
        try:
            found = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(
                f"is no readable bound ({str(error).splitlines()[0]})",
                where=str(path),
                fix="make it with `flexnfv suite bound`",
            ) from error
        if found.definition != definition.sha256:
            raise InputError(
                f"is that of another definition of suite {definition.version}",
                where=str(path),
                fix="make it again with `flexnfv suite bound`",
            )
        return found

    def write(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            InputError: the file exists.
        """
        with new_file(path) as temporary:
            text = json.dumps(self.model_dump(mode="json"), indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")


def bound(shelf: Shelf, *, progress: bool = True) -> Bound:
    """The bound of every part that is whole on this machine.

    Raises:
        InputError: a trace is here, but not the right one.
    """
    definition = shelf.definition
    traffic, _ = available(shelf)
    count = sum(len(found) for found in traffic.values())
    costs: dict[str, dict[str, dict[str, float]]] = {}
    with bar("bounding", count, unit="traces", shown=progress) as tick:
        for part, found in traffic.items():
            for item, trace in found:
                chain = shelf.chains[item.chain]
                costs.setdefault(part, {})[item.trace] = {
                    label(point): sum(
                        lower_bound(chain, trace, *point, seed) for seed in definition.seeds
                    )
                    / len(definition.seeds)
                    for point in definition.points
                }
                tick(1)
    return Bound(definition=definition.sha256, how=HOW, costs=costs)
