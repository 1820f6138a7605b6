"""The comparison in a terminal of 80 columns, as in a log file."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from flexnfv.evaluation import Result
from flexnfv.evaluation.tables import tables


@pytest.mark.parametrize("width", [80, 200])
def test_a_comparison_is_told_of_whole(bench: Callable[..., Result], width: int) -> None:
    result = bench(("ample", "static", "target_tracking:target=0.6,window=30"), sweep=True)
    out = io.StringIO()
    Console(file=out, width=width).print(tables(result))
    shown = out.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for one in result.named:
        assert one.name in shown
    for heading in ("drops % [95 %]", "cores [95 %]", "no more drops", "settings"):
        assert heading in shown
