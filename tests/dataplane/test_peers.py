"""Programs that know nothing of FlexNFV talk through its chains, both ways."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.dataplane.netns import Peer, af_packet, await_true, need_programs, peers
from tests.dataplane.pcap_files import read_pcap
from tests.dataplane.peer_chain import between_captures, settled, types, whole
from tests.dataplane.running_manager import Manager, need_dataplane
from tests.dataplane.test_nfs import any_packets, decrypted

pytestmark = pytest.mark.dataplane

FRAGMENT, ARP = 2, 3  # of enum fx_class
NF_VERDICT = 2  # of enum fx_cause
KEY = "2b7e151628aed2a6abf7158809cf4f3c"
REPLAY_PPS = 15_000
"""Far below what af_packet over veth carries without loss (200 kpps), for a busy machine:
the port's ring of 16,384 frames holds a second of it."""

SEGMENT_BYTES = 1448  # of an Ethernet frame that TCP with timestamps fills
TESTPMD_BURST = 32
TESTPMD_BURSTS = 150
"""4,800 packets a port: what a memif ring of 8,192 descriptors holds, whoever is slow."""
MOST_RETRANSMITS = 0.01
"""Of the segments. TCP finds a path's rate by losing packets where a queue overflows, a few in a
thousand; reordering, or a chain that loses in the midst of its rate, costs many per cent."""

RULES = """
allow tcp  10.77.0.0/24 any 10.77.0.0/24 any
deny  udp  10.77.0.0/24 any 10.77.0.0/24 9
default allow
"""

CHAINS = {"monitor": ["monitor"], "three": ["monitor", "forwarder", "firewall"]}


def captures() -> list[Path]:
    folder = os.environ.get("FLEXNFV_TRACES")
    return sorted(Path(folder, "pcap").glob("*.pcap.gz")) if folder else []


@dataclass
class Line:
    """Two hosts and the chain between them."""

    manager: Manager
    left: Peer
    right: Peer
    names: list[str]

    def ways(self) -> list[tuple[Peer, Peer]]:
        return [(self.left, self.right), (self.right, self.left)]


