"""A manager process for tests: started with a configuration, read and told through its raw ABI."""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cffi
import pytest

import flexnfv.hw_backend

DATAPLANE = Path(flexnfv.hw_backend.__file__).resolve().parent / "dataplane"
BUILD = Path(os.environ.get("FLEXNFV_DATAPLANE_BUILD") or DATAPLANE / "build")
MANAGER = BUILD / "manager" / "flexnfv-manager"

STOPPED, LAUNCHING, RUNNING, DRAINING, BLOCKED = range(5)

NEEDED_KB = 256 * 2048
"""Of huge pages, for a manager and a peer."""

FFI = cffi.FFI()
FFI.cdef((DATAPLANE / "shared" / "flexnfv_abi.inc").read_text(encoding="utf-8"))
FFI.cdef("int fx_page_read(const struct fx_page *page, struct fx_page *copy);")


def need_dataplane() -> None:
    """Skips the test, or fails it where the dataplane must be there."""
    reason = None
    memory = Path("/proc/meminfo").read_text(encoding="ascii")
    free, size = (
        int(re.search(rf"^{name}:\s+(\d+)", memory, re.MULTILINE)[1])  # type: ignore[index]
        for name in ("HugePages_Free", "Hugepagesize")
    )
    if not MANAGER.exists():
        reason = f"{MANAGER} is not built"
    elif os.geteuid() != 0:
        reason = "the manager's tests run as root"
    elif free * size < NEEDED_KB:
        reason = f"{free} huge pages are free, too few: sysctl vm.nr_hugepages=1024"
    if reason and os.environ.get("FLEXNFV_REQUIRE_DPDK") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


class Refused(Exception):
    """The manager refused a command; the text is its reason."""


_started: list[Manager] = []


@contextmanager
def ended_afterwards() -> Iterator[None]:
    """Ends every manager started within, also where a test failed before it could."""
    before = len(_started)
    yield
    while len(_started) > before:
        _started.pop().end()


