"""Where a policy runs: a bundle in the deployment's own process, any other in one of its own.

A bundle executes nothing but a bounded network of plain operators, so it cannot hang or crash, and
deciding at once is what is fastest. Any other policy is somebody's code: in a process of its own
it can be ended, whatever it does.
"""

from __future__ import annotations

import logging
import multiprocessing
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from time import monotonic
from types import ModuleType
from typing import Final, Protocol

from flexnfv.chain import ServiceChain
from flexnfv.deploy import wire
from flexnfv.deploy.answer import Answer, Fault, ask, one_line
from flexnfv.deploy.child import serve, start
from flexnfv.deploy.wire import Kind, Message
from flexnfv.errors import InputError
from flexnfv.policy import registered
from flexnfv.reading import Reading
from flexnfv.spec import is_bundle, policy_spec
from flexnfv.suggest import known

Awaited = Callable[[], bool]

log = logging.getLogger("flexnfv.deploy")

START_S: Final = 60.0
"""Longest time that the first process of a policy may take to get ready."""
RESTART_S: Final = 10.0
"""The same of a later one, where the chain's time stands still meanwhile."""
HANG_S: Final = 1.0
"""A policy that owes an answer for so long hangs; one of a chain whose time stands still meanwhile
hangs when it has missed its deadline."""
LONGEST_PAUSE: Final = 256
"""Intervals before a policy that failed again and again since its start is started once more."""


class Host(Protocol):
    """Asks one policy: first `ask`, then `answer`.

    Attributes:
        name: the policy's spec.
        restarts: how often its process was started anew.
    """

    name: str
    restarts: int

    def ask(self, reading: Reading) -> None:
        """Put a reading to the policy; does not wait."""
        ...

    def answer(self, until: float) -> Answer:
        """What the policy answered to that reading, by `until` on the monotonic clock."""
        ...

    def close(self) -> None:
        """End what the policy runs in; may be called twice."""
        ...


class InProcess:
    """A bundle, asked in this process.

    Raises:
        InputError: it cannot be used, or was trained for another chain.
    """

    restarts = 0

    def __init__(self, spec: str, chain: ServiceChain, seed: int | None) -> None:
        self.name = spec
        self._chain = chain
        self._policy = start(spec, chain, seed)
        # The first run of a network takes longer than later ones, so it happens here.
        self._policy.decide(Reading.zeros(chain.types, chain.slots))
        self._policy.reset(chain, seed)
        self._reading: Reading | None = None

    def rehearse(self, reading: Reading) -> None:
        """Decide, and forget it."""
        state = self._policy.export_state()
        ask(self._policy.decide, reading, self._chain)
        self._policy.restore_state(state)

    def ask(self, reading: Reading) -> None:
        """Keep the reading."""
        self._reading = reading

    def answer(self, until: float) -> Answer:
        """Decide; an answer after `until` is late."""
        reading = self._reading
        assert reading is not None
        answer = ask(self._policy.decide, reading, self._chain)
        if monotonic() > until and answer.decision is not None:
            return Answer(
                None, Fault.LATE, f"took {answer.decision_s * 1e3:.1f} ms", answer.decision_s
            )
        return answer

    def close(self) -> None:
        """Nothing to end."""