@pytest.fixture(scope="module", params=CHAINS)
def line(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    """One chain for all tests of this module, one after the other."""
    need_dataplane()
    need_programs("ip", "ethtool")
    names = CHAINS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    rules = folder / "rules"
    rules.write_text(RULES)
    with peers() as (left, right):
        configuration = types(names, firewall=f"rules={rules}")
        configuration += af_packet(left, 0) + af_packet(right, 1)
        manager = Manager(folder, configuration)
        try:
            yield Line(manager.__enter__(), left, right, names)
        finally:
            assert manager.end() == 0


@pytest.fixture(autouse=True)
def accounts(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test on a line, its accounts are whole."""
    yield
    if "line" in request.fixturenames:
        whole(request.getfixturevalue("line").manager)


def test_ping_and_arp_pass(line: Line) -> None:
    need_programs("ping")
    before = line.manager.page().class_count[ARP]
    for here, there in line.ways():
        for address in (there.ipv4, there.ipv6):
            assert here.reaches(address) == (20, 20)
        assert here.reaches(there.ipv4, size=1472) == (20, 20)  # full frames
        assert here.neighbours()[there.ipv4] == there.mac
    assert line.manager.page().class_count[ARP] >= before + 2  # a request and its reply


def test_ipv6_fragments_pass(line: Line) -> None:
    """IPv4's never reach an af_packet port: DPDK 22.11 has the kernel reassemble them before."""
    need_programs("ping")
    before = line.manager.page().class_count[FRAGMENT]
    for here, there in line.ways():
        assert here.reaches(there.ipv6, size=4000) == (20, 20)
    assert line.manager.page().class_count[FRAGMENT] >= before + 2 * 2 * 20 * 3


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_iperf3_has_no_retransmit_storm(line: Line, reverse: bool) -> None:
    need_programs("iperf3")
    with line.right.serve("iperf3", "--server", "--one-off", "--forceflush", ready="listening"):
        options = ["--time", "2", "--json", *(["--reverse"] if reverse else [])]
        text = line.left.execute("iperf3", "--client", line.right.ipv4, *options)
    end = json.loads(text)["end"]
    segments = end["sum_sent"]["bytes"] / SEGMENT_BYTES
    assert segments > 1000
    assert end["sum_sent"]["retransmits"] <= MOST_RETRANSMITS * segments


@pytest.mark.parametrize("capture", captures() or [None], ids=lambda path: path and path.name)
def test_replayed_captures_arrive_byte_for_byte(
    line: Line, capture: Path | None, tmp_path: Path
) -> None:
    if capture is None:
        pytest.skip("FLEXNFV_TRACES names no folder with captures")
    need_programs("tcpreplay")
    source = tmp_path / "capture.pcap"
    source.write_bytes(gzip.decompress(capture.read_bytes()))
    frames = read_pcap(source)
    for here, there in line.ways():
        # Kernel queues overflow where others keep the cores busy, so a slower try follows.
        for pps in (REPLAY_PPS, REPLAY_PPS // 4, REPLAY_PPS // 10):
            with there.wire() as wire:
                here.execute(
                    *("tcpreplay", "--quiet", "--preload-pcap", f"--pps={pps}"),
                    *("--intf1=eth0", source),
                )
                got = wire.take(len(frames), ignore={here.mac, there.mac})
            if len(got) == len(frames):
                break
        assert len(got) == len(frames)
        assert got == frames


def test_firewall_drops_what_its_rule_denies(line: Line) -> None:
    denied = 50 if "firewall" in line.names else 0
    before = line.manager.page()
    with line.right.wire() as wire, line.left.wire() as out:
        for number in range(100):
            port = 9 if number % 2 else 10
            datagram = IP(src=line.left.ipv4, dst=line.right.ipv4) / UDP(sport=4000, dport=port)
            out.send(bytes(Ether(src=line.left.mac, dst=line.right.mac) / datagram / b"probe"))
        wanted = [9, 10] if denied == 0 else [10]
        probes = 0
        while probes < 100 - denied:
            (frame,) = wire.take(1)
            packet = Ether(frame)
            if frame.endswith(b"probe") and UDP in packet:
                assert packet[UDP].dport in wanted
                probes += 1
    page = settled(line.manager)
    assert page.dropped[NF_VERDICT] - before.dropped[NF_VERDICT] == denied


# --- captures as ports ---------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["monitor"], ["monitor", "forwarder"]], ids=",".join)
def test_capture_in_is_capture_out(names: list[str], tmp_path: Path) -> None:
    rng = random.Random(5)
    frames = [bytes(packet) for packet in any_packets(rng, 5000)]
    whole = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(bytes(9000))
    frames += [bytes(packet) for packet in fragment(whole, fragsize=1480)]
    assert between_captures(tmp_path, types(names), frames)[0] == frames


def test_encrypted_capture_is_decrypted_by_another_aes(tmp_path: Path) -> None:
    frames = [bytes(packet) for packet in any_packets(random.Random(6), 2000)]
    names = ["monitor", "forwarder", "encryptor"]
    got, _ = between_captures(tmp_path, types(names, encryptor=f"key={KEY}"), frames)
    assert [decrypted(frame, bytes.fromhex(KEY)) for frame in got] == frames
    assert got != frames


# --- another DPDK program ------------------------------------------------------------------------


def test_testpmd_sends_and_counts_through_the_chain(tmp_path: Path) -> None:
    need_dataplane()
    need_programs("dpdk-testpmd")
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    configuration = types(CHAINS["three"], firewall=f"rules={rules}")
    sockets = [tmp_path / f"memif{number}.sock" for number in range(2)]
    for number, path in enumerate(sockets):
        device = f"net_memif{number},role=client,socket={path},socket-abstract=no,rsize=13"
        configuration += f"port {device}\n"
    sent = 2 * TESTPMD_BURSTS * TESTPMD_BURST
    with Testpmd(sockets) as testpmd, Manager(tmp_path, configuration) as manager:
        # A client's link is the last to come up.
        manager.until(lambda: all(manager.page().port[n].link_up for n in range(2)), "the links")
        testpmd.say("set fwd rxonly", f"start tx_first {TESTPMD_BURSTS}")
        manager.until(lambda: manager.page().delivered >= sent, "all packets")
        counted = testpmd.end()
        whole(manager)
        page = manager.page()
    for number in range(2):
        assert counted[number]["TX-packets"] == page.port[number].received == sent // 2
        assert counted[number]["RX-packets"] == page.port[number].sent == sent // 2
        assert counted[number]["RX-bytes"] == counted[1 - number]["TX-bytes"]


class Testpmd:
    """`dpdk-testpmd` on two memif ports whose sockets it makes; it takes orders line by line."""

    __test__ = False

    def __init__(self, sockets: list[Path]) -> None:
        self._sockets = sockets
        self._prefix = f"fxtestpmd{os.getpid()}"
        self._process = subprocess.Popen(
            [
                *("dpdk-testpmd", "-l", "0,1"),
                *("--no-pci", "--no-telemetry", "-m", "128", "--single-file-segments"),
                f"--file-prefix={self._prefix}",
                *(
                    f"--vdev=net_memif{number},role=server,socket={path},socket-abstract=no"
                    for number, path in enumerate(sockets)
                ),
                *(
                    "--",
                    "-i",
                    "--total-num-mbufs=32768",
                    "--txonly-multi-flow",
                    f"--burst={TESTPMD_BURST}",
                ),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        await_true(lambda: all(path.exists() for path in self._sockets), "dpdk-testpmd's sockets")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        # DPDK programs leave these behind: the folder always, the pages when they are killed.
        shutil.rmtree(Path("/var/run/dpdk", self._prefix), ignore_errors=True)
        for page in Path("/dev/hugepages").glob(f"{self._prefix}map_*"):
            page.unlink()

    def say(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines))
        self._process.stdin.flush()

    def end(self) -> list[dict[str, int]]:
        """Its counters, port by port, at its end."""
        text, _ = self._process.communicate("stop\nshow port stats all\nquit\n", timeout=30)
        assert self._process.returncode == 0, text
        shown = text.split("NIC statistics for port ")[1:]
        return [
            {name: int(value) for name, value in re.findall(r"([RT]X-\w+): +(\d+)", part)}
            for part in shown
        ]
