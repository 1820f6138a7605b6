"""Peers of the dataplane: network namespaces, each behind a veth pair that is a manager's port.

The manager's end of a pair stays in the namespace of the tests, without an address, so the kernel
there drops what the manager reads. Offloads are off at both ends: with them the kernel hands on
frames without checksums and larger than any wire carries.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

INTERFACE = "eth0"
"""What the interface is called inside every namespace."""

_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 8, 4
_SO_RCVBUFFORCE = 33
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6  # of tpacket_auxdata.tp_status
_AUXDATA = struct.Struct("=IIIHHHH")
_BUFFER = 256 << 20  # bytes: a whole capture waits in it, whatever the frames' bookkeeping costs
_BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")
_BACKLOG_FRAMES = 65536
"""Frames that may wait between the ends of a pair: what a whole ring holds, where a program that
had to wait for a processor catches up in one go."""
_OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")

_Result = TypeVar("_Result")


def need_programs(*names: str) -> None:
    """Skips the test where a program is missing, or fails it where the dataplane must be there."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing and os.environ.get("FLEXNFV_REQUIRE_DPDK") == "1":
        pytest.fail(f"{', '.join(missing)} not installed (make dataplane)")
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (make dataplane)")


def execute(*command: str | Path, limit_s: float = 30.0) -> str:
    """The output of a command that must succeed."""
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Peer:
    """A host behind one port of the manager."""

    namespace: str
    port: str
    """The manager's end of the pair."""
    mac: str
    ipv4: str
    ipv6: str
    """Empty where the host has no IPv6, and sends nothing unasked."""

    def execute(self, *command: str | Path, limit_s: float = 30.0) -> str:
        """The output of a command that must succeed, run on this host."""
        return execute("ip", "netns", "exec", self.namespace, *command, limit_s=limit_s)

    @contextlib.contextmanager
    def serve(self, *command: str, ready: str) -> Iterator[None]:
        """A program that runs on this host, from when it has written `ready`."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if ready in line:
                    break
            else:
                raise AssertionError(f"{command} ended with {process.wait()}")
            yield
        finally:
            process.terminate()
            process.communicate(timeout=10)

    def inside(self, act: Callable[[], _Result]) -> _Result:
        """What `act` returns on this host: in a thread of its own, which moves there."""
        results: list[_Result] = []

        def move_and_act() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/var/run/netns", self.namespace).open() as there:
                if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(act())

        thread = threading.Thread(target=move_and_act)
        thread.start()
        thread.join()
        assert results, f"{act} failed in {self.namespace}"
        return results[0]

    def wire(self) -> Wire:
        """A raw socket on this host's interface."""
        return Wire(self.inside(_packet_socket))

    def reaches(self, other: str, *, count: int = 20, size: int = 56) -> tuple[int, int]:
        """Echo requests sent to an address, and replies that came.

        All requests but the first, which waits for the neighbour's address, are sent at once:
        behind the last one ping awaits replies for one interval, and with a short one it would
        call late replies lost.
        """
        ping = ("ping", "-n", "-q", "-i", "3", "-W", "10")
        self.execute(*ping, "-c", "1", other)
        command = (*ping, "-c", str(count), "-l", str(count), "-s", str(size))
        result = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command, other],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        found = re.search(r"(\d+) packets transmitted, (\d+) received", result.stdout)
        assert found, result.stdout + result.stderr
        assert "duplicates" not in result.stdout
        return int(found[1]), int(found[2])

    def neighbours(self) -> dict[str, str]:
        """MAC addresses that this host has learnt, by IP address."""
        rows = json.loads(self.execute("ip", "-json", "neighbour", "show"))
        return {row["dst"]: row["lladdr"] for row in rows if "lladdr" in row}


