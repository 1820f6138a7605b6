"""The plan over scenarios: which parked instances are kept, and how often demand overflows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.decision import KEEP
from flexnfv.policies.forecasting import OFFSET, Shape
from flexnfv.policies.receding_horizon import Numbers, RecedingHorizon, keep_what_pays
from tests.policies.readings import reading

SINGLE = load_chain("single")
CAPACITY = float(SINGLE.capacity_pps[0])
ONE_TYPE = Shape(np.ones(1), np.ones(1, np.int64), np.full(1, 8), np.ones(1, np.int64))
CALLED_LATE = [0.5, 1.5, 2.0, 2.0]  # the second instance is called after the second interval
NEVER_CALLED = [0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("paths", "likely", "loss_cost", "kept", "why"),
    [
        # Half of the paths save an instance's loss; both wait two intervals at 0.3.
        ([CALLED_LATE, NEVER_CALLED], [1.0, 1.0], 1.3, 1, "1.3 saved for 1.2 of waiting"),
        ([CALLED_LATE, NEVER_CALLED], [1.0, 1.0], 1.1, 0, "1.1 saved for 1.2 of waiting"),
        ([CALLED_LATE, NEVER_CALLED], [3.0, 1.0], 1.1, 1, "likely paths count more"),
        ([NEVER_CALLED], [1.0], 1e6, 0, "nothing calls for it"),
        ([CALLED_LATE], [1.0], 0.7, 1, "0.7 saved for 0.6 of waiting"),
    ],
)
def test_a_parked_instance_is_kept_while_it_saves_more_than_it_costs(
    paths: list[list[float]], likely: list[float], loss_cost: float, kept: int, why: str
) -> None:
    given = Numbers(*(np.array([value]) for value in (300.0, 0.0, 0.3, 1.0, 0.0)))
    spares = np.full((1, 1), KEEP)
    # One instance runs where 0.6 are expected: the next is called at a need above 0.6.
    keep_what_pays(
        0,
        np.array(paths),
        np.array(likely),
        np.full(4, math.log(0.6 + OFFSET)),
        loss_cost,
        np.array([[2]]),
        given,
        ONE_TYPE,
        np.array([[1]]),
        spares,
    )
    assert spares[0, 0] == kept, why


def test_the_chance_of_an_overflow_is_kept() -> None:
    policy = RecedingHorizon(overflow=0.1, locality=0.0)
    policy.reset(SINGLE)
    needs = 3.0 * np.exp(0.3 * np.random.default_rng(3).normal(size=900))
    carried, passed = np.inf, 0
    for number, need in enumerate(needs):
        if number >= 300:
            passed += need > carried
        mpps = [need * CAPACITY / 1e6 / 8] * 8
        carried = int(policy.decide(reading(SINGLE, ["R" * 8], [mpps])).targets[0])
    # Whole instances carry a little more than what is asked of them.
    assert 0.02 < passed / 600 < 0.12


def test_free_parking_keeps_everything() -> None:
    policy = RecedingHorizon(parked_weight=0.0)
    policy.reset(SINGLE)
    wanted = policy.decide(reading(SINGLE, ["RBB"], [[CAPACITY / 2e6]]))
    assert wanted.spares is not None
    assert wanted.spares.tolist() == [KEEP]
