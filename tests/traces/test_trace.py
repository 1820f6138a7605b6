"""A trace and its transformations."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flexnfv.errors import InputError
from flexnfv.traces import Trace, gbps_to_pps, pps_to_gbps

rates = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e9, allow_subnormal=False))
steps = st.floats(1e-3, 1e3)


def trace(rate_pps: Any, step_s: float = 1.0) -> Trace:
    return Trace("t", np.asarray(rate_pps), step_s)


@pytest.mark.parametrize(
    ("gbps", "mpps"), [(2, 2.976), (3, 4.464), (4, 5.952), (5, 7.440), (6, 8.929), (10, 14.881)]
)
def test_line_rates_are_the_paper_s(gbps: float, mpps: float) -> None:
    """64-byte packets with 20 bytes of preamble and inter-frame gap."""
    assert gbps_to_pps(gbps) / 1e6 == pytest.approx(mpps, abs=5e-4)
    assert pps_to_gbps(gbps_to_pps(gbps, 512.0), 512.0) == pytest.approx(gbps)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rate_pps": []}, "at least one sample"),
        ({"rate_pps": [[1.0]]}, "one dimension"),
        ({"rate_pps": ["a"]}, "must be numbers"),
        ({"rate_pps": [1.0, -2.0]}, "sample 1 is -2"),
        ({"rate_pps": [np.nan]}, "sample 0 is nan"),
        ({"rate_pps": [1.0, np.inf]}, "sample 1 is inf"),
        ({"step_s": 0.0}, "step_s is 0"),
        ({"step_s": np.nan}, "step_s is nan"),
        ({"packet_bytes": -1.0}, "packet_bytes is -1"),
    ],
)
def test_a_bad_trace_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        Trace(**{"name": "bad", "rate_pps": [1.0], "step_s": 1.0, **fields})
    assert "'bad'" in refused.value.where
    assert refused.value.fix


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.resample(0), "step_s is 0"),
        (lambda t: t.resample(5), "lasts 4 s, shorter"),
        (lambda t: t.compress(-1), "compress factor is -1"),
        (lambda t: t.scale(-1), "scale factor is -1"),
        (lambda t: t.scale_to_peak(0), "peak_pps is 0"),
        (lambda t: t.scale(0).scale_to_peak(1), "every sample is 0"),
        (lambda t: t.cut(2, 2), "no samples"),
        (lambda t: t.cut(3, 1), "no samples"),
        (lambda t: t.cut(0, 9), "between 0 and 4"),
        (lambda t: t.cut(-1, 2), "start_s is -1"),
        (lambda t: t.noise(-0.1), "noise sigma is -0.1"),
        (lambda t: t.noise(np.nan), "noise sigma is nan"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        change(trace([1, 2, 3, 4]))


def test_a_trace_cannot_be_changed_from_outside() -> None:
    source = np.array([1.0, 2.0])
    held = trace(source)
    source[0] = 9.0
    assert held.rate_pps.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        held.rate_pps[0] = 9.0


def test_a_trace_survives_pickling() -> None:
    before = Trace("t", np.array([1.0, 2.0]), 0.5, 64.0, "here", "step")
    after = pickle.loads(pickle.dumps(before))
    assert after.rate_pps.tobytes() == before.rate_pps.tobytes()
    assert not after.rate_pps.flags.writeable
    fields = ("name", "step_s", "packet_bytes", "source", "family")
    assert [getattr(after, f) for f in fields] == [getattr(before, f) for f in fields]


def test_a_finer_step_holds_the_sample() -> None:
    """No slope between samples: it would tell the next one in advance."""
    assert trace([1, 5, 2]).rates(0.5).tolist() == [1, 1, 5, 5, 2, 2]


def test_a_coarser_step_is_the_mean_and_the_rest_is_cut() -> None:
    assert trace([1, 3, 5, 7, 100]).rates(2.0).tolist() == [2, 6]
    assert trace([2, 4, 6]).rates(1.5).tolist() == pytest.approx([8 / 3, 16 / 3])


@given(rates, steps, st.floats(0.01, 100))
def test_resampling_conserves_packets(rate: Any, step_s: float, ratio: float) -> None:
    before = trace(rate, step_s)
    new_step = step_s * ratio
    if new_step > before.duration_s:
        with pytest.raises(InputError):
            before.resample(new_step)
        return
    after = before.resample(new_step)
    kept = min(after.duration_s / step_s, rate.size)  # in samples
    whole = int(kept)
    packets = rate[:whole].sum() + (rate[whole] * (kept - whole) if whole < rate.size else 0.0)
    assert after.rate_pps.sum() * ratio == pytest.approx(packets, rel=1e-6, abs=1e-6 * rate.sum())
    assert before.duration_s - after.duration_s < new_step * (1 + 1e-6)
    assert after.peak_pps <= before.peak_pps * (1 + 1e-6) + 1e-6


@given(rates, st.integers(1, 9))
def test_resampling_to_a_divisor_and_back_changes_nothing(rate: Any, parts: int) -> None:
    before = trace(rate)
    again = before.resample(1.0 / parts).resample(1.0)
    assert again.rate_pps == pytest.approx(before.rate_pps)
    assert before.resample(1.0 / parts).mean_pps == pytest.approx(before.mean_pps)


@given(rates, steps, st.floats(1e-2, 1e3))
def test_compressing_keeps_the_shape(rate: Any, step_s: float, factor: float) -> None:
    before = trace(rate, step_s)
    after = before.compress(factor)
    assert after.rate_pps.tobytes() == before.rate_pps.tobytes()
    assert after.duration_s * factor == pytest.approx(before.duration_s)


@given(rates.filter(lambda r: r.max() > 1e-3), st.floats(1.0, 1e9))
def test_scaling_to_a_peak_keeps_the_shape(rate: Any, peak: float) -> None:
    after = trace(rate).scale_to_peak(peak)
    assert after.peak_pps == pytest.approx(peak)
    assert after.rate_pps * rate.max() == pytest.approx(rate * peak)


@given(rates, st.floats(0, 1), st.integers(0, 2**32))
def test_noise_keeps_the_mean_and_is_seeded(rate: Any, sigma: float, seed: int) -> None:
    before = trace(rate)
    after = before.noise(sigma, seed)
    assert after.mean_pps == pytest.approx(before.mean_pps)
    assert ((after.rate_pps == 0) == (rate == 0)).all()
    assert after.rate_pps.tobytes() == before.noise(sigma, seed).rate_pps.tobytes()


def test_noise_has_the_strength_that_was_asked_for() -> None:
    flat = trace(np.full(20_000, 1e6))
    assert np.log(flat.noise(0.1, 5).rate_pps).std() == pytest.approx(0.1, rel=0.05)
    assert (flat.noise(0.1, 5).rate_pps != flat.noise(0.1, 6).rate_pps).any()


@given(rates, st.data())
def test_cutting_into_parts_and_joining_them_is_the_whole(rate: Any, data: Any) -> None:
    place = data.draw(st.integers(0, rate.size))
    parts = [
        trace(rate).cut(first, last).rate_pps
        for first, last in ((0, place), (place, rate.size))
        if first < last
    ]
    assert np.concatenate(parts).tobytes() == rate.tobytes()


def test_figures_of_a_trace() -> None:
    some = trace([1, 2, 6], 0.5)
    assert (some.duration_s, some.mean_pps, some.peak_pps, len(some)) == (1.5, 3.0, 6.0, 3)
    assert some.times_s.tolist() == [0.0, 0.5, 1.0]
    assert "3 samples of 0.5 s" in repr(some)
