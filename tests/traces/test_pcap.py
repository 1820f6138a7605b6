"""Packet captures: what real ones do to a reader."""

from __future__ import annotations

import builtins
import gzip
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexnfv.errors import InputError
from flexnfv.traces import TraceSet, load_trace
from flexnfv.traces.pcap import flow_of, read_packets
from flexnfv.traces.trace import Capture

MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
START = 1_700_000_000


def frame(sport: int = 1, dport: int = 2, source: str = "10.0.0.1", to: str = "10.0.0.2") -> bytes:
    """A UDP/IPv4 frame of 60 bytes."""
    return ethernet(0x0800, ipv4(17, struct.pack(">HHHH", sport, dport, 8, 0), source, to))


def ethernet(kind: int, body: bytes, tags: bytes = b"") -> bytes:
    return (bytes(12) + tags + struct.pack(">H", kind) + body).ljust(60, b"\0")


def ipv4(
    protocol: int, body: bytes, source: str, to: str, *, fragment: int = 0, options: bytes = b""
) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 20, 0, fragment, 64, protocol, 0)
    ends = b"".join(bytes(map(int, address.split("."))) for address in (source, to))
    return head + ends + options + body


def ipv6(protocol: int, body: bytes, source: int, to: int) -> bytes:
    ends = source.to_bytes(16, "big") + to.to_bytes(16, "big")
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + ends + body


def pcap(
    packets: Sequence[tuple[float, bytes]], *, magic: int = MICRO, order: str = "<", wire: int = 0
) -> bytes:
    """A classic capture; `wire` is the size on the wire where the snap length cut the packets."""
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    unit = 1e9 if magic == NANO else 1e6
    for time, body in packets:
        whole, part = divmod(round(time * unit), int(unit))
        data += struct.pack(f"{order}IIII", whole, part, len(body), wire or len(body)) + body
    return data


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


def pcapng(
    packets: Sequence[tuple[int, int, bytes]], interfaces: Sequence[tuple[int, int]]
) -> bytes:
    """A pcapng capture of (interface, ticks, frame); an interface is (snap length, 10^-x s)."""
    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for snap, power in interfaces:
        resolution = struct.pack("<HHB3xHH", 9, 1, power, 0, 0)
        data += block(1, struct.pack("<HHI", 1, 0, snap) + resolution)
    for interface, ticks, body in packets:
        size = len(body)
        head = struct.pack("<IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, size, size)
        data += block(6, head + body)
    return data


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


TIMES = [START, START + 0.25, START + 0.5, START + 2.75]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pcap", pcap([(t, frame()) for t in TIMES])),
        ("a.cap", pcap([(t, frame()) for t in TIMES], order=">")),
        ("nano.pcap", pcap([(t, frame()) for t in TIMES], magic=NANO)),
        ("big-nano.pcap", pcap([(t, frame()) for t in TIMES], magic=NANO, order=">")),
        ("a.pcapng", pcapng([(0, round(t * 1e6), frame()) for t in TIMES], [(65535, 6)])),
        ("nano.pcapng", pcapng([(0, round(t * 1e9), frame()) for t in TIMES], [(65535, 9)])),
        ("a.pcap.gz", gzip.compress(pcap([(t, frame()) for t in TIMES]))),
        (
            "two-clocks.pcapng",
            pcapng(
                [(i % 2, round(t * 10 ** (6, 9)[i % 2]), frame()) for i, t in enumerate(TIMES)],
                [(65535, 6), (65535, 9)],
            ),
        ),
    ],
)
def test_every_format_gives_the_same_packets(tmp_path: Path, name: str, data: bytes) -> None:
    packets = read_packets(put(tmp_path / name, data))
    assert packets.name == name.partition(".")[0]
    assert packets.times_s == pytest.approx([0, 0.25, 0.5, 2.75], abs=1e-6)
    assert (packets.count, packets.flow_count, packets.mean_bytes) == (4, 1, 60)
    assert packets.duration_s == pytest.approx(2.75, abs=1e-6)
    trace = packets.trace(1.0)
    assert trace.rate_pps.tolist() == [3, 0, 1]
    assert (trace.packet_bytes, trace.family) == (64, "capture")


