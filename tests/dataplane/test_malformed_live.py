"""Frames that no sound sender produces, through running chains: counted by class, and survived."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, LLC, SNAP, Dot3, Ether
from scapy.packet import Packet, Raw

from tests.dataplane.common_c import CommonC
from tests.dataplane.netns import af_packet, need_programs, peers
from tests.dataplane.peer_chain import between_captures, types, whole
from tests.dataplane.running_manager import Manager, need_dataplane
from tests.dataplane.test_nfs import any_packets

pytestmark = pytest.mark.dataplane

CLASSES = range(9)
PORTS, ADDRESSES, FRAGMENT, ARPS, OTHER, EMPTY, TRUNCATED, MALFORMED, OVERSIZE = CLASSES
NF_VERDICT = 2  # of enum fx_cause
LARGEST = 9728  # FX_FRAME_MAX
NOT_BY_AF_PACKET = {
    "nothing": "Linux sends no less than an Ethernet header",
    "one byte": "the same",
    "13 bytes": "the same",
    "tag cut": "Linux takes the outer VLAN tag off first, and drops what is too short for that",
    "service tag": "DPDK's driver puts the tag back as 802.1Q, whatever it was",
    "first fragment": "DPDK's driver has Linux reassemble IPv4 before",
    "later fragment": "the same",
}
KEY = "key=2b7e151628aed2a6abf7158809cf4f3c"

ETHER = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
FOUR = ETHER / IP(src="192.0.2.1", dst="192.0.2.2")
SIX = ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2")


def changed(packet: Packet | bytes, at: int, value: int, form: str = "B") -> bytes:
    """The frame with one field overwritten."""
    data = bytearray(bytes(packet))
    struct.pack_into("!" + form, data, at, value)
    return bytes(data)


def tagged(tags: int, rest: Packet, tpid: int = 0x8100) -> bytes:
    """The frame with VLAN tags put in."""
    data = bytes(rest)
    return data[:12] + b"".join(struct.pack("!HH", tpid, n + 1) for n in range(tags)) + data[12:]


def table() -> list[tuple[str, bytes, int]]:
    """Name, frame and class: written by hand, from the headers' definitions."""
    tcp, udp = FOUR / TCP() / Raw(b"data"), FOUR / UDP() / Raw(b"data")
    tcp6, udp6 = SIX / TCP() / Raw(b"data"), SIX / UDP() / Raw(b"data")
    extended = SIX
    for _ in range(9):
        extended = extended / IPv6ExtHdrDestOpt()
    first, *later = (bytes(p) for p in fragment(udp / Raw(bytes(2000)), fragsize=1480))
    arp, size = ETHER / ARP(), len(bytes(FOUR / UDP()))
    return [
        ("TCP", bytes(tcp), PORTS),
        ("UDP over IPv6", bytes(udp6), PORTS),
        ("ping", bytes(FOUR / ICMP()), ADDRESSES),
        ("ARP", bytes(arp), ARPS),
        ("LLC", bytes(Dot3(src=ETHER.src, dst=ETHER.dst) / LLC() / SNAP() / Raw(b"x")), OTHER),
        ("first fragment", first, FRAGMENT),
        *(("later fragment", frame, FRAGMENT) for frame in later),
        # Ethernet
        ("nothing", b"", EMPTY),
        ("one byte", b"\2", TRUNCATED),
        ("13 bytes", bytes(tcp)[:13], TRUNCATED),
        ("nothing behind Ethernet", bytes(tcp)[:14], TRUNCATED),
        ("Ethernet of another protocol alone", bytes(ETHER)[:12] + b"\x88\xb5", OTHER),
        ("ARP cut", bytes(arp)[:41], TRUNCATED),
        ("ARP for another link", changed(arp, 14, 6, "H"), OTHER),
        # VLAN stacks
        ("one tag", tagged(1, tcp), PORTS),
        ("two tags", tagged(2, tcp6), PORTS),
        ("service tag", tagged(1, tcp, 0x88A8), PORTS),
        ("three tags", tagged(3, tcp), OTHER),
        ("a hundred tags", tagged(100, tcp), OTHER),
        ("tag cut", tagged(1, tcp)[:17], TRUNCATED),
        ("second tag cut", tagged(2, tcp)[:20], TRUNCATED),
        ("nothing behind two tags", tagged(2, tcp)[:22], TRUNCATED),
        # IPv4
        ("IPv4 header cut", bytes(tcp)[:33], TRUNCATED),
        ("IPv4 options cut", changed(changed(tcp, 14, 0x4F), 16, 100, "H"), TRUNCATED),
        ("IPv4 longer than its frame", changed(tcp, 16, 65535, "H"), TRUNCATED),
        ("IPv4 of version 5", changed(tcp, 14, 0x55), MALFORMED),
        ("IPv4 header of 16 bytes", changed(tcp, 14, 0x44), MALFORMED),
        ("IPv4 shorter than its header", changed(tcp, 16, 19, "H"), MALFORMED),
        # IPv6
        ("IPv6 header cut", bytes(tcp6)[:53], TRUNCATED),
        ("IPv6 longer than its frame", changed(udp6, 18, 65535, "H"), TRUNCATED),
        ("IPv6 of version 7", changed(tcp6, 14, 0x70), MALFORMED),
        ("IPv6 extension cut", bytes(SIX / IPv6ExtHdrDestOpt())[:58], TRUNCATED),
        ("IPv6 extension too long", changed(SIX / IPv6ExtHdrDestOpt(), 55, 255), TRUNCATED),
        ("nine IPv6 extensions", bytes(extended / UDP()), ADDRESSES),
        # TCP and UDP
        ("nothing behind IPv4", bytes(tcp)[:34], TRUNCATED),
        ("TCP ports cut", bytes(tcp)[:37], TRUNCATED),
        ("TCP cut", bytes(tcp)[:53], TRUNCATED),
        ("TCP over IPv6 cut", bytes(tcp6)[:73], TRUNCATED),
        ("TCP header of 16 bytes", changed(tcp, 46, 0x40), MALFORMED),
        ("TCP options cut", changed(tcp, 46, 0xF0), TRUNCATED),
        ("UDP cut", bytes(udp)[:41], TRUNCATED),
        ("UDP data cut", bytes(udp)[:-1], TRUNCATED),
        ("UDP length 7", changed(udp, 38, 7, "H"), MALFORMED),
        ("UDP over IPv6, length 0", changed(udp6, 58, 0, "H"), MALFORMED),
        # jumbo
        ("jumbo", bytes(FOUR / UDP() / Raw(bytes(9000 - size))), PORTS),
        ("largest", bytes(FOUR / UDP() / Raw(bytes(LARGEST - size))), PORTS),
        ("oversize", bytes(FOUR / UDP() / Raw(bytes(LARGEST + 1 - size))), OVERSIZE),
    ]


