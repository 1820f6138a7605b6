"""Traces by name or path."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import numpy as np
import pytest

from flexnfv.errors import InputError
from flexnfv.traces import Trace, TraceSet, as_trace_set, load_trace, split
from flexnfv.traces.catalogue import _TRANSFORMS
from flexnfv.traces.pcap import read_packets
from flexnfv.traces.synthetic import FAMILIES, flash_crowd, step

REAL = os.environ.get("FLEXNFV_TRACES", "")
needs_real = pytest.mark.skipif(not REAL, reason="FLEXNFV_TRACES names no folder of real traces")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    path = tmp_path / "link.csv"
    path.write_text("t_s,bps\n" + "".join(f"{10 * n},{800 * n}\n" for n in range(6)))
    return path


def test_a_family_takes_its_own_parameters_as_keys() -> None:
    trace = load_trace("synthetic/flash_crowd?shock=3&seed=7&duration_s=100")
    same = flash_crowd(shock=3, seed=7, duration_s=100)
    assert trace.rate_pps.tobytes() == same.rate_pps.tobytes()
    assert (trace.name, trace.family) == (
        "flash_crowd?shock=3&seed=7&duration_s=100",
        "flash_crowd",
    )
    levels = load_trace("synthetic/step?levels_pps=1,2e0&at_s=3&duration_s=5")
    assert (
        levels.rate_pps.tolist()
        == step(levels_pps=(1, 2), at_s=(3,), duration_s=5).rate_pps.tolist()
    )
    assert load_trace("synthetic/step").name == "step"


def test_no_family_has_a_parameter_that_is_a_key_of_every_trace() -> None:
    for family in FAMILIES.values():
        assert not set(inspect.signature(family).parameters) & {*_TRANSFORMS, "packet_bytes"}


def test_keys_are_applied_in_one_order_however_they_are_written(series: Path) -> None:
    one = load_trace(f"{series}?packet_bytes=100&start=10&end=50&compress=10&step=2&scale=3")
    two = load_trace(f"{series}?scale=3&step=2&compress=10&end=50&start=10&packet_bytes=100")
    assert one.rate_pps.tolist() == two.rate_pps.tolist() == [4.5, 10.5]
    assert (one.step_s, one.packet_bytes) == (2, 100)
    assert one.name.startswith("link?")
    assert load_trace(f"{series}?packet_bytes=100&peak=20e6").peak_pps == pytest.approx(20e6)


def test_noise_is_seeded(series: Path) -> None:
    bare, one, same, other = (
        load_trace(f"{series}?packet_bytes=100{noise}").rate_pps.tolist()
        for noise in ("", "&noise=0.1&noise_seed=3", "&noise=0.1&noise_seed=3", "&noise=0.1")
    )
    assert one == same
    assert len({tuple(bare), tuple(one), tuple(other)}) == 3


def test_names_of_the_splits_are_specs() -> None:
    for name in ("train", "validation", "test"):
        chosen = split(name)
        for trace_name in chosen.names[:3]:
            loaded = load_trace(trace_name)
            assert loaded.rate_pps.tobytes() == chosen.get(trace_name).rate_pps.tobytes()
            assert loaded.name == trace_name


def test_a_trace_is_its_own_spec() -> None:
    trace = Trace("t", np.ones(3), 1.0)
    assert load_trace(trace) is trace


def test_a_file_whose_name_has_a_question_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "why?.csv"
    path.write_text("t_s,pps\n0,1\n1,2\n")
    assert load_trace(path).name == "why?"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("synthetic/flash_crow", "did you mean 'flash_crowd'"),
        ("synthetic/diurnal?peek=3", "unknown key 'peek'; did you mean 'peak'"),
        ("synthetic/diurnal?peak=high", "peak is 'high'; give a number"),
        ("synthetic/diurnal?seed=1.5", "seed is '1.5'; give a whole number"),
        ("synthetic/diurnal?seed=-1", "seed is '-1'; give a whole number"),
        ("synthetic/diurnal?trough_ratio=", "trough_ratio is ''"),
        ("synthetic/diurnal?peak", "not of the form key=value"),
        ("synthetic/diurnal?peak=1&peak=2", "a key stands twice"),
        ("synthetic/diurnal?compress=0", "compress factor is 0"),
        ("synthetic/diurnal?noise=0.1&noise_seed=x", "noise_seed is 'x'"),
        ("synthetic/step?levels_pps=1,b", "levels_pps is 'b'"),
        ("test/flash_crowd-9", "did you mean 'test/flash_crowd-"),
        ("test/step-0?packet_bytes=3", "unknown key 'packet_bytes'"),
        ("none.csv", "no such file"),
        ("none.pcap?step=0", "step is 0"),
        ("traces", "is neither a trace file nor a name"),
        ("", "is neither a trace file nor a name"),
    ],
)
def test_a_bad_spec_is_named(spec: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        load_trace(spec)
    assert says in str(refused.value)


def test_what_users_give_becomes_a_set(series: Path) -> None:
    spec = f"{series}?packet_bytes=100"
    own = TraceSet("own", (Trace("t", np.ones(30), 1.0),), 2.0)
    assert as_trace_set(own) is own
    assert as_trace_set(own, step_s=3.0, peak_pps=5.0).get("t").rate_pps.tolist() == [5.0] * 10
    assert as_trace_set("test").get("test/step-0").peak_pps == pytest.approx(20e6)
    assert as_trace_set("test").names == split("test").names
    assert as_trace_set("test", peak_pps=1e6).get("test/step-0").peak_pps == pytest.approx(1e6)
    assert as_trace_set("train", peak_pps=(1e6, 2e6)).peak_pps == (1e6, 2e6)
    assert as_trace_set(spec).get("link?packet_bytes=100").peak_pps == 5.0
    both = as_trace_set([spec, "synthetic/step"], peak_pps=20e6)
    assert both.names == ("link?packet_bytes=100", "step")
    assert [both.get(name).peak_pps for name in both.names] == pytest.approx([20e6, 20e6])
    mixed = as_trace_set(["validation", Trace("t", np.ones(700), 1.0)])
    assert mixed.names == (*split("validation").names, "t")
    with pytest.raises(InputError, match="holds no trace"):
        as_trace_set([])


@needs_real
@pytest.mark.parametrize(
    ("name", "query", "count", "mean", "top"),
    [
        ("azure_llm_conv_1s", "", 3502, 5.5, 16),
        ("eu_isp_300s", "packet_bytes=0.125", 14772, 12.7e6, 29.4e6),
        ("wc98_60s_group", "", 10080, 467, 2565),
        ("bellcore_10ms", "packet_bytes=0.125", 4000, 0.78e6, 9.9e6),
    ],
)
def test_real_series_have_their_known_figures(
    name: str, query: str, count: int, mean: float, top: float
) -> None:
    """The figures of the folder's own SOURCES.md; a byte of 1/8 makes bits/s of packets/s."""
    trace = load_trace(f"{REAL}/{name}.csv?{query}" if query else f"{REAL}/{name}.csv")
    assert len(trace) == count
    assert trace.mean_pps == pytest.approx(mean, rel=0.01)
    assert trace.peak_pps == pytest.approx(top, rel=0.01)


@needs_real
@pytest.mark.parametrize(
    ("name", "packets", "flows", "size", "seconds", "reordered"),
    [
        ("ppp_web_mix", 4631, 136, 807, 15.6, 0),
        ("ppp_tls_mix", 7451, 334, 367, 146, 4),
        ("zeek_echo500_30k", 30_000, 500, 67, 1.4, None),
        ("zeek_modbus", 13_622, 3, 71, 58, 0),
        ("trex_rtp_250k_1", 126, 1, 1317, 59, 0),
    ],
)
def test_real_captures_have_their_known_figures(
    name: str, packets: int, flows: int, size: int, seconds: float, reordered: int | None
) -> None:
    path = Path(REAL) / "pcap" / f"{name}.pcap.gz"
    found = read_packets(path)
    assert (found.count, found.flow_count) == (packets, flows)
    assert found.mean_bytes == pytest.approx(size, abs=0.6)
    assert found.duration_s == pytest.approx(seconds, rel=0.04)
    assert reordered is None or found.reordered == reordered
    trace = load_trace(f"{path}?step=0.1&compress=2")
    assert trace.step_s == pytest.approx(0.1)
    assert trace.mean_pps * trace.duration_s * 2 == pytest.approx(packets)
