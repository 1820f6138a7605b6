"""The live backend: a chain on the DPDK dataplane, at real time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.backend import ENDLESS, Description, Timing, parse_scale
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision, check_decision
from flexnfv.errors import BackendError, InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import LIMITS, Records, Snapshot
from flexnfv.hw_backend.client import Client, Refused
from flexnfv.hw_backend.config import MEMIF_SOCKET, ManagerOptions
from flexnfv.hw_backend.interval import Buffer, Watch, reading_between
from flexnfv.hw_backend.machine import machine
from flexnfv.hw_backend.manager_process import ManagerProcess, Placement, place
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions, memif_client
from flexnfv.hw_backend.running import allow_law, check_takeover, runtime_folder
from flexnfv.mapping import MappingKind
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, STOPPED
from flexnfv.traces import Trace
from flexnfv.traces.pcap import plain
from flexnfv.traces.trace import Capture

IntArray = npt.NDArray[np.int64]

CARRIED_PPS = 1_000_000.0
"""Packets/s that paced instances carry end to end without loss on two cores, measured."""
SCALE = 1 / 20
"""Packet rates on the dataplane relative to the chain's own, if nothing else is said."""
SHORTEST_INTERVAL_S = 0.05
"""Shorter monitor intervals are not kept punctually."""

_REHEARSAL_NS = 5_000_000
"""From the first rehearsal to the edge, at least."""
_QUIET_NS = 100_000
"""From the end of the last rehearsal to the edge, at least, where it takes as long as usual."""
_SMOOTHING = 0.2
_SETTLE_S = 20.0
_POLL_S = 0.002
_POST_MORTEM_S = 1.0
_SHORTEST_FRAME = 64
_LONGEST_FRAME = 1518
_SAME_RATE = 1e-6
_BACKLOG_MS = 1000.0
"""The generator sends late what a stalled machine held up for less than this."""


