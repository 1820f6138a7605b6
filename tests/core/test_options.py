"""`--scale` and `--options KEY=VALUE`, which every command that runs a backend takes."""

from __future__ import annotations

import pytest

from flexnfv.backend import parse_scale
from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.options import backend_options


def test_values_are_numbers_fractions_truths_or_text() -> None:
    pairs = ("spares=2", "max_pps=8e5", "share=1/4", "pacing=false", "folder=/run/x", "none=none")
    assert backend_options("1/20", pairs) == {
        "scale": 0.05,
        "spares": 2,
        "max_pps": 8e5,
        "share": 0.25,
        "pacing": False,
        "folder": "/run/x",
        "none": None,
    }
    assert backend_options(None, ("scale=1/20",)) == {"scale": 0.05}


@pytest.mark.parametrize(
    ("scale", "pairs", "said"),
    [
        ("x", (), "--scale: 'x' is no scale"),
        (None, ("scale=1/0",), "--options scale: '1/0' is no scale"),
        (None, ("scale",), "'scale' has no value"),
        ("1/20", ("scale=1",), "'scale' is given twice"),
    ],
)
def test_what_makes_no_sense_is_named(scale: str | None, pairs: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        backend_options(scale, pairs)


@pytest.mark.parametrize("text", ["0", "-1", "1/-2", "nan", "inf", "2000", ""])
def test_scales_are_positive_and_finite(text: str) -> None:
    with pytest.raises(InputError):
        parse_scale(text)


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "--policies", "static", "--traces", "synthetic/flash_crowd"),
        ("deploy", "--policy", "static", "--trace", "synthetic/flash_crowd", "--chain", "paper"),
        ("calibrate",),
        ("fidelity", "--trace", "synthetic/flash_crowd"),
    ],
)
def test_every_command_hands_them_to_the_backend(
    command: tuple[str, ...], tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*command, "--backend", "model", "--out", f"{tmp_path}/x.toml"]
    assert main([*given, "--options", "colour=red"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "unexpected keyword argument 'colour'" in said
