"""What each NF does to packets: a capture in, the NF in bursts, a capture out."""

from __future__ import annotations

import ipaddress
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from flexnfv.flows import hash_fold
from flexnfv.mapping import BUCKETS
from tests.dataplane.pcap_files import read_pcap, write_pcap
from tests.dataplane.running_manager import (
    BUILD,
    MANAGER,
    RUNNING,
    Manager,
    need_dataplane,
)

pytestmark = pytest.mark.dataplane

NF_VERDICT = 2
"""FX_CAUSE_NF: the index of what NFs dropped in a page's losses."""

ETHER = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")

Run = Callable[..., list[bytes]]


def alone(name: str, args: str, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Runs one NF over a capture, without a manager."""
    return subprocess.run(
        [BUILD / "tests" / "nf_alone", name, args, source, target],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def managed(name: str, args: str, source: Path, target: Path, keys: str = "max=1") -> Any:
    """Runs the capture through a chain of one NF type under a manager; its last page."""
    folder = target.parent / f"manager_{target.stem}_{name}"
    folder.mkdir(exist_ok=True)
    frames = len(read_pcap(source))
    configuration = (
        "set law=0 entry=hold status_ms=20\n"
        f"type nf function={name} {keys} args={args}\n"
        "chain main types=nf\n"
        f"port net_pcap0,rx_pcap={source},tx_pcap={target} peer=0\n"
    )
    with Manager(folder, configuration) as manager:

        def through() -> Any:
            page = manager.page()
            return page if page.offered == frames and page.in_flight == 0 else None

        return manager.until(through, f"{frames} packets through the NF")


@pytest.fixture(params=["alone", "managed"])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """run(name, args, packets): the frames that the NF lets pass, alone and under a manager."""
    if request.param == "managed":
        need_dataplane()

    def run(name: str, args: str, packets: list[Any]) -> list[bytes]:
        source = write_pcap(tmp_path / "in.pcap", [bytes(packet) for packet in packets])
        target = tmp_path / f"out{len(list(tmp_path.iterdir()))}.pcap"
        if request.param == "alone":
            result = alone(name, args, source, target)
            assert result.returncode == 0, result.stderr
            frames = read_pcap(target)
            assert f"packets={len(packets)} passed={len(frames)} " in result.stderr
        else:
            page = managed(name, args, source, target)
            frames = read_pcap(target)
            assert page.delivered == len(frames)
            assert list(page.dropped) == [
                len(packets) - len(frames) if cause == NF_VERDICT else 0
                for cause in range(len(page.dropped))
            ]
        return frames

    return run


def refused(tmp_path: Path, name: str, args: str) -> str:
    """The one line with which an NF refuses its arguments."""
    source = write_pcap(tmp_path / "in.pcap", [])
    result = alone(name, args, source, tmp_path / "out.pcap")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith(f"{name}: ")
    return result.stderr.strip()


def sound(frame: bytes) -> Packet:
    """The frame, decoded, after its checksums were found right."""
    packet = Ether(frame)
    fresh = packet.copy()
    for layer in (IP, TCP, UDP, ICMP):
        if layer in fresh:
            del fresh[layer].chksum
    assert bytes(fresh) == frame
    return packet


def any_packets(rng: random.Random, count: int) -> list[Packet]:
    """TCP and UDP over IPv4 and IPv6, with and without a VLAN tag, of many lengths."""
    packets = []
    for _ in range(count):
        transport = rng.choice([TCP, UDP])(sport=rng.randrange(65536), dport=rng.randrange(65536))
        if transport.name == "TCP":
            transport.seq = rng.randrange(1 << 32)
            transport.options = rng.choice([[], [("MSS", 1460)], [("Timestamp", (1, 2))]])
        if rng.random() < 0.6:
            network = IP(src=f"10.{rng.randrange(256)}.0.1", dst="192.0.2.9")
        else:
            network = IPv6(src="2001:db8::1", dst=f"2001:db8:1::{rng.randrange(1, 65536):x}")
        link = ETHER / Dot1Q(vlan=7) if rng.random() < 0.2 else ETHER
        length = rng.choice([0, 1, 15, 16, 17, 18, 100, 1400])
        packets.append(link / network / transport / Raw(rng.randbytes(length)))
    return packets


# --- encryptor -----------------------------------------------------------------------------------


def decrypted(frame: bytes, key: bytes, nonce: int = 0) -> bytes:
    """The frame with its payload turned back by another AES, by the rule that the NF states."""
    packet = Ether(frame)
    network = packet[IP] if IP in packet else packet[IPv6]
    transport = packet[TCP] if TCP in packet else packet[UDP]
    end = len(frame) - len(packet.getlayer("Padding") or b"")
    start = end - len(transport.payload)
    header = bytes(transport)[:8]
    for address in (network.src, network.dst):
        packed = ipaddress.ip_address(address).packed
        for word in struct.unpack(f"!{len(packed) // 4}I", packed):
            nonce ^= word
    block = struct.pack("!I", nonce) + header + struct.pack("!I", 1)
    cipher = Cipher(algorithms.AES(key), modes.CTR(block)).decryptor()
    return frame[:start] + cipher.update(frame[start:end]) + frame[end:]


def test_encryptor_is_decrypted_by_another_aes(run: Run) -> None:
    packets = [bytes(packet) for packet in any_packets(random.Random(1), 500)]
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    frames = run("encryptor", f"key={key.hex()} nonce=00c0ffee", packets)
    assert [decrypted(frame, key, 0x00C0FFEE) for frame in frames] == packets
    changed = sum(one != other for one, other in zip(frames, packets, strict=True))
    assert changed > 400  # all that have a payload, but for a byte that encrypts to itself


def test_encryptor_with_the_same_key_restores_the_packets(run: Run) -> None:
    packets = [bytes(packet) for packet in any_packets(random.Random(2), 300)]
    assert run("encryptor", "", run("encryptor", "", packets)) == packets


def test_encryptor_leaves_ethernet_padding_alone(run: Run) -> None:
    packet = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(b"ab"))
    padded = packet + bytes(60 - len(packet))
    (frame,) = run("encryptor", "", [padded])
    assert frame[len(packet) :] == padded[len(packet) :]
    assert frame != padded


def others() -> list[Packet]:
    whole = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(bytes(3000))
    return [
        ETHER / ARP(),
        ETHER / IP() / ICMP() / Raw(b"echo"),
        *fragment(whole, fragsize=1480),
        ETHER / IP(len=500) / UDP(len=480) / Raw(b"cut short"),
    ]


def test_encryptor_passes_or_drops_what_it_cannot_encrypt(run: Run) -> None:
    packets = [bytes(packet) for packet in others()]
    assert run("encryptor", "", packets) == packets
    assert run("encryptor", "others=drop", packets) == []


# --- firewall ------------------------------------------------------------------------------------

PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "any": None, "47": 47}


def test_firewall_takes_the_first_rule_that_matches(run: Run, tmp_path: Path) -> None:
    rng = random.Random(3)
    passed = 0
    path = tmp_path / "rules"
    for default in ("allow", "deny") * 3:
        rules = [random_rule(rng) for _ in range(15)]
        text = "\n".join(" ".join(rule) for rule in rules)
        path.write_text(f"# first match wins\n\n{text}\ndefault {default}  # else\n")
        packets = [random_packet(rng) for _ in range(300)]
        wanted = [bytes(p) for p in packets if allowed(p, rules, default)]
        assert run("firewall", f"rules={path}", packets) == wanted
        passed += len(wanted)
    assert 300 < passed < 1500


def random_rule(rng: random.Random) -> list[str]:
    version = rng.choice([4, 4, 6])

    def prefix() -> str:
        if rng.random() < 0.25:
            return "any"
        network, lengths = (
            ("10.0.0.0", (8, 25, 26, 27, 32))
            if version == 4
            else ("2001:db8::", (32, 121, 122, 123, 128))
        )
        length = rng.choice(lengths)
        base = int(ipaddress.ip_address(network)) + rng.randrange(256)
        size = 32 if version == 4 else 128
        address = base >> (size - length) << (size - length)
        made = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        return f"{made(address)}/{length}"

    protocol = rng.choice(list(PROTOCOLS))
    ports = ["any", "any"]
    if protocol in ("tcp", "udp"):
        low = rng.randrange(8)
        ports = rng.choices(["any", f"{low}", f"{low}-{rng.randrange(low, 9)}", "0-65535"], k=2)
    return [rng.choice(["allow", "deny"]), protocol, prefix(), ports[0], prefix(), ports[1]]


def random_packet(rng: random.Random) -> Packet:
    transport = rng.choice(
        [
            TCP(sport=rng.randrange(9), dport=rng.randrange(9)),
            UDP(sport=rng.randrange(9), dport=rng.randrange(9)),
            ICMP() / Raw(bytes(8)),
        ]
    )
    if rng.random() < 0.6:
        return (
            ETHER
            / IP(src=f"10.0.0.{rng.randrange(256)}", dst=f"10.0.0.{rng.randrange(256)}")
            / transport
        )
    source, target = rng.randrange(256), rng.randrange(256)
    network = IPv6(src=f"2001:db8::{source:x}", dst=f"2001:db8::{target:x}")
    if ICMP in transport:
        return ETHER / network / Raw(bytes(8))  # next header 59: none
    return ETHER / network / transport


def allowed(packet: Packet, rules: list[list[str]], default: str) -> bool:
    """The rules as a person reads them."""
    network = packet[IP] if IP in packet else packet[IPv6]
    protocol = network.proto if IP in packet else network.nh
    transport = packet.getlayer(TCP) or packet.getlayer(UDP)
    for action, name, source, source_ports, target, target_ports in rules:
        if PROTOCOLS[name] not in (None, protocol):
            continue
        if not all(
            text == "any" or ipaddress.ip_address(address) in ipaddress.ip_network(text)
            for text, address in ((source, network.src), (target, network.dst))
        ):
            continue
        ports = (transport.sport, transport.dport) if transport else (0, 0)
        if all(
            text == "any" or int(text.split("-")[0]) <= port <= int(text.split("-")[-1])
            for text, port in ((source_ports, ports[0]), (target_ports, ports[1]))
        ):
            return action == "allow"
    return default == "allow"


def test_firewall_judges_fragments(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(
        "deny udp any any any 53\nallow udp any any any 80\ndeny any 10.6.6.0/24 any any any\n"
        "default deny\n"
    )
    to_53 = [ETHER / p for p in fragment(IP(src="10.0.0.1") / UDP(dport=53) / Raw(bytes(3000)))]
    to_80 = [ETHER / p for p in fragment(IP(src="10.0.0.1") / UDP(dport=80) / Raw(bytes(3000)))]
    six = IPv6(src="2001:db8::1", dst="2001:db8::2")
    first = ETHER / six / IPv6ExtHdrFragment(m=1, nh=17) / UDP(dport=53) / Raw(bytes(64))
    later = ETHER / six / IPv6ExtHdrFragment(offset=9, nh=17) / Raw(bytes(64))
    tiny = ETHER / IP(flags="MF", proto=17) / Raw(b"\0\1\0\x50")  # its ports, and no more
    packets = [*to_53, *to_80, first, later, tiny]
    # A later fragment matches the allow rule whatever its datagram's ports; without its first
    # fragment nobody can put it together.
    wanted = [*to_53[1:], *to_80, later]
    assert run("firewall", f"rules={rules}", packets) == [bytes(packet) for packet in wanted]


def test_firewall_passes_what_is_not_ip_and_drops_what_is_unsound(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("default deny\n")
    arp = bytes(ETHER / ARP())
    assert run("firewall", f"rules={rules}", [arp, ETHER / IP() / UDP()]) == [arp]
    rules.write_text("default allow\n")
    cut = bytes(ETHER / IP(len=100) / UDP(len=80))
    assert run("firewall", f"rules={rules}", [cut, b"\0" * 9, arp]) == [arp]


# --- router --------------------------------------------------------------------------------------


def mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def test_router_takes_the_longest_prefix(run: Run, tmp_path: Path) -> None:
    rng = random.Random(4)
    prefixes = {"0.0.0.0/0", "128.0.0.0/1", "::/0", "10.0.0.0/8", "2001:db8::/32"}
    for _ in range(400):
        length, base = rng.randrange(9, 33), 10 << 24 | rng.randrange(1 << 12)
        prefixes.add(f"{ipaddress.IPv4Address(base >> (32 - length) << (32 - length))}/{length}")
        length, base = rng.randrange(33, 129), 0x20010DB8 << 96 | rng.randrange(1 << 12)
        prefixes.add(f"{ipaddress.IPv6Address(base >> (128 - length) << (128 - length))}/{length}")
    routes = list(prefixes)
    rng.shuffle(routes)
    path = tmp_path / "routes"
    path.write_text("".join(f"{p} via {mac(i)} from {mac(9999)}\n" for i, p in enumerate(routes)))
    packets = []
    for _ in range(1000):
        low = rng.randrange(1 << 12)
        four = rng.choice([f"10.0.{low >> 8}.{low & 255}", "192.0.2.1", "99.1.1.1"])
        network = (
            IP(dst=four, ttl=rng.randrange(2, 256))
            if rng.random() < 0.5
            else IPv6(dst=rng.choice([f"2001:db8::{low:x}", "fd00::1"]), hlim=rng.randrange(2, 256))
        )
        packets.append(ETHER / network / UDP())

    def forwarded(packet: Packet) -> bytes:
        network = packet[IP] if IP in packet else packet[IPv6]
        target = ipaddress.ip_address(network.dst)
        matching = [
            (net.prefixlen, i)
            for i, net in enumerate(networks)
            if net.version == target.version and target in net
        ]
        copy = Ether(bytes(packet))
        copy.dst, copy.src = mac(max(matching)[1]), mac(9999)
        if IP in copy:
            copy[IP].ttl -= 1
            del copy[IP].chksum
        else:
            copy[IPv6].hlim -= 1
        return bytes(copy)

    networks = [ipaddress.ip_network(p) for p in routes]
    assert run("router", f"routes={path}", packets) == [forwarded(p) for p in packets]


def test_router_drops_what_it_cannot_forward(run: Run, tmp_path: Path) -> None:
    routes = tmp_path / "routes"
    routes.write_text(f"10.0.0.0/8 via {mac(1)}\n10.1.0.0/16 drop\n")
    good = ETHER / IP(dst="10.2.3.4", ttl=2) / UDP()
    arp = ETHER / ARP()
    packets = [
        good,
        ETHER / IP(dst="10.2.3.4", ttl=1) / UDP(),
        ETHER / IP(dst="10.1.3.4") / UDP(),
        ETHER / IP(dst="11.0.0.1") / UDP(),
        ETHER / IPv6(dst="2001:db8::1") / UDP(),
        ETHER / IP(dst="10.2.3.4", chksum=1) / UDP(),
        arp,
    ]
    frames = run("router", f"routes={routes}", packets)
    assert len(frames) == 2
    assert frames[1] == bytes(arp)
    assert Ether(frames[0])[IP].ttl == 1
    assert Ether(frames[0]).dst == mac(1)
    assert Ether(frames[0]).src == ETHER.src  # no `from`: the source address stays


def huge_bytes(prefix: str) -> int:
    """Huge-page memory of a manager and its NFs."""
    return sum(file.stat().st_blocks * 512 for file in Path("/dev/hugepages").glob(f"{prefix}map*"))


def four_run(manager: Manager) -> bool:
    """Asks for four instances, for as long as one of them is not there."""
    manager.command("DECISION", targets=[4])
    return manager.states(0) == [RUNNING] * 4


def test_instances_share_a_table_and_the_killed_leak_none(tmp_path: Path) -> None:
    need_dataplane()
    routes = tmp_path / "routes"
    routes.write_text(f"0.0.0.0/0 via {mac(1)}\n")
    configuration = (
        f"set law=0\ntype nf function=router max=4 mapping=even args=routes={routes}\n"
        "chain main types=nf\nport net_null0\n"
    )
    with Manager(tmp_path, configuration) as manager:
        one = huge_bytes(manager.prefix)
        assert one > 64 << 20
        manager.until(lambda: four_run(manager), "four instances")
        for kills in range(1, 6):
            manager.command("KILL", nf=0, slot=2)
            # Until the page tells of the death it shows the instance as running still.
            manager.until(
                lambda kills=kills: manager.page().type[0].deaths == kills, "a death on the page"
            )
            manager.until(lambda: four_run(manager), "four instances again")
        assert huge_bytes(manager.prefix) < one + (8 << 20)


# --- nat -----------------------------------------------------------------------------------------

OUTSIDE = "203.0.113.7"
NAT = f"inside=10.0.0.0/8 outside={OUTSIDE}"


def fold(address: str) -> int:
    number = int(ipaddress.ip_address(address))
    return number >> 16 ^ number & 0xFFFF


def kept_port(source: str, port: int) -> int:
    """The outside port with which the flow's hash stays as it was."""
    return port ^ fold(source) ^ fold(OUTSIDE)


def client(number: int) -> tuple[str, int]:
    """An inside endpoint whose kept port is 20000 + number."""
    source = f"10.0.{number >> 8}.{number & 255}"
    return source, (20000 + number) ^ fold(source) ^ fold(OUTSIDE)


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_nat_translates_and_turns_answers_back(run: Run, transport: Any) -> None:
    packets = []
    for number in range(300):
        source, port = client(number)
        packets.append(
            ETHER / IP(src=source, dst="192.0.2.1") / transport(sport=port, dport=80) / Raw(b"ask")
        )
        packets.append(
            ETHER
            / IP(src="192.0.2.1", dst=OUTSIDE)
            / transport(sport=80, dport=kept_port(source, port))
            / Raw(b"answer")
        )
    frames = [sound(frame) for frame in run("nat", NAT, packets)]
    assert len(frames) == len(packets)
    for number, (out, back) in enumerate(zip(frames[0::2], frames[1::2], strict=True)):
        source, port = client(number)
        assert (out[IP].src, out[transport].sport) == (OUTSIDE, kept_port(source, port))
        assert (back[IP].dst, back[transport].dport) == (source, port)
        assert out[Raw].load == b"ask"
        assert back[Raw].load == b"answer"


def test_nat_keeps_both_directions_in_one_flow_bucket(run: Run) -> None:
    """Also where the kept port is taken: many hosts, one source port, one remote."""
    packets = [
        ETHER
        / IP(src=f"10.{n % 3}.{n >> 8}.{n & 255}", dst="192.0.2.1")
        / UDP(sport=5000, dport=53)
        for n in range(1500)
    ]
    frames = [sound(frame) for frame in run("nat", NAT, packets)]
    assert len({frame[UDP].sport for frame in frames}) == len(packets)
    for packet, frame in zip(packets, frames, strict=True):
        before = hash_fold(fold(packet[IP].src) ^ fold("192.0.2.1") ^ 5000 ^ 53)
        after = hash_fold(fold(OUTSIDE) ^ fold("192.0.2.1") ^ frame[UDP].sport ^ 53)
        assert before % BUCKETS == after % BUCKETS
        assert frame[UDP].sport >= 1024


def test_nat_keeps_a_connections_port(run: Run) -> None:
    source, port = client(1)
    packet = ETHER / IP(src=source, dst="192.0.2.1") / TCP(sport=port, dport=80)
    frames = [sound(frame) for frame in run("nat", NAT, [packet] * 100)]
    assert {frame[TCP].sport for frame in frames} == {kept_port(source, port)}


def test_nat_leaves_a_udp_packet_without_a_checksum_without_one(run: Run) -> None:
    packet = ETHER / IP(src="10.0.0.1", dst="192.0.2.1") / UDP(sport=5000, chksum=0) / Raw(b"x")
    (frame,) = run("nat", NAT, [packet])
    assert Ether(frame)[UDP].chksum == 0


def test_nat_translates_echo_requests_and_their_replies(run: Run) -> None:
    packets = [
        ETHER / IP(src="10.0.0.5", dst="192.0.2.1") / ICMP(type=8, id=4000, seq=1) / Raw(b"ping"),
        ETHER / IP(src="192.0.2.1", dst=OUTSIDE) / ICMP(type=0, id=4000, seq=1) / Raw(b"ping"),
        ETHER / IP(src="10.0.0.6", dst="192.0.2.1") / ICMP(type=8, id=4000, seq=1) / Raw(b"ping"),
    ]
    out, back, other = (sound(frame) for frame in run("nat", NAT, packets))
    assert (out[IP].src, out[ICMP].id) == (OUTSIDE, 4000)
    assert (back[IP].dst, back[ICMP].id) == ("10.0.0.5", 4000)
    assert other[IP].src == OUTSIDE
    assert other[ICMP].id != 4000


@pytest.mark.parametrize("transport", [TCP, UDP])
@pytest.mark.parametrize("quoted_bytes", [28, 200])
def test_nat_turns_icmp_errors_back_with_what_they_quote(
    run: Run, transport: Any, quoted_bytes: int
) -> None:
    source, port = client(9)
    ask = IP(src=source, dst="192.0.2.1") / transport(sport=port, dport=80) / Raw(bytes(40))
    translated = (
        IP(src=OUTSIDE, dst="192.0.2.1")
        / transport(sport=kept_port(source, port), dport=80)
        / Raw(bytes(40))
    )
    error = (
        ETHER
        / IP(src="198.51.100.1", dst=OUTSIDE)
        / ICMP(type=3, code=4)
        / Raw(bytes(translated)[:quoted_bytes])
    )
    _, frame = run("nat", NAT, [ETHER / ask, error])
    back = Ether(frame)
    assert back[IP].dst == source
    body = bytes(back[ICMP].payload)
    assert body == bytes(ask)[:quoted_bytes]  # byte for byte what the sender sent, sums included
    assert checksum(bytes(back[ICMP])) == 0
    assert checksum(bytes(back[IP])[:20]) == 0


def test_nat_turns_icmp_errors_from_inside(run: Run) -> None:
    source, port = client(9)
    ask = IP(src=source, dst="192.0.2.1") / UDP(sport=port, dport=80) / Raw(b"?")
    answer = IP(src="192.0.2.1", dst=source) / UDP(sport=80, dport=port) / Raw(b"!")
    error = ETHER / IP(src=source, dst="192.0.2.1") / ICMP(type=3, code=3) / Raw(bytes(answer))
    _, frame = run("nat", NAT, [ETHER / ask, error])
    out = Ether(frame)
    assert out[IP].src == OUTSIDE
    seen = (
        IP(src="192.0.2.1", dst=OUTSIDE) / UDP(sport=80, dport=kept_port(source, port)) / Raw(b"!")
    )
    assert bytes(out[ICMP].payload) == bytes(seen)
    assert checksum(bytes(out[ICMP])) == 0


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_nat_drops_strangers_and_what_it_cannot_translate(run: Run) -> None:
    source, port = client(2)
    dropped = [
        ETHER / IP(src="192.0.2.1", dst=OUTSIDE) / UDP(sport=80, dport=5555),
        ETHER / IP(src="192.0.2.1", dst=OUTSIDE) / ICMP(type=8, id=1),
        ETHER / IP(src="10.0.0.1", dst="192.0.2.1", proto=47) / Raw(bytes(20)),
        ETHER / IP(src="10.0.0.1", dst="192.0.2.1", flags="MF") / UDP() / Raw(bytes(24)),
        ETHER / IP(src="10.0.0.1", dst="192.0.2.1", len=200) / UDP(len=180),
        ETHER / IP(src=source, dst=OUTSIDE) / UDP(sport=port, dport=80),
        ETHER / IP(src="198.51.100.1", dst=OUTSIDE) / ICMP(type=3, code=1) / Raw(bytes(8)),
    ]
    passed = [
        ETHER / ARP(),
        ETHER / IPv6() / UDP(),
        ETHER / IP(src="10.0.0.1", dst="10.9.9.9") / UDP(),
        ETHER / IP(src="192.0.2.1", dst="198.51.100.9") / UDP(),
    ]
    assert run("nat", NAT, dropped + passed) == [bytes(packet) for packet in passed]


def test_nat_refuses_new_connections_when_its_table_is_full(run: Run) -> None:
    packets = [
        ETHER / IP(src="10.0.0.1", dst="192.0.2.1") / UDP(sport=port, dport=53)
        for port in range(1000, 1200)
    ]
    frames = run("nat", f"{NAT} connections=150", packets * 2)
    assert len(frames) == 2 * 150  # those that have one keep it


def test_nat_sends_answers_to_the_instance_that_asked(tmp_path: Path) -> None:
    """Four instances with a table each, and no packet that comes to one without its connection."""
    need_dataplane()
    asks, answers = [], []
    for number in range(300):
        source, port = client(number)
        asks.append(ETHER / IP(src=source, dst="192.0.2.1") / UDP(sport=port, dport=80))
        answers.append(
            ETHER / IP(src="192.0.2.1", dst=OUTSIDE) / UDP(sport=80, dport=20000 + number)
        )
    capture = write_pcap(tmp_path / "in.pcap", [bytes(packet) for packet in asks + answers])
    target = tmp_path / "out.pcap"
    page = managed("nat", NAT, capture, target, "max=4 initial=4 mapping=rendezvous")
    assert [page.instance[i].served > 0 for i in range(4)] == [True] * 4
    turned = [sound(frame) for frame in read_pcap(target)]
    assert len(turned) == 600
    wanted = {client(number) for number in range(300)}
    assert {(p[IP].dst, p[UDP].dport) for p in turned if p[IP].src == "192.0.2.1"} == wanted


# --- monitor, forwarder, burn --------------------------------------------------------------------


def everything() -> list[bytes]:
    packets = any_packets(random.Random(5), 200) + others()
    return [bytes(packet) for packet in packets] + [b"\0" * n for n in (1, 13, 14, 59)]


@pytest.mark.parametrize(("name", "args"), [("monitor", ""), ("forwarder", ""), ("burn", "ns=50")])
def test_packets_pass_byte_for_byte(run: Run, name: str, args: str) -> None:
    packets = everything()
    assert run(name, args, packets) == packets


def test_forwarder_sets_the_next_hop(run: Run) -> None:
    packets = [packet for packet in everything() if len(packet) >= 14]
    frames = run("forwarder", "dst=02:00:00:00:00:99", packets)
    assert frames == [bytes.fromhex("020000000099") + packet[6:] for packet in packets]


# --- arguments -----------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    ("monitor", "x=1", "no arguments"),
    ("forwarder", "dst=nonsense", "dst=MAC"),
    ("burn", "ns=-1", "whole number from 0 to 1000000"),
    ("burn", "ns=abc", "whole number"),
    ("burn", "us=1", "no option 'us'; it takes ns"),
    ("burn", "ns", "'ns' has no value"),
    ("burn", "ns=1 ns=2", "'ns' is given twice"),
    ("burn", "x" * 300, "longer than 255 characters"),
    ("encryptor", "key=0011", "key: give 32 hexadecimal digits"),
    ("encryptor", "key=" + "g" * 32, "key: give 32 hexadecimal digits"),
    ("encryptor", "nonce=1", "nonce: give 8 hexadecimal digits"),
    ("encryptor", "others=maybe", "give pass or drop"),
    ("firewall", "", "needs rules=FILE"),
    ("firewall", "rules=/no/such/file", "/no/such/file: No such file"),
    ("firewall", " \t rules=/no/a,b=[c] ", "/no/a,b=[c]: No such file"),
    ("nat", "inside=a,outside=b", "needs inside=PREFIX and outside=ADDRESS"),
    ("router", "", "needs routes=FILE"),
    ("router", "routes=/", "/: "),
    ("nat", "", "needs inside=PREFIX and outside=ADDRESS"),
    ("nat", "inside=10.0.0.1/8 outside=192.0.2.1", "inside=10.0.0.1/8"),
    ("nat", "inside=10.0.0.0/8 outside=10.0.0.1", "lies in inside"),
    ("nat", "inside=10.0.0.0/8 outside=2001:db8::1", "give one IPv4 address"),
    ("nat", f"{NAT} ports=9-8", "LOW-HIGH"),
    ("nat", f"{NAT} connections=0", "from 1 to"),
]


