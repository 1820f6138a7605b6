"""The packet generator as a process: its command line, its records, its start and its end.

`flexnfv-pktgen` (`hw_backend/dataplane/pktgen/`) sends packets into a DPDK port and counts what
comes back. Here it is started, told what to do through its standard input, and read::

    options = PktgenOptions(port=memif_client(socket), rate_pps=200_000, control=True)
    with Pktgen(options) as pktgen:      # returns once its port's link is up; nothing is sent yet
        pktgen.begin()
        ...
        summary = pktgen.stop()

When this process dies, the end of its standard input ends a generator under control as well.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from flexnfv.errors import BackendError, InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.build import PKTGEN, built
from flexnfv.hw_backend.leftovers import remove_dpdk_files
from flexnfv.records import is_off_rate
from flexnfv.traces.files import write
from flexnfv.traces.trace import Trace

_BAD_INPUT = 2
_REPLY_S = 5.0
_END_S = 15.0
_SILENT_S = 5.0
"""A generator that sends tells of every period; one that says nothing for longer hangs."""
_WAKE_S = 1.0
"""What it said while this process stood still is there within this time."""

_Record = TypeVar("_Record")


@dataclass(frozen=True, kw_only=True)
class PktgenOptions:
    """What to send, how fast, and through which ports; the program's `--help` says more.

    Attributes:
        port: DPDK device to send on (`memif_client(…)`, `"net_null0"`, a PCI address).
        rx_port: device to receive on: None for `port`, `"none"` for no receiving.
        flows: flow set; a receiver needs as many flows as its sender.
        packet_bytes: frame size, FCS included.
        imix: 64, 594 and 1518 bytes at 7 : 4 : 1 instead.
        rate_pps: constant rate, packets/s; `inf` for as fast as the port takes them.
        trace: rates over time instead, a `Trace` or a CSV file.
        capture: packets of a pcap instead of the flow set, at `rate_pps` or as recorded.
        sink: send nothing.
        time_scale: recorded seconds played a second (trace, capture).
        rate_scale: factor on a trace's rates.
        loops: times a trace or capture is played, 0 for ever.
        duration_s, count: end after this time, or after this many packets.
        max_pps: refuse anything faster before it starts; in a search, the rate to begin with.
        search: search the highest loss-free rate; `trial_s`, `tolerance` (share of packets that
            may be lost), `resolution` (relative) and `min_pps` shape it.
        control: start paused and obey `begin`, `set_rate` and `stop`.
        period_s: time between records.
        tick_us: send and receive this often; sleep in between.
        poll: never sleep.
        backlog_ms: packets overdue by more are given up and counted as missed.
        drain_ms: the end comes when nothing was received for this long; with `rx_port="none"`
            the port stays open for as long.
        link_wait_s: how long a link, or a memif's peer, may take.
        write_to: capture file to make of what is received.
        key, nonce: of an `encryptor` on the way (32 and 8 hexadecimal digits), so that what it
            has encrypted can be read.
        cpus: processors to run on, all that this process may use if empty.
        file_prefix: DPDK file prefix, one of its own if empty.
        huge_pages: False to run without.
        descriptors: size of the ports' rings.
    """

    port: str
    rx_port: str | None = None
    flows: FlowSet = field(default_factory=FlowSet)
    packet_bytes: int = 64
    imix: bool = False
    rate_pps: float | None = None
    trace: Trace | Path | None = None
    capture: Path | None = None
    sink: bool = False
    time_scale: float | None = None
    rate_scale: float | None = None
    loops: int = 1
    duration_s: float | None = None
    count: int | None = None
    max_pps: float | None = None
    search: bool = False
    trial_s: float = 10.0
    tolerance: float = 1e-5
    resolution: float = 0.01
    min_pps: float = 1000.0
    control: bool = False
    period_s: float = 1.0
    tick_us: float = 500.0
    poll: bool = False
    backlog_ms: float = 100.0
    drain_ms: float = 200.0
    link_wait_s: float = 10.0
    write_to: Path | None = None
    key: str = ""
    nonce: str = ""
    cpus: tuple[int, ...] = ()
    file_prefix: str = ""
    huge_pages: bool = True
    descriptors: int = 1024


@dataclass(frozen=True)
class Latency:
    """From being built to being received, microseconds; without `poll` as coarse as a tick."""

    count: int
    mean: float
    p50: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class Period:
    """What happened in one period; counts are packets.

    Attributes:
        t_s: its end, seconds since the start.
        length_s: its length.
        wanted, sent: packets due, and packets that the port took.
        missed: packets given up because the port or the processor was too slow.
        wanted_pps, sent_pps: the same as rates.
        sent_bytes: without FCS.
        received: packets that came, whatever they were; 0 here and below without receiving.
        delivered: of these, the run's own, duplicates not counted.
        unreadable: of `delivered`, those whose payload something has changed.
        foreign: neither the run's own nor duplicates.
        reordered, duplicates: within their flows.
        latency_us: None where nothing readable came.
        link: False while a port has no link.
    """

    t_s: float
    length_s: float
    wanted: int
    sent: int
    missed: int
    wanted_pps: float
    sent_pps: float
    sent_bytes: int
    received: int = 0
    received_pps: float = 0.0
    received_bytes: int = 0
    delivered: int = 0
    unreadable: int = 0
    foreign: int = 0
    reordered: int = 0
    duplicates: int = 0
    latency_us: Latency | None = None
    link: bool = True

    @property
    def on_rate(self) -> bool:
        """True when what was sent is within 1 % (or one packet) of what was wanted."""
        return not bool(is_off_rate(self.sent - self.wanted, self.wanted))


@dataclass(frozen=True)
class Trial:
    """One trial of a search: `loss` is the share of the wanted packets that did not come back."""

    trial: int
    pps: float
    passed: bool
    duration_s: float
    wanted: int
    sent: int
    missed: int
    delivered: int
    loss: float


@dataclass(frozen=True)
class Summary:
    """A whole run, as `Period`, and what came back after its end.

    Attributes:
        end: `done`, `stopped` or `signal`.
        lost, loss: sent packets that did not come back (a sink: numbers skipped), and their share.
        worst_rate_error: greatest distance between sent and wanted, / wanted, of a period.
        cpu_s: processor time used.
        highest_pps: result of a search: the highest rate that passed, 0 if none did.
        lowest_failed_pps: None if none failed.
    """

    end: str
    duration_s: float = 0.0
    wanted: int = 0
    sent: int = 0
    missed: int = 0
    wanted_pps: float = 0.0
    sent_pps: float = 0.0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    delivered: int = 0
    unreadable: int = 0
    foreign: int = 0
    reordered: int = 0
    duplicates: int = 0
    lost: int = 0
    loss: float = 0.0
    worst_rate_error: float = 0.0
    cpu_s: float = 0.0
    latency_us: Latency | None = None
    highest_pps: float = 0.0
    lowest_failed_pps: float | None = None


def memif_client(
    socket: Path | str, *, ring_size_log2: int = 10, buffer_bytes: int = 2048, number: int = 0
) -> str:
    """Device arguments of a memif port that connects to `socket`, an ordinary socket file.

    Args:
        socket: the peer's socket.
        ring_size_log2: packets that fit into each direction's ring.
        buffer_bytes: of the ring's buffers; the client makes them. Longer packets take several.
            Where all packets are short, short buffers are faster: they are neighbours in memory.
        number: of the port among its process's memif ports.
    """
    return _memif("client", socket, ring_size_log2, number) + f",bsize={buffer_bytes}"


def memif_server(socket: Path | str, *, ring_size_log2: int = 10, number: int = 0) -> str:
    """Device arguments of a memif port that makes `socket` and awaits its peer."""
    return _memif("server", socket, ring_size_log2, number)


def program() -> Path:
    """Where the built generator is.

    Raises:
        InputError: it is not built.
    """
    return built(PKTGEN)


def command_line(options: PktgenOptions, scratch: Path) -> list[str]:
    """The program's arguments; a `Trace` is written into the folder `scratch` for it.

    Raises:
        InputError: `options` contradict one another in a way that only shows here.
    """
    arguments = ["--port", options.port]
    if options.rx_port is not None:
        arguments += ["--rx-port", options.rx_port]
    arguments += [
        *("--flows", str(options.flows.count)),
        *("--zipf", repr(float(options.flows.zipf))),
        *("--seed", str(options.flows.seed)),
        *("--loops", str(options.loops)),
        *("--period", repr(options.period_s)),
        *("--tick", repr(options.tick_us)),
        *("--backlog", repr(options.backlog_ms)),
        *("--drain", repr(options.drain_ms)),
        *("--link-wait", repr(options.link_wait_s)),
        *("--descriptors", str(options.descriptors)),
    ]
    if not options.imix:
        arguments += ["--size", str(options.packet_bytes)]
    given: Mapping[str, object] = {
        "--pcap": options.capture,
        "--time-scale": options.time_scale,
        "--rate-scale": options.rate_scale,
        "--duration": options.duration_s,
        "--count": options.count,
        "--max-pps": options.max_pps,
        "--write": options.write_to,
        "--key": options.key or None,
        "--nonce": options.nonce or None,
        "--cpus": ",".join(map(str, options.cpus)) or None,
        "--file-prefix": options.file_prefix or None,
    }
    for name, value in given.items():
        arguments += [] if value is None else [name, str(value)]
    switches = {
        "--imix": options.imix,
        "--sink": options.sink,
        "--control": options.control,
        "--poll": options.poll,
        "--no-huge": not options.huge_pages,
    }
    arguments += [name for name, wanted in switches.items() if wanted]
    return arguments + _pace(options, scratch)


class Pktgen:
    """One running generator. `start` and `stop` it, or use it as a context manager.

    Args:
        options: what it shall do.
        on_period: called with every `Period`, from another thread.
        path: the program, `program()` if None.
    """

    def __init__(
        self,
        options: PktgenOptions,
        *,
        on_period: Callable[[Period], None] | None = None,
        path: Path | None = None,
    ) -> None:
        self.options = options
        self.periods: list[Period] = []
        self.trials: list[Trial] = []
        self._on_period = on_period
        self._path = path
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._changed = threading.Condition()
        self._ready = False
        self._ended = False
        self._replies: list[dict[str, Any]] = []
        self._summary: Summary | None = None
        self._heard_s: float | None = None  # since it began to send; monotonic clock

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running().pid

    def start(self) -> None:
        """Starts the process and returns once its ports have their links.

        Raises:
            InputError: it refuses an option or a file, in its own words, or is not built.
            BackendError: a port fails.
        """
        if self._process is not None:
            raise BackendError("this generator was started before; make another one")
        path = self._path or program()
        self._scratch = tempfile.TemporaryDirectory(prefix="flexnfv-pktgen-")
        scratch = Path(self._scratch.name)
        try:
            with (scratch / "stderr").open("w") as errors:
                self._process = subprocess.Popen(
                    [str(path), *command_line(self.options, scratch)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,  # Ctrl-C reaches this process alone
                )
            self._reader = threading.Thread(target=self._read, name="pktgen", daemon=True)
            self._reader.start()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ready or self._ended, self.options.link_wait_s + _END_S
                )
            if not self._ready:
                raise self._failure()
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Begins to send (`control`).

        Raises:
            InputError: it is refused.
            BackendError: the process has ended.
        """
        self._command("start")
        self._heard_s = time.monotonic()

    def set_rate(self, pps: float) -> None:
        """Changes a constant rate (`control`); raises as `begin` does."""
        self._command(f"rate {pps!r}")

    def check(self) -> None:
        """Sees to it that it runs, or has ended well; one that hangs is killed.

        Raises:
            InputError, BackendError: it failed, in its own words, or says nothing any more.
        """
        process = self._running()
        if process.poll():
            raise self._failure()
        if self._is_silent() and process.poll() is None:
            with self._changed:
                if self._changed.wait_for(lambda: not self._is_silent(), _WAKE_S):
                    return
            process.kill()
            raise BackendError(
                f"pktgen (process {process.pid}) told of no period for {self._silence_s():.0f} s"
            )

    def _silence_s(self) -> float:
        return 0.0 if self._heard_s is None else time.monotonic() - self._heard_s

    def _is_silent(self) -> bool:
        awaited = not (self._ended or self._summary)
        return awaited and self._silence_s() > max(_SILENT_S, 3 * self.options.period_s)

    def stop(self) -> Summary:
        """Ends the sending, waits for what is under way, and returns what was counted."""
        process = self._running()
        if process.poll() is None:
            process.terminate() if not self.options.control else self._say("stop")
        return self.wait(_END_S)

    def wait(self, timeout_s: float | None = None) -> Summary:
        """Waits for the end of a bounded run.

        Raises:
            BackendError: it failed, or goes on after `timeout_s`.
        """
        process, reader = self._running(), self._reader
        assert reader is not None
        reader.join(timeout_s)
        if reader.is_alive():
            raise BackendError(f"the generator (process {process.pid}) goes on after {timeout_s} s")
        process.wait()
        if self._summary is None or process.returncode:
            raise self._failure()
        return self._summary

    def close(self) -> None:
        """Ends the process, if need be by force, and removes what it was given."""
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.returncode < 0:  # it was killed, and could not clean up behind itself
                remove_dpdk_files(self.options.file_prefix or f"flexnfv-pktgen-{process.pid}")
            if self._reader is not None and self._reader is not threading.current_thread():
                self._reader.join()
            for pipe in (process.stdin, process.stdout):
                with _ignoring_broken_pipes():
                    if pipe is not None:
                        pipe.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise BackendError("the generator was not started")
        return self._process

    def _say(self, line: str) -> None:
        stdin = self._running().stdin
        assert stdin is not None
        with _ignoring_broken_pipes():
            stdin.write(line + "\n")
            stdin.flush()

    def _command(self, line: str) -> None:
        if not self.options.control:
            raise InputError("commands need control", where="PktgenOptions", fix="set control=True")
        with self._changed:
            before = len(self._replies)
            self._say(line)
            self._changed.wait_for(
                lambda: len(self._replies) > before or self._ended, timeout=_REPLY_S
            )
            if len(self._replies) == before:
                raise self._failure(f"no answer to '{line}'")
            reply = self._replies[before]
        if reply["type"] == "refused":
            raise InputError(f"'{line}' is refused: {reply['reason']}", where="pktgen")

    def _read(self) -> None:
        stdout = self._running().stdout
        assert stdout is not None
        for line in stdout:
            self._take(json.loads(line))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, record: dict[str, Any]) -> None:
        kind = record["type"]
        period = _of(Period, record) if kind == "period" else None
        with self._changed:
            if period is not None:
                self.periods.append(period)
                if self._heard_s is not None:
                    self._heard_s = time.monotonic()
            elif kind == "trial":
                self.trials.append(_of(Trial, record))
            elif kind == "summary":
                self._summary = _of(Summary, record)
            elif kind == "ready":
                self._ready = True
            else:
                self._replies.append(record)
            self._changed.notify_all()
        if period is not None and self._on_period is not None:
            self._on_period(period)

    def _failure(self, otherwise: str = "it ended without a word") -> Exception:
        """What it said last on standard error, as the kind of error that its exit code means."""
        process = self._running()
        deadline = time.monotonic() + 1.0
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        text = ""
        if self._scratch is not None:
            text = (Path(self._scratch.name) / "stderr").read_text(errors="replace").strip()
        reason = text.splitlines()[-1].removeprefix("flexnfv-pktgen: ") if text else otherwise
        if process.returncode == _BAD_INPUT:
            return InputError(reason, where="pktgen")
        return BackendError(f"pktgen (exit code {process.returncode}): {reason}")


