"""Park timeouts inside policies stop what the chain's own would, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.decision import Decision
from flexnfv.evaluation.episodes import run_episode
from flexnfv.model import ModelBackend
from flexnfv.policies.newsvendor import Newsvendor
from flexnfv.policies.parking import fresh_spares
from flexnfv.policies.queueing import Queueing
from flexnfv.policies.target_tracking import TargetTracking
from flexnfv.policy import make_policy
from flexnfv.traces import Trace
from tests.policies.readings import reading

SINGLE = load_chain("single")


@pytest.mark.parametrize(
    ("states", "parked_s", "target", "spares", "why"),
    [
        ("RBB", [0, 2, 9], 1, 1, "one of two is over the timeout"),
        ("RBB", [0, 9, 9], 1, 0, "both are"),
        ("RBB", [0, 2, 2], 1, -1, "none is: all are kept"),
        ("RBB", [0, 9, 2], 2, -1, "the one over the timeout is rerun, lowest slot first"),
        ("RBB", [0, 2, 9], 2, 0, "the fresh one is rerun"),
        ("RDB", [0, 0, 9], 2, 0, "a draining one is rerun before a parked one"),
        ("RBB", [0, 3, 9], 1, 0, "at the timeout is over it"),
        ("RRR", [0, 0, 0], 1, -1, "what is blocked now is not parked yet"),
    ],
)
def test_what_is_over_the_timeout_goes(
    states: str, parked_s: list[float], target: int, spares: int, why: str
) -> None:
    seen = reading(SINGLE, [states])
    seen.parked_s[0, : len(parked_s)] = parked_s
    assert fresh_spares(np.array([target]), seen, SINGLE, 3).tolist() == [spares], why


@pytest.mark.parametrize(
    "policy", ["target_tracking:window=3", "newsvendor:memory=64", "queueing:window=4"]
)
@pytest.mark.parametrize("timeout", [1, 7])
def test_a_policy_s_timeout_is_the_chain_s(policy: str, timeout: int) -> None:
    chain = load_chain("edge").replace(interval_s=0.5)
    rng = np.random.default_rng(2)
    swings = 0.5 + 0.4 * np.sin(np.arange(240) / 9)
    trace = Trace("swings", chain.peak_pps * swings * rng.uniform(0.4, 1.0, 240), chain.interval_s)
    mine = run_episode(
        make_policy(f"{policy},park_timeout={timeout}"), ModelBackend(chain), trace, 1
    )
    stopping = chain.replace(park_timeout_s=timeout * chain.interval_s)
    theirs = run_episode(make_policy(policy), ModelBackend(stopping), trace, 1)
    never = run_episode(make_policy(policy), ModelBackend(chain), trace, 1)
    assert theirs.types["stops"].sum() > 0
    for name in ("running", "blocked", "stops", "launches"):
        np.testing.assert_array_equal(mine.types[name], theirs.types[name])
    assert never.types["stops"].sum() == 0


@pytest.mark.parametrize("policy", [TargetTracking, Newsvendor, Queueing])
def test_without_a_timeout_the_lever_is_left_alone(policy: Any) -> None:
    seen = reading(SINGLE, ["RB"], parked_s=9.0)
    for timeout, levers in ((None, ()), (np.inf, ()), (3, ("spares",))):
        made = policy(park_timeout=timeout)
        made.reset(SINGLE)
        assert Decision.of(made.decide(seen)).levers == levers


@pytest.mark.parametrize("policy", [TargetTracking, Newsvendor, Queueing])
@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), np.array([3.0, 0.0])])
def test_a_timeout_is_above_zero(policy: Any, timeout: Any) -> None:
    with pytest.raises(ValueError, match="park_timeout"):
        policy(park_timeout=timeout)
