"""Estimates and intervals against known cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flexnfv.evaluation.statistics import (
    MARGIN,
    Difference,
    Draws,
    Interval,
    Sample,
    difference,
    highest,
    mean,
    non_inferior,
)
from flexnfv.evaluation.sums import QUANTITIES

CORES = "core_usage"


def sums(values: np.ndarray) -> np.ndarray:
    """Sums [M, S, G, Q] whose core usage in each segment is `values` [M, S, G]."""
    table = np.zeros((*values.shape, len(QUANTITIES)))
    table[..., QUANTITIES.index("core_s")] = values
    table[..., QUANTITIES.index("time_s")] = 1.0
    return table


def sample(values: np.ndarray, name: str = "p", **options: object) -> Sample:
    strata = options.pop("strata", np.zeros(values.shape[2], int))
    draws = Draws(strata, values.shape[1], **options)  # type: ignore[arg-type]
    return Sample(name, sums(values), draws)


def test_an_estimate_is_the_plain_mean_over_runs_and_then_over_traces() -> None:
    values = np.zeros((4, 1, 5))
    values[:, 0] = [[0, 0, 8, 8, 8], [1, 3, 8, 8, 8], [4, 4, 8, 8, 8], [1e6, 0, 8, 8, 8]]
    found = sample(values, strata=np.array([0, 0, 1, 1, 1]))
    assert found.by_trace(CORES).tolist() == [(0 + 2 + 4 + 5e5) / 4, 8.0]
    assert found.estimate(CORES) == found.by_trace(CORES).mean()


def test_a_mean_leaves_out_what_is_undefined() -> None:
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.inf, np.nan]])
    assert mean(values).tolist()[0] == 2.0
    assert mean(values, np.array([3.0, 9.0, 1.0]))[0] == 1.5
    assert np.isnan(mean(values)[1])
    assert highest(values[0]) == (2, 3.0)
    assert highest(values[1])[0] == -1


def test_the_interval_of_one_run_agrees_with_scipys_bootstrap_of_a_mean() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=60)
    ours = sample(values[None, None], resamples=20_000).interval(CORES)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    assert ours.estimate == pytest.approx(values.mean())
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], rel=0.01)


def test_the_interval_over_training_seeds_agrees_with_scipys_bootstrap_of_their_mean() -> None:
    values = np.random.default_rng(3).normal(10, 1, size=12)
    ours = sample(values[:, None, None], resamples=20_000).interval(CORES)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=4
    ).confidence_interval
    assert ours.estimate == pytest.approx(values.mean())
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], rel=0.01)


@pytest.mark.parametrize("spread", [(1.0, 0.2), (0.2, 1.0), (1.0, 1.0)])
def test_nine_in_ten_intervals_or_more_cover_the_truth(spread: tuple[float, float]) -> None:
    """Ten training seeds, 32 segments: the percentile interval is known to be a little narrow."""
    covered = 0
    for trial in range(300):
        rng = np.random.default_rng([5, trial])
        of_seed = rng.normal(0, spread[0], (10, 1, 1))
        of_segment = rng.normal(0, spread[1], (1, 1, 32))
        values = 20 + of_seed + of_segment + rng.normal(0, 0.1, (10, 1, 32))
        found = sample(values, resamples=400, seed=trial).interval(CORES)
        covered += found.low <= 20 <= found.high
    assert 0.89 <= covered / 300 <= 0.985


def test_segments_are_drawn_within_their_trace() -> None:
    """Traces that are constant in themselves leave nothing to chance, however far apart."""
    values = np.repeat([1.0, 1000.0], 8)[None, None]
    found = sample(values, strata=np.repeat([0, 1], 8)).interval(CORES)
    assert found.low == found.high == found.estimate == 500.5


def test_traffic_of_this_kind_is_less_sure_than_these_traces() -> None:
    """The traces themselves are drawn: what lies between them counts."""
    of_trace = np.random.default_rng(9).normal(10, 1, 12)
    found = sample(
        np.repeat(of_trace, 4)[None, None], strata=np.repeat(np.arange(12), 4), resamples=20_000
    )
    assert found.interval(CORES).high == pytest.approx(found.interval(CORES).low)
    ours = found.interval(CORES, over="traces")
    theirs = stats.bootstrap(
        (of_trace,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], rel=0.01)


def test_differences_are_relative_on_each_trace_and_the_worst_is_named() -> None:
    """A trace of few cores weighs as much as one of many: nothing is pooled."""
    strata = np.repeat([0, 1], 4)
    draws = Draws(strata, 1)
    baseline = Sample("b", sums(np.repeat([1.0, 100.0], 4)[None, None]), draws)
    policy = Sample("p", sums(np.repeat([2.0, 90.0], 4)[None, None]), draws)
    found = difference(policy, baseline, CORES)
    assert found.relative.estimate == pytest.approx((1.0 - 0.1) / 2)
    assert found.absolute.estimate == pytest.approx((1 - 10) / 2)
    assert found.worst == pytest.approx(1.0)
    over = difference(policy, baseline, CORES, over="traces")
    assert over.relative.low == pytest.approx(-0.1)
    assert over.relative.high == pytest.approx(1.0)


def test_a_difference_on_the_same_traffic_is_paired() -> None:
    rng = np.random.default_rng(6)
    traffic = rng.gamma(1.0, 10.0, (1, 5, 24))
    draws = Draws(np.zeros(24, int), 5)
    baseline = Sample("baseline", sums(traffic), draws)
    policy = Sample("policy", sums(0.9 * traffic - 0.5), draws)
    found = difference(policy, baseline, CORES)
    unpaired = policy.interval(CORES)
    assert found.absolute.estimate == pytest.approx(-0.1 * float(traffic.mean()) - 0.5)
    assert found.absolute.low < found.absolute.estimate < found.absolute.high < 0
    assert found.absolute.high - found.absolute.low < 0.2 * (unpaired.high - unpaired.low)
    assert found.relative.estimate == pytest.approx(
        found.absolute.estimate / baseline.estimate(CORES)
    )


def test_a_policy_differs_from_itself_by_nothing() -> None:
    draws = Draws(np.zeros(8, int), 3)
    values = sums(np.random.default_rng(7).gamma(1.0, size=(1, 3, 8)))
    found = difference(Sample("a", values, draws), Sample("b", values, draws), CORES)
    assert found.absolute == Interval(0.0, 0.0, 0.0)
    assert found.relative == Interval(0.0, 0.0, 0.0)


def test_training_seeds_of_two_policies_are_drawn_apart() -> None:
    draws = Draws(np.zeros(2, int), 1)
    assert not np.array_equal(draws.trainings(10, "one"), draws.trainings(10, "other"))


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(8).gamma(1.0, size=(5, 2, 16))
    assert sample(values).interval(CORES) == sample(values).interval(CORES)
    assert sample(values).interval(CORES) != sample(values, seed=1).interval(CORES)


@pytest.mark.parametrize(
    ("high", "verdict"), [(MARGIN, True), (MARGIN * 1.001, False), (-0.1, True), (np.nan, False)]
)
def test_no_more_drops_needs_the_whole_interval_within_the_margin(
    high: float, verdict: bool
) -> None:
    relative = Interval(0.0, 0.0, 0.0)
    assert non_inferior(Difference(Interval(-1.0, -2.0, high), relative, 0.0)) is verdict


def test_a_figure_that_no_run_has_is_undefined() -> None:
    found = sample(np.ones((2, 2, 4))).interval("reaction_s")
    assert np.isnan([found.estimate, found.low, found.high]).all()
