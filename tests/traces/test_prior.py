"""The wide prior: its bits, its components, the sets that draw from it, what it covers."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.errors import InputError
from flexnfv.traces import as_trace_set, files, load_trace, prior, split
from flexnfv.traces.coverage import STATISTICS, correlation, coverage, dispersion, statistics
from flexnfv.traces.fresh import FreshSet
from flexnfv.traces.trace import FloatArray

SEEDS = range(25)


def test_the_bits_are_those_of_the_version() -> None:
    """Who changes what a seed gives must change VERSION, too, and then this hash."""
    digest = hashlib.sha256(prior.draws(7, 20, 500).tobytes()).hexdigest()[:16]
    assert (prior.VERSION, digest) == ("prior-1", "a493e3b52f1ee159")


def test_a_longer_list_begins_with_the_shorter() -> None:
    few, many = prior.draws(3, 2, 300), prior.draws(3, 4, 300)
    assert few.tobytes() == many[:2].tobytes()
    assert prior.nth(3, 3, 300).tobytes() == many[3].tobytes()
    assert not (prior.draws(4, 2, 300) == few).all()


@given(seed=st.integers(0, 2**32), intervals=st.integers(8, 700))
@settings(max_examples=60, deadline=None)
def test_a_series_peaks_at_1_and_carries_something(seed: int, intervals: int) -> None:
    series = prior.draw(np.random.default_rng(seed), intervals)
    assert (series.shape, series.dtype) == ((intervals,), np.float64)
    assert series.min() >= 0
    assert series.max() == 1
    assert np.ptp(series) > 0
    assert np.count_nonzero(series) >= 8
    assert (series * 2**24 % 1 == 0).all()


def test_too_short_a_series_is_refused() -> None:
    with pytest.raises(InputError, match="a series of 7 intervals"):
        prior.draws(0, 1, 7)


# --- components -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", prior.COMPONENTS)
def test_a_component_keeps_rates_rates(name: str) -> None:
    component = prior.COMPONENTS[name].component
    changed = 0
    for seed in SEEDS:
        before = np.random.default_rng(seed).uniform(0.5, 1.0, 2000)
        kept = before.copy()
        after = component(np.random.default_rng(seed), before)
        assert (after.shape, after.dtype) == (before.shape, np.float64)
        assert np.isfinite(after).all()
        assert (after >= 0).all()
        assert (before == kept).all(), "a component must leave its input alone"
        changed += not (after == before).all()
    assert changed > len(SEEDS) / 2


def on_constant(component: prior.Component, intervals: int = 3000) -> list[FloatArray]:
    return [component(np.random.default_rng(seed), np.ones(intervals)) for seed in SEEDS]


def lag_1(rate: FloatArray) -> float:
    return correlation(rate, 1)


def memory(rate: FloatArray) -> float:
    """How much more sums over 100 intervals vary than without memory: 100^(2H - 1) in theory."""
    return dispersion(rate) / float((rate.std() / rate.mean()) ** 2)


CASES: list[tuple[prior.Component, Callable[[FloatArray], float], float, float, str]] = [
    (prior.slow_drift, lag_1, 0.9, 1.0, "wanders slowly"),
    (prior.alternation, lag_1, -0.51, -0.2, "one interval more, the next one less"),
    (prior.on_off, lambda rate: float((rate < 0.25).mean()), 0.01, 0.999, "is nearly silent"),
    (prior.growth, lambda rate: rate.max() / max(rate.min(), 0.1), 1.0, 10.001, "grows by 10"),
    (prior.storms, lambda rate: float(np.median(rate)), 1.0, 30.0, "is calm beside the surges"),
    (prior.elephants, lambda rate: float(rate.min()), 1.0, 3.0, "only adds to the calm rate"),
    (prior.counting, lambda rate: float((rate % 1).max()), 0.0, 0.0, "counts whole packets"),
    (prior.outages, lambda rate: float((rate == 1).mean()), 0.6, 1.0, "is up most of the time"),
    (prior.saturation, lambda rate: float(rate.max()), 0.0, 1.0, "takes, never gives"),
    (prior.long_memory, memory, 1.3, 100.0, "remembers long"),
    (prior.shots, lambda rate: float(rate.min()), 1.0, 60.0, "adds to what was there"),
]


@pytest.mark.parametrize(
    ("component", "statistic", "low", "high", "why"), CASES, ids=[case[-1] for case in CASES]
)
def test_a_component_does_what_it_stands_for(
    component: prior.Component,
    statistic: Callable[[FloatArray], float],
    low: float,
    high: float,
    why: str,
) -> None:
    values = [statistic(rate) for rate in on_constant(component)]
    inside = sum(low <= value <= high for value in values)
    assert inside >= 0.9 * len(values), (why, values)


def test_a_rhythm_returns_after_its_period() -> None:
    returning = 0
    for rate in on_constant(prior.rhythm):
        returning += any(correlation(rate, day) > 0.7 for day in (24, 48, 96, 144, 288))
    assert returning >= 0.2 * len(SEEDS)


def test_frames_come_at_exact_periods_in_part_of_the_draws() -> None:
    """A burst every k intervals: the correlation at lag k is that of no lag, or nearly."""
    found = [
        max(correlation(rate, lag) for lag in range(2, 101)) for rate in on_constant(prior.frames)
    ]
    assert sum(value > 0.7 for value in found) >= 0.3 * len(found)
    assert min(lag_1(rate) for rate in on_constant(prior.frames)) < -0.3


def test_jumps_keep_their_level_or_return() -> None:
    kept = [np.count_nonzero(np.diff(rate)) / rate.size for rate in on_constant(prior.jumps)]
    assert sum(share < 0.11 for share in kept) >= 0.2 * len(kept), "levels without reversion"
    assert sum(share > 0.5 for share in kept) >= 0.2 * len(kept), "levels that fade"


def test_held_samples_repeat_or_lie_on_a_line() -> None:
    for seed in SEEDS:
        noise = np.random.default_rng(seed).random(1200)
        bends = np.abs(np.diff(prior.held(np.random.default_rng(seed), noise), 2)) > 1e-12
        assert bends.mean() < 0.95 if bends.any() else True
    coarse = [np.count_nonzero(np.diff(prior.held(np.random.default_rng(s), noise))) for s in SEEDS]
    assert min(coarse) < 0.2 * noise.size


def test_leaky_adds_up_what_is_left() -> None:
    assert prior.leaky(np.array([1.0, 0.0, 4.0]), 0.5).tolist() == [1.0, 0.5, 4.25]


def test_the_docs_list_every_component_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "traffic.md").read_text()
    richness = np.linspace(0.2, 1.0, 8001)
    for name, (chance, component) in prior.COMPONENTS.items():
        share = np.minimum(1.0, chance * richness).mean()
        row = f"| {name} | {share:.0%} | {prior.summary(component)} |".replace("%", " %")
        assert row.replace("  %", " %") in page, row
    assert prior.VERSION in page


# --- sets -------------------------------------------------------------------------------------


def test_training_draws_every_episode_anew() -> None:
    fresh = as_trace_set("prior", peak_pps=1e6, step_s=0.5)
    assert isinstance(fresh, FreshSet)
    assert fresh.peak_pps == (0.3e6, 1.2e6)
    rng = np.random.default_rng(0)
    segments = fresh.sample_batch(rng, 40, 200)
    assert segments.shape == (40, 200)
    assert (segments.max(axis=1) > 0).all(), "an episode without traffic teaches nothing"
    assert (segments >= 0).all()
    assert (segments <= 1.2e6).all()
    again = fresh.sample_batch(rng, 40, 200)
    assert not any((row == other).all() for row in segments for other in again)
    assert len({row.tobytes() for row in segments}) == 40


def test_beside_other_traffic_the_prior_is_a_list() -> None:
    mixed = as_trace_set(["prior", "prior-test"])
    assert not isinstance(mixed, FreshSet)
    assert len(mixed) == 128


def test_a_fresh_segment_is_the_first_of_a_batch() -> None:
    fresh = split("prior", peak_pps=5.0)
    one = fresh.sample(np.random.default_rng(4), 64)
    buffer = np.empty((1, 64))
    assert fresh.sample_batch(np.random.default_rng(4), 1, 64, out=buffer) is buffer
    assert one.rate_pps.tobytes() == buffer.tobytes()
    assert (one.family, one.step_s) == ("prior", 1.0)
    assert fresh.sample(np.random.default_rng(4), 4000).rate_pps.size == 4000
    with pytest.raises(InputError, match="segments of 0 intervals"):
        fresh.sample(np.random.default_rng(4), 0)


def test_fresh_peaks_are_log_uniform() -> None:
    fresh = split("prior", peak_pps=1.0).at(peak_pps=(0.01, 1.0))
    rng = np.random.default_rng(1)
    peaks = np.log10([fresh.sample(rng, 3000).peak_pps for _ in range(120)])
    assert np.median(peaks) == pytest.approx(-1.0, abs=0.3)
    assert peaks.min() == pytest.approx(-2.0, abs=0.15)


def test_a_fresh_set_survives_pickling_and_at() -> None:
    fresh = split("prior")
    again = pickle.loads(pickle.dumps(fresh.at(peak_pps=3.0)))
    assert isinstance(again, FreshSet)
    assert again.peak_pps == (3.0, 3.0)
    assert again.names == fresh.names


def test_the_lists_of_the_prior_are_fixed_and_disjoint() -> None:
    names = ("prior", "prior-validation", "prior-test")
    series = {}
    for name in names:
        chosen = split(name, peak_pps=2e6)
        assert (len(chosen), chosen.shortest_s) == (64, 3000.0)
        assert set(chosen.families.values()) == {"prior"}
        series[name] = {one.rate_pps.tobytes() for one in chosen.traces}
    assert len(set.union(*series.values())) == 3 * 64
    listed = load_trace("prior-test/5")
    assert listed.name == "prior-test/5"
    assert (listed.rate_pps / listed.peak_pps).tobytes() == prior.draws(3, 6, 3000)[5].tobytes()
    assert prior.VERSION in listed.source
    assert split("prior-test", peak_pps=2e6).get("prior-test/5").peak_pps == 2e6


# --- coverage ---------------------------------------------------------------------------------


def test_the_statistics_are_those_of_hand_counted_series() -> None:
    square = np.tile([0.0, 0.0, 1.0, 3.0], 75)
    values = dict(zip(STATISTICS, statistics(square), strict=True))
    assert values["mean/peak"] == pytest.approx(1 / 3)
    assert values["CV"] == pytest.approx(np.sqrt(1.5))
    assert values["lag 1"] == pytest.approx(-1 / 6, abs=0.01)
    assert values["lag 60"] == pytest.approx(240 / 300)
    assert values["jump"] == pytest.approx(10.0)
    assert values["silence"] == 0.5
    assert values["disp."] == 0.0, "every block of 100 carries the same"
    assert correlation(np.ones(300), 60) == 1.0


def test_dispersion_is_cv_squared_without_memory_and_more_with() -> None:
    independent = np.random.default_rng(0).gamma(4.0, size=200_000)
    assert dispersion(independent) == pytest.approx(0.25, rel=0.1)
    assert dispersion(np.repeat(independent[:2000], 100)) == pytest.approx(25.0, rel=0.1)


@pytest.mark.parametrize("rate", [np.ones(199), np.zeros(400)])
def test_what_has_no_statistics_is_refused(rate: FloatArray) -> None:
    with pytest.raises(InputError, match="intervals, "):
        statistics(rate)


def test_draws_lie_within_and_the_absurd_without() -> None:
    lone = np.zeros(1000)
    lone[500:] = 1e-3
    lone[10] = 1e9
    found = coverage(("drawn", "lone"), (prior.nth(9, 1, 1000), lone), count=150, intervals=1000)
    places = dict(zip(STATISTICS, found.percentiles[1], strict=True))
    assert found.inside[0].all()
    assert not found.inside[1].all()
    assert places["mean/peak"] == 0.0
    assert found.limits.shape == (2, len(STATISTICS))
    with pytest.raises(InputError, match="0 series"):
        coverage((), (), count=5, intervals=300)


@pytest.mark.skipif(
    "FLEXNFV_TRACES" not in os.environ, reason="FLEXNFV_TRACES names no directory of real series"
)
def test_every_real_series_lies_within_the_prior() -> None:
    folder = Path(os.environ["FLEXNFV_TRACES"])
    paths = sorted(folder.glob("*.csv"))
    series = [files.read(path, 1500.0).rate_pps[:3000] for path in paths]
    found = coverage([path.stem for path in paths], series, count=2000, intervals=3000)
    outside = [
        (name, statistic, place)
        for name, row in zip(found.names, found.percentiles, strict=True)
        for statistic, place in zip(STATISTICS, row, strict=True)
        if not 2 <= place <= 98
    ]
    assert len(paths) > 0
    assert outside == []
