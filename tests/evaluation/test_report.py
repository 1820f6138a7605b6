"""The report: one file with everything inside, in which a name is text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flexnfv.evaluation import Result, report
from flexnfv.traces import Trace


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
