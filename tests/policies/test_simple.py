"""Static and random: the two policies that do not look at the traffic."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.policies.random_targets import RandomTargets
from flexnfv.policies.static import Static
from flexnfv.reading import Reading
from tests.policies.readings import reading

PAPER = load_chain("paper")


def test_static_keeps_what_the_first_reading_found() -> None:
    policy = Static()
    policy.reset(PAPER)
    assert policy.decide(reading(PAPER, ["RRL", "R", "RRB"])).tolist() == [3, 1, 2]
    assert policy.decide(reading(PAPER, ["R", "RRRR", "-"])).tolist() == [3, 1, 2]
    policy.reset(PAPER)
    assert policy.decide(reading(PAPER, ["R", "RR", "-"])).tolist() == [1, 2, 1]


def test_static_takes_a_number_within_the_limits() -> None:
    policy = Static(instances=12)
    policy.reset(PAPER)
    assert policy.decide(reading(PAPER, ["R", "R", "R"])).tolist() == [8, 8, 8]
    with pytest.raises(ValueError, match="instances"):
        Static(instances=0)


def test_static_s_targets_are_the_caller_s_to_change() -> None:
    policy = Static()
    policy.reset(PAPER)
    now = reading(PAPER, ["R", "R", "R"])
    policy.decide(now)[:] = 7
    assert policy.decide(now).tolist() == [1, 1, 1]


def test_random_covers_the_limits_evenly_and_nothing_else() -> None:
    policy = RandomTargets()
    policy.reset(PAPER, seed=1)
    drawn = policy.decide(Reading.zeros(PAPER.types, PAPER.slots, (4000,)))
    assert drawn.shape == (4000, 3)
    counts = np.bincount(drawn.ravel(), minlength=9)
    assert counts[0] == 0
    assert (np.abs(counts[1:9] - 1500) < 200).all()
    assert counts[9:].sum() == 0


def test_random_repeats_itself_under_one_seed_only() -> None:
    now = reading(PAPER, ["R", "R", "R"])

    def draw(seed: int | None) -> list[list[int]]:
        policy = RandomTargets(seed=5)
        policy.reset(PAPER, seed)
        return [policy.decide(now).tolist() for _ in range(10)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) == draw(5)


def test_random_continues_from_an_exported_state() -> None:
    now = reading(PAPER, ["R", "R", "R"])
    one, other = RandomTargets(), RandomTargets()
    one.reset(PAPER, 1)
    other.reset(PAPER, 2)
    one.decide(now)
    other.restore_state(one.export_state())
    for _ in range(10):
        assert (one.decide(now) == other.decide(now)).all()
    with pytest.raises(ValueError, match="pcg64"):
        other.restore_state({})