class Wire:
    """A raw socket: sends whole frames, and has received all that came since it was made."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Sends one frame, from its Ethernet header on."""
        self._socket.send(frame)

    def take(
        self, count: int, *, ignore: Collection[str] = (), quiet_s: float = 2.0
    ) -> list[bytes]:
        """The next frames that came from outside: `count`, or fewer when none comes any more.

        Those with a source address in `ignore` are left out: what hosts send unasked.
        """
        frames: list[bytes] = []
        sources = {bytes.fromhex(mac.replace(":", "")) for mac in ignore}
        self._socket.settimeout(quiet_s)
        while len(frames) < count:
            try:
                data, extra, _, address = self._socket.recvmsg(65536, 256)
            except TimeoutError:
                break
            if address[2] != _PACKET_OUTGOING and data[6:12] not in sources:
                frames.append(_with_tag(data, extra))
        return frames


def _packet_socket() -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    raw.bind((INTERFACE, _ETH_P_ALL))
    return raw


def _with_tag(data: bytes, extra: list[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the wire: Linux hands its outer VLAN tag over beside it."""
    for level, kind, content in extra:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(content[: _AUXDATA.size])
            if status & _VLAN_VALID:
                tpid = tpid if status & _VLAN_TPID_VALID else 0x8100
                return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
    return data


@contextlib.contextmanager
def peers(count: int = 2, *, ipv6: bool = True, mtu: int = 1500) -> Iterator[list[Peer]]:
    """Hosts in one subnet, without a wire between them: that is the manager's part."""
    made: list[Peer] = []
    backlog = _BACKLOG.read_text()
    try:
        _BACKLOG.write_text(str(max(int(backlog), _BACKLOG_FRAMES)))
        for number in range(count):
            name = f"fx{os.getpid()}p{number}"
            peer = Peer(
                namespace=name,
                port=name,
                mac=f"02:00:00:00:00:{number + 1:02x}",
                ipv4=f"10.77.0.{number + 1}",
                ipv6=f"fd77::{number + 1}" if ipv6 else "",
            )
            made.append(peer)
            _make(peer, mtu)
        yield made
    finally:
        _BACKLOG.write_text(backlog)
        for peer in made:
            # The pair first: a namespace lives on for as long as a process is in it.
            for remove in (("link", "delete", peer.port), ("netns", "delete", peer.namespace)):
                subprocess.run(["ip", *remove], capture_output=True, check=False)


def _make(peer: Peer, mtu: int) -> None:
    execute("ip", "netns", "add", peer.namespace)
    execute(
        *("ip", "link", "add", peer.port, "mtu", str(mtu), "type", "veth"),
        *("peer", "name", INTERFACE, "netns", peer.namespace, "address", peer.mac),
    )
    Path(f"/proc/sys/net/ipv6/conf/{peer.port}/disable_ipv6").write_text("1")
    off = [word for offload in _OFFLOADS for word in (offload, "off")]
    execute("ethtool", "-K", peer.port, *off)
    peer.execute("ethtool", "-K", INTERFACE, *off)
    settings = "/proc/sys/net/ipv6/conf/" + INTERFACE
    unasked = "accept_ra accept_dad router_solicitations" if peer.ipv6 else ""
    for name in unasked.split() or ["disable_ipv6"]:
        value = "0" if peer.ipv6 else "1"
        peer.execute("sh", "-c", f"echo {value} > {settings}/{name}")
    peer.execute("ip", "link", "set", INTERFACE, "mtu", str(mtu))
    peer.execute("ip", "address", "add", f"{peer.ipv4}/24", "dev", INTERFACE)
    if peer.ipv6:
        peer.execute("ip", "address", "add", f"{peer.ipv6}/64", "dev", INTERFACE, "nodad")
    peer.execute("ip", "link", "set", "lo", "up")
    peer.execute("ip", "link", "set", INTERFACE, "up")
    execute("ip", "link", "set", peer.port, "up")


def af_packet(peer: Peer, number: int, *, frame_bytes: int = 2048, frames: int = 16384) -> str:
    """A manager's port on its end of a pair: rings of `frames` frames either way."""
    block = max(65536, frame_bytes)
    return (
        f"port net_af_packet{number},iface={peer.port},blocksz={block},"
        f"framesz={frame_bytes},framecnt={frames}\n"
    )


def await_true(condition: Callable[[], Any], what: str, limit_s: float = 20.0) -> None:
    """Waits for a condition; an AssertionError names `what` did not come."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {limit_s} s"
        time.sleep(0.005)
