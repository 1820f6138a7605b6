"""The report: one file with everything inside, in which a name is text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flexnfv.evaluation import Result, report
from flexnfv.traces import Trace


def test_the_report_shows_costs_trace_by_trace_and_drop_targets(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    result = bench(("ample", "static"), sweep=True, seeds=1, drop_costs=(100.0,), rules=["ample"])
    report.write(result, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for section in ("Cost against the best rule and the bound", "Drop targets"):
        assert f"<h2>{section}</h2>" in page
    for heading in ("[these traces]", "[traffic of this kind]", "worst trace", "gap closed"):
        assert heading in page
    by_trace = page.partition("Trace by trace, drop cost 100")[2].partition("</table>")[0]
    gaps = result.gaps
    assert gaps is not None
    for place, trace in enumerate(result.grid.traces):
        bound, rule = gaps.bound[100.0][place], gaps.rule_costs[100.0][place]
        assert f"<td>{trace.name}</td><td>{bound:.2f}</td><td>{rule:.2f}</td>" in by_trace


def test_names_of_policies_and_traces_inject_nothing(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    evil = "</script><script>alert('x')</script>"
    trace = Trace(f"t{evil}", 4e6 + 3e6 * np.sin(np.arange(64) / 6), 1.0)
    result = bench({f"p{evil}": "ample", "static": "static"}, traces=(trace,), sweep=False)
    report.write(result, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "p&lt;/script&gt;&lt;script&gt;" in page
    assert "<summary>t&lt;/script&gt;" in page
    for tag in ("src", "href"):
        assert not re.search(rf'<(script|link|img)[^>]* {tag}="(?!data:)', page)
