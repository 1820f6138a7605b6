"""The generator for real: packets in and out counted, captures byte for byte, faults told."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from flexnfv.errors import BackendError, InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.pktgen import (
    Pktgen,
    PktgenOptions,
    Summary,
    memif_client,
    memif_server,
    program,
)
from flexnfv.traces.trace import Trace
from tests.dataplane.pcap_files import read_pcap, write_pcap

pytestmark = pytest.mark.dataplane

PROBE = 42
"""Offset of what a generated packet says about itself: mark, stream, flow, number, time."""

NEVER_LATE = {"backlog_ms": 60_000.0}
"""On a machine that stalls, packets are sent late rather than given up: then counts are exact."""


def run(**options: object) -> tuple[Summary, Pktgen]:
    """Runs a bounded generator over a ring that gives back what it is given."""
    values: dict[str, object] = {"port": "net_ring0", "huge_pages": False, **NEVER_LATE, **options}
    with Pktgen(PktgenOptions(**values)) as pktgen:  # type: ignore[arg-type]
        return pktgen.wait(60), pktgen


def refused(*arguments: str) -> str:
    """What the program says when it refuses its arguments: one line and exit code 2."""
    result = subprocess.run(
        [program(), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("flexnfv-pktgen: ").strip()


def probe(flow: int, number: int, stream: int = 7) -> bytes:
    """A generated frame of 64 bytes with FCS, as the generator builds it."""
    t = FlowSet(count=flow + 1).tuples
    ip = struct.pack(
        "!BBHHHBBHII",
        *(0x45, 0, 46, 0, 0x4000, 64, 17, 0),
        *(int(t.source_ip[flow]), int(t.destination_ip[flow])),
    )
    udp = struct.pack("!HHHH", int(t.source_port[flow]), int(t.destination_port[flow]), 8 + 18, 0)
    return (
        bytes.fromhex("020000000002 020000000001 0800".replace(" ", ""))
        + ip
        + udp
        + struct.pack("!HHII", 0xF17E, stream, flow, number)
        + (time.monotonic_ns() % 2**48).to_bytes(6, "big")
    )


@pytest.mark.parametrize("flows", [FlowSet(), FlowSet(100, 1.2, 2**64 - 1), FlowSet(3, 0.5, 0)])
def test_flow_set_and_hashes_are_those_of_the_core(flows: FlowSet) -> None:
    text = subprocess.run(
        [
            *(program(), "--list-flows", "--flows", str(flows.count)),
            *("--zipf", str(flows.zipf), "--seed", str(flows.seed)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = np.array([line.split(",") for line in text.splitlines()[1:]], dtype=np.float64)
    expected = (*flows.tuples[:4], flows.hashes)
    for column, values in enumerate(expected, start=1):
        np.testing.assert_array_equal(rows[:, column].astype(np.int64), values)
    np.testing.assert_allclose(rows[:, 6], flows.weights, rtol=1e-12)


def test_every_packet_of_a_constant_rate_comes_back() -> None:
    summary, pktgen = run(rate_pps=50_000.0, duration_s=1.0, period_s=0.25)
    assert summary.end == "done"
    assert summary.wanted == summary.sent == summary.received == summary.delivered == 50_000
    assert (summary.lost, summary.missed, summary.reordered, summary.duplicates) == (0, 0, 0, 0)
    assert summary.latency_us is not None
    assert summary.latency_us.count == 50_000
    assert 0 < summary.latency_us.p50 <= summary.latency_us.p99 <= summary.latency_us.max
    assert sum(period.sent for period in pktgen.periods) == 50_000
    assert sum(period.delivered for period in pktgen.periods) == 50_000
    assert sum(period.wanted for period in pktgen.periods) == 50_000


def test_as_fast_as_possible_loses_nothing_either() -> None:
    summary, _ = run(rate_pps=float("inf"), count=500_000)
    assert summary.sent == summary.delivered == 500_000
    assert summary.reordered == summary.duplicates == 0


def test_a_trace_sends_what_its_steps_add_up_to() -> None:
    trace = Trace("steps", np.array([20_000.0, 0.0, 60_000.0, 30_000.0]), step_s=1.0)
    summary, pktgen = run(trace=trace, time_scale=5.0, rate_scale=0.5, period_s=0.2)
    assert summary.wanted == summary.sent == summary.delivered == 11_000
    assert sum(period.wanted for period in pktgen.periods) == 11_000
    # A period's end falls between two ticks, so a few packets of the neighbours are in it.
    wanted = [period.wanted for period in pktgen.periods[:4]]
    assert wanted == pytest.approx([2000, 0, 6000, 3000], abs=2000)
    assert summary.duration_s == pytest.approx(0.8, abs=0.5)


def test_sizes_of_a_trace_and_the_imix_are_sent() -> None:
    trace = Trace("sized", np.array([1000.0, 1000.0]), step_s=0.2, packet_bytes=300.0)
    summary, _ = run(trace=trace)
    assert summary.sent_bytes == summary.received_bytes == 400 * (300 - 4)
    summary, _ = run(imix=True, rate_pps=1e5, count=1200)
    assert summary.received_bytes == 100 * (7 * 60 + 4 * 590 + 1514)


def test_headers_are_sound_and_flows_as_popular_as_they_should_be(tmp_path: Path) -> None:
    flows = FlowSet(count=50, zipf=1.0, seed=9)
    run(flows=flows, rate_pps=2e5, count=20_000, write_to=tmp_path / "out.pcap", packet_bytes=100)
    frames = read_pcap(tmp_path / "out.pcap")
    assert len(frames) == 20_000
    drawn = np.zeros(50)
    for frame in frames:
        assert len(frame) == 96
        words = struct.unpack("!10H", frame[14:34])
        total = sum(words)
        assert (total & 0xFFFF) + (total >> 16) in (0xFFFF, 0x1FFFE)
        assert struct.unpack("!H", frame[16:18])[0] == 96 - 14
        assert struct.unpack("!H", frame[38:40])[0] == 96 - 34
        flow = struct.unpack("!I", frame[PROBE + 4 : PROBE + 8])[0]
        ports_and_addresses = struct.unpack("!IIHH", frame[26:38])
        assert ports_and_addresses == tuple(int(column[flow]) for column in flows.tuples[:4])
        drawn[flow] += 1
    expected = flows.weights * len(frames)
    assert ((drawn - expected) ** 2 / expected).sum() < 120  # 49 degrees of freedom


def test_the_draws_depend_on_the_seed_alone(tmp_path: Path) -> None:
    order = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(flows=FlowSet(64, 0.9, seed), rate_pps=1e5, count=500, write_to=tmp_path / name)
        order.append([frame[PROBE + 4 : PROBE + 12] for frame in read_pcap(tmp_path / name)])
    assert order[0] == order[1] != order[2]


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_a_capture_is_replayed_byte_for_byte(tmp_path: Path, byte_order: str) -> None:
    draw = random.Random(4)
    lengths = [1, 14, 59, 60, 64, 1514, 2000, 9000] + [draw.randint(14, 1514) for _ in range(500)]
    frames = [draw.randbytes(length) for length in lengths]
    source = write_pcap(tmp_path / "in.pcap", frames, order=byte_order)
    summary, _ = run(capture=source, rate_pps=1e4, loops=2, write_to=tmp_path / "out.pcap")
    assert summary.sent == summary.received == summary.delivered == 2 * len(frames)
    assert read_pcap(tmp_path / "out.pcap") == frames * 2
    port = f"net_pcap0,tx_pcap={tmp_path / 'port.pcap'}"
    short = write_pcap(tmp_path / "short.pcap", [f for f in frames if len(f) <= 1514])
    summary, _ = run(port=port, rx_port="none", capture=short)
    assert read_pcap(tmp_path / "port.pcap") == [f for f in frames if len(f) <= 1514]


def test_a_capture_keeps_its_recorded_times(tmp_path: Path) -> None:
    source = write_pcap(tmp_path / "in.pcap", [bytes(60)] * 11, step_ns=100_000_000)
    summary, pktgen = run(capture=source, time_scale=2.0, period_s=0.1)
    assert summary.wanted == summary.sent == summary.delivered == 11
    assert summary.duration_s == pytest.approx(0.55, abs=0.3)
    assert max(period.sent for period in pktgen.periods) < 11


# The slow sink reads every 100 ms: what is sent within 5 ms waits until after the sender's end.
@pytest.mark.parametrize(
    ("count", "tick_us"), [(50_000, 100), (500, 100_000)], ids=["prompt", "slow"]
)
def test_two_generators_over_memif_lose_nothing(tmp_path: Path, count: int, tick_us: int) -> None:
    flows = FlowSet(count=300, zipf=0.8, seed=3)
    sink = Pktgen(
        PktgenOptions(
            port=memif_server(tmp_path / "socket"),
            flows=flows,
            sink=True,
            control=True,
            tick_us=tick_us,
        )
    )
    sender = Pktgen(
        PktgenOptions(
            port=memif_client(tmp_path / "socket"),
            rx_port="none",
            flows=flows,
            rate_pps=100_000.0,
            count=count,
            control=True,
            **NEVER_LATE,  # type: ignore[arg-type]
        )
    )
    # The server is ready once the client is there, so both are started at the same time.
    starting = threading.Thread(target=sink.start)
    starting.start()
    try:
        with sender:
            starting.join()
            sink.begin()
            sender.begin()
            sent = sender.wait(60)
        received = sink.stop()
    finally:
        starting.join()
        sink.close()
    assert sent.sent == count
    assert received.received == received.delivered == count
    assert received.lost == received.reordered == received.duplicates == received.foreign == 0


def test_loss_reordering_and_duplicates_of_a_doctored_stream_are_told_apart(
    tmp_path: Path,
) -> None:
    frames = [probe(flow, number) for number in range(100) for flow in range(4)]
    by_flow = {
        (flow, number): frames[number * 4 + flow] for number in range(100) for flow in range(4)
    }
    frames.remove(by_flow[0, 10])  # lost
    frames.remove(by_flow[0, 11])
    late = by_flow[1, 20]  # 30 places late
    frames.remove(late)
    frames.insert(frames.index(by_flow[1, 50]) + 1, late)
    frames.insert(frames.index(by_flow[2, 70]) + 1, by_flow[2, 70])  # twice
    frames.append(probe(3, 0, stream=8))  # of another run
    frames.append(bytes(60))  # no IP at all
    changed = bytearray(by_flow[3, 99])
    changed[PROBE:] = bytes(18)
    frames[frames.index(by_flow[3, 99])] = bytes(changed)  # as if encrypted
    source = write_pcap(tmp_path / "doctored.pcap", frames)
    summary, _ = run(
        port=f"net_pcap0,rx_pcap={source}", sink=True, count=len(frames), flows=FlowSet(count=4)
    )
    assert summary.received == len(frames) == 401
    assert summary.duplicates == 1
    assert summary.reordered == 1
    assert summary.foreign == 2
    assert summary.unreadable == 1
    assert summary.delivered == 398
    assert summary.lost == 2


def encrypted(frame: bytes, key: bytes, nonce: bytes) -> bytes:
    """The frame as the encryptor passes it on: AES-128-CTR over the payload (RFC 3686)."""
    mixed = bytes(n ^ a ^ b for n, a, b in zip(nonce, frame[26:30], frame[30:34], strict=True))
    block = mixed + frame[34:42] + (1).to_bytes(4, "big")
    stream = Cipher(algorithms.AES(key), modes.CTR(block)).encryptor()
    return frame[:PROBE] + stream.update(frame[PROBE:])


def test_encrypted_packets_are_measured_when_the_key_is_given(tmp_path: Path) -> None:
    key, nonce = bytes(range(16)), bytes.fromhex("01020304")
    frames = [probe(flow, number) for number in range(50) for flow in range(3)]
    del frames[60]
    source = write_pcap(tmp_path / "in.pcap", [encrypted(f, key, nonce) for f in frames])
    sink: dict[str, object] = {
        "port": f"net_pcap0,rx_pcap={source}",
        "sink": True,
        "count": len(frames),
    }
    blind, _ = run(**sink)
    assert (blind.unreadable, blind.delivered, blind.lost) == (149, 149, 0)
    summary, _ = run(**sink, key=key.hex(), nonce=nonce.hex())
    assert (summary.unreadable, summary.delivered, summary.lost) == (0, 149, 1)
    assert summary.latency_us is not None
    assert summary.latency_us.count == 149
    wrong, _ = run(**sink, key=bytes(16).hex(), nonce=nonce.hex())
    assert (wrong.unreadable, wrong.latency_us) == (149, None)


def test_flows_that_the_sink_does_not_know_are_foreign(tmp_path: Path) -> None:
    source = write_pcap(tmp_path / "in.pcap", [probe(1, 0), probe(2, 0)])
    summary, _ = run(port=f"net_pcap0,rx_pcap={source}", sink=True, count=2, flows=FlowSet(count=2))
    assert (summary.delivered, summary.foreign) == (1, 1)


def test_packets_that_nobody_returns_are_lost() -> None:
    summary, _ = run(port="net_null0,no-rx=1", rate_pps=10_000.0, duration_s=0.2, drain_ms=50.0)
    assert summary.sent == summary.lost == 2000
    assert summary.loss == 1
    assert summary.latency_us is None


def test_commands_start_change_and_stop_the_rate() -> None:
    options = PktgenOptions(
        port="net_ring0", huge_pages=False, rate_pps=0.0, control=True, max_pps=60_000.0
    )
    with Pktgen(options) as pktgen:
        with pytest.raises(InputError, match="above --max-pps"):
            pktgen.set_rate(60_001)
        pktgen.begin()
        with pytest.raises(InputError, match="running already"):
            pktgen.begin()
        time.sleep(0.2)
        pktgen.set_rate(50_000)
        time.sleep(0.5)
        pktgen.set_rate(0)
        time.sleep(0.2)
        summary = pktgen.stop()
    assert summary.end == "stopped"
    assert 0 < summary.sent == summary.delivered
    assert summary.wanted == pytest.approx(25_000, rel=0.5)


def test_nothing_is_sent_before_start_and_stop_ends_it_even_then() -> None:
    with Pktgen(PktgenOptions(port="net_ring0", huge_pages=False, rate_pps=1e5, control=True)) as p:
        time.sleep(0.2)
        summary = p.stop()
    assert summary == Summary(end="stopped")


def test_a_rate_that_a_trace_sets_is_not_changed_by_command() -> None:
    trace = Trace("flat", np.full(10, 1000.0), step_s=1.0)
    with Pktgen(
        PktgenOptions(port="net_ring0", huge_pages=False, trace=trace, control=True)
    ) as pktgen:
        pktgen.begin()
        with pytest.raises(InputError, match="the trace or capture sets the rate"):
            pktgen.set_rate(5)


def test_the_end_of_standard_input_ends_it() -> None:
    with Pktgen(PktgenOptions(port="net_ring0", huge_pages=False, rate_pps=1e3, control=True)) as p:
        p.begin()
        assert p._process is not None
        assert p._process.stdin is not None
        p._process.stdin.close()
        assert p.wait(30).end == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("huge_pages", [True, False])
def test_a_signal_ends_it_with_a_summary_and_no_leftovers(
    number: signal.Signals, huge_pages: bool
) -> None:
    before = set(Path("/run/dpdk").glob("*"))
    options = PktgenOptions(port="net_ring0", huge_pages=huge_pages, rate_pps=1e5)
    with Pktgen(options) as pktgen:
        time.sleep(0.3)
        own = f"flexnfv-pktgen-{pktgen.pid}"
        os.kill(pktgen.pid, number)
        summary = pktgen.wait(30)
    assert summary.end == "signal"
    assert summary.sent == summary.delivered > 0
    left = set(Path("/run/dpdk").glob("*")) - before
    assert not [path for path in left if path.name == own]
    assert not list(Path("/dev/hugepages").glob(f"{own}*"))


def test_the_search_ends_between_a_rate_that_passed_and_one_that_failed() -> None:
    with Pktgen(
        PktgenOptions(
            port="net_ring0", search=True, max_pps=1e9, min_pps=1000.0, trial_s=0.1, resolution=0.2
        )
    ) as pktgen:
        summary = pktgen.wait(120)
    assert summary.end == "done"
    failed = [trial.pps for trial in pktgen.trials if not trial.passed]
    passed = [trial.pps for trial in pktgen.trials if trial.passed]
    assert pktgen.trials[0].pps == 1e9
    assert summary.lowest_failed_pps == pytest.approx(min(failed))
    if passed:
        assert summary.highest_pps == pytest.approx(max(passed))
        assert max(passed) < min(failed)
        assert min(failed) - max(passed) <= 0.2 * min(failed) + 1
    else:
        assert summary.highest_pps == 0


def test_a_search_whose_highest_rate_passes_takes_one_trial() -> None:
    summary, pktgen = run(search=True, max_pps=2000.0, trial_s=0.2)
    assert [(trial.pps, trial.passed, trial.loss) for trial in pktgen.trials] == [(2000, True, 0)]
    assert summary.highest_pps == 2000
    assert summary.lowest_failed_pps is None


def test_a_search_where_everything_is_lost_finds_nothing() -> None:
    summary, pktgen = run(
        port="net_null0,no-rx=1",
        search=True,
        max_pps=4000.0,
        trial_s=0.05,
        resolution=0.5,
        drain_ms=10.0,
    )
    assert not any(trial.passed for trial in pktgen.trials)
    assert (summary.highest_pps, summary.lowest_failed_pps) == (0, 1000)


def test_a_peer_that_never_comes_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"no link after 0\.2 s; start its peer"):
        Pktgen(
            PktgenOptions(
                port=memif_client(tmp_path / "nobody"),
                rate_pps=1.0,
                link_wait_s=0.2,
                huge_pages=False,
            )
        ).start()


def test_a_device_that_does_not_exist_is_told() -> None:
    with pytest.raises(BackendError, match="--port net_nothing0"):
        Pktgen(PktgenOptions(port="net_nothing0", rate_pps=1.0, huge_pages=False)).start()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--rate 5", "no port"),
        ("--port net_null0", "no rate"),
        ("--port net_null0 --rate -1", "--rate -1: give a number from 0"),
        ("--port net_null0 --rate nan", "--rate nan: give a number"),
        ("--port net_null0 --rate 1 --size 63", "--size 63: give a whole number from 64"),
        ("--port net_null0 --rate 1 --flows 0", "--flows 0: give a whole number from 1"),
        ("--port net_null0 --rate 1 --zipf x", "--zipf x: give a number"),
        ("--port net_null0 --rate 1 --count 1.5", "--count 1.5: give a whole number"),
        ("--port net_null0 --rate 1 --seed -1", "--seed -1: give a whole number"),
        ("--port net_null0 --rate 1 --dst-mac 02:00", "--dst-mac 02:00: give a MAC address"),
        ("--port net_null0 --rate 1 --key 00", "--key: give 32 hexadecimal digits"),
        ("--port net_null0 --rate 1 --cpus 0,", "--cpus 0,: give a list"),
        ("--port net_null0 --rate 1 --cpus 9999", "--cpus 9999: give a list"),
        ("--port net_null0 --rate 1 extra", "'extra' is no option"),
        ("--port net_null0 --rate 9 --max-pps 8", "--rate 9 is above --max-pps 8"),
        ("--port net_null0 --rate max --max-pps 8", "--rate max knows no limit"),
        ("--port net_null0 --search", "--search needs --max-pps"),
        ("--port net_null0 --sink --rate 5", "--sink sends nothing"),
        ("--port net_null0 --rate 1 --trace x.csv", "--trace sets the rate"),
        ("--port net_null0 --rate 1 --rate-scale 2", "--rate-scale is for --trace"),
        ("--port net_null0 --trace no-such.csv", "no-such.csv: No such file"),
        ("--port net_null0 --pcap no-such.pcap", "no-such.pcap: no readable capture"),
    ],
)
def test_contradictions_and_values_out_of_range_are_refused(arguments: str, reason: str) -> None:
    assert refused(*arguments.split()).startswith(reason)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("", "0 samples"),
        ("0,1\n1,-5\n", ":3: a rate of -5"),
        ("0,1\n1,nan\n", ":3: '1,nan' is no sample"),
        ("0,1\n1,1\n5,1\n", ":4: a gap"),
        ("0,1\n1,1\n0.5,1\n", ":4: out of order"),
    ],
)
def test_broken_traces_are_refused_with_their_row(tmp_path: Path, rows: str, reason: str) -> None:
    trace = tmp_path / "bad.csv"
    trace.write_text("t_s,pps\n" + rows)
    assert reason in refused("--port", "net_null0", "--trace", str(trace))


def test_broken_captures_are_refused(tmp_path: Path) -> None:
    whole = write_pcap(tmp_path / "whole.pcap", [bytes(60)] * 3).read_bytes()
    broken = {
        "nothing": (b"", "no readable capture"),
        "no pcap": (b"t_s,pps\n" * 10, "no readable capture"),
        "no packets": (whole[:24], "holds no packets"),
        "cut in a header": (whole[: 24 + 76 + 8], "broken behind packet 1: truncated"),
        "cut in a packet": (whole[:-1], "broken behind packet 2: truncated"),
    }
    for name, (data, reason) in broken.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert reason in refused("--port", "net_null0", "--pcap", str(path)), name
    raw_ip = write_pcap(tmp_path / "raw", [bytes(60)], link=101)
    assert "not on Ethernet" in refused("--port", "net_null0", "--pcap", str(raw_ip))
    empty = write_pcap(tmp_path / "empty", [bytes(60), b""])
    assert "packet 2 is empty" in refused("--port", "net_null0", "--pcap", str(empty))


def test_what_is_too_fast_is_refused_before_it_starts_and_the_possible_named(
    tmp_path: Path,
) -> None:
    trace = Trace("fast", np.array([100.0, 4000.0]), step_s=1.0)
    with pytest.raises(InputError, match=r"peaks at 8000 packets/s.*highest --rate-scale is 0\.25"):
        Pktgen(PktgenOptions(port="net_null0", trace=trace, rate_scale=2.0, max_pps=1000.0)).start()
    capture = write_pcap(tmp_path / "in.pcap", [bytes(60)] * 100, step_ns=1_000_000)
    with pytest.raises(InputError, match=r"peaks at 2000 packets/s.*highest --time-scale is 0\.5"):
        Pktgen(
            PktgenOptions(port="net_null0", capture=capture, time_scale=2.0, max_pps=500.0)
        ).start()


def test_an_existing_capture_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "precious.pcap"
    path.write_bytes(b"precious")
    message = refused("--port", "net_ring0", "--rate", "1", "--write", str(path))
    assert "exists already" in message
    assert path.read_bytes() == b"precious"
