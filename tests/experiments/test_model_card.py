"""A model card's figures come from the bundle and from files of the suite."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flexnfv.errors import InputError
from flexnfv.experiments import model_card
from flexnfv.spec import pretrained

BUNDLE = pretrained()["pretrained/any-chain"]


def submission(path: Path, sha256: str | None, **costs: float) -> Path:
    """A file with these costs by trace at one point."""
    content = {
        "suite": "v1",
        "bundle_sha256": sha256,
        "costs": {"public": {trace: {"300/0.3": cost} for trace, cost in costs.items()}},
    }
    path.write_text(json.dumps(content))
    return path


def test_the_scores_are_held_against_the_best_rule(tmp_path: Path) -> None:
    own = submission(
        tmp_path / "own.json", hashlib.sha256(BUNDLE.read_bytes()).hexdigest(), web=5.0, video=12.0
    )
    good = submission(tmp_path / "good.json", None, web=10.0, video=10.0)
    poor = submission(tmp_path / "poor.json", None, web=4.0, video=400.0)
    args = model_card.Args("any-chain", own, rules=(poor, good))
    row = next(line for line in model_card.figures(args, BUNDLE).splitlines() if "| public" in line)
    assert row == "| public | 300 / 0.3 | -15.0% | +20.0% (video) | 1 of 2 |"


def test_a_submission_of_another_bundle_is_refused(tmp_path: Path) -> None:
    other = submission(tmp_path / "other.json", "0" * 64, web=5.0)
    with pytest.raises(InputError, match="is of another bundle"):
        model_card.figures(model_card.Args("any-chain", other), BUNDLE)


def test_the_card_that_is_shipped_tells_of_the_bundle_that_is_shipped() -> None:
    card = BUNDLE.with_suffix(".md").read_text(encoding="utf-8")
    assert model_card.facts(BUNDLE) in card
    assert model_card.fill(card, "new\n", "card").count("new\n") == 1


def test_a_card_without_a_place_is_refused() -> None:
    with pytest.raises(InputError, match="has no place for figures"):
        model_card.fill("# none\n", "new\n", "card.md")