def test_timestamps_that_step_back_are_sorted_and_counted(tmp_path: Path) -> None:
    times = [START + 1.0, START + 3.0, START + 0.5, START + 2.0]
    path = put(tmp_path / "a.pcap", pcap([(t, frame(sport=n)) for n, t in enumerate(times)]))
    packets = read_packets(path)
    assert packets.times_s == pytest.approx([0, 0.5, 1.5, 2.5])
    assert packets.reordered == 1
    assert packets.flows.tolist() == [0, 1, 2, 3]


def test_a_snap_length_does_not_shrink_packets(tmp_path: Path) -> None:
    path = put(tmp_path / "a.pcap", pcap([(START, frame()), (START + 1, frame())], wire=1500))
    assert read_packets(path).sizes_bytes.tolist() == [1500, 1500]


def test_both_directions_are_one_flow(tmp_path: Path) -> None:
    there = frame(1, 2)
    back = frame(2, 1, "10.0.0.2", "10.0.0.1")
    other = frame(1, 3)
    arp = ethernet(0x0806, bytes(28))
    bodies = [there, back, arp, other, there]
    path = put(tmp_path / "a.pcap", pcap([(START + n, body) for n, body in enumerate(bodies)]))
    packets = read_packets(path)
    assert packets.flows.tolist() == [0, 0, -1, 1, 0]
    assert packets.flow_count == 2
    assert packets.top_flow_share == pytest.approx(3 / 5)


def test_a_capture_without_ip_has_no_flow(tmp_path: Path) -> None:
    packets = read_packets(put(tmp_path / "a.pcap", pcap([(START, ethernet(0x0806, bytes(28)))])))
    assert (packets.flow_count, packets.top_flow_share) == (0, 0.0)


UDP = struct.pack(">HHHH", 7, 9, 8, 0)
ONE, TWO = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
V4 = ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("body", "flow"),
    [
        (ethernet(0x0800, ipv4(17, UDP, *V4)), (ONE, TWO, 17, b"\0\7", b"\0\x09")),
        (ethernet(0x0800, ipv4(6, UDP, *V4)), (ONE, TWO, 6, b"\0\7", b"\0\x09")),
        (ethernet(0x0800, ipv4(132, UDP, *V4)), (ONE, TWO, 132, b"\0\7", b"\0\x09")),
        (ethernet(0x0800, ipv4(1, UDP, *V4)), (ONE, TWO, 1, b"\0\0", b"\0\0")),
        (
            ethernet(0x0800, ipv4(17, UDP, *V4, options=b"\1\1\1\1")),
            (ONE, TWO, 17, b"\0\7", b"\0\x09"),
        ),
        (ethernet(0x0800, ipv4(17, UDP, *V4, fragment=0x2000)), (ONE, TWO, 17, b"\0\0", b"\0\0")),
        (ethernet(0x0800, ipv4(17, UDP, *V4, fragment=0x0010)), (ONE, TWO, 17, b"\0\0", b"\0\0")),
        (
            ethernet(0x0800, ipv4(17, UDP, *V4, fragment=0x4000)),
            (ONE, TWO, 17, b"\0\7", b"\0\x09"),
        ),
        (
            ethernet(0x0800, ipv4(17, UDP, *V4), tags=b"\x81\0\0\5"),
            (ONE, TWO, 17, b"\0\7", b"\0\x09"),
        ),
        (
            ethernet(0x0800, ipv4(17, UDP, *V4), tags=b"\x88\xa8\0\5\x81\0\0\6"),
            (ONE, TWO, 17, b"\0\7", b"\0\x09"),
        ),
        (
            ethernet(0x86DD, ipv6(17, UDP, 1, 2)),
            (bytes(15) + b"\1", bytes(15) + b"\2", 17, b"\0\7", b"\0\x09"),
        ),
        (ethernet(0x0806, bytes(28)), None),
        (ethernet(0x0800, ipv4(17, UDP, *V4))[:30], None),
        (
            ethernet(0x0800, ipv4(17, UDP, *V4))[:36],
            (ONE, TWO, 17, b"\0\0", b"\0\0"),
        ),
        (b"", None),
    ],
)
def test_the_flow_of_a_frame(body: bytes, flow: Any) -> None:
    assert flow_of(body) == flow


