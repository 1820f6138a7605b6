"""The clairvoyant: the cheapest instances for the traffic that comes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.model import ModelBackend
from flexnfv.policies.clairvoyant import Clairvoyant
from flexnfv.policy import make_policy
from flexnfv.traces import Trace

PAPER = load_chain("paper")
EDGE = load_chain("edge")
DEAR = 1e5
"""A drop cost at which nothing that can be saved is lost."""


class Found(NamedTuple):
    """An episode: per interval, the first one left out, the types last."""

    dropped: npt.NDArray[np.float64]
    running: npt.NDArray[np.int64]
    parked: npt.NDArray[np.int64]

    def cost(self, offered: npt.NDArray[np.float64], drop_cost: float, weight: float) -> float:
        """J without the first interval."""
        cores = self.running.sum(axis=-1).mean() + weight * self.parked.sum(axis=-1).mean()
        return float(cores + drop_cost * self.dropped.sum() / offered.sum())


def wandering(chain: ServiceChain, intervals: int = 200) -> Trace:
    """Traffic that starts low (the first interval cannot be helped) and then jumps about."""
    rng = np.random.default_rng(8)
    rate = chain.peak_pps * rng.uniform(0.05, 0.8, intervals)
    rate[:4] = 0.05 * chain.peak_pps
    return Trace("wandering", rate, chain.interval_s)


def episode(chain: ServiceChain, trace: Trace, policy: Any) -> Found:
    backend = ModelBackend(chain)
    policy.reset(chain, 0, **({"trace": [trace]} if policy.foresight else {}))
    reading = backend.reset([trace], [0])
    rows = []
    for _ in range(len(trace) - 1):
        reading = backend.step(policy.decide(reading))
        rows.append((reading.dropped_pps[0], reading.running[0].copy(), reading.blocked[0].copy()))
    return Found(*map(np.array, zip(*rows, strict=True)))


@pytest.mark.parametrize("mapping", ["algorithm1", "rendezvous", "even"])
@pytest.mark.parametrize("chain", [PAPER, EDGE], ids=["paper", "edge"])
def test_it_loses_next_to_nothing_where_losses_are_dear(chain: ServiceChain, mapping: str) -> None:
    chain = chain.replace(mapping=mapping)
    trace = wandering(chain)
    found = episode(chain, trace, Clairvoyant(DEAR))
    # Where even all instances cannot carry the rate, as the mapping spreads it, losses are due.
    free = (found.running < chain.max_instances).all(axis=1)
    assert free.mean() > 0.3
    assert found.dropped[free].sum() < 5e-3 * trace.rate_pps.sum()


@pytest.mark.parametrize("drop_cost", [30.0, 300.0, 3000.0])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_no_other_policy_is_as_cheap(drop_cost: float, weight: float) -> None:
    trace = wandering(EDGE)
    offered = trace.rate_pps[1:]
    planned = episode(EDGE, trace, Clairvoyant(drop_cost, weight)).cost(offered, drop_cost, weight)
    for other in ("watermark", "target_tracking", "target_tracking:target=1,window=1"):
        found = episode(EDGE, trace, make_policy(other)).cost(offered, drop_cost, weight)
        assert planned < 0.9 * found


def test_each_drop_cost_has_its_plan_the_cheapest_one_by_it() -> None:
    trace = wandering(EDGE)
    costs = (10.0, 100.0, 1000.0)
    found = [episode(EDGE, trace, Clairvoyant(cost)) for cost in costs]
    dropped = [one.dropped.sum() for one in found]
    assert dropped == sorted(dropped, reverse=True)
    assert dropped[0] > 2 * dropped[-1]
    for place, cost in enumerate(costs):
        judged = [one.cost(trace.rate_pps[1:], cost, 0.3) for one in found]
        assert judged.index(min(judged)) == place


@pytest.mark.parametrize("launch_s", [0.01, 0.998, 2.0, 3.5])
def test_it_launches_as_far_ahead_as_a_launch_takes(launch_s: float) -> None:
    slow = PAPER.with_calibration(PAPER.measured.model_copy(update={"launch_s": launch_s}))
    rate = np.full(30, 1e6)
    rate[15:] = 8e6
    found = episode(slow, Trace("step", rate, 1.0), Clairvoyant(DEAR))
    assert found.dropped.sum() == 0
    assert (found.running[: 13 - int(launch_s)] == 1).all(), "and not earlier"


@pytest.mark.parametrize("rerun_s", [0.001, 0.5, 1.5])
def test_it_reruns_ahead_where_a_rerun_would_overflow_a_ring(rerun_s: float) -> None:
    slow = PAPER.with_calibration(PAPER.measured.model_copy(update={"rerun_s": rerun_s}))
    rate = np.full(40, 1e6)
    rate[10:15] = 8e6
    rate[25:] = 8e6
    found = episode(slow, Trace("twice", rate, 1.0), Clairvoyant(DEAR, parked_weight=0.05))
    assert found.dropped.sum() == 0
    assert (found.running[18:21] == 1).all(), "parked in between"
    assert (found.parked[18:21] > 0).all()


def test_it_parks_as_long_as_that_is_cheaper_than_a_launch() -> None:
    rate = np.full(60, 1e6)
    rate[[5, 8, 50]] = 8e6
    trace = Trace("again", rate, 1.0)
    found = episode(EDGE, trace, Clairvoyant(DEAR, parked_weight=0.3))
    assert (found.parked[5:7] > 0).all(), "two intervals cost less than the one of a launch"
    assert (found.parked[15:45] == 0).all()
    kept = episode(EDGE, trace, Clairvoyant(DEAR, parked_weight=0.0))
    assert (kept.parked[15:45] > 0).all()


def test_without_a_trace_it_refuses() -> None:
    with pytest.raises(InputError, match="trace to come"):
        Clairvoyant().reset(PAPER)
    with pytest.raises(ValueError, match="drop_cost"):
        Clairvoyant(drop_cost=-1.0)
    with pytest.raises(ValueError, match="parked_weight"):
        Clairvoyant(parked_weight=2.0)
