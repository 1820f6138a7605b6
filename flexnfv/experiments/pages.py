"""Findings as files: CSV and PNG each, one JSON and one self-contained HTML page for all."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from flexnfv.experiments.findings import Claim, Finding, Row, Value

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em}img{max-width:100%}
table{border-collapse:collapse;margin:1em 0;font-size:.85em}.scroll{overflow-x:auto}
th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
.note{color:#555;font-size:.9em}.claims td{text-align:left;white-space:normal}
.pass{color:#006b3c;font-weight:bold}.fail{color:#b00020;font-weight:bold}
"""
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
    sections: list[str] = []
    for backend, group in findings.items():
        folder = directory / backend
        folder.mkdir(exist_ok=True)
        for finding in group:
            picture = png(finding)
            _put(folder / f"{finding.name}.png", picture)
            _put(folder / f"{finding.name}.csv", csv_text(finding.rows).encode())
            sections.append(_section(backend, finding, picture))
    _put(directory / "result.json", json_text(findings, facts).encode())
    page = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *sections,
        "<h2>What was run</h2>",
        _table(("", ""), [(key, str(value)) for key, value in facts.items()]),
        "</body></html>",
    ]
    _put(directory / "report.html", "\n".join(page).encode())


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


def _section(backend: str, finding: Finding, picture: bytes) -> str:
    image = base64.b64encode(picture).decode("ascii")
    rows = list(finding.rows)
    shown = rows[:MOST_ROWS]
    more = (
        f"<p class='note'>{len(rows) - len(shown)} more rows in "
        f"{escape(backend)}/{escape(finding.name)}.csv</p>"
        if len(shown) < len(rows)
        else ""
    )
    return "\n".join(
        [
            f"<h2>{escape(finding.title)} — {escape(backend)}</h2>",
            _claims(finding.claims),
            f"<img alt='{escape(finding.title)}' src='data:image/png;base64,{image}'>",
            *(f"<p class='note'>{escape(note)}</p>" for note in finding.notes),
            "<details><summary>Data</summary>",
            _table(list(shown[0]) if shown else (), [list(row.values()) for row in shown]),
            more,
            "</details>",
        ]
    )


def _claims(claims: Sequence[Claim]) -> str:
    lines = [
        f"<tr><td class='{'pass' if claim.holds else 'fail'}'>{'pass' if claim.holds else 'fail'}"
        f"</td><td>{escape(claim.name)}</td><td>{escape(claim.measured)}</td>"
        f"<td>{escape(claim.wanted)}</td></tr>"
        for claim in claims
    ]
    head = "<tr><th></th><th>claim</th><th>measured</th><th>wanted</th></tr>"
    return f"<table class='claims'>{head}{''.join(lines)}</table>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    def cell(value: Value) -> str:
        return f"<td>{escape(f'{value:.6g}' if isinstance(value, float) else str(value))}</td>"

    lines = [f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows]
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class='scroll'><table><tr>{heading}</tr>{''.join(lines)}</table></div>"
