"""What an interval costs, by hand-made readings."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.reward import TERMS, RewardWeights, reward
from tests.policies.readings import reading

ALL = RewardWeights(cores=1, parked=1, drops=1, launch=2, rerun=0.5, energy=1)


def busy(chain: ServiceChain) -> Reading:
    """Every type runs two, launches one, parks one and drains one; the first loses 0.1 Mpps."""
    made = reading(
        chain,
        ["RRLBD"] * chain.types,
        [[1.0, 1.0]] * chain.types,
        launches=np.arange(chain.types),
        reruns=2,
    )
    made.served_pps[...] = made.arrived_pps
    made.ring_dropped_pps[0, 0] = 0.1e6
    return made


def test_cores_and_parked_cores_cost_what_the_chain_says() -> None:
    chain = load_chain("paper")
    _, terms = reward(busy(chain), chain, 1e6)
    assert terms["cores"].tolist() == [-4.0] * 3
    assert terms["parked"] == pytest.approx([-chain.parked_weight] * 3)


def test_losing_the_mean_traffic_of_an_interval_costs_the_drop_cost() -> None:
    chain = load_chain("paper")
    made = reading(chain, ["R", "R", "R"], [[2.0], [0], [0]])
    made.ring_dropped_pps[0, 0] = 2e6
    value, terms = reward(made, chain, 2e6, 500.0)
    assert terms["drops"].tolist() == [-500.0, 0, 0]
    assert value.tolist() == [-501.0, -1.0, -1.0]


def test_unmapped_packets_are_lost_at_their_type() -> None:
    chain = load_chain("paper")
    made = reading(chain, ["R", "R", "R"], unmapped_pps=[0, 1e6, 0])
    assert reward(made, chain, 1e6, 10.0)[1]["drops"].tolist() == [0, -10, 0]


def test_what_is_shed_at_the_entry_counts_for_the_first_type() -> None:
    for name in ("paper", "two-paths", "single"):
        chain = load_chain(name)
        made = reading(chain, ["R"] * chain.types, shed_pps=1e6)
        expected = [-10.0] + [0.0] * (chain.types - 1)
        assert reward(made, chain, 1e6, 10.0)[1]["drops"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["paper", "single", "six", "two-paths"])
def test_the_terms_sum_to_the_reward(name: str) -> None:
    chain = load_chain(name)
    value, terms = reward(busy(chain), chain, 1e6, 100.0, ALL)
    assert set(terms) <= set(TERMS)
    assert value.shape == (chain.types,)
    assert value == pytest.approx(np.sum(list(terms.values()), axis=0))
    assert (value < 0).all()


def test_launches_and_reruns_cost_their_weights() -> None:
    chain = load_chain("paper")
    _, terms = reward(busy(chain), chain, 1e6, 100.0, ALL)
    assert terms["launch"].tolist() == [0, -2, -4]
    assert terms["rerun"].tolist() == [-1, -1, -1]


def test_energy_lies_between_idle_and_busy_cores() -> None:
    chain = load_chain("paper")
    power = chain.measured.power
    idle = reading(chain, ["R"] * 3)
    full = reading(chain, ["R"] * 3)
    full.served_pps[:, 0] = 1e9 / chain.processing_ns
    weights = RewardWeights(energy=1)
    assert reward(full, chain, 1e6, 1.0, weights)[1]["energy"] == pytest.approx([-1] * 3)
    assert reward(idle, chain, 1e6, 1.0, weights)[1]["energy"] == pytest.approx(
        [-power.idle_poll_w / power.busy_w] * 3
    )


def test_terms_without_weight_are_left_out() -> None:
    chain = load_chain("paper")
    assert set(reward(busy(chain), chain, 1e6)[1]) == {"cores", "parked", "drops"}


def test_a_batch_is_rewarded_row_by_row() -> None:
    chain = load_chain("two-paths")
    one, other = busy(chain), reading(chain, ["R"] * 3, shed_pps=1e6)
    mean, drop_cost = np.array([1e6, 2e6]), np.array([10.0, 100.0])
    value, _ = reward(Reading.stack([one, other]), chain, mean, drop_cost, ALL)
    for index, single in enumerate((one, other)):
        alone = reward(single, chain, mean[index], drop_cost[index], ALL)[0]
        assert value[index] == pytest.approx(alone)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_cost_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="weight launch"):
        RewardWeights(launch=weight)


def test_weights_come_from_pairs_and_those_not_named_from_their_entries() -> None:
    weights = RewardWeights.parse(["launch=0.1", "parked=0"])
    assert (weights.launch, weights.parked, weights.cores) == (0.1, 0.0, TERMS["cores"].weight)
    assert weights == RewardWeights(launch=0.1, parked=0.0)
    assert weights.used == ("cores", "drops", "launch")


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ("lunch=1", "did you mean 'launch'"),
        ("launch", "write TERM=WEIGHT"),
        ("launch=many", "has no number"),
        ("launch=-1", "weight launch"),
    ],
)
def test_a_pair_that_makes_no_sense_is_one_line(pair: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        RewardWeights.parse([pair])


def test_every_term_says_what_its_weight_is() -> None:
    for name, term in TERMS.items():
        assert (term.name, bool(term.doc)) == (name, True)
