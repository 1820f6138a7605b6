"""Progress where nobody looks at a terminal: a line every few seconds."""

from __future__ import annotations

import time

import pytest

from flexnfv.evaluation import progress


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.02)


def until_told(capsys: pytest.CaptureFixture[str], word: str) -> str:
    """What was said on standard error, once it holds a word."""
    said = ""
    for _ in range(500):
        said += capsys.readouterr().err
        if word in said:
            return said
        time.sleep(0.01)
    raise AssertionError(f"{word!r} is not in {said!r}")


def test_lines_tell_what_is_done_how_fast_and_what_remains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.bar("evaluating", 4000) as tick:
        until_told(capsys, "evaluating: 0 %, 0 of 4,000 intervals\n")  # before the first advance
        tick(1000)
        time.sleep(0.01)
        tick(1000)
        said = until_told(capsys, "left")
    assert "evaluating: 50 %, 2,000 of 4,000 intervals, " in said
    assert "intervals/s" in said


def test_a_finished_phase_ends_with_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("evaluating", 10, unit="episodes") as tick:
        until_told(capsys, "evaluating")
        tick(10)
    assert "100 %, 10 of 10 episodes" in capsys.readouterr().err.splitlines()[-1]


def test_phases_within_one_another_are_told_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.phases() as begin, begin("PPO", 100, "rows") as outer:
        outer(10)
        with begin("validation", 5, stays=False) as inner:
            inner(1)
            said = until_told(capsys, "validation: 20 %, 1 of 5 intervals")
        assert "PPO: 10 %, 10 of 100 rows" in said


def test_what_is_over_at_once_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 60.0)
    with progress.bar("evaluating", 1) as tick:
        tick(1)
    assert capsys.readouterr().err == ""


def test_durations_are_in_words_for_people() -> None:
    assert [progress.duration(s) for s in (4.2, 75.0, 3725.0)] == ["4 s", "1 min 15 s", "1 h 2 min"]
