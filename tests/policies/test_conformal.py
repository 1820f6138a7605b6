"""The conformal rule: the share that is lost follows the target."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.backends import make_backend
from flexnfv.chain import load_chain
from flexnfv.evaluation.episodes import run_episodes
from flexnfv.evaluation.sums import LOST, OFFERED
from flexnfv.policies.conformal import Conformal
from flexnfv.policy_batch import PolicyBatch
from flexnfv.traces import Trace
from tests.policies.readings import reading

EDGE, SINGLE = load_chain("edge"), load_chain("single")


def test_the_lost_share_follows_the_target() -> None:
    rng = np.random.default_rng(4)
    rates = 6e6 * np.exp(0.3 * rng.normal(size=1500))
    targets = (0.01, 0.003, 0.001)
    found = run_episodes(
        PolicyBatch([f"conformal:drop_target={target}" for target in targets]),
        make_backend("model", EDGE),
        [Trace("noise", rates, 1.0)] * 3,
        [0] * 3,
    )
    for target, outcome in zip(targets, found, strict=True):
        sums = outcome.sums.segments.sum(axis=0)
        assert sums[LOST] / sums[OFFERED] == pytest.approx(target, rel=0.35)


def test_a_budget_that_is_overdrawn_asks_for_more_instances() -> None:
    kept, lost = Conformal(drop_target=0.01), Conformal(drop_target=0.01)
    rng = np.random.default_rng(6)
    for policy, share in ((kept, 0.0), (lost, 0.05)):
        policy.reset(SINGLE)
        for _ in range(100):
            policy.decide(
                reading(SINGLE, ["RR"], [[6.0 * rng.lognormal(0, 0.2)] * 2], offered_pps=12e6)
            )
        for _ in range(10):
            seen = reading(SINGLE, ["RR"], [[6.0, 6.0]], offered_pps=12e6, dropped_pps=12e6 * share)
            policy.decide(seen)
    assert lost.rate is not None
    assert lost.rate[0] < kept.rate[0] / 2
    assert lost.covered[0] > kept.covered[0]
