"""Rows of a batch, each with a policy, a trace and a seed of its own, run as they would alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.evaluation.episodes import run_episode, run_episodes
from flexnfv.model import ModelBackend
from flexnfv.policies.static import Static
from flexnfv.policies.target_tracking import TargetTracking
from flexnfv.policies.watermark import Watermark
from flexnfv.policy import BasePolicy, make_policy, registered
from flexnfv.policy_batch import PolicyBatch, group
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.evaluation.same import same_records

SETTINGS = {
    "static": ("static", "static:instances=2", "static:instances=4"),
    "watermark": (
        "watermark",
        "watermark:high=0.5,low=0.3",
        "watermark:high=0.9,low=0.85,queue_threshold=0.01,queue_checks=2",
        "watermark:low=0.2,request=total",
        "watermark:high=0.5,load_of=type",
    ),
    "target_tracking": (
        "target_tracking",
        "target_tracking:target=0.5,window=1",
        "target_tracking:target=1,tolerance=0.02,window=7",
        "target_tracking:target=0.6,metric=arrived",
        "target_tracking:trend=2,park_timeout=5",
        "target_tracking:trend=1,park_timeout=inf",
    ),
    "newsvendor": (
        "newsvendor",
        "newsvendor:drop_cost=30,memory=16,locality=0",
        "newsvendor:drop_cost=3000,parked_weight=0,park_timeout=3",
    ),
    "queueing": (
        "queueing",
        "queueing:overflow=1e-4,window=3",
        "queueing:overflow=0.2,window=40,park_timeout=4",
    ),
    "forecast": ("forecast", "forecast:drop_cost=30,order=2,window=32", "forecast:quantile=0.9"),
    "conformal": ("conformal", "conformal:drop_target=0.02,pace=16,window=64"),
    "receding_horizon": (
        "receding_horizon:horizon=4",
        "receding_horizon:drop_cost=30,horizon=4,parked_weight=0",
    ),
    "rule": ("rule", "rule:drop_cost=30,policy=queueing"),
    "clairvoyant": ("clairvoyant", "clairvoyant:drop_cost=10", "clairvoyant:parked_weight=0"),
    "random": ("random", "random:seed=3"),
}


def traffic(chain: ServiceChain) -> list[Trace]:
    """Three traces of different lengths; one is finer than the interval."""
    rng = np.random.default_rng(5)
    slow = chain.peak_pps * (0.5 + 0.4 * np.sin(np.arange(70) / 5))
    return [
        Trace("slow", slow, chain.interval_s),
        Trace("rough", chain.peak_pps * rng.uniform(0.05, 0.9, 41), chain.interval_s),
        Trace("fine", chain.peak_pps * rng.gamma(0.5, 0.6, 290), chain.interval_s / 10),
    ]


@pytest.mark.parametrize("mapping", ["even", "algorithm1"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_runs_to_the_bit_as_it_would_alone(name: str, mapping: str) -> None:
    chain = load_chain("six").replace(mapping=mapping)
    rows = [
        (spec, trace, seed)
        for spec in SETTINGS[name]
        for trace in traffic(chain)
        for seed in (0, 7)
    ]
    found = run_episodes(
        PolicyBatch([spec for spec, _, _ in rows]),
        ModelBackend(chain),
        [trace for _, trace, _ in rows],
        [seed for _, _, seed in rows],
        recorded=range(len(rows)),
    )
    for (spec, trace, seed), one in zip(rows, found, strict=True):
        alone = run_episode(make_policy(spec), ModelBackend(chain), trace, seed)
        assert one.episode is not None
        assert len(one.episode) == len(alone)
        assert same_records(one.episode, alone), (spec, trace.name, seed)


def test_every_shipped_heuristic_is_among_them() -> None:
    ours = {name for name, point in registered().items() if point.value.startswith("flexnfv.")}
    assert set(SETTINGS) == ours - {"learned"}


def test_policies_of_all_kinds_share_a_batch() -> None:
    chain = load_chain("paper")
    specs = [spec for listed in SETTINGS.values() for spec in listed][::-1]
    trace = traffic(chain)[1]
    found = run_episodes(
        PolicyBatch(specs),
        ModelBackend(chain),
        [trace] * len(specs),
        [4] * len(specs),
        recorded=range(len(specs)),
    )
    for spec, one in zip(specs, found, strict=True):
        alone = run_episode(make_policy(spec), ModelBackend(chain), trace, 4)
        assert one.episode is not None
        assert same_records(one.episode, alone), spec


def test_settings_that_may_be_arrays_are_decided_for_by_one_instance() -> None:
    assert group("watermark:high=0.5") == group("watermark:high=0.9,queue_checks=3")
    assert group("watermark:high=0.5") != group("watermark"), "the chain's own is no number"
    assert group("watermark:high=0.5") != group("watermark:high=0.5,request=total")
    assert group("target_tracking") == group("target_tracking:window=3")
    assert group("random") is None, "it draws from its seed"


class OneByOne(BasePolicy):
    """Somebody's policy, which knows one reading at a time and wants few spares."""

    def reset(self, chain: ServiceChain, seed: int | None = None, **_: Any) -> None:
        super().reset(chain, seed)
        self.count = int(seed or 0)

    def decide(self, reading: Reading) -> Any:
        assert reading.batch == ()
        self.count += 1
        targets = np.full(self.chain.types, 1 + self.count % 3)
        return Decision(targets, spares=np.zeros_like(targets)) if self.count % 2 else targets


