"""Captures in and out of the dataplane's tests: the plain pcap format, written and read whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

_MICROSECONDS, _NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
_ETHERNET = 1


def write_pcap(
    path: Path,
    frames: Iterable[bytes],
    *,
    step_ns: int = 1_000_000,
    order: str = "<",
    link: int = _ETHERNET,
) -> Path:
    """Writes `frames`, `step_ns` apart, in nanosecond format and the byte order `order`."""
    data = bytearray(struct.pack(order + "IHHiIII", _NANOSECONDS, 2, 4, 0, 0, 65535, link))
    for number, frame in enumerate(frames):
        seconds, ns = divmod(number * step_ns, 10**9)
        data += struct.pack(order + "IIII", seconds, ns, len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def read_pcap(path: Path) -> list[bytes]:
    """The frames of a pcap of either byte order and precision."""
    data = path.read_bytes()
    order = "<" if struct.unpack_from("<I", data)[0] in (_MICROSECONDS, _NANOSECONDS) else ">"
    frames, at = [], 24
    while at < len(data):
        (length,) = struct.unpack_from(order + "I", data, at + 8)
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames
