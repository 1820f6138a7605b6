"""The flow set and its hash: known values, symmetry, and popularity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexnfv.errors import InputError
from flexnfv.flows import FlowSet, hash_fold, splitmix64, symmetric_hash

# Source, destination, source port, destination port and what DPDK 22.11's rte_softrss() makes of
# them with the key 6D5A 6D5A …; the first pair is the connection of Microsoft's RSS examples.
KNOWN_HASHES = [
    (0x420995BB, 0xA18E6450, 2794, 1766, 0x9FCC9FCC),
    (0xA18E6450, 0x420995BB, 1766, 2794, 0x9FCC9FCC),
    (0x00000000, 0x00000000, 0, 0, 0x00000000),
    (0xFFFFFFFF, 0x00000000, 0, 0, 0x00000000),
    (0x0A000001, 0x0A000002, 1234, 80, 0xC78DC78D),
    (0xC0A80101, 0x08080808, 0, 0, 0xB978B978),
    (0xC6120001, 0xC6130001, 65535, 1, 0xFFFFFFFF),
    (0xD9C2825F, 0xA30FEBCF, 33497, 17680, 0xB2DCB2DC),
    (0x4ECDE8B8, 0x0A7D3DA9, 4930, 1083, 0x0B840B84),
    (0x2CDE513B, 0xD0327A78, 42560, 59818, 0x1DF31DF3),
]

# The first flows of FlowSet(seed=1) and their hashes, again by rte_softrss().
FIRST_FLOWS = [
    (0xC6125CC1, 0xC6138902, 12596, 45389, 0x5D805D80),
    (0xC612555E, 0xC613FB32, 42082, 38600, 0x77857785),
    (0xC612B5B9, 0xC613D101, 22404, 480, 0x692F692F),
    (0xC6123CA5, 0xC613D736, 60602, 25624, 0x2EAF2EAF),
]


def toeplitz(data: bytes) -> int:
    """Toeplitz as its definition goes, bit by bit over an endlessly repeated key."""
    key = int.from_bytes(bytes([0x6D, 0x5A]) * (len(data) // 2 + 2), "big")
    key_bits = len(data) * 8 + 32
    value = 0
    for position in range(len(data) * 8):
        if data[position // 8] >> (7 - position % 8) & 1:
            value ^= key >> (key_bits - 32 - position) & 0xFFFFFFFF
    return value


@pytest.mark.parametrize(("src", "dst", "sport", "dport", "expected"), KNOWN_HASHES)
def test_hash_is_that_of_dpdk(src: int, dst: int, sport: int, dport: int, expected: int) -> None:
    assert int(symmetric_hash(src, dst, sport, dport)) == expected


@given(
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=2, max_size=2),
    st.binary(min_size=2, max_size=2),
)
def test_hash_is_toeplitz_and_symmetric(src: bytes, dst: bytes, sport: bytes, dport: bytes) -> None:
    s, d, p, q = (int.from_bytes(field, "big") for field in (src, dst, sport, dport))
    assert int(symmetric_hash(s, d, p, q)) == toeplitz(src + dst + sport + dport)
    assert symmetric_hash(s, d, p, q) == symmetric_hash(d, s, q, p)


@given(st.binary(min_size=36, max_size=36))
def test_fold_of_an_ipv6_tuple_hashes_as_the_whole_tuple(data: bytes) -> None:
    fold = np.bitwise_xor.reduce(np.frombuffer(data, ">u2").astype(np.uint16))
    assert int(hash_fold(fold)) == toeplitz(data)


def test_every_fold_has_a_hash_of_its_own() -> None:
    assert np.unique(hash_fold(np.arange(1 << 16))).size == 1 << 16


def test_flow_set_is_the_documented_one() -> None:
    flows = FlowSet(count=4, seed=1)
    t = flows.tuples
    rows = zip(
        t.source_ip, t.destination_ip, t.source_port, t.destination_port, flows.hashes, strict=True
    )
    assert [tuple(int(value) for value in row) for row in rows] == FIRST_FLOWS


def test_splitmix64_is_the_published_generator() -> None:
    assert [hex(word) for word in splitmix64(0, 2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


@given(st.integers(1, 2000), st.integers(0, 2**64 - 1))
def test_flows_stay_in_their_networks_and_a_longer_set_begins_alike(count: int, seed: int) -> None:
    t = FlowSet(count=count, seed=seed).tuples
    assert (t.source_ip >> 16 == 198 << 8 | 18).all()
    assert (t.destination_ip >> 16 == 198 << 8 | 19).all()
    assert t.source_port.min() >= 1024
    assert 1 <= t.destination_port.min() <= t.destination_port.max() <= 49151
    longer = FlowSet(count=count + 1, seed=seed).tuples
    assert all((a == b[:count]).all() for a, b in zip(t, longer, strict=True))


def test_flows_of_a_large_set_are_distinct_and_spread_evenly() -> None:
    flows = FlowSet(count=1 << 18, seed=7)
    assert np.unique(np.stack(flows.tuples), axis=1).shape[1] == flows.count
    for instances in (2, 3, 4, 7, 16):
        share = np.bincount(flows.hashes % instances, minlength=instances) / flows.count
        assert np.abs(share * instances - 1).max() < 0.04  # five standard errors of a sixteenth


def test_popularity_follows_zipf() -> None:
    assert FlowSet(count=3, zipf=1.0).weights == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert FlowSet(count=5).weights == pytest.approx([0.2] * 5)


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 2**21}, {"zipf": -0.1}, {"zipf": float("nan")}, {"seed": -1}]
)
def test_values_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"; give [01] to "):
        FlowSet(**bad)  # type: ignore[arg-type]
