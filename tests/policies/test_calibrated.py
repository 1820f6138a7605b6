"""The policy `rule`: which setting stands behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.policies.calibrated import SHIPPED, Rule, Setting, load_settings, written
from flexnfv.policy import make_policy
from flexnfv.policy_batch import PolicyBatch
from flexnfv.reading import Reading
from tests.policies.readings import reading

EDGE = load_chain("edge")


def setting(policy: str, value: float, cost: float, weight: float = 0.3, **more: float) -> Setting:
    knob = "drop_cost" if value >= 1 else "drop_target"
    return Setting(policy, knob, value, weight, "edge", cost, 36, more)  # type: ignore[arg-type]


SETTINGS = (
    setting("target_tracking", 100.0, 2.0, target=0.7, window=5),
    setting("forecast", 100.0, 1.8, drop_cost=90.0),
    setting("target_tracking", 1000.0, 3.0, target=0.5),
    setting("forecast", 1000.0, 3.5, drop_cost=900.0),
    setting("target_tracking", 100.0, 1.5, weight=0.0, target=0.8),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(written(SETTINGS), encoding="utf-8")
    return path


def test_a_file_of_settings_comes_back_as_it_was(file: Path) -> None:
    assert sorted(load_settings(file), key=lambda one: one.key) == sorted(
        SETTINGS, key=lambda one: one.key
    )


@pytest.mark.parametrize(
    ("parameters", "spec", "why"),
    [
        ({"drop_cost": 100.0}, "forecast:drop_cost=90.0", "it is the cheapest there"),
        ({"drop_cost": 1000.0}, "target_tracking:target=0.5", "the other one is"),
        ({"drop_cost": 3000.0}, "target_tracking:target=0.5", "the nearest drop cost"),
        ({"drop_cost": 310.0}, "forecast:drop_cost=90.0", "nearest by ratio"),
        (
            {"drop_cost": 100.0, "policy": "target_tracking"},
            "target_tracking:target=0.7,window=5",
            "",
        ),
        ({"drop_cost": 100.0, "parked_weight": 0.1}, "target_tracking:target=0.8", "its weight"),
    ],
)
def test_it_stands_for_the_cheapest_setting(
    file: Path, parameters: dict[str, float], spec: str, why: str
) -> None:
    assert Rule(settings=str(file), **parameters).setting(EDGE).spec == spec, why  # type: ignore[arg-type]


def test_it_decides_as_that_setting_does_in_a_batch_too(file: Path) -> None:
    specs = [f"rule:drop_cost={value},settings={file}" for value in (100, 100, 1000)]
    batch = PolicyBatch(specs)
    batch.reset(EDGE, [0, 0, 0], [None] * 3)
    own = [make_policy("forecast:drop_cost=90"), make_policy("target_tracking:target=0.5")]
    for policy in own:
        policy.reset(EDGE)
    rng = np.random.default_rng(1)
    for _ in range(20):
        one = reading(EDGE, ["RR", "RR", "RR"], [list(rng.uniform(0, 4, 2))] * 3)
        given = batch.decide(Reading.stack([one, one, one])).targets
        wanted = [np.asarray(policy.decide(one)).tolist() for policy in own]
        assert given.tolist() == [wanted[0], wanted[0], wanted[1]]


def test_its_state_is_that_of_the_rule_behind_it(file: Path) -> None:
    one, other = (make_policy(f"rule:drop_cost=100,settings={file}") for _ in range(2))
    needs = np.random.default_rng(2).uniform(0, 4, (40, 2))
    rows = [reading(EDGE, ["RR", "RR", "RR"], [list(pair)] * 3) for pair in needs]
    one.reset(EDGE)
    other.reset(EDGE)
    for row in rows[:20]:
        one.decide(row)
    other.restore_state(one.export_state())
    for row in rows[20:]:
        assert np.array_equal(np.asarray(one.decide(row)), np.asarray(other.decide(row)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"drop_target": 0.01}, "no setting is calibrated for a drop target"),
        ({"policy": "forcast"}, "did you mean 'forecast'"),
        ({"settings": "nowhere.toml"}, "nowhere.toml: cannot be read"),
    ],
)
def test_what_is_not_calibrated_is_told(
    file: Path, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        Rule(**({"settings": str(file)} | parameters))  # type: ignore[arg-type]
    assert message in str(raised.value)


@pytest.mark.parametrize("content", ["", "[[setting]]\npolicy = 'static'\n", "setting = 3\n", "]"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="flexnfv tune"):
        Rule(settings=str(path))


def test_every_shipped_setting_can_be_made_and_is_for_every_goal() -> None:
    shipped = load_settings(SHIPPED)
    goals = {(one.knob, one.value, one.parked_weight) for one in shipped}
    costs = {(value, weight) for knob, value, weight in goals if knob == "drop_cost"}
    assert costs >= {(v, w) for v in (30.0, 100.0, 300.0, 1000.0, 3000.0) for w in (0.0, 0.3)}
    for one in shipped:
        make_policy(one.spec).reset(EDGE)
    for policy in {one.policy for one in shipped}:
        own = [one for one in shipped if one.policy == policy]
        assert {one.trials for one in own} == {shipped[0].trials}
        assert {(one.knob, one.value, one.parked_weight) for one in own} == goals