def by_class(classes: list[int]) -> list[int]:
    return [classes.count(number) for number in CLASSES]


def through_firewall(folder: Path, buffer_bytes: int) -> str:
    """A chain that changes no frame in the end: what one encrypts, another decrypts."""
    rules = folder / "rules"
    rules.write_text("default allow\n")
    names = ["monitor", "forwarder", "encryptor", "decryptor", "firewall"]
    configuration = types(
        names,
        {"decryptor": "encryptor"},
        encryptor=KEY,
        decryptor=KEY,
        firewall=f"rules={rules}",
    )
    return configuration + f"set mbuf_bytes={buffer_bytes} mbufs=8192\n"


def test_every_malformed_frame_is_counted_in_its_class(tmp_path: Path) -> None:
    rows = [row for row in table() for _ in range(20)]
    random.Random(7).shuffle(rows)
    configuration = through_firewall(tmp_path, 10240)
    got, page = between_captures(tmp_path, configuration, [frame for _, frame, _ in rows])
    assert list(page.class_count) == by_class([kind for _, _, kind in rows])
    sound = [frame for _, frame, kind in rows if kind < EMPTY]
    assert got == sound
    assert page.dropped[NF_VERDICT] == len(rows) - len(sound)


def test_a_frame_longer_than_a_buffer_is_counted_and_passes_unchanged(tmp_path: Path) -> None:
    """A device chains buffers for it; headers in the first are all that an NF looks at."""
    frames = [
        bytes(FOUR / UDP(sport=number) / Raw(random.Random(number).randbytes(9000)))
        for number in range(200)
    ]
    got, page = between_captures(tmp_path, types(["monitor", "forwarder"]), frames)
    assert got == frames
    assert page.class_count[TRUNCATED] == len(frames)


def test_random_frames_harm_no_nf(tmp_path: Path) -> None:
    rng = random.Random(8)
    seeds = [frame for _, frame, _ in table()] + [bytes(p) for p in any_packets(rng, 200)]
    frames = [mutated(rng, rng.choice(seeds)) for _ in range(20_000)]
    (tmp_path / "rules").write_text("allow udp any any any 1-1000\ndefault allow\n")
    (tmp_path / "routes").write_text(
        "0.0.0.0/0 via 02:00:00:00:00:01\n::/0 via 02:00:00:00:00:02\n"
    )
    configuration = types(
        ["monitor", "forwarder", "burn", "encryptor", "nat", "router", "firewall"],
        burn="ns=100",
        nat="inside=192.0.2.0/24 outside=203.0.113.7",
        router=f"routes={tmp_path}/routes",
        firewall=f"rules={tmp_path}/rules",
    )
    configuration += "set mbuf_bytes=10240 mbufs=8192\n"
    _, page = between_captures(tmp_path, configuration, frames)
    common = CommonC(tmp_path)
    flow = common.ffi.new("struct fx_flow *")
    wanted = by_class([common.lib.fx_parse(frame, len(frame), flow) for frame in frames])
    assert list(page.class_count) == wanted
    assert min(wanted) > 0


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """The frame with bits flipped, bytes put in, or an end cut off."""
    data = bytearray(frame)
    for _ in range(rng.randrange(4)):
        if data and rng.random() < 0.8:
            data[rng.randrange(min(len(data), 80))] = rng.choice([0, 255, rng.randrange(256)])
        elif rng.random() < 0.5:
            at = rng.randrange(len(data) + 1)
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def test_malformed_frames_from_a_host_leave_its_neighbour_reachable(tmp_path: Path) -> None:
    need_dataplane()
    need_programs("ip", "ethtool", "ping")
    rows = [row for row in table() if row[0] not in NOT_BY_AF_PACKET]
    with peers(ipv6=False, mtu=12_000) as (left, right):
        ports = [
            af_packet(peer, number, frame_bytes=16384, frames=512)
            for number, peer in enumerate((left, right))
        ]
        configuration = through_firewall(tmp_path, 16384) + "".join(ports)
        with Manager(tmp_path, configuration) as manager:
            for here, there in ((left, right), (right, left)):
                before = list(manager.page().class_count)
                sound = [frame for _, frame, kind in rows if kind < EMPTY]
                with there.wire() as wire, here.wire() as out:
                    for _, frame, _ in rows:
                        out.send(frame)
                    got = wire.take(len(sound))
                whole(manager)
                counts = [
                    now - then for now, then in zip(manager.page().class_count, before, strict=True)
                ]
                assert counts == by_class([kind for _, _, kind in rows])
                assert got == sound
            for here, there in ((left, right), (right, left)):
                assert here.reaches(there.ipv4, size=8000) == (20, 20)
            whole(manager)
