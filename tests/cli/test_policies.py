"""`flexnfv policies`: what there is, what it takes, what a bundle says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexnfv.chain import load_chain
from flexnfv.cli import main
from flexnfv.policy import parameters_of, registered
from flexnfv.spec import pretrained
from tests.policies.networks import write_exceedance_bundle, write_random_bundle


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["policies", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_random_bundle(
        tmp_path / "best.onnx",
        load_chain("paper"),
        seeds=(7,),
        traces={"test": ("wc98",)},
        scores={"drop_rate": 0.0123},
    )


def test_every_registered_policy_is_listed_with_a_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == [*registered(), *pretrained()]
    assert all(row["summary"].endswith(".") and row["package"] for row in rows)
    assert "watermark" in run(capsys, "list")[1]


@pytest.mark.parametrize("name", list(registered()))
def test_every_parameter_is_shown_with_default_and_meaning(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, out, _ = run(capsys, "show", name, "--json")
    shown = json.loads(out)
    assert code == 0
    assert [row["name"] for row in shown["parameters"]] == list(parameters_of(name))
    assert all(row["meaning"] for row in shown["parameters"])
    assert set(shown["front"]) <= set(parameters_of(name))
    assert run(capsys, "show", name)[0] == 0


def test_an_unknown_policy_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run(capsys, "show", "watermrk")
    assert code == 2
    assert "did you mean 'watermark'" in err


def test_a_bundle_tells_its_chain_seeds_traces_and_scores(
    capsys: pytest.CaptureFixture[str], bundle: Path
) -> None:
    code, out, _ = run(capsys, "inspect", str(bundle), "--chain", "paper")
    assert code == 0
    for word in ("monitor", "wc98", "0.0123", "it fits chain paper"):
        assert word in out
    code, out, _ = run(capsys, "inspect", str(bundle), "--json")
    assert json.loads(out)["seeds"] == [7]


@pytest.mark.parametrize("name", list(pretrained()))
def test_a_pretrained_bundle_has_a_card_and_tells_of_itself(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(capsys, "inspect", name, "--chain", "six")[0] == 0
    code, out, _ = run(capsys, "show", name)
    assert code == 0
    for heading in ("## What it is for", "## Traffic", "## Scores", "## Limits", "## How"):
        assert heading in out
    prose = [line for line in out.splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 80
    assert json.loads(run(capsys, "show", name, "--json")[1])["card"] == out


@pytest.mark.parametrize("chain", ["edge", "two-paths"])
def test_a_bundle_of_exceedances_fits_any_chain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, chain: str
) -> None:
    path = write_exceedance_bundle(tmp_path / "any.onnx", tuning={"prior": 2.0})
    code, out, _ = run(capsys, "inspect", str(path), "--chain", chain)
    assert code == 0
    assert f"it fits chain {chain}" in out
    assert "256 intervals" in " ".join(out.split())
    code, out, _ = run(capsys, "inspect", str(path), "--json")
    assert json.loads(out)["tuning"] == {"prior": 2.0}


def test_a_bundle_of_another_chain_is_refused_with_the_difference(
    capsys: pytest.CaptureFixture[str], bundle: Path
) -> None:
    code, _, err = run(capsys, "inspect", str(bundle), "--chain", "single")
    assert code == 2
    assert "does not fit chain 'single'" in err
    assert err.count("\n") == 1


def test_a_file_that_is_no_bundle_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "none.onnx"
    path.write_text("nothing")
    code, _, err = run(capsys, "inspect", str(path))
    assert code == 2
    assert "not an ONNX file" in err