def test_other_link_types() -> None:
    packet = ipv4(17, UDP, *V4)
    assert flow_of(packet, 101) == flow_of(frame(7, 9))
    assert flow_of(bytes(14) + b"\x08\0" + packet, 113) == flow_of(frame(7, 9))
    assert flow_of(b"\x08\0" + bytes(18) + packet, 276) == flow_of(frame(7, 9))
    assert flow_of(ipv6(17, UDP, 1, 2), 101) == flow_of(ethernet(0x86DD, ipv6(17, UDP, 1, 2)))
    assert flow_of(packet, 105) is None


GOOD = pcap([(t, frame()) for t in TIMES])
GOOD_NG = pcapng([(0, round(t * 1e6), frame()) for t in TIMES], [(65535, 6)])
MIXED = pcapng([(0, START * 10**6, frame()), (1, START * 10**6, frame())], [(65535, 6), (96, 6)])


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.pcap", b"", "not a readable pcap"),
        ("empty.pcapng.gz", gzip.compress(b"", mtime=0), "not a readable pcap"),
        ("header.pcap", GOOD[:10], "not a readable pcap"),
        ("none.pcap", GOOD[:24], "holds no packet"),
        ("none.pcapng", pcapng([], [(65535, 6)]), "holds no packet"),
        ("tail.pcap", GOOD[:-7], "is truncated after packet 3"),
        ("head.pcap", GOOD + b"\0" * 5, "is truncated after packet 4"),
        ("tail.pcapng", GOOD_NG[:-7], "is truncated after packet 3"),
        ("text.pcap", b"t_s,pps\n0,1\n", "not a readable pcap"),
        ("cut.pcap.gz", gzip.compress(GOOD, mtime=0)[:-12], "not a whole gzip file"),
        ("plain.pcap.gz", GOOD, "not a whole gzip file"),
        ("mixed.pcapng", MIXED, "mixes interfaces"),
    ],
)
def test_a_bad_capture_is_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = put(tmp_path / name, data)
    with pytest.raises(InputError, match=says) as refused:
        read_packets(path)
    assert refused.value.where == str(path)
    assert refused.value.fix


def test_a_missing_capture_is_named(tmp_path: Path) -> None:
    for name in ("none.pcap", "none.pcap.gz"):
        with pytest.raises(InputError, match="no such file"):
            read_packets(tmp_path / name)


def test_captures_without_the_library_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "cypcap":
            raise ImportError(name)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'flexnfv\[traces\]'"):
        read_packets(put(tmp_path / "a.pcap", GOOD))


def test_every_packet_counts_in_one_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    times = START + np.sort(rng.uniform(0, 10, 500))
    packets = read_packets(put(tmp_path / "a.pcap", pcap([(t, frame()) for t in times.tolist()])))
    for step_s in (0.01, 0.3, 1.0, 20.0):
        trace = packets.trace(step_s)
        assert trace.rate_pps.sum() * step_s == pytest.approx(500)
        assert trace.duration_s > packets.duration_s
    with pytest.raises(InputError, match="step_s is 0"):
        packets.trace(0.0)


def test_a_trace_knows_its_packets_as_long_as_they_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "two.pcap"
    path.write_bytes(pcap([(n * 0.5, frame()) for n in range(20)]))
    whole = load_trace(path)
    assert whole.capture == Capture(path)
    near = load_trace(f"{path}?end=8&compress=2&step=1&scale=3")
    assert near.capture == Capture(path, rate=3.0, compress=2.0)
    peak = whole.scale_to_peak(10 * whole.peak_pps)
    assert peak.capture is not None
    assert peak.capture.rate == pytest.approx(10)
    assert pickle.loads(pickle.dumps(near)).capture == near.capture
    for changed in (whole.cut(2), whole.noise(0.1)):
        assert changed.capture is None
    drawn = TraceSet("one", (whole,), 1.0).sample(np.random.default_rng(1), 3)
    assert drawn.capture is None
