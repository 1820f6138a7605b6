"""Policies by name: specs, parameters, and the entry points that third parties use too."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.policy import BasePolicy, Policy, make_policy, parameters_of, registered
from tests.policies.readings import reading

OURS = [
    "clairvoyant",
    "learned",
    "newsvendor",
    "queueing",
    "random",
    "static",
    "target_tracking",
    "watermark",
]


class Twice(BasePolicy):
    """Somebody else's policy: twice what runs."""

    state_names = ("seen",)

    def __init__(self, factor: int = 2) -> None:
        if factor < 1:
            raise ValueError("factor must be at least 1")
        self.factor = factor

    def decide(self, reading: Any) -> Any:
        seen = getattr(self, "seen", None)
        self.seen = np.array(1 if seen is None else seen + 1)
        return reading.running * self.factor


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("twice", f"{__name__}:Twice", "flexnfv.policies"),
            *registered().values(),
        ]
    )
    monkeypatch.setattr("flexnfv.policy.entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(EntryPoint, "load", _load)


_real_load = EntryPoint.load


def _load(self: EntryPoint) -> Any:
    return Twice if self.name == "twice" else _real_load(self)


def test_flexnfvs_own_policies_come_through_entry_points() -> None:
    assert [name for name in registered() if name in OURS] == OURS
    for name in OURS:
        factory = registered()[name].load()
        assert factory.__doc__
        assert isinstance(factory.foresight, bool)
        assert isinstance(factory.batched, bool)


@pytest.mark.parametrize("name", [name for name in OURS if name != "learned"])
def test_every_policy_keeps_the_protocol(name: str) -> None:
    assert isinstance(make_policy(name), Policy)


@pytest.mark.usefixtures("third_party")
def test_a_third_party_adds_a_policy_without_touching_ours() -> None:
    policy = make_policy("twice:factor=3")
    chain = load_chain("paper")
    policy.reset(chain)
    assert policy.decide(reading(chain, ["RR", "R", "R"])).tolist() == [6, 3, 3]
    assert "watermark" in registered()


@pytest.mark.usefixtures("third_party")
def test_state_is_exported_restored_and_cleared() -> None:
    chain = load_chain("paper")
    policy = make_policy("twice")
    policy.reset(chain)
    assert policy.export_state() == {}
    now = reading(chain, ["R", "R", "R"])
    policy.decide(now)
    policy.decide(now)
    state = policy.export_state()
    assert state["seen"] == 2
    other = make_policy("twice")
    other.reset(chain)
    other.restore_state(state)
    other.decide(now)
    assert other.export_state()["seen"] == 3
    with pytest.raises(ValueError, match="keeps no state 'surprise'"):
        other.restore_state({"surprise": np.zeros(1)})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("watermrk", "did you mean 'watermark'"),
        ("", "unknown policy"),
        ("zzz", "known: .*clairvoyant, .*learned, .*watermark"),
        ("watermark:hihg=0.5", "no parameter 'hihg'.*did you mean 'high'"),
        ("watermark:high", "parameter 'high' has no value"),
        ("watermark:high=9", "high is 9"),
        ("watermark:high=abc", "high is 'abc', it takes a number"),
        ("target_tracking:target=0", "target is 0"),
        ("static:instances=0", "instances is 0"),
        ("learned", "bundle"),
        ("none.onnx", "no such bundle"),
    ],
)
def test_a_bad_spec_is_refused_with_what_would_do(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_policy(spec)


def test_a_spec_carries_numbers_words_and_truth_values() -> None:
    policy: Any = make_policy(
        "watermark:high=0.5,queue_checks=3,capacity_guard=false,load_of=type", queue_threshold=0.25
    )
    assert policy.high == 0.5
    assert policy.queue_threshold == 0.25
    assert policy.rules.queue_checks == 3
    assert policy.rules.capacity_guard is False
    assert policy.rules.load_of == "type"


def test_given_parameters_beat_those_of_the_spec() -> None:
    policy: Any = make_policy("target_tracking:target=0.5", target=0.9)
    assert policy.target == 0.9


def test_parameters_are_listed_in_order() -> None:
    assert list(parameters_of("target_tracking")) == [
        "target",
        "tolerance",
        "window",
        "metric",
        "trend",
        "park_timeout",
    ]


def test_a_file_that_exists_is_taken_for_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not an ONNX file"):
        make_policy(str(path))
