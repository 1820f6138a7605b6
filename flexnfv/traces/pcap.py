"""Packet captures: pcap and pcapng, also gzipped, read through libpcap (cypcap).

libpcap is what tcpdump itself reads with: it knows both byte orders, microseconds and nanoseconds,
time resolutions per interface, and packets cut at a snap length, whose size on the wire counts
here. Sizes exclude the frame check sequence, as captures do.
"""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flexnfv.errors import InputError
from flexnfv.traces.files import name_of, readable
from flexnfv.traces.trace import Capture, FloatArray, Trace, check_amount

if TYPE_CHECKING:
    from types import ModuleType

PCAP_SUFFIXES = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz", ".cap.gz")

_FCS_BYTES = 4
"""Frame check sequence: part of `Trace.packet_bytes`, absent from captures."""

_ETHERNET, _RAW, _LINUX_SLL, _LINUX_SLL2 = 1, 101, 113, 276  # tcpdump.org/linktypes.html
_IPV4, _IPV6, _VLAN_TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8)
_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP (IANA protocol numbers)

_Flow = tuple[bytes, bytes, int, bytes, bytes]


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a capture in order of time.

    Attributes:
        name: the capture's name.
        source: its path.
        times_s: float64 [n], ascending, seconds since the first packet.
        sizes_bytes: int64 [n], bytes on the wire without frame check sequence.
        flows: int64 [n], which flow each packet belongs to, numbered from 0 in order of first
            appearance, both directions alike; -1 for what is not IP.
        reordered: how many packets had an earlier time than the one before them in the file.
    """

    name: str
    source: str
    times_s: FloatArray
    sizes_bytes: npt.NDArray[np.int64]
    flows: npt.NDArray[np.int64]
    reordered: int

    @property
    def count(self) -> int:
        """Number of packets."""
        return int(self.times_s.size)

    @property
    def flow_count(self) -> int:
        """Number of two-way IP flows (addresses, protocol, ports)."""
        return int(self.flows.max()) + 1

    @property
    def mean_bytes(self) -> float:
        """Mean size on the wire, bytes, without frame check sequence."""
        return float(self.sizes_bytes.mean())

    @property
    def duration_s(self) -> float:
        """Seconds from the first packet to the last."""
        return float(self.times_s[-1])

    @property
    def top_flow_share(self) -> float:
        """Share of the packets that belong to the largest flow, 0 to 1."""
        known = self.flows[self.flows >= 0]
        return float(np.bincount(known).max() / self.count) if known.size else 0.0

    def trace(self, step_s: float = 1.0) -> Trace:
        """The rate series of the capture; every packet counts in one sample, the last included.

        Raises:
            InputError: `step_s` is not positive.
        """
        check_amount("step_s", step_s, where=self.source)
        samples = math.floor(self.duration_s / step_s) + 1
        places = np.minimum((self.times_s / step_s).astype(np.int64), samples - 1)
        return Trace(
            name=self.name,
            rate_pps=np.bincount(places, minlength=samples) / step_s,
            step_s=step_s,
            packet_bytes=self.mean_bytes + _FCS_BYTES,
            source=self.source,
            family="capture",
            capture=Capture(Path(self.source)),
        )


def read_packets(path: Path) -> Packets:
    """Reads every packet of a pcap or pcapng file, gzipped or not.

    Raises:
        InputError: cypcap is not installed; the file is missing, is no capture, holds no packet,
            ends within a packet, or mixes interfaces of different kinds.
    """
    cypcap = _cypcap(path)
    times: list[float] = []
    sizes: list[int] = []
    flows: list[int] = []
    numbers: dict[_Flow, int] = {}
    with plain(path) as packets:
        try:
            # cypcap takes the fraction of `ts` for microseconds, whatever unit the file states.
            with cypcap.open_offline(str(packets), cypcap.TstampPrecision.MICRO) as capture:
                link = int(capture.datalink())
                for header, frame in capture:
                    times.append(header.ts)
                    sizes.append(header.len)
                    flow = flow_of(frame, link)
                    flows.append(-1 if flow is None else numbers.setdefault(flow, len(numbers)))
        except cypcap.Error as error:
            raise _unreadable(path, error, len(times)) from error
    if not times:
        raise InputError("holds no packet", where=str(path), fix="capture again")
    moments = np.asarray(times, dtype=np.float64)
    order = np.argsort(moments, kind="stable")
    return Packets(
        name=name_of(path),
        source=str(path),
        times_s=moments[order] - moments[order[0]],
        sizes_bytes=np.asarray(sizes, dtype=np.int64)[order],
        flows=_in_order_of_appearance(np.asarray(flows, dtype=np.int64)[order]),
        reordered=int(np.count_nonzero(np.diff(moments) < 0)),
    )


def flow_of(frame: bytes, link: int = _ETHERNET) -> _Flow | None:
    """The two-way flow of a frame: addresses and ports in canonical order, and the protocol.

    Fragments, and protocols other than TCP, UDP and SCTP, have both ports 0.

    Args:
        frame: bytes from the link header on; may be cut short.
        link: link type of the capture (tcpdump.org/linktypes.html).

    Returns:
        None for what is not IP, or cut before its addresses end.
    """
    try:
        kind, start = _network_header(frame, link)
        if kind == _IPV4:
            ends, protocol, ports = _ipv4(frame, start)
        elif kind == _IPV6:
            ends, protocol, ports = _ipv6(frame, start)
        else:
            return None
    except (IndexError, struct.error):
        return None
    one, other = ends
    if len(one) != len(other):
        return None
    none = b"\0\0"
    here, there = none, none
    if ports is not None and len(frame) >= ports + 4:
        here, there = frame[ports : ports + 2], frame[ports + 2 : ports + 4]
    if (other, there) < (one, here):
        one, other, here, there = other, one, there, here
    return one, other, protocol, here, there


def _network_header(frame: bytes, link: int) -> tuple[int, int]:
    """Ethertype and offset of the network header."""
    if link == _RAW:
        return (_IPV6 if frame[0] >> 4 == 6 else _IPV4), 0
    if link == _LINUX_SLL2:
        return _word(frame, 0), 20
    place = {_ETHERNET: 12, _LINUX_SLL: 14}.get(link)
    if place is None:
        return 0, 0
    kind = _word(frame, place)
    while kind in _VLAN_TAGS:
        place += 4
        kind = _word(frame, place)
    return kind, place + 2


def _ipv4(frame: bytes, start: int) -> tuple[tuple[bytes, bytes], int, int | None]:
    protocol = frame[start + 9]
    fragment = _word(frame, start + 6) & 0x3FFF  # more-fragments flag and offset, RFC 791
    ports = start + 4 * (frame[start] & 0x0F)
    ends = frame[start + 12 : start + 16], frame[start + 16 : start + 20]
    if len(ends[1]) < 4:
        raise IndexError
    return ends, protocol, ports if protocol in _WITH_PORTS and not fragment else None


def _ipv6(frame: bytes, start: int) -> tuple[tuple[bytes, bytes], int, int | None]:
    protocol = frame[start + 6]
    ends = frame[start + 8 : start + 24], frame[start + 24 : start + 40]
    if len(ends[1]) < 16:
        raise IndexError
    return ends, protocol, start + 40 if protocol in _WITH_PORTS else None


def _word(frame: bytes, place: int) -> int:
    return int(struct.unpack_from(">H", frame, place)[0])


def _in_order_of_appearance(flows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Renumbers the flows that are known by the place of their first packet."""
    numbers: dict[int, int] = {-1: -1}
    for flow in flows.tolist():
        numbers.setdefault(flow, len(numbers) - 1)
    return np.array([numbers[flow] for flow in flows.tolist()], dtype=np.int64)


