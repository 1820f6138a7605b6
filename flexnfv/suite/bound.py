"""What no policy should beat: the bound of J on every trace, as a file beside the submissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from flexnfv.errors import InputError
from flexnfv.files import new_file
from flexnfv.suite.definition import Definition
from flexnfv.suite.execution import available, execute
from flexnfv.suite.scores import cost
from flexnfv.suite.submission import Setting, label
from flexnfv.suite.traffic import Shelf

MARGINS: Final = (-0.2, -0.15, -0.1, -0.07, -0.05, -0.03, -0.02, -0.01, 0.0, 0.02, 0.05)
"""Of the clairvoyant, whose best stands for the bound."""
HOW: Final = "the best of the clairvoyant's margins, per trace: foresight, but no proven bound"


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
        BackendError: a worker died.
    """
    definition = shelf.definition
    traffic, _ = available(shelf)
    settings = [
        Setting(spec=f"clairvoyant:margin={margin:g}", points=definition.points)
        for margin in MARGINS
    ]
    least: dict[str, dict[str, dict[str, float]]] = {}
    for one in execute(settings, traffic, shelf, progress=progress):
        of_trace = least.setdefault(one.part, {}).setdefault(one.trace, {})
        for point in definition.points:
            found = cost(one.amounts(), point)
            of_trace[label(point)] = min(found, of_trace.get(label(point), found))
    return Bound(definition=definition.sha256, how=HOW, costs=least)