class Manager:
    """`flexnfv-manager` on a configuration text, in `folder`; `wrapper` starts it, if given."""

    def __init__(
        self, folder: Path, configuration: str, *options: str, wrapper: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.prefix = f"fxtest{os.getpid()}_{folder.name[-20:]}"
        self.configuration = folder / "manager.conf"
        self.configuration.write_text(configuration, encoding="utf-8")
        self.log = folder / "manager.log"
        self._library: Any = FFI.dlopen(str(BUILD / "shared" / "libflexnfv_page.so"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *wrapper,
                    *(MANAGER, "--config", self.configuration, "--dir", folder),
                    *("--prefix", self.prefix, *options),
                ],
                stdout=log,
                stderr=log,
            )
        _started.append(self)
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self.until(lambda: (self.folder / "control.sock").exists(), "the manager's socket")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(self.folder / "control.sock"))
        self._socket.settimeout(10)
        self._file = (self.folder / "page").open("rb")
        self._map = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        self._page = FFI.cast("struct fx_page *", FFI.from_buffer(self._map))
        self._copy = FFI.new("struct fx_page *")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends the manager by a signal; its exit code."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def until(self, condition: Callable[[], Any], what: str, limit_s: float = 20.0) -> Any:
        """Waits for a condition; what it returned."""
        end = time.monotonic() + limit_s
        while True:
            result = condition()
            if result:
                return result
            assert self.process.poll() is None, f"the manager ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"{what} did not come within {limit_s} s"
            time.sleep(0.002)

    def raw(self, data: bytes) -> Any:
        """The reply to a request of any bytes."""
        assert self._socket is not None
        self._socket.send(data)
        reply = FFI.new("struct fx_reply *")
        FFI.memmove(reply, self._socket.recv(4096), FFI.sizeof("struct fx_reply"))
        return reply

    def command(
        self,
        name: str,
        *,
        nf: int = -1,
        slot: int = -1,
        value: float = 0.0,
        text: str = "",
        **decision: list[int],
    ) -> Any:
        """The reply to a command ("LAUNCH"). Raises `Refused`.

        `decision` names its fields, of the first types; the others stay as they are.
        """
        request = FFI.new("struct fx_request *")
        request.abi_version = self._library.FX_ABI_VERSION
        request.kind = getattr(self._library, f"FX_CMD_{name}")
        request.type, request.slot, request.value = nf, slot, value
        for field, _ in FFI.typeof("struct fx_decision").fields:
            given = decision.get(field, [])
            setattr(request.decision, field, given + [-1] * (16 - len(given)))
        request.text = text.encode()
        reply = self.raw(bytes(FFI.buffer(request)))
        if reply.status == self._library.FX_REFUSED:
            raise Refused(FFI.string(reply.reason).decode())
        return reply

    def page(self, *, fresh: bool = True) -> Any:
        """A consistent copy of the page, of a new snapshot if `fresh`."""
        if fresh:
            self.command("SNAPSHOT")
        assert self._library.fx_page_read(self._page, self._copy) == 0
        copy = FFI.new("struct fx_page *")
        FFI.memmove(copy, self._copy, FFI.sizeof("struct fx_page"))
        return copy

    def instance(self, nf: int, slot: int) -> Any:
        """The page's entry of one instance, of a new snapshot."""
        page = self.page()
        found = page.instance[page.type[nf].first + slot]
        kept = FFI.new("struct fx_page_instance *")
        kept[0] = found
        return kept

    def states(self, nf: int) -> list[int]:
        """States of a type's slots."""
        page = self.page()
        first = page.type[nf].first
        return [page.instance[first + s].state for s in range(page.type[nf].max_instances)]

    def await_states(self, nf: int, wanted: list[int], limit_s: float = 20.0) -> None:
        """Waits until a type's slots have these states."""
        self.until(lambda: self.states(nf) == wanted, f"states {wanted}", limit_s)

    def last_page(self) -> Any:
        """What a manager that has ended left on its page."""
        assert self._library.fx_page_read(self._page, self._copy) == 0
        return self._copy

    def nf_pids(self) -> list[int]:
        """Every NF process of this manager: instances, spares, and any that it forgot."""
        pids = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if self.prefix.encode() in words and int(folder.name) != self.process.pid:
                pids.append(int(folder.name))
        return pids

    def footprint(self) -> dict[str, Any]:
        """What the manager holds of the machine; at rest it is what it was before."""
        runtime = [path.name for path in Path("/var/run/dpdk", self.prefix).iterdir()]
        owners = [re.search(r"_(\d+)(?:_[0-9a-f]+)?$", name) for name in runtime]
        return {
            "heap": int(self.ask("/eal/heap_info,0")["Alloc_size"]),
            "huge_bytes": sum(
                path.stat().st_blocks * 512
                for path in Path("/dev/hugepages").glob(self.prefix + "*")
            ),
            "descriptors": len(list(Path(f"/proc/{self.process.pid}/fd").iterdir())),
            "files_of_the_dead": [m[0] for m in owners if m and not alive(int(m[1]))],
            "mbufs_held": (page := self.page()).mbufs - page.mbufs_free,
            "processes": len(self.nf_pids()),
        }

    def ask(self, question: str) -> Any:
        """An answer of the manager's telemetry."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(f"/var/run/dpdk/{self.prefix}/dpdk_telemetry.v2")
            client.recv(1024)
            client.send(question.encode())
            return json.loads(client.recv(16384))[question.split(",")[0]]

    def leftovers(self) -> list[str]:
        """What a manager that has ended left behind, beside its configuration and logs."""
        kept = {"manager.conf", "manager.log", "nf.log"}
        found = [path.name for path in self.folder.iterdir() if path.name not in kept]
        found += map(str, Path("/dev/hugepages").glob(self.prefix + "*"))
        found += [str(path) for path in [Path("/var/run/dpdk", self.prefix)] if path.exists()]
        return found + [f"process {pid}" for pid in self.nf_pids()]


def dropped(page: Any) -> int:
    """Losses of all causes."""
    return sum(page.dropped)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