@contextmanager
def plain(path: Path) -> Iterator[Path]:
    """The capture as an uncompressed file, which libpcap needs."""
    with readable(path), tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        if path.suffix.lower() != ".gz":
            path.open("rb").close()
            yield path
            return
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, file)
        file.flush()
        yield Path(file.name)


def _unreadable(path: Path, error: Exception, packets: int) -> InputError:
    reason = str(error.args[-1] if error.args else error)
    if packets and "truncated" in reason:
        return InputError(
            f"is truncated after packet {packets}",
            where=str(path),
            fix=f"cut the broken tail (`editcap -r {path.name} whole.pcapng 1-{packets}`) "
            "or capture again",
        )
    if "different from the" in reason:
        return InputError(
            f"mixes interfaces ({reason})",
            where=str(path),
            fix="keep one interface, or convert it with `editcap -F pcap`",
        )
    return InputError(
        f"is not a readable pcap or pcapng file ({reason})",
        where=str(path),
        fix="check it with `capinfos`, or capture again",
    )


def _cypcap(path: Path) -> ModuleType:
    try:
        import cypcap
    except ImportError as error:
        raise InputError(
            "captures need cypcap", where=str(path), fix="pip install 'flexnfv[traces]'"
        ) from error
    return cypcap  # type: ignore[no-any-return]
