"""A policy with the law behind it: whatever the policy does, every interval gets a decision."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import ParamSpec, TypeVar

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision, IntArray
from flexnfv.deploy.answer import Answer
from flexnfv.deploy.host import Host
from flexnfv.deploy.punctual import go_first
from flexnfv.policies.watermark import Watermark
from flexnfv.reading import Reading

Send = Callable[[Decision], object]
P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("flexnfv.deploy")


@dataclass(frozen=True)
class Decided:
    """What was decided on one reading.

    Attributes:
        reading: a copy.
        decision: that was sent, of fields [T].
        sent: when, on the monotonic clock.
        answer: the policy's.
    """

    reading: Reading
    decision: Decision
    sent: float
    answer: Answer
    _law: Future[IntArray]

    @property
    def by_law(self) -> bool:
        """Whether the law's targets are sent in the policy's place."""
        return self.answer.decision is None

    @property
    def law(self) -> IntArray:
        """Targets of the watermark law on the same reading, [T]; waits until they are known."""
        return self._law.result()


class Guard:
    """Decides with a policy, and with the watermark law where the policy has no valid decision.

    The law reads every interval, since it counts checks in a row; it remembers as last asked for
    what was sent, whoever decided it. In a thread of its own it takes no time from a policy that
    answers well: it thinks once the decision is sent.

    Args:
        host: of the policy.
        chain: that is decided for.
        urgent: let the law's thread go before others, as the loop does.
    """

    def __init__(self, host: Host, chain: ServiceChain, *, urgent: bool) -> None:
        self.host = host
        self._law = Watermark()
        self._law.reset(chain)
        self._thread = ThreadPoolExecutor(
            1, "flexnfv law", initializer=go_first if urgent else None
        )
        self._faults_in_a_row = 0

    def decide(self, reading: Reading, until: float, send: Send) -> Decided:
        """Decide on the next interval by `until` on the monotonic clock, and send them.

        All that can wait is done afterwards.
        """
        self.host.ask(reading)
        answer = self.host.answer(until)
        if answer.decision is not None:
            decision, sent = answer.decision, monotonic()
            send(decision)
            kept = reading.copy()
            law = self.later(self._read, kept, decision.targets)
        else:
            kept = reading.copy()
            law = self.later(self._read, kept, None)
            decision, sent = Decision(law.result()), monotonic()
            send(decision)
        self._log(answer, float(kept.time_s))
        return Decided(kept, decision, sent, answer, law)

    def later(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have the law's thread do something, too, after what it has to do already."""
        return self._thread.submit(act, *args, **kwargs)

    def close(self) -> None:
        """End the law's thread; may be called twice."""
        self._thread.shutdown()

    def _read(self, reading: Reading, sent: IntArray | None) -> IntArray:
        law = self._law.decide(reading)
        self._law.wanted = (law if sent is None else sent).copy()
        return law

    def _log(self, answer: Answer, time_s: float) -> None:
        """Every fault stands in the record; the log names the 1st, 10th, 100th ... in a row."""
        if answer.fault is None:
            if self._faults_in_a_row:
                log.info("%s decides again, after %d", self.host.name, self._faults_in_a_row)
            self._faults_in_a_row = 0
            return
        self._faults_in_a_row += 1
        count = self._faults_in_a_row
        if count == 10 ** (len(str(count)) - 1):
            log.warning(
                "the law decides in place of %s at %.3f s (%d in a row): %s, %s",
                self.host.name,
                time_s,
                count,
                answer.fault,
                answer.detail,
            )