class LiveBackend:
    """A chain on the DPDK dataplane: a `flexnfv.backend.Backend` whose batch is one, and `Clocked`.

    `reset` starts manager, NFs and generator, or brings those that run back to the chain's initial
    instances. `step` sends the decision at once and returns at the next edge of a clock that began
    with the episode and never drifts. A step that comes after its interval's edge is `late`: its
    reading covers all intervals that passed meanwhile, so that no packet is missing from the sum.

    Readings are in the chain's own rates whatever the scale is. When manager or generator die,
    `BackendError` says so, and the next `reset` starts anew.

    Args:
        chain: the chain; its interval is 50 ms or longer.
        scale: packet rates on the dataplane relative to the chain's own, also as text ("1/20").
        pacing: limit each instance to `loss_free_pps` x `scale` (see `ManagerOptions`). Without it
            instances are as fast as this machine makes them, and the scale must be 1.
        ports: see `flexnfv.hw_backend.config.configuration`; one may be given as it is. A trace
            needs the port `memif`.
        spares: parked NF processes, so that a launch is a wake-up.
        law: whether the manager's built-in law takes over while nobody steps for 2 intervals.
        max_pps: highest rate on the dataplane; a faster trace is refused.
        folder: see `ManagerProcess`.
        placement: see `ManagerProcess`.
        attach: folder of a running manager to attach to, instead of starting one. Its instances,
            scale and pacing are left as they are.
        keep: the manager outlives this process, should it be killed; `close` ends it nevertheless.
            It lies in the runtime folder under the chain's name, if no folder is given.

    Attributes:
        late: intervals of this episode whose edge had passed before their step came.
        lag_s: how late each reading of this episode was taken, seconds after its edge.
        rehearsal: see `flexnfv.backend.Clocked`.

    Raises:
        InputError: an argument is out of range or contradicts another.
    """

    description = Description("dpdk", batch=1, clocked=True, exclusive=True, scale=SCALE)

    @staticmethod
    def carried_pps(
        scale: float | str = SCALE, max_pps: float = CARRIED_PPS, **options: Any
    ) -> float:
        """Highest rate that is carried with these options, in the chain's own packets/s."""
        return max_pps / parse_scale(scale)

    @classmethod
    def for_deployment(cls, chain: ServiceChain, **options: Any) -> Self:
        """The backend for a policy that is deployed to it.

        Somebody decides also while the deployment is not there: a manager that is started outlives
        this process, and its built-in law decides while nobody else does.

        Args:
            chain: the chain.
            options: keyword arguments of the constructor; `law` and `keep` are true if not given.

        Raises:
            InputError: see the constructor and `check_takeover`.
        """
        given: dict[str, Any] = {"law": True, "keep": True} | options
        if given.get("attach") is None:
            return cls(chain, **given)
        folder = Path(given["attach"])
        check_takeover(folder, chain, options)
        made = cls(chain, **given)
        allow_law(folder, bool(given["law"]))
        return made

    def __init__(
        self,
        chain: ServiceChain,
        *,
        scale: float | str = SCALE,
        pacing: bool = True,
        ports: Sequence[str] | str = ("memif",),
        spares: int = 0,
        law: bool = False,
        max_pps: float = CARRIED_PPS,
        folder: Path | str | None = None,
        placement: Placement | None = None,
        attach: Path | str | None = None,
        keep: bool = False,
    ) -> None:
        if chain.interval_s < SHORTEST_INTERVAL_S * (1 - 1e-9):
            raise InputError(
                f"an interval of {chain.interval_s:g} s is too short for a live chain",
                where=f"chain {chain.name!r}",
                fix=f"use {SHORTEST_INTERVAL_S:g} s or more",
            )
        scale = parse_scale(scale)
        _check_options(pacing=pacing, law=law, spares=spares, max_pps=max_pps)
        if not pacing and scale != 1 and attach is None:
            raise InputError(
                f"scale is {scale:g} without pacing",
                where="backend 'dpdk'",
                fix="instances that are not paced run at scale 1",
            )
        self.chain = chain
        self.late = 0
        self.lag_s: list[float] = []
        self.rehearsal: Callable[[Reading], object] | None = None
        self._rehearsal_ns = 0.0  # what one takes, smoothed
        self._off_rate = 0  # as it was when the last generator ended
        self._attach = None if attach is None else Path(attach)
        self._ports = (ports,) if isinstance(ports, str) else tuple(ports)
        self._options = ManagerOptions(
            scale=scale,
            pacing=pacing,
            spares=spares,
            law=law,
            status_s=min(0.1, chain.interval_s / 5),
        )
        self._max_pps = max_pps
        self._keep = keep
        self._folder = None if folder is None else Path(folder)
        if keep and folder is None:
            self._folder = runtime_folder() / chain.name
        self._placement = placement
        self._manager: ManagerProcess | None = None
        self._client: Client | None = None
        self._generator: Pktgen | None = None
        self._held = ExitStack()  # what the generator reads
        self._intervals: int | None = None
        self._done = 0
        self._start_ns = 0
        self._buffer = Buffer(chain)
        self._first: Snapshot | None = None
        self._before: Snapshot | None = None
        if self._attach is not None:
            self._client = self._attached(self._attach)
            now = self._client.read()
            scale, pacing = float(now.header["scale"]), bool(now.types["pace_pps"].any())
        self._scale = scale
        self._free_scale = pacing and attach is None
        self.description = replace(
            self.description,
            scale=scale,
            pacing="token bucket at loss_free_pps x scale per instance" if pacing else "none",
            machine=machine(),
        )

    # --- the verbs --------------------------------------------------------------------------

    def reset(
        self,
        traces: Sequence[Trace | None],
        seeds: Sequence[int | None] | None = None,
        rows: IntArray | None = None,
    ) -> Reading:
        """Start an episode on the trace, or on whatever traffic comes where it is None.

        Args:
            traces: the chain's, [1].
            seeds: not used: real processes are not deterministic, and the flow set is the chain's.
            rows: the chain's row, [0], or None.

        Returns:
            The reading of the first interval, [1].

        Raises:
            InputError: more than one trace, a trace that is shorter than two intervals or faster
                than can be carried, or no port that a generator can use; see also
                `ManagerProcess.start`.
            BackendError: the dataplane died.
        """
        _check_rows(rows)
        if len(traces) != 1:
            raise InputError(
                f"{len(traces)} traces at once",
                where="backend 'dpdk'",
                fix="a dataplane runs one chain: give one trace",
            )
        [trace] = traces
        if trace is not None:
            self._check(trace)
        with self._watched():
            self._end_generator()
            client = self._ready()
            before = client.snapshot()
            # The first reading compiles its code, which must not take an interval's time.
            self._reading(before, client.snapshot(), Watch(before))
            generator = None if trace is None else self._start_generator(trace)
            client.heartbeat()
            self.late, self._done = 0, 0
            self.lag_s = []
            self._off_rate = 0
            self._intervals = (
                None
                if trace is None
                else math.floor(trace.duration_s / self.chain.interval_s * (1 + 1e-9))
            )
            self._first = self._before = client.snapshot()
            self._start_ns = self._before.time_ns
            if generator is not None:
                generator.begin()
            return self._read()

    def step(self, decision: Decision | IntArray, rows: IntArray | None = None) -> Reading:
        """Send a decision, [1, T], wait for the interval's end, and read.

        Args:
            decision: what the chain should run.
            rows: the chain's row, [0], or None.

        Returns:
            The reading, [1].

        Raises:
            InputError: a decision of a wrong shape or kind, or no traffic left.
            BackendError: manager or generator died.
        """
        _check_rows(rows)
        self.send(decision)
        return self.wait()

    def send(self, decision: Decision | IntArray) -> None:
        """The first half of `step`; raises what that does."""
        try:
            wanted = check_decision(decision, (1, self.chain.types))
        except ValueError as error:
            raise InputError(str(error), where="step") from error
        client = self._in_episode()
        if self._intervals is not None and self._done >= self._intervals:
            raise InputError("no traffic left", where="step", fix="call reset() first")
        with self._watched():
            passed = time.monotonic_ns() - self._edge_ns(self._done)
            missed = passed // self._interval_ns
            if missed > 0:
                self.late += missed
                last = math.inf if self._intervals is None else self._intervals - 1
                self._done = int(min(self._done + missed, last))
            try:
                client.decide(wanted[0])
            except Refused as error:  # a mapping that an NF with state per flow cannot have
                raise InputError(str(error), where="step") from error

    def wait(self) -> Reading:
        """The second half of `step`; raises what that does."""
        self._in_episode()
        with self._watched():
            return self._read()

    def _in_episode(self) -> Client:
        if self._client is None or self._before is None:
            raise BackendError("no episode is under way: call reset() first")
        return self._client

    @property
    def remaining(self) -> IntArray:
        """Intervals that the trace still holds, [1]; `ENDLESS` without a trace."""
        left = ENDLESS if self._intervals is None else max(0, self._intervals - self._done)
        return np.array([left], np.int64)

    @property
    def timing(self) -> Timing:
        """How punctual the episode was so far; known until the next reset, also after `close`."""
        lag_s = float(np.percentile(self.lag_s, 99)) if self.lag_s else 0.0
        return Timing(int(self.late), lag_s, self._seconds_off_rate())

    @property
    def inside_ns(self) -> npt.NDArray[np.float64]:
        """Time inside the NFs' `process()` per packet, over the episode so far, ns, [T].

        It is measured also where readings hold what a paced instance declares; NaN where nothing
        was processed.
        """
        if self._first is None or self._before is None:
            return np.full(self.chain.types, np.nan)
        was, now = self._first.instances, self._before.instances

        def per_type(name: str) -> npt.NDArray[np.float64]:
            # An instance that was started anew counts from 0.
            grown = np.maximum(now[name].astype(np.float64) - was[name], 0.0)
            return np.bincount(now["type"], grown, self.chain.types).astype(np.float64)

        busy, served = per_type("busy_ns"), per_type("served")
        unknown = np.full(self.chain.types, np.nan)
        return np.asarray(np.divide(busy, served, out=unknown, where=served > 0), np.float64)

    @property
    def first_packet_s(self) -> npt.NDArray[np.float64]:
        """When instances got their first packet after their last launch or rerun, [T, I].

        By the dataplane's own stamps, on the readings' `time_s`; NaN for one that has got none.
        """
        found = np.full((self.chain.types, self.chain.slots), np.nan)
        if self._before is not None:
            instances = self._before.instances
            got = instances["first_packet_ns"] > 0
            since_ns = instances["first_packet_ns"][got].astype(np.int64) - self._start_ns
            found[instances["type"][got], instances["slot"][got]] = since_ns * 1e-9
        return found

    def close(self) -> None:
        """End what was started; an attached manager runs on. May be called twice."""
        self._end_generator()
        self._before = None
        if self._manager is not None:
            self._manager.close()
            self._manager = None
            self._client = None
        elif self._client is not None:
            self._client.close()
            self._client = None

    # --- the clock --------------------------------------------------------------------------

    @property
    def _interval_ns(self) -> int:
        return round(self.chain.interval_s * 1e9)

    def _edge_ns(self, number: int) -> int:
        return self._start_ns + number * self._interval_ns

    def _read(self) -> Reading:
        """Wait for the next edge, watching, and read."""
        assert self._client is not None
        assert self._before is not None
        watch = Watch(self._before)
        edge_ns = self._edge_ns(self._done + 1)
        if self.rehearsal:
            self._rehearse_until(edge_ns, watch, self.rehearsal)
        else:
            self._watch_until(edge_ns, watch)
        after = self._client.snapshot()
        if self._generator is not None:
            self._generator.check()
        self._done += 1
        self.lag_s.append((after.time_ns - edge_ns) * 1e-9)
        reading = self._reading(self._before, after, watch)
        self._before = after
        return reading

    def _watch_until(self, end_ns: int, watch: Watch) -> None:
        """Sleep, but for a look at the page every few milliseconds."""
        assert self._client is not None
        nap_ns = round(self._options.status_s * 0.5e9)
        while (left_ns := end_ns - time.monotonic_ns()) > 0:
            time.sleep(min(left_ns, nap_ns) * 1e-9)
            if left_ns > nap_ns:
                watch.add(self._client.read())

    def _rehearse_until(
        self, end_ns: int, watch: Watch, rehearsal: Callable[[Reading], object]
    ) -> None:
        """Sleep, rehearse for as long as one more rehearsal fits, and stay awake."""
        assert self._client is not None
        assert self._before is not None
        ahead_ns = min(max(_REHEARSAL_NS, 2.5 * self._rehearsal_ns), self._interval_ns / 4)
        self._watch_until(end_ns - round(ahead_ns), watch)
        while end_ns - (begun_ns := time.monotonic_ns()) > _QUIET_NS + self._rehearsal_ns:
            rehearsal(self._reading(self._before, self._client.snapshot(), watch))
            took_ns = time.monotonic_ns() - begun_ns
            self._rehearsal_ns += _SMOOTHING * (took_ns - self._rehearsal_ns)
        while time.monotonic_ns() < end_ns:
            pass  # during a sleep others would fill the caches with their own

    def _reading(self, before: Snapshot, after: Snapshot, watch: Watch) -> Reading:
        watch.add(after)
        return reading_between(
            self.chain, self._scale, self._start_ns, before, after, watch, self._buffer
        )

    # --- what runs --------------------------------------------------------------------------

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """When something has died, say what, and have the next reset start anew."""
        try:
            yield
        except Refused:
            raise
        except BackendError:
            manager, self._before = self._manager, None
            try:
                if manager is not None and manager.running:
                    manager.check(_POST_MORTEM_S)  # raises with the manager's last words
                raise
            finally:
                self.close()

    def _ready(self) -> Client:
        """A manager that runs the initial instances alone, or the one attached to as it is."""
        if self._attach is not None:
            if self._client is None:
                self._client = self._attached(self._attach)
            return self._client
        if self._manager is not None and self._client is not None:
            try:
                self._restore(self._client)
            except BackendError:
                self.close()
        if self._manager is None:
            self._manager = ManagerProcess(
                self.chain,
                ports=self._ports,
                options=self._options,
                folder=self._folder,
                placement=self._placement,
                keep=self._keep,
            )
            self._client = self._manager.start().client
        assert self._client is not None
        self._client.hold()
        return self._client

    def _restore(self, client: Client) -> None:
        """Back to the chain's mappings and initial instances, in the first slots, rings empty."""
        in_force = client.snapshot().types["mapping"].tolist()
        for t, kind in enumerate(self.chain.mapping_kinds.tolist()):
            if in_force[t] != kind:
                with suppress(Refused):  # a type that only a replica's process runs has no mapping
                    client.mapping(t, MappingKind(kind))
        deadline = time.monotonic() + _SETTLE_S
        while True:
            snapshot = client.snapshot()
            orders = [
                order
                for t in range(self.chain.types)
                for order in _orders(
                    t, int(self.chain.initial_instances[t]), snapshot.of_type(t)["state"]
                )
            ]
            # `in_flight` may never become 0: a port keeps packets that its peer, the last
            # generator, did not wait for.
            if not orders and not snapshot.instances["queue"].any():
                return
            if time.monotonic() > deadline:
                raise BackendError(f"the chain did not settle within {_SETTLE_S:g} s")
            for verb, t, slot in orders:
                with suppress(Refused):  # its process starts or ends right now
                    if verb:
                        getattr(client, verb)(t, slot)
            time.sleep(_POLL_S)

    def _attached(self, folder: Path) -> Client:
        """A connection to the manager in `folder`, which must run this chain for nobody else.

        Raises:
            InputError: it runs another chain, or somebody else decides for it.
        """
        client = Client(folder)
        types = client.read().types
        runs = tuple(zip(client.read().names, types["max_instances"].tolist(), strict=True))
        wanted = tuple(zip(self.chain.nf_names, self.chain.own_slots.tolist(), strict=True))
        if runs != wanted:
            client.close()
            raise InputError(
                f"the manager runs {', '.join(f'{name} (max {most})' for name, most in runs)}",
                where=str(folder),
                fix=f"give the chain that it was started with, not {self.chain.name!r}",
            )
        try:
            client.hold()
        except InputError:
            client.close()
            raise
        return client

    # --- traffic ----------------------------------------------------------------------------

    def _check(self, trace: Trace) -> None:
        interval_s = self.chain.interval_s
        if trace.duration_s < 2 * interval_s * (1 - 1e-9):
            raise InputError(
                f"the trace lasts {trace.duration_s:g} s, less than two intervals of "
                f"{interval_s:g} s",
                where=f"trace {trace.name!r}",
                fix="use a longer trace or a chain with a shorter interval",
            )
        peak_pps = trace.peak_pps * self._scale
        if peak_pps > self._max_pps * (1 + 1e-9):  # a rounded scale may hit it exactly
            raise InputError(
                f"its peak is {peak_pps:,.0f} packets/s at scale {self._scale:g}, and this "
                f"dataplane carries {self._max_pps:,.0f}",
                where=f"trace {trace.name!r}",
                fix=(
                    "the highest possible scale is "
                    f"{_rounded_down(self._max_pps / trace.peak_pps)} (--scale)"
                    if self._free_scale
                    else "scale the trace to a peak of "
                    f"{_rounded_down(self._max_pps / self._scale)} packets/s or less (?peak=...)"
                ),
            )

    def _start_generator(self, trace: Trace) -> Pktgen:
        folder = self._attach or (self._manager.folder if self._manager else Path())
        socket = folder / MEMIF_SOCKET
        if not socket.exists():
            raise InputError(
                f"a generator has no port to connect to: ports are {', '.join(self._ports)}",
                where=f"trace {trace.name!r}",
                fix="use the port 'memif', or no trace for the traffic that comes",
            )
        flows = self.chain.flows
        placement = (
            self._manager.placement if self._manager else place(sorted(os.sched_getaffinity(0)))
        )
        options = PktgenOptions(
            port=memif_client(socket),
            flows=FlowSet(flows.count, flows.zipf, flows.seed),
            packet_bytes=self._frame_bytes(trace),
            control=True,
            backlog_ms=_BACKLOG_MS,
            cpus=placement.generator,
        )
        capture = trace.capture
        if capture is not None and self._replays(capture):
            packets = self._held.enter_context(plain(capture.path))
            options = replace(
                options,
                capture=packets,
                time_scale=capture.compress,
                duration_s=trace.duration_s,
            )
            traffic = f"the packets of {capture.path.name}, byte for byte"
        else:
            samples = trace if len(trace) > 1 else trace.resample(trace.step_s / 2)
            samples = replace(samples, packet_bytes=float(options.packet_bytes))
            options = replace(options, trace=samples, rate_scale=self._scale)
            traffic = f"rates with synthetic flows, {options.packet_bytes} bytes a packet"
            if capture is not None:
                traffic += (
                    f"; the packets of {capture.path.name} are replayed only at their recorded "
                    f"rate, with ?scale={capture.compress / self._scale:g} here"
                )
        self.description = replace(self.description, traffic=traffic)
        self._generator = Pktgen(options)
        self._generator.start()
        return self._generator

    def _replays(self, capture: Capture) -> bool:
        """Whether a capture's own packets have the trace's rates: they are sent as recorded."""
        return abs(capture.rate * self._scale / capture.compress - 1) < _SAME_RATE

    def _frame_bytes(self, trace: Trace) -> int:
        """The trace's mean frame, where it is known, within what Ethernet and the pool allow."""
        known = self.chain.packet_bytes if trace.packet_bytes is None else trace.packet_bytes
        return min(max(_SHORTEST_FRAME, round(known)), max(_LONGEST_FRAME, self.chain.packet_bytes))

    def _end_generator(self) -> None:
        if self._generator is not None:
            with suppress(BackendError, InputError):
                self._generator.stop()  # counts packets that are still on their way
            self._off_rate = self._seconds_off_rate()
            self._generator.close()
            self._generator = None
        self._held.close()

    def _seconds_off_rate(self) -> int:
        """Seconds of this episode in which the generator's rate was off by more than 1 %."""
        if self._generator is None:
            return self._off_rate
        return sum(not period.on_rate for period in self._generator.periods)


