"""The loop: read, decide, send, until stopped."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from math import nan
from pathlib import Path
from time import monotonic, time
from typing import Any

from flexnfv import __version__
from flexnfv.backend import Backend, Single
from flexnfv.backends import make_for_deployment
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import Decision
from flexnfv.deploy.answer import Answer, one_line
from flexnfv.deploy.guard import Decided, Guard
from flexnfv.deploy.host import Host, InProcess, open_host
from flexnfv.deploy.punctual import go_last, punctual
from flexnfv.deploy.record import Row
from flexnfv.deploy.scribe import Scribe, Show
from flexnfv.deploy.status import LOG, Tally, hold_lock
from flexnfv.errors import BackendError, InputError
from flexnfv.files import refuse_existing
from flexnfv.reading import Reading
from flexnfv.records import wanted_pps
from flexnfv.traces import Trace, load_trace

log = logging.getLogger("flexnfv.deploy")


class Deployment:
    """A policy on a backend, the law behind it and shadows beside it.

    Use it as a context: entering starts the policies, leaving ends them.

    Args:
        policy: spec of the policy that decides.
        shadows: specs of policies that are asked, but whose decisions are never sent.
        backend: what the chain runs on; stays the caller's to close.
        trace: that the backend plays; None to take a live chain's own traffic.
        deadline_s: seconds that the policy has from a reading to its answer; half the interval if
            not given.
        realtime: the backend's interval takes no time of its own (a model): wait for its end.
        seed: of policies and backend.

    Raises:
        InputError: a policy that cannot decide for this chain, a bad deadline.
    """

    def __init__(
        self,
        policy: str,
        backend: Backend,
        *,
        shadows: Sequence[str] = (),
        trace: Trace | None = None,
        deadline_s: float | None = None,
        realtime: bool = False,
        seed: int | None = None,
    ) -> None:
        self.backend = backend
        self.chain: ServiceChain = backend.chain
        interval_s = self.chain.interval_s
        self.deadline_s = interval_s / 2 if deadline_s is None else deadline_s
        if not 0 < self.deadline_s <= interval_s:
            raise InputError(
                f"{self.deadline_s:g} s", where="deadline", fix=f"choose within (0, {interval_s:g}]"
            )
        for spec in shadows:
            if shadows.count(spec) > 1:
                raise InputError(f"{spec!r} stands there twice", where="shadows", fix="drop one")
        self._trace = trace
        self._realtime = realtime
        self.trace_name = "" if trace is None else trace.name
        self.seed = seed
        self._stop = threading.Event()
        self._stack = ExitStack()
        # A simulated chain can wait for a policy that restarts; a chain on the clock cannot.
        self.patient = backend.description.deterministic and not realtime
        try:
            self.policy = self._open(policy)
            self.shadows = tuple(self._open(spec, shadow=True) for spec in shadows)
        except BaseException:
            self._stack.close()
            raise
        self._guard = Guard(self.policy, self.chain, urgent=not self.patient)
        self._stack.callback(self._guard.close)
        self._one = Single(backend)
        if isinstance(self.policy, InProcess):
            self._one.rehearse(self.policy.rehearse)
            self._stack.callback(self._one.rehearse, None)

    def _open(self, spec: str, *, shadow: bool = False) -> Host:
        host = open_host(spec, self.chain, self.seed, patient=self.patient, shadow=shadow)
        self._stack.callback(host.close)
        return host

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """End the loop after this interval; from any thread or signal handler.

        Targets that were sent meanwhile stay with the chain.
        """
        self._stop.set()

    def rows(self, intervals: int | None = None) -> Iterator[Row]:
        """Run the chain; one row per interval, the first with the chain's initial instances.

        Args:
            intervals: end after so many; None to go on until stopped.

        Raises:
            InputError: the backend refuses the trace.
            BackendError: the backend died; what was read before is given first.
        """
        reading = self._one.reset(self._trace, self.seed)
        begun = read = monotonic()
        clock_s, until = time(), read
        number, under, send_s = 0, Decision(self.chain.initial_instances), nan
        by: Decided | None = None
        answers: tuple[Answer, ...] = ()
        asked: Future[None] | None = None
        broken: BackendError | None = None
        while True:
            decided = None
            last = intervals is not None and number + 1 >= intervals
            if not (last or self._stop.is_set() or self._one.remaining == 0):
                try:
                    decided = self._guard.decide(reading, read + self.deadline_s, self._one.send)
                except BackendError as error:
                    broken = error
            if asked is not None:
                asked.result()
                answers = tuple(shadow.answer(until) for shadow in self.shadows)
            kept = reading.copy() if decided is None else decided.reading
            asked = None if decided is None else self._guard.later(self._ask_shadows, kept)
            wanted = float(wanted_pps(self._trace, kept))
            yield Row(number, clock_s, kept, under, by, send_s, answers, wanted)
            if broken is not None:
                raise broken
            if decided is None or asked is None or self._stop.is_set():
                return
            try:
                reading = self._one.wait()
            except BackendError:
                who = "law" if decided.by_law else "policy"
                last = decided.decision.targets.tolist()
                log.info("no reading came of the last targets, %s by the %s: no row", last, who)
                raise
            number += 1
            self._await(begun + number * self.chain.interval_s)
            under, by, send_s = decided.decision, decided, decided.sent - read
            # On a chain that can wait, the shadows may take as long as the policy itself.
            until = read + self.deadline_s
            read, clock_s = monotonic(), time()
            until = until if self.patient else read

    def _ask_shadows(self, reading: Reading) -> None:
        for shadow in self.shadows:
            shadow.ask(reading)

    def _await(self, due: float) -> None:
        if self._realtime:
            self._stop.wait(max(due - monotonic(), 0.0))


def deploy(
    policy: str,
    chain: str | Path | ServiceChain,
    *,
    out: Path,
    shadows: Sequence[str] = (),
    backend: str = "dpdk",
    options: Mapping[str, Any] | None = None,
    trace: str | Path | Trace | None = None,
    intervals: int | None = None,
    deadline_s: float | None = None,
    realtime: bool = False,
    seed: int | None = None,
    show: Show = lambda status: None,
) -> dict[str, Any]:
    """Run a policy on a chain until it is stopped or its trace ends, and record it in `out`.

    SIGINT and SIGTERM end it in order after the interval under way: the backend is closed first,
    then the record joined. A second SIGINT interrupts that, too.

    Args:
        policy: spec of a policy, or path of a bundle.
        chain: name of a shipped chain, path of a chain file, or a chain.
        out: directory to make; see `flexnfv.deploy.record` and `flexnfv.deploy.status`.
        shadows: specs of policies that are asked, but whose decisions are never sent.
        backend: dpdk, model, or the name of an installed one.
        options: of the backend (`flexnfv.backends.make_for_deployment`).
        trace: that the backend plays; None to take a live chain's own traffic.
        intervals: end after so many.
        deadline_s: see `Deployment`.
        realtime: see `Deployment`.
        seed: of policies and backend.
        show: shown every status (`flexnfv.deploy.status.Tally.status`).

    Returns:
        The last status.

    Raises:
        InputError: whatever the user can mend; nothing is left of `out` then.
        BackendError: the backend died; the record is kept.
    """
    refuse_existing(out)
    if intervals is not None and intervals < 1:
        raise InputError(f"{intervals}", where="intervals", fix="choose 1 or more")
    loaded = chain if isinstance(chain, ServiceChain) else load_chain(chain)
    played = None if trace is None else load_trace(trace)
    runs_on = make_for_deployment(backend, loaded, **(options or {}))
    with ExitStack() as stack:
        stack.callback(runs_on.close)
        deployment = stack.enter_context(
            Deployment(
                policy,
                runs_on,
                shadows=shadows,
                trace=played,
                deadline_s=deadline_s,
                realtime=realtime,
                seed=seed,
            )
        )
        stack.enter_context(_stopped_by_signals(deployment))
        return _recorded(deployment, out, intervals, show)


def _recorded(
    deployment: Deployment, out: Path, intervals: int | None, show: Show
) -> dict[str, Any]:
    """Run a deployment and record it."""
    backend, chain = deployment.backend, deployment.chain
    shadows = tuple(shadow.name for shadow in deployment.shadows)
    facts = {
        "policy": deployment.policy.name,
        "shadows": shadows,
        "trace": deployment.trace_name,
        "seed": deployment.seed,
        "chain": chain.name,
        "backend": asdict(backend.description),
        "deadline_s": deployment.deadline_s,
        "flexnfv": __version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally(chain, deployment.policy, deployment.shadows, backend.description)
    with hold_lock(out), _logged(out / LOG):
        log.info("%s decides for chain %s on %s", facts["policy"], chain.name, facts["backend"])
        scribe = Scribe(out, chain, shadows, facts, tally, show, patient=deployment.patient)
        state, reason = "failed", "interrupted"
        begun = False
        if not deployment.patient:
            go_last()
        try:
            with nullcontext(True) if deployment.patient else punctual() as allowed:
                if not allowed:
                    log.info("may not run before other processes: decisions may come later")
                for row in deployment.rows(intervals):
                    begun = True
                    scribe.add(row)
            state, reason = "stopped", ""
        except BaseException as error:
            reason = one_line(error)
            raise
        finally:
            backend.close()
            log.info("%s %s", state, reason)
            status = scribe.close(state, reason)
            if not begun:
                shutil.rmtree(out)
        return status


@contextmanager
def _stopped_by_signals(deployment: Deployment) -> Iterator[None]:
    """SIGINT and SIGTERM end the deployment in order; only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        log.info("stopped by %s", signal.Signals(number).name)
        deployment.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
