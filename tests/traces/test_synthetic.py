"""The synthetic families keep the statistics that their docstrings cite."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from flexnfv.errors import InputError
from flexnfv.traces import gbps_to_pps
from flexnfv.traces.synthetic import (
    FAMILIES,
    constant,
    diurnal,
    fgn,
    flash_crowd,
    on_off,
    ramp,
    self_similar,
    step,
)

SEEDED = [name for name, f in FAMILIES.items() if "seed" in inspect.signature(f).parameters]


def local_whittle_hurst(series: Any, share: float = 0.65) -> float:
    """Robinson's local Whittle estimator (Annals of Statistics 23, 1995)."""
    count = int(len(series) ** share)
    power = np.abs(np.fft.rfft(series - series.mean())[1 : count + 1]) ** 2
    frequency = np.log(2 * np.pi * np.arange(1, count + 1) / len(series))

    def objective(hurst: float) -> float:
        slope = 2 * hurst - 1
        return float(np.log(np.mean(power * np.exp(slope * frequency))) - slope * frequency.mean())

    return float(minimize_scalar(objective, bounds=(0.05, 0.999), method="bounded").x)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_what_it_is(name: str) -> None:
    trace = FAMILIES[name](duration_s=100.0, step_s=0.5)
    assert (trace.family, trace.step_s, len(trace)) == (name, 0.5, 200)
    assert (trace.packet_bytes, trace.source) == (64.0, f"synthetic/{name}")


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_fixes_the_bytes(name: str) -> None:
    one, same, other = (FAMILIES[name](seed=seed) for seed in (1, 1, 2))
    assert one.rate_pps.tobytes() == same.rate_pps.tobytes()
    assert one.rate_pps.tobytes() != other.rate_pps.tobytes()


def test_step_defaults_to_the_paper_s_figure_3() -> None:
    """4 Gbps, 2 Gbps from t = 6 s, 4 Gbps from t = 14 s, 64-byte packets."""
    rates = step().rate_pps
    expected = [gbps_to_pps(4)] * 6 + [gbps_to_pps(2)] * 8 + [gbps_to_pps(4)] * 6
    assert rates.tolist() == expected
    fine = step(step_s=0.1).rate_pps
    assert fine[59:61].tolist() == [gbps_to_pps(4), gbps_to_pps(2)]
    assert fine[139:141].tolist() == [gbps_to_pps(2), gbps_to_pps(4)]


def test_ramp_rises_and_falls_once_a_period() -> None:
    trace = ramp(low_pps=10.0, high_pps=50.0, period_s=8.0, duration_s=16.0)
    assert trace.rate_pps.tolist() == [10, 20, 30, 40, 50, 40, 30, 20] * 2


def test_constant_is_constant() -> None:
    assert set(constant(rate_pps=7.0, duration_s=5.0).rate_pps.tolist()) == {7.0}


def test_a_day_has_the_published_hours() -> None:
    """Labovitz 2009: 50 % at 6 h, over 60 % until 3 h, maxima in the afternoon and at night."""
    day = diurnal(noise_cv=0.0, period_s=24 * 60.0, duration_s=24 * 60.0).rate_pps / 10e6
    hour = np.arange(day.size) / 60
    assert day.min() == pytest.approx(0.5, abs=1e-3)
    assert day.max() == pytest.approx(1.0, abs=1e-3)
    assert abs(hour[day.argmin()] - 6) < 0.5
    assert 21 < hour[day.argmax()] < 24
    assert day[3 * 60] > 0.6
    maxima = hour[1:-1][(day[1:-1] > day[:-2]) & (day[1:-1] >= day[2:])]
    assert len(maxima) == 2
    assert 13 < maxima[0] < 18


def test_a_day_s_noise_has_its_strength() -> None:
    quiet, noisy = (
        diurnal(noise_cv=cv, duration_s=8192.0, hurst=0.7).rate_pps for cv in (0.0, 0.1)
    )
    assert (noisy / quiet).std() == pytest.approx(0.1, rel=0.1)
    assert (noisy / quiet).mean() == pytest.approx(1.0, rel=0.03)


def test_a_day_can_begin_at_any_hour() -> None:
    whole = diurnal(noise_cv=0.0, period_s=100.0, duration_s=100.0).rate_pps
    later = diurnal(noise_cv=0.0, period_s=100.0, duration_s=50.0, phase=0.5).rate_pps
    assert later == pytest.approx(whole[50:])


@given(st.integers(0, 2**32), st.floats(1.5, 8.0))
def test_the_first_crowd_has_the_whole_shock(seed: int, shock: float) -> None:
    trace = flash_crowd(shock=shock, noise_cv=0.0, step_s=0.25, ramp_s=10.0, seed=seed)
    assert trace.peak_pps == pytest.approx(4e6 * shock, rel=0.02)
    assert trace.rate_pps.min() >= 4e6
    assert np.median(trace.rate_pps) < trace.peak_pps


