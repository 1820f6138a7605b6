"""Pareto fronts, and where a policy lies relative to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexnfv.evaluation.fronts import (
    DROP_FLOOR,
    Front,
    Point,
    cores_at,
    drops_at,
    pareto,
    place,
    settings,
)
from flexnfv.evaluation.statistics import Draws, Sample
from flexnfv.evaluation.sums import QUANTITIES

CORES = np.array([2.0, 4.0, 6.0, 5.0])
DROPS = np.array([1e-1, 1e-2, 1e-4, 5e-2])  # the last is beaten by the second


def sample(name: str, cores: float, drops: float, draws: Draws) -> Sample:
    table = np.zeros((1, 1, 4, len(QUANTITIES)))
    for quantity, value in (("core_s", cores), ("time_s", 1), ("lost", drops), ("offered", 1)):
        table[..., QUANTITIES.index(quantity)] = value
    return Sample(name, table, draws)


def test_one_parameter_or_several_are_swept() -> None:
    assert settings(("high", (0.5, 0.6))) == [{"high": 0.5}, {"high": 0.6}]
    grid = settings((("target", (0.5, 0.6)), ("window", (1, 20, 60))))
    assert len(grid) == 6
    assert grid[1] == {"target": 0.5, "window": 20}


def test_a_front_leaves_out_what_another_setting_beats() -> None:
    assert pareto(CORES, DROPS).tolist() == [0, 1, 2]
    points = [Point({}, c, d) for c, d in zip(CORES, DROPS, strict=True)]
    assert Front.of("x", points).best == (0, 1, 2)


def test_of_equal_points_one_is_kept_and_undefined_ones_none() -> None:
    assert pareto(np.array([1.0, 1.0, np.nan]), np.array([0.5, 0.5, 0.1])).tolist() == [0]


numbers = st.lists(
    st.tuples(st.floats(1, 50, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=12
)


@given(numbers)
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(
    points: list[tuple[float, float]],
) -> None:
    cores, drops = np.array(points).T
    best = pareto(cores, drops)
    assert (np.diff(cores[best]) > 0).all()
    assert (np.diff(drops[best]) < 0).all()
    for c, d in points:
        assert ((cores[best] <= c) & (drops[best] <= d)).any()


def test_at_its_own_points_a_front_needs_its_own_cores() -> None:
    for c, d in zip(CORES[:3], DROPS[:3], strict=True):
        assert cores_at(CORES, DROPS, d) == pytest.approx(c)
        assert drops_at(CORES, DROPS, c) == pytest.approx(d)


def test_between_points_a_front_is_straight_on_the_logarithm_of_drops() -> None:
    assert cores_at(CORES, DROPS, 1e-3) == pytest.approx(5.0)
    assert drops_at(CORES, DROPS, 5.0) == pytest.approx(1e-3)


@pytest.mark.parametrize("drops", [0.2, 1e-5, 0.0])
def test_beyond_its_ends_a_front_says_nothing(drops: float) -> None:
    assert np.isnan(cores_at(CORES, DROPS, drops))


def test_drops_below_the_floor_are_all_alike() -> None:
    cores, drops = np.array([2.0, 5.0, 9.0]), np.array([1e-2, DROP_FLOOR / 5, 0.0])
    assert cores_at(cores, drops, 0.0) == 5.0
    assert cores_at(cores, drops, DROP_FLOOR / 2) == 5.0


def test_a_policy_is_placed_by_the_cores_that_the_front_needs_at_its_drops() -> None:
    draws = Draws(np.zeros(4, int), 1, resamples=50)
    front = [sample(str(i), c, d, draws) for i, (c, d) in enumerate(zip(CORES, DROPS, strict=True))]
    at = place(sample("policy", 4.0, 1e-3, draws), front)
    assert at.front_cores == pytest.approx(5.0)
    assert at.saved.estimate == pytest.approx(0.2)
    assert (at.saved.low, at.saved.high) == pytest.approx((0.2, 0.2))
    assert at.front_drops == pytest.approx(1e-2)
    assert at.reached == 1.0


def test_a_setting_of_the_front_saves_nothing_against_it() -> None:
    draws = Draws(np.zeros(4, int), 1, resamples=50)
    front = [sample(str(i), c, d, draws) for i, (c, d) in enumerate(zip(CORES, DROPS, strict=True))]
    assert place(front[1], front).saved.estimate == pytest.approx(0.0)


def test_a_policy_out_of_a_fronts_range_has_no_place() -> None:
    draws = Draws(np.zeros(4, int), 1, resamples=50)
    front = [sample(str(i), c, d, draws) for i, (c, d) in enumerate(zip(CORES, DROPS, strict=True))]
    at = place(sample("policy", 4.0, 0.0, draws), front)
    assert np.isnan([at.front_cores, at.saved.estimate, at.saved.low]).all()
    assert at.reached == 0.0


def test_many_fronts_are_read_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    cores = rng.uniform(1, 9, (200, 12)).round(1)  # with ties
    drops = 10 ** rng.uniform(-8, -1, (200, 12))
    drops[rng.random(drops.shape) < 0.1] = np.nan
    wanted = 10 ** rng.uniform(-7, -1, 200)
    together = cores_at(cores, drops, wanted)
    assert np.isfinite(together).any()
    for row in range(200):
        best = pareto(cores[row], drops[row])
        x = np.log10(np.maximum(drops[row, best], DROP_FLOOR))
        keep = np.concatenate([[True], np.diff(x) < 0])
        at = np.log10(max(wanted[row], DROP_FLOOR))
        alone = np.interp(
            at, x[keep][::-1], cores[row, best][keep][::-1], left=np.nan, right=np.nan
        )
        assert together[row] == pytest.approx(alone, nan_ok=True)