def batch_of(policies: Sequence[BasePolicy], monkeypatch: pytest.MonkeyPatch) -> PolicyBatch:
    """A batch whose rows have these policies."""
    left = list(policies)
    monkeypatch.setattr("flexnfv.policy_batch.group", lambda spec: None)
    monkeypatch.setattr("flexnfv.policy_batch.make_policy", lambda spec: left.pop(0))
    return PolicyBatch(["mine"] * len(policies))


def test_a_policy_of_one_reading_has_an_instance_for_each_row_and_may_use_levers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = load_chain("paper")
    batch = batch_of([OneByOne() for _ in range(3)], monkeypatch)
    batch.reset(chain, [0, 1, 2], [None] * 3)
    made = batch.decide(Reading.zeros(chain.types, chain.slots, (3,)), np.array([0, 2]))
    assert made.targets[[0, 2]].tolist() == [[2, 2, 2], [1, 1, 1]]
    assert made.spares is not None
    assert made.spares.tolist() == [[0, 0, 0], [-1, -1, -1], [0, 0, 0]]
    assert made.mapping is None


class Wrong(BasePolicy):
    """Forgets an NF type."""

    def decide(self, reading: Reading) -> Any:
        return np.ones(self.chain.types - 1)


def test_a_wrong_decision_is_refused_in_the_policy_s_name() -> None:
    chain = load_chain("paper")
    batch = PolicyBatch.of(Wrong())
    batch.reset(chain, [0], [None])
    with pytest.raises(InputError, match=r"policy 'Wrong'.*shape"):
        batch.decide(Reading.zeros(chain.types, chain.slots, (1,)))


@pytest.mark.parametrize(
    ("policy", "parameters", "said"),
    [
        (Static, {"instances": np.array([1, 0])}, "instances is 0"),
        (Watermark, {"high": np.array([0.5, 3.0])}, "high is 3"),
        (Watermark, {"queue_checks": np.array([1.0, 1.5])}, "queue_checks is 1.5"),
        (TargetTracking, {"target": np.array([0.5, np.nan])}, "target is nan"),
        (TargetTracking, {"window": np.ones((2, 2))}, "window has shape"),
    ],
)
def test_every_number_of_an_array_is_checked(
    policy: Any, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        policy(**parameters)


def test_a_policy_alone_and_the_loop_over_a_single_chain_agree() -> None:
    chain = load_chain("paper")
    trace = traffic(chain)[0]
    policy, backend = Watermark(), Single(ModelBackend(chain))
    policy.reset(chain, 1)
    reading = backend.reset(trace, 1)
    running = [reading.running.copy()]
    while backend.remaining:
        reading = backend.step(policy.decide(reading))
        running.append(reading.running.copy())
    record = run_episode(Watermark(), ModelBackend(chain), trace, 1)
    np.testing.assert_array_equal(record.types["running"], running)
