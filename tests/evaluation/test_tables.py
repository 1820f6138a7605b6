"""The comparison in a terminal of 80 columns, as in a log file."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from flexnfv.evaluation import Result
from flexnfv.evaluation.tables import tables


def test_a_comparison_is_told_of_whole(bench: Callable[..., Result]) -> None:
    result = bench(("ample", "static", "target_tracking:target=0.6,window=30"), sweep=True)
    assert result.gaps is not None
    for width in (80, 200):
        out = io.StringIO()
        Console(file=out, width=width).print(tables(result))
        shown = out.getvalue()
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= width
        for one in result.named:
            assert one.name in shown
        for heading in ("drops % [95 %]", "cores [95 %]", "no more drops", "settings"):
            assert heading in shown
        for title in ("J against the rule, %", "gap closed: mean", "J / bound: mean", "≤ 0.1 %"):
            assert title in shown
        assert "no proof" in shown  # of a bound on what the toy backend does
        for rule in result.gaps.rule.values():
            assert rule in shown