def _check_rows(rows: IntArray | None) -> None:
    """See to it that rows of a batch of one name its one chain.

    Raises:
        InputError: they name another, or none.
    """
    if rows is not None and np.asarray(rows).tolist() != [0]:
        raise InputError(
            f"rows are {np.asarray(rows).tolist()}", where="backend 'dpdk'", fix="give [0] or None"
        )


def _check_options(*, pacing: bool, law: bool, spares: int, max_pps: float) -> None:
    """Options may come from a command line, as whatever their text looks like.

    Raises:
        InputError: one of another kind, or out of range.
    """
    most = LIMITS["FX_MAX_SPARES"]
    for name, value, right, what in (
        ("pacing", pacing, isinstance(pacing, bool), "true or false"),
        ("law", law, isinstance(law, bool), "true or false"),
        ("spares", spares, _is_number(spares, int) and 0 <= spares <= most, f"0 to {most}"),
        (
            "max_pps",
            max_pps,
            _is_number(max_pps, int, float) and 0 < max_pps < math.inf,
            "a rate above 0, packets/s",
        ),
    ):
        if not right:
            raise InputError(f"{name} is {value!r}", where="backend 'dpdk'", fix=f"give {what}")


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _rounded_down(value: float) -> str:
    """Three digits of a positive number, never above it: what is advised must be accepted."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.floor(value / unit * (1 + 1e-12)) * unit:.3g}"


def _orders(nf_type: int, initial: int, states: Records) -> Iterator[tuple[str, int, int]]:
    """What brings one NF type nearer to its initial instances; ("", ...) where waiting does.

    Those that are wanted come first: only once they run are others stopped, since a type is never
    left without an instance.
    """
    wanted, others = states[:initial], states[initial:]
    verbs = {STOPPED: "launch", BLOCKED: "rerun", DRAINING: "rerun", LAUNCHING: ""}
    unready = [(verbs[int(s)], nf_type, slot) for slot, s in enumerate(wanted) if s != RUNNING]
    yield from unready
    if not unready:
        for slot, state in enumerate(others, start=initial):
            if state != STOPPED:
                yield "" if state in (LAUNCHING, DRAINING) else "stop", nf_type, slot