def test_a_crowd_comes_quicker_than_it_goes() -> None:
    rate = flash_crowd(noise_cv=0.0, step_s=0.1, gap_s=1e5, duration_s=1000.0, seed=4).rate_pps
    top = np.flatnonzero(rate > 0.999 * rate.max())
    above = np.flatnonzero(rate > 4e6 * 1.001)
    assert above[0] > 0
    assert above[-1] < rate.size - 1
    rise, fall = (top[0] - above[0]) / 10, (above[-1] - top[-1]) / 10
    sustained = 20.0 * np.log10(5.5)
    assert rise == pytest.approx(20.0, abs=0.3)
    assert (top[-1] - top[0]) / 10 == pytest.approx(sustained, abs=0.3)
    assert fall == pytest.approx(3 * sustained, abs=0.3)


@pytest.mark.parametrize("hurst", [0.5, 0.7, 0.8, 0.9])
def test_fgn_has_the_stated_hurst_parameter(hurst: float) -> None:
    series = [fgn(2**15, hurst, np.random.default_rng(seed)) for seed in range(5)]
    estimates = [local_whittle_hurst(one) for one in series]
    assert np.mean(estimates) == pytest.approx(hurst, abs=0.03)
    assert np.mean([np.mean(one**2) for one in series]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_fgn_has_its_length_and_its_covariance(count: int) -> None:
    rng = np.random.default_rng(0)
    draws = np.array([fgn(count, 0.8, rng) for _ in range(4000)])
    assert draws.shape == (4000, count)
    assert draws[:, 0].var() == pytest.approx(1.0, abs=0.1)
    if count > 1:
        lag_one = (2.0**1.6 - 2) / 2
        assert (draws[:, 0] * draws[:, 1]).mean() == pytest.approx(lag_one, abs=0.06)


@pytest.mark.parametrize("hurst", [0.6, 0.8])
def test_self_similar_traffic_keeps_hurst_mean_and_variation(hurst: float) -> None:
    traces = [self_similar(hurst=hurst, cv=0.3, duration_s=2.0**15, seed=seed) for seed in range(5)]
    found = [local_whittle_hurst(np.log(trace.rate_pps)) for trace in traces]
    assert np.mean(found) == pytest.approx(hurst, abs=0.03)
    assert np.mean([trace.mean_pps for trace in traces]) == pytest.approx(5e6, rel=0.05)
    variation = [trace.rate_pps.std() / trace.mean_pps for trace in traces]
    assert np.mean(variation) == pytest.approx(0.3, rel=0.1)


def test_on_off_sources_keep_their_mean() -> None:
    means = [on_off(duration_s=2000.0, alpha_off=1.6, seed=seed).mean_pps for seed in range(200)]
    assert np.mean(means) == pytest.approx(5e6, rel=0.04)


def test_on_off_starts_in_equilibrium() -> None:
    """No source begins with a fresh period: the first second is like any other."""
    first = [on_off(duration_s=4.0, seed=seed).rate_pps[0] for seed in range(1500)]
    assert np.mean(first) == pytest.approx(5e6, rel=0.04)


def test_on_off_traffic_is_long_range_dependent() -> None:
    """Willinger et al. 1997: H = (3 - min alpha) / 2, here 0.8; Poisson traffic has 0.5."""
    found = [
        local_whittle_hurst(
            on_off(
                sources=50, alpha_on=1.4, alpha_off=1.4, on_s=1, off_s=1, duration_s=2.0**15, seed=s
            ).rate_pps,
            share=0.6,
        )
        for s in range(5)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_on_off_never_exceeds_all_sources_on() -> None:
    trace = on_off(sources=3, mean_pps=1e6, on_s=1.0, off_s=2.0, seed=1)
    assert trace.peak_pps <= 3e6 * (1 + 1e-9)
    assert trace.rate_pps.min() >= 0


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("constant", {"rate_pps": -1.0}, "rate_pps is -1"),
        ("constant", {"duration_s": 0.0}, "duration_s is 0"),
        ("constant", {"duration_s": 0.1}, "shorter than one step"),
        ("constant", {"step_s": -1.0}, "step_s is -1"),
        ("ramp", {"period_s": 0.0}, "period_s is 0"),
        ("ramp", {"low_pps": -2.0}, "low_pps is -2"),
        ("step", {"levels_pps": [1.0]}, "1 levels and 2 jumps"),
        ("step", {"at_s": [14.0, 6.0]}, "out of order"),
        ("step", {"levels_pps": [1.0, -1.0, 1.0]}, "a level is -1"),
        ("diurnal", {"trough_ratio": 1.5}, "trough_ratio is 1.5"),
        ("diurnal", {"hurst": 1.0}, "hurst is 1"),
        ("diurnal", {"noise_cv": -0.1}, "noise_cv is -0.1"),
        ("flash_crowd", {"shock": 0.5}, "shock is 0.5"),
        ("flash_crowd", {"shock": float("inf")}, "shock is inf"),
        ("flash_crowd", {"gap_s": 0.0}, "gap_s is 0"),
        ("on_off", {"alpha_on": 1.0}, "alpha_on is 1"),
        ("on_off", {"sources": 0}, "sources is 0"),
        ("self_similar", {"cv": -1.0}, "cv is -1"),
        ("self_similar", {"hurst": 0.4}, "hurst is 0.4"),
        ("self_similar", {"mean_pps": float("nan")}, "mean_pps is nan"),
    ],
)
def test_a_bad_parameter_is_named(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        FAMILIES[name](**arguments)
    assert refused.value.where == f"synthetic/{name}"
    assert refused.value.fix
