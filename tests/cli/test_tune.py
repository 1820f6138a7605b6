"""`flexnfv tune`: files of settings, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexnfv.cli import main
from flexnfv.policies.calibrated import load_settings

pytest.importorskip("optuna")


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "saw.csv"
    rows = "".join(f"{second},{100 + second % 7 * 30}\n" for second in range(40))
    path.write_text(f"t_s,pps\n{rows}", encoding="utf-8")
    return str(path)


def test_settings_are_added_to_a_file_and_replace_only_their_like(
    tmp_path: Path, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "settings.toml"
    command = ["tune", "forecast", "--traces", trace, "--out", str(out)]
    assert main([*command, "--drop-cost", "100", "1000", "--trials", "2"]) == 0
    assert "forecast" in capsys.readouterr().out
    before = {one.key: one for one in load_settings(out)}
    load_settings.cache_clear()
    assert main([*command, "--drop-cost", "1000", "--drop-target", "0.01", "--trials", "3"]) == 0
    load_settings.cache_clear()
    after = {one.key: one for one in load_settings(out)}
    assert sorted(key[1:3] for key in after) == [
        ("drop_cost", 100.0),
        ("drop_cost", 1000.0),
        ("drop_target", 0.01),
    ]
    kept = next(key for key in before if key[2] == 100.0)
    assert after[kept] == before[kept]
    assert {one.trials for one in after.values()} == {2, 3}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["forcast"], "unknown policy 'forcast'"),
        (["static"], "declares no parameters to calibrate"),
        (["forecast", "--traces", "prior-test"], "is what policies are judged by"),
        (["forecast", "--traces", "test/step-0"], "is what policies are judged by"),
        (["forecast", "--trials", "0"], "0 trials"),
        (["forecast", "--drop-cost", "-3"], "-3 is out of range"),
        (["forecast", "--drop-target", "1"], "1 is out of range"),
        (["forecast", "--parked-weight", "2"], "2 is out of range"),
    ],
)
def test_what_cannot_be_calibrated_is_told_in_a_line(
    tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *more, "--out", str(tmp_path / "out.toml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.toml").exists()
