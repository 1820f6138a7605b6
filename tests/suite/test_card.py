"""A model card's figures come from the bundle and from what the repository keeps of the suite."""

from __future__ import annotations

import pytest

from flexnfv.errors import InputError
from flexnfv.spec import pretrained
from flexnfv.suite import card
from tests.suite.test_table import BOUND, DEFINITION, LEARNED, QUICK, SLOW

BUNDLE = pretrained()["pretrained/any-chain"]


def test_the_scores_are_held_against_the_best_rule() -> None:
    told = card.scores(LEARNED, [SLOW, QUICK], BOUND, DEFINITION).splitlines()[2:]
    assert told == [
        # calm 3 against 4, wild 4 against 3; calm 5 against 6, wild 3 against 4
        "| Public series | 0.3 | 30 | slow | +4.2% | +33.3% (wild) | 1 of 2 | +0.00 |",
        "| Public series | 0.3 | 300 | quick | -20.8% | -16.7% (calm) | 2 of 2 | +0.50 |",
    ]


def test_a_bundle_is_known_by_its_bytes() -> None:
    own = LEARNED.model_copy(update={"bundle_sha256": card.digest(BUNDLE)})
    assert "| Public series |" in card.figures(BUNDLE, [SLOW, QUICK, own], BOUND, DEFINITION)
    told = card.figures(BUNDLE, [SLOW, QUICK, LEARNED], BOUND, DEFINITION)
    assert told.endswith("It has not been submitted to suite v1.\n")


def test_the_card_that_is_shipped_tells_of_the_bundle_that_is_shipped() -> None:
    shipped = BUNDLE.with_suffix(".md").read_text(encoding="utf-8")
    assert card.facts(BUNDLE) in shipped, "python -m flexnfv.suite.card any-chain"
    assert card.fill(shipped, "new\n", "card").count("new\n") == 1


def test_a_card_without_a_place_is_refused() -> None:
    with pytest.raises(InputError, match="has no place for figures"):
        card.fill("# none\n", "new\n", "card.md")