def _memif(role: str, socket: Path | str, ring_size_log2: int, number: int) -> str:
    return (
        f"net_memif{number},role={role},socket={socket},socket-abstract=no,rsize={ring_size_log2}"
    )


def _pace(options: PktgenOptions, scratch: Path) -> list[str]:
    if options.search:
        return [
            "--search",
            *("--min-pps", repr(options.min_pps)),
            *("--trial", repr(options.trial_s)),
            *("--tolerance", repr(options.tolerance)),
            *("--resolution", repr(options.resolution)),
        ]
    pace: list[str] = []
    if options.rate_pps is not None:
        pace += ["--rate", "max" if options.rate_pps == float("inf") else repr(options.rate_pps)]
    if isinstance(options.trace, Trace):
        if len(options.trace) < 2:
            raise InputError(
                "a trace of one sample has no steps",
                where=options.trace.name,
                fix="give its rate as rate_pps and its length as duration_s",
            )
        write(options.trace, scratch / "trace.csv")
        pace += ["--trace", str(scratch / "trace.csv")]
    elif options.trace is not None:
        pace += ["--trace", str(options.trace)]
    return pace


def _of(kind: type[_Record], record: Mapping[str, Any]) -> _Record:
    """The dataclass `kind` from what the record has of its fields."""
    values = {f.name: record[f.name] for f in fields(kind) if f.name in record}  # type: ignore[arg-type]
    if values.get("latency_us") is not None:
        values["latency_us"] = Latency(**values["latency_us"])
    return kind(**values)


@contextmanager
def _ignoring_broken_pipes() -> Iterator[None]:
    """A process that has just ended takes no more input; its end is noticed elsewhere."""
    try:
        yield
    except (BrokenPipeError, ValueError):
        return
