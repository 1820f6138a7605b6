"""Flow sets: which 5-tuples the generator sends, how often, and what each one hashes to.

Which instance a flow goes to depends on its hash (paper, Algorithm 1), so the flow set is part of
an experiment's definition, as the offered rate is. This module derives it; the generator derives
the same set in C (`hw_backend/dataplane/pktgen/flows.c`), the manager hashes arbitrary packets the
same way in C, and the tests hold all three to one another.

**The set.** Flow `k` of a set (`0 <= k < count`) is a UDP/IPv4 5-tuple made from words `2k` and
`2k + 1` of the splitmix64 stream whose state starts at `seed` (Steele, Lea and Flood, OOPSLA 2014).
Word `i` is::

    z = seed + (i + 1) * 0x9E3779B97F4A7C15           (all modulo 2**64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    word = z ^ (z >> 31)

With `a`, `b` the two words and `bits(x, n)` the 16 bits of `x` from bit `n` (0 is the lowest):

===========  =========================================  ======================================
source IP    198.18.0.0 + bits(a, 0)                    benchmark network of RFC 2544 C.2.2
dest. IP     198.19.0.0 + bits(a, 16)                   the same
source port  1024 + (bits(a, 32) * 64512 >> 16)         1024 … 65535, RFC 4814 section 4.4
dest. port   1 + (bits(b, 0) * 49151 >> 16)             1 … 49151, RFC 4814 section 4.4
===========  =========================================  ======================================

**Popularity.** A packet belongs to flow `k` with probability proportional to `(k + 1) ** -zipf`.

**The hash** is Toeplitz, as NICs compute RSS, over source address, destination address, source
port, destination port (in that order, network byte order) with the 16-bit pattern `0x6D5A` repeated
as its key (Woo and Park, "Scalable TCP session monitoring with symmetric receive-side scaling",
2012). Toeplitz XORs, for every input bit that is set, the 32 key bits that begin at that bit's
position. This key repeats every 16 bits, so a bit counts by its place within its 16-bit word alone,
and the hash of a packet is the hash of the XOR of all its 16-bit words ("the fold"): two halves of
each IPv4 address (eight words of each IPv6 address) and the two ports. From this follow

- symmetry: exchanging source and destination leaves the fold, hence the hash, as it was;
- `hash == half * 0x10001` with `half` the 16-bit XOR of `rotate_left(0x6D5A, p)` over the set bits
  of the fold, `p` counted from its highest bit: there are 65,536 different hashes, no more. The map
  from fold to hash is one-to-one, since the key has an odd number of ones.

A packet without ports (neither TCP nor UDP nor SCTP, or a fragment) is folded with both ports 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexnfv.errors import InputError

SYMMETRIC_KEY = 0x6D5A
"""The 16 bits that the Toeplitz key repeats."""

UDP = 17
"""IP protocol number of every generated flow."""

MAX_FLOWS = 1 << 20
"""Largest flow set; the generator holds one packet header per flow."""

_SOURCE_NETWORK = 198 << 24 | 18 << 16
_DESTINATION_NETWORK = 198 << 24 | 19 << 16
_GOLDEN = 0x9E3779B97F4A7C15


class FiveTuples(NamedTuple):
    """The 5-tuples of a flow set, one array each, shape `[flow]`, host byte order."""

    source_ip: NDArray[np.uint32]
    destination_ip: NDArray[np.uint32]
    source_port: NDArray[np.uint16]
    destination_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]


@dataclass(frozen=True)
class FlowSet:
    """A deterministic set of flows (see the module's docstring for the derivation).

    Args:
        count: number of flows, 1 to `MAX_FLOWS`.
        zipf: Zipf exponent of their popularity, 0 (all alike) to 10.
        seed: 64-bit seed of the addresses and ports.

    Raises:
        InputError: a value is outside its range.
    """

    count: int = 4096
    zipf: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_FLOWS:
            raise InputError(
                f"{self.count} flows", where="flows.count", fix=f"give 1 to {MAX_FLOWS}"
            )
        if not 0.0 <= self.zipf <= 10.0:
            raise InputError(f"Zipf exponent {self.zipf}", where="flows.zipf", fix="give 0 to 10")
        if not 0 <= self.seed < 1 << 64:
            raise InputError(f"seed {self.seed}", where="flows.seed", fix="give 0 to 2**64 - 1")

    @cached_property
    def tuples(self) -> FiveTuples:
        """The flows' 5-tuples, `[flow]` each."""
        words = splitmix64(self.seed, 2 * self.count)
        a, b = words[0::2], words[1::2]
        return FiveTuples(
            source_ip=(_SOURCE_NETWORK | _bits(a, 0)).astype(np.uint32),
            destination_ip=(_DESTINATION_NETWORK | _bits(a, 16)).astype(np.uint32),
            source_port=(1024 + (_bits(a, 32) * 64512 >> 16)).astype(np.uint16),
            destination_port=(1 + (_bits(b, 0) * 49151 >> 16)).astype(np.uint16),
            protocol=np.full(self.count, UDP, np.uint8),
        )

    @cached_property
    def hashes(self) -> NDArray[np.uint32]:
        """Symmetric hash of each flow, `[flow]`."""
        t = self.tuples
        return symmetric_hash(t.source_ip, t.destination_ip, t.source_port, t.destination_port)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Share of all packets that belong to each flow, `[flow]`; sums to 1."""
        weights: NDArray[np.float64] = np.arange(1, self.count + 1, dtype=np.float64) ** -self.zipf
        weights /= weights.sum()
        return weights


def symmetric_hash(
    source_ip: ArrayLike,
    destination_ip: ArrayLike,
    source_port: ArrayLike = 0,
    destination_port: ArrayLike = 0,
) -> NDArray[np.uint32]:
    """Hash IPv4 5-tuples so that both directions of a connection agree.

    Args:
        source_ip, destination_ip: addresses as 32-bit integers, host byte order, any one shape.
        source_port, destination_port: ports; 0 for packets without them.

    Returns:
        32-bit hashes in the arguments' broadcast shape.
    """
    addresses = np.asarray(source_ip, np.uint32) ^ np.asarray(destination_ip, np.uint32)
    ports = np.asarray(source_port, np.uint16) ^ np.asarray(destination_port, np.uint16)
    return hash_fold((addresses >> 16) ^ (addresses & 0xFFFF) ^ ports)


def hash_fold(fold: ArrayLike) -> NDArray[np.uint32]:
    """Toeplitz hash, under the symmetric key, of input whose 16-bit words XOR to `fold`."""
    folds = np.asarray(fold, np.uint32)
    half = np.zeros_like(folds)
    for position in range(16):
        window = (SYMMETRIC_KEY << position | SYMMETRIC_KEY >> (16 - position)) & 0xFFFF
        half ^= np.where(folds >> (15 - position) & 1, np.uint32(window), np.uint32(0))
    return half << np.uint32(16) | half


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """The first `count` words of the splitmix64 stream that starts at `seed`."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return words


def _bits(words: NDArray[np.uint64], start: int) -> NDArray[np.int64]:
    return (words >> np.uint64(start) & np.uint64(0xFFFF)).astype(np.int64)
