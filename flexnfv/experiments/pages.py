"""Findings as files: CSV and PNG each, one JSON and one self-contained HTML page for all."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flexnfv.experiments.findings import Finding, Row, Value
from flexnfv.templating import page

MOST_ROWS: Final = 60
"""Rows of data that the page shows; the CSV holds all."""


def png(finding: Finding) -> bytes:
    """The finding's figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    finding.draw(figure)
    figure.suptitle(finding.title, fontsize=11)
    out = io.BytesIO()
    figure.savefig(out, dpi=130, format="png")
    return out.getvalue()


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV, the keys of the first row as its heading."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def json_text(findings: Mapping[str, Sequence[Finding]], facts: Mapping[str, object]) -> str:
    """Everything that was found, by backend: rows, claims, notes; and the facts of the run."""
    found = {
        backend: {
            one.name: {
                "title": one.title,
                "holds": one.holds,
                "claims": [vars(claim) for claim in one.claims],
                "rows": list(one.rows),
                "notes": list(one.notes),
            }
            for one in group
        }
        for backend, group in findings.items()
    }
    return json.dumps({"facts": dict(facts), "findings": found}, indent=1) + "\n"


def write(
    directory: Path,
    title: str,
    findings: Mapping[str, Sequence[Finding]],
    facts: Mapping[str, object],
) -> None:
    """Write every file into a directory that the caller makes, each whole or not at all.

    Args:
        directory: exists, and may hold what was written of the same run before; gets
            report.html, result.json and BACKEND/NAME.csv and .png.
        title: heading of the page.
        findings: by backend.
        facts: what was run, where and with what, for page and JSON.
    """
    sections: list[dict[str, object]] = []
    for backend, group in findings.items():
        folder = directory / backend
        folder.mkdir(exist_ok=True)
        for finding in group:
            picture = png(finding)
            _put(folder / f"{finding.name}.png", picture)
            _put(folder / f"{finding.name}.csv", csv_text(finding.rows).encode())
            sections.append(_section(backend, finding, picture))
    _put(directory / "result.json", json_text(findings, facts).encode())
    html = page("findings.html", title=title, sections=sections, facts=facts.items())
    _put(directory / "report.html", html.encode())


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


def _section(backend: str, finding: Finding, picture: bytes) -> dict[str, object]:
    """What the page names of one finding."""
    shown = list(finding.rows)[:MOST_ROWS]
    return {
        "backend": backend,
        "finding": finding,
        "picture": base64.b64encode(picture).decode("ascii"),
        "heading": list(shown[0]) if shown else [],
        "rows": [[_cell(value) for value in row.values()] for row in shown],
        "more": len(finding.rows) - len(shown),
    }


def _cell(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
