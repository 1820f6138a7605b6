"""Measures of an episode whose every number is known."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.evaluation.metrics import measures, p95
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.sums import QUANTITIES, segment_starts, segments_of, sums
from flexnfv.records import COLUMNS


def episode(rows: int = 8, interval_s: float = 0.5, **columns: list[float]) -> Episode:
    """Zeros but for `columns`; of an NF type, `t_name` gives the first of two types."""
    chain = {c.name: np.zeros(rows, c.dtype) for c in COLUMNS if not c.per_type}
    types = {c.name: np.zeros((rows, 2), c.dtype) for c in COLUMNS if c.per_type}
    chain["interval_s"][:] = interval_s
    types["capacity_pps"][:] = 1e6
    for name, values in columns.items():
        if name.startswith("t_"):
            types[name[2:]][:, 0] = values
        else:
            chain[name][:] = values
    return Episode(("a", "b"), chain, types, {})


def measured(parked_weight: float = 0.3, segments: int = 1, **columns: list[float]) -> dict:
    return measures(sums(episode(**columns), parked_weight, segments).segments)


def test_drop_rate_is_lost_over_offered_packets_not_a_mean_of_rates() -> None:
    found = measured(offered_pps=[0, 0, 0, 0, 1e6, 1e6, 1e6, 7e6], dropped_pps=[0] * 7 + [1e6])
    assert found["drop_rate"] == pytest.approx(0.1)


def test_throughput_and_cores_are_means_over_time() -> None:
    found = measured(
        delivered_pps=[2e6] * 4 + [4e6] * 4, cores=[3] * 8, parked_cores=[0] * 4 + [2] * 4
    )
    assert found["throughput_pps"] == pytest.approx(3e6)
    assert found["core_usage"] == pytest.approx(3.0)
    assert found["parked_cores"] == pytest.approx(1.0)
    assert found["cost"] == pytest.approx(3.3)


def test_commands_and_moved_flows_are_counted_per_minute() -> None:
    found = measured(
        t_launches=[0, 3, 0, 0, 1, 0, 0, 0],
        t_reruns=[0, 0, 1, 0, 0, 0, 0, 0],
        t_blocks=[0, 0, 0, 0, 0, 0, 0, 2],
        t_flows_moved=[0, 0.25, 0, 0, 0, 0, 0, 0.75],
    )
    assert found["launches_per_min"] == pytest.approx(60.0)  # 4 in 4 s
    assert found["reruns_per_min"] == pytest.approx(15.0)
    assert found["blocks_per_min"] == pytest.approx(30.0)
    assert found["flows_moved_per_min"] == pytest.approx(15.0)


def test_latency_is_weighted_by_packets_and_power_is_energy_over_time() -> None:
    found = measured(
        delivered_pps=[0] * 6 + [1e6, 3e6],
        latency_s=[np.nan] * 6 + [1e-3, 2e-3],
        energy_j=[5.0] * 8,
    )
    assert found["latency_s"] == pytest.approx(1.75e-3)
    assert found["power_w"] == pytest.approx(10.0)


def test_the_first_interval_has_no_decision_to_time() -> None:
    found = measured(decision_s=[np.nan] + [1e-4] * 7)
    assert found["decision_s"] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("demand", "dropped", "expected"),
    [
        ([0.5] * 8, [0] * 8, []),
        ([0.5, 0.5, 2, 2, 2, 0.5, 0.5, 0.5], [0] * 8, [1.5]),
        ([0.5, 0.5, 2, 0.5, 2, 2, 0.5, 0.5], [0] * 8, [0.5, 1.0]),
        ([0.5] * 8, [0, 5, 5, 0, 0, 0, 0, 0], [1.0]),
        ([0.5, 2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0, 0, 5, 0, 0, 0, 0, 0], [1.0]),
        ([0.5] * 7 + [2], [0] * 8, [0.5]),
        ([0.5] * 8, [0.00005] * 8, []),
    ],
    ids=["none", "overload", "two", "losses", "overload then losses", "cut off", "below margin"],
)
def test_a_reaction_lasts_from_overload_or_losses_until_capacity_covers_demand(
    demand: list[float], dropped: list[float], expected: list[float]
) -> None:
    shown = episode(
        t_demand_pps=[d * 1e6 for d in demand],
        offered_pps=[1e6] * 8,
        dropped_pps=[d * 1e6 for d in dropped],
    )
    lengths = sums(shown, 0.3, 1).reactions_s
    assert lengths.tolist() == pytest.approx(expected)


def test_without_a_reaction_its_time_is_undefined() -> None:
    assert np.isnan(measured()["reaction_s"])
    assert np.isnan(p95([]))


def test_the_95th_percentile_is_over_the_reactions_of_all_episodes() -> None:
    assert p95([np.array([1.0] * 19), np.array([11.0])]) == pytest.approx(1.5)


@pytest.mark.parametrize(("length", "count"), [(2, 1), (31, 1), (32, 2), (600, 8), (10**5, 8)])
def test_an_episode_is_cut_into_segments_of_sixteen_intervals_or_more(
    length: int, count: int
) -> None:
    assert segments_of(length) == count
    sizes = np.diff([*segment_starts(length, count), length])
    assert sizes.sum() == length
    assert sizes.max() - sizes.min() <= 1


def test_segments_add_up_to_the_episode() -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.random(8) for name in ("offered_pps", "dropped_pps", "cores")}
    shown = episode(**columns, t_demand_pps=rng.random(8) * 2e6)
    whole, cut = sums(shown, 0.3, 1), sums(shown, 0.3, 3)
    assert cut.segments.shape == (3, len(QUANTITIES))
    np.testing.assert_allclose(cut.segments.sum(axis=0), whole.segments[0])