class OwnProcess:
    """A policy in a process of its own, which is ended when it hangs and started anew.

    It is asked nothing while it owes an answer, and hangs when it owes one for `HANG_S`. A new
    process continues from the state that the last one sent with its last answer, unless that one
    never answered well since it was started: then the state itself may be what is wrong, and the
    policy begins anew.

    Args:
        spec: of the policy.
        chain: that it decides for.
        seed: of the policy.
        patient: wait for a new process to get ready, since the chain's time stands still.
        urgent: run the process sooner than others, where the system lets us.

    Raises:
        InputError: no such policy, a parameter it does not take, or it cannot start.
    """

    def __init__(
        self,
        spec: str,
        chain: ServiceChain,
        seed: int | None,
        *,
        patient: bool,
        urgent: bool = False,
    ) -> None:
        if not is_bundle(spec):
            known(policy_spec(spec).head, registered(), kind="policy")
        self.name = spec
        self.restarts = 0
        self._chain = chain
        self._seed = seed
        self._patient = patient
        self._urgent = urgent
        self._state = b""
        self._number = 0
        self._owed: int | None = None
        self._owed_since = 0.0
        self._answer: Answer | None = None
        self._dead: list[BaseProcess] = []
        self._ready = False
        self._failures = 0
        self._pause = 0
        self._refusal: InputError | None = None
        self._process: BaseProcess | None = None
        self._link: socket.socket | None = None
        # A server that has imported everything forks each process, which takes milliseconds.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["flexnfv.deploy.child", "flexnfv.deploy.preload"])
        try:
            self._launch()
        except Exception as error:
            raise InputError(
                f"its process does not start: {one_line(error)}", where=f"policy {spec!r}"
            ) from error
        self._receive(until=monotonic() + START_S, awaited=self._is_started)
        if self._refusal is not None or not self._ready:
            refusal = self._refusal
            self.close()
            raise refusal or InputError(
                f"its process was not ready within {START_S:g} s, or died",
                where=f"policy {spec!r}",
                fix="see what it wrote above",
            )

    @property
    def pid(self) -> int | None:
        """Of the policy's process; None while there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, reading: Reading) -> None:
        """Put a reading to the policy, unless it still owes an answer or is not there."""
        self._receive(until=0.0)
        self._answer = None
        self._bury()
        if self._owed is not None:
            if not self._patient and monotonic() - self._owed_since < HANG_S:
                self._answer = Answer(None, Fault.LATE, "still owes an earlier answer")
                return
            self._end("it hangs")
        if self._link is None:
            if self._pause > 0:
                self._pause -= 1
                return
            self.restarts += 1
            try:
                self._launch()
            except Exception as error:  # The fork server may have died, or memory run out.
                self._end(f"its process does not start ({one_line(error)})")
                return
        if not self._ready:
            wait_s = RESTART_S if self._patient else 0.0
            self._receive(until=monotonic() + wait_s, awaited=self._is_started)
        if not self._ready or self._link is None:
            return
        self._number += 1
        body = reading.to_bytes()
        try:
            self._link.send(wire.pack(Message(Kind.READING, self._number, body=body)))
        except OSError:
            self._died()
            return
        self._owed, self._owed_since = self._number, monotonic()

    def answer(self, until: float) -> Answer:
        """The answer to the last reading; a fault if there is none by `until`."""
        if self._owed is not None and self._answer is None:
            self._receive(until, awaited=lambda: self._answer is not None)
        if self._answer is not None:
            return self._answer
        if self._owed is not None:
            return Answer(None, Fault.LATE, "no answer by the deadline")
        return Answer(None, Fault.ABSENT, "its process is not back yet")

    def close(self) -> None:
        """End the policy's process."""
        self._let_go()
        for process in self._dead:
            process.join(1.0)
        self._bury()

    def _is_started(self) -> bool:
        return self._ready or self._refusal is not None or self._link is None

    def _launch(self) -> None:
        """Start the process.

        Raises:
            OSError, EOFError: it cannot be started.
        """
        state = self._state if self._failures < 2 else b""
        ours, theirs = wire.link()
        process = self._context.Process(
            target=serve,
            args=(theirs, self.name, self._chain, self._seed, state, self._urgent),
            name=f"flexnfv policy {self.name}",
            daemon=True,
        )
        try:
            with _no_main():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._process = process
        ours.setblocking(False)
        self._link = ours
        self._ready = False
        self._refusal = None
        self._owed = None

    def _end(self, why: str) -> None:
        """End the process; the next one comes at once if this one had answered well, else later."""
        self._failures += 1
        self._pause = min(2 ** (self._failures - 1) - 1, LONGEST_PAUSE)
        again = f" after {self._pause} intervals" if self._pause else ""
        log.warning("policy %s: %s; its process starts anew%s", self.name, why, again)
        self._let_go()

    def _died(self) -> None:
        self._end("its process died")
        self._answer = Answer(None, Fault.DIED, "its process died")

    def _let_go(self) -> None:
        """Kill the process without waiting for its end, which may take a while on a busy core."""
        self._ready = False
        self._owed = None
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
            self._dead.append(self._process)
            self._process = None

    def _bury(self) -> None:
        for process in [dead for dead in self._dead if dead.exitcode is not None]:
            self._dead.remove(process)
            process.close()

    def _receive(self, until: float, awaited: Awaited | None = None) -> None:
        """Take in messages: those that are there, or until `awaited()` holds or time is up."""
        while self._link is not None and not (awaited is not None and awaited()):
            try:
                data = self._link.recv(wire.LIMIT)
            except BlockingIOError:
                left = until - monotonic()
                if awaited is None or left <= 0:
                    return
                poll = select.poll()
                poll.register(self._link, select.POLLIN)
                poll.poll(max(left * 1e3, 0.01))
                continue
            except OSError:
                data = b""
            if not data:
                self._died()
                return
            try:
                self._take(wire.unpack(data))
            except Exception as error:
                self._end(f"its process sent what is no message ({one_line(error)})")
                self._answer = Answer(None, Fault.INVALID, one_line(error))
                return

    def _take(self, message: Message) -> None:
        match message.kind:
            case Kind.READY:
                self._ready = True
            case Kind.REFUSED:
                self._refusal = wire.refused(message)
            case Kind.STATE:
                self._state = message.body
            case Kind.DECISION | Kind.FAULT if message.number == self._owed:
                self._answer = wire.message_answer(message, self._chain)
                self._owed = None
                if self._answer.decision is not None:
                    self._failures = 0


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the program's main module: a policy's process has no use for it, and would run a script
    that has no `if __name__ == "__main__"` once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def open_host(
    spec: str, chain: ServiceChain, seed: int | None, *, patient: bool, shadow: bool = False
) -> Host:
    """The host of a policy.

    Args:
        spec: of the policy.
        chain: that it decides for.
        seed: of the policy.
        patient: see `OwnProcess`.
        shadow: nothing waits for it: in a process of its own even if it is a bundle, and no sooner
            run than any other process.

    Raises:
        InputError: see `InProcess` and `OwnProcess`.
    """
    if is_bundle(spec):
        in_process = InProcess(spec, chain, seed)  # A bundle that does not fit is refused here.
        if not shadow:
            return in_process
    return OwnProcess(spec, chain, seed, patient=patient, urgent=not (patient or shadow))
