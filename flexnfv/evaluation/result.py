"""A finished grid as people and programs take it: tables, JSON, a report, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from flexnfv.evaluation import overview, report, tables
from flexnfv.evaluation.comparison import Comparison
from flexnfv.files import new_file

if TYPE_CHECKING:
    from rich.console import RenderableType


class Result(Comparison):
    """A finished grid: its numbers, and what shows them."""

    def table(self) -> RenderableType:
        """The comparison as rich tables."""
        return tables.tables(self)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    def write_json(self, path: Path) -> None:
        """Write `to_json` to a new file."""
        with new_file(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")

    def write_report(self, path: Path) -> None:
        """Write the report: one HTML file that needs no network."""
        with new_file(path) as temporary:
            temporary.write_text(report.html(self), encoding="utf-8")

    def write_overview(self, path: Path) -> None:
        """Write a picture (PNG) of the fronts and of one trace."""
        with new_file(path) as temporary:
            overview.draw(self, temporary)
