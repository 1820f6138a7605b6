"""Tables of a terminal: whole where they fit, blocks where they do not, never cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flexnfv.terminal import Listing, console


def text(listing: Listing, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(listing)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    return "\n".join(lines)


def test_what_fits_is_a_table_that_may_use_the_whole_width() -> None:
    listing = Listing(("name", "cores"), [("a", "1"), ("long-name", "22")])
    table = "name       cores\na          1\nlong-name  22"
    assert text(listing, 80) == text(listing, 16) == table


def test_what_does_not_fit_becomes_blocks_without_the_empty_cells() -> None:
    listing = Listing(("name", "cores", "note", "x"), [("a", "1", "", "3"), ("b", "22", "ok", "4")])
    assert text(listing, 15) == "a\n  cores 1\n  x 3\nb\n  cores 22\n  note ok\n  x 4"
    assert text(listing, 18) == "a\n  cores 1  x 3\nb\n  cores 22\n  note ok\n  x 4"


def test_sentences_run_over_lines_and_long_words_break() -> None:
    rows = [("a", "one two three four five six seven eight nine ten")]
    assert len(text(Listing(("n", "what"), rows, prose=("what",)), 30).splitlines()) > 2
    for width in (10, 30):
        shown = text(Listing(("name", "path"), [("a", "x" * 200)], title="t"), width)
        assert shown.count("x") == 200
        assert "…" not in shown


def test_no_heading_is_drawn_where_there_is_none() -> None:
    assert text(Listing(("", " "), [("key", "value")], prose=(" ",)), 80) == "key  value"


def test_cells_are_text_and_no_markup() -> None:
    assert "[red]x[/red]" in text(Listing(("a", "b"), [("[red]x[/red]", "1")]), 80)


def test_a_console_is_80_columns_wide_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 80
    monkeypatch.setenv("COLUMNS", "57")
    assert console().width == 57