@pytest.mark.parametrize(("name", "args", "reason"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused_with_a_reason(
    tmp_path: Path, name: str, args: str, reason: str
) -> None:
    assert reason in refused(tmp_path, name, args)


BAD_FILES = [
    ("firewall", "allow tcp any any any 80\n", "says no default"),
    ("firewall", "default deny\ndefault deny\n", ":2: a second default"),
    ("firewall", "permit any any any any any\n", ":1: action 'permit'"),
    ("firewall", "allow tcp any any any\n", ":1: 5 words"),
    ("firewall", "allow tcp 10.0.0.1/8 any any any\n", "'10.0.0.1/8' is no prefix"),
    ("firewall", "allow tcp any 70000 any any\n", "source ports '70000'"),
    ("firewall", "allow tcp any 9-8 any any\n", "source ports '9-8'"),
    ("firewall", "allow icmp any any any 80\n", "has no ports"),
    ("firewall", "allow 256 any any any any\n", "protocol '256'"),
    ("firewall", "allow any 10.0.0.0/8 any ::/0 any\n", "two IP versions"),
    ("firewall", "allow " + "x" * 300 + "\n", ":1: longer than"),
    ("router", "", "holds no route"),
    ("router", "10.0.0.0/33 drop\n", ":1: '10.0.0.0/33' is no prefix"),
    ("router", "10.0.0.0/8 via nowhere\n", "'nowhere' is no MAC address"),
    ("router", "10.0.0.0/8 to 02:00:00:00:00:01\n", ":1: write 'PREFIX via MAC'"),
    ("router", "10.0.0.0/8 drop\n# again\n10.0.0.0/8 drop\n", "two routes"),
]


@pytest.mark.parametrize(("name", "text", "reason"), BAD_FILES)
def test_bad_files_are_refused_with_their_line(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    option = "rules" if name == "firewall" else "routes"
    assert reason in refused(tmp_path, name, f"{option}={path}")


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [case for case in BAD_ARGUMENTS if case[1] in ("ns=abc", "key=0011", "rules=/no/such/file")],
)
def test_a_manager_ends_with_the_nfs_reason(
    tmp_path: Path, name: str, args: str, reason: str
) -> None:
    need_dataplane()
    configuration = tmp_path / "manager.conf"
    configuration.write_text(
        f"type nf function={name} args={args}\nchain main types=nf\nport net_null0\n"
    )
    result = subprocess.run(
        [MANAGER, "--config", configuration, "--dir", tmp_path, "--prefix", tmp_path.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert reason in result.stderr.splitlines()[-1]
