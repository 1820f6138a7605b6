"""Actions, masks and the targets that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.action import (
    OFFSETS,
    decode_offsets,
    decode_targets,
    need,
    offset_mask,
    target_mask,
)
from flexnfv.chain import load_chain
from tests.policies.readings import reading

PAPER = load_chain("paper")
SIX = load_chain("six")


def test_the_need_carries_the_demand_and_counts_what_was_lost_upstream() -> None:
    made = reading(PAPER, ["R", "R", "R"], [[4.43], [6.2], [1.0]])
    assert need(made, PAPER).tolist() == [1, 2, 1]
    made = reading(PAPER, ["R", "R", "R"], [[8.8], [4.4], [4.4]])
    made.ring_dropped_pps[0, 0] = 4.4e6
    assert need(made, PAPER).tolist() == [2, 2, 2]
    assert need(reading(PAPER, ["R", "R", "R"]), PAPER).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("action", "needed", "targets"),
    [
        ([2, 2, 2], [1, 2, 3], [1, 2, 3]),
        ([0, 1, 8], [5, 5, 2], [3, 4, 8]),
        ([0, 0, 0], [1, 0, 2], [1, 1, 1]),
        ([8, 8, 8], [4, 8, 100], [8, 8, 8]),
    ],
)
def test_offsets_count_from_the_need_within_the_limits(
    action: list[int], needed: list[int], targets: list[int]
) -> None:
    assert decode_offsets(np.array(action), np.array(needed), PAPER).tolist() == targets


@pytest.mark.parametrize("action", [[-1, 0, 0], [0, 9, 0]])
def test_an_action_that_does_not_exist_is_refused(action: list[int]) -> None:
    with pytest.raises(IndexError, match=r"0 \.\. 8"):
        decode_offsets(np.array(action), np.array([1, 1, 1]), PAPER)


def test_absolute_actions_count_from_one() -> None:
    assert decode_targets(np.array([0, 3, 7]), PAPER).tolist() == [1, 4, 8]


needs = st.lists(st.integers(0, 60), min_size=6, max_size=6).map(np.array)
actions = st.lists(st.integers(0, len(OFFSETS) - 1), min_size=6, max_size=6).map(np.array)


@settings(deadline=None)  # the first call may compile
@given(needs)
def test_every_type_has_an_allowed_action(needed: np.ndarray) -> None:
    assert offset_mask(needed, SIX).any(axis=-1).all()


@settings(deadline=None)  # the first call may compile
@given(needs, actions)
def test_targets_lie_within_the_limits_and_allowed_ones_are_what_was_asked(
    needed: np.ndarray, action: np.ndarray
) -> None:
    targets = decode_offsets(action, needed, SIX)
    assert (targets >= SIX.min_instances).all()
    assert (targets <= SIX.max_instances).all()
    raw = needed + OFFSETS[action]
    inside = (raw >= SIX.min_instances) & (raw <= SIX.max_instances)
    allowed = np.take_along_axis(offset_mask(needed, SIX), action[:, None], axis=-1)[:, 0]
    assert (targets[inside] == raw[inside]).all()
    assert allowed[inside].all()


@settings(deadline=None)  # the first call may compile
@given(needs)
def test_masks_of_a_batch_are_those_of_its_rows(needed: np.ndarray) -> None:
    batch = np.stack([needed, needed[::-1]])
    assert np.array_equal(offset_mask(batch, SIX)[0], offset_mask(needed, SIX))


def test_a_need_beyond_every_limit_leaves_the_nearest_action() -> None:
    mask = offset_mask(np.full(6, 50), SIX)
    assert mask.sum(axis=-1).tolist() == [1] * 6
    assert mask[:, 0].all()


def test_absolute_masks_are_the_limits() -> None:
    chain = load_chain("edge")
    mask = target_mask(chain)
    assert mask.shape == (chain.types, chain.slots)
    assert mask.sum(axis=-1).tolist() == (chain.max_instances - chain.min_instances + 1).tolist()
