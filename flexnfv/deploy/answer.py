"""What a policy answered to one reading: a valid decision, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import nan
from time import perf_counter
from typing import Any, Final

import numpy.typing as npt

from flexnfv.action import refuse_forbidden
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision, IntArray, check_decision
from flexnfv.reading import Reading

MOST_TIMES: Final = 100
"""A policy whose targets exceed a type's `max_instances` this many times is taken to be broken.

Lower targets above `max_instances` are valid: under a load that the chain cannot carry, a policy
may ask for more instances than there can be. The manager applies limits and budget, not the policy.
"""


class Fault(StrEnum):
    """Why an interval is without a policy's decision."""

    RAISED = "raised"
    """`decide` raised."""
    INVALID = "invalid"
    """`decide` returned something that is no decision (`judge`)."""
    LATE = "late"
    """No answer, or a slower one than the deadline allows."""
    DIED = "died"
    """The policy's process ended while it was asked."""
    ABSENT = "absent"
    """The policy's process is not back yet, after it was ended or died."""


@dataclass(frozen=True)
class Answer:
    """One policy's answer to one reading.

    Attributes:
        decision: a valid decision, of fields [T], or None.
        fault: why there is none; None if there is.
        detail: what was wrong, in one line.
        decision_s: seconds that `decide` took; NaN where it is not known.
    """

    decision: Decision | None
    fault: Fault | None = None
    detail: str = ""
    decision_s: float = nan

    @property
    def targets(self) -> IntArray | None:
        """The decision's, [T]."""
        return None if self.decision is None else self.decision.targets


def judge(wanted: Decision | npt.ArrayLike, chain: ServiceChain) -> Decision:
    """A decision of fields [T] that may be sent.

    Raises:
        ValueError: no decision (`flexnfv.decision.check_decision`), targets above `MOST_TIMES`, or
            a lever that an NF type does not allow.
    """
    checked = check_decision(wanted, (chain.types,))
    if (checked.targets > MOST_TIMES * chain.max_instances).any():
        raise ValueError(f"targets are above {MOST_TIMES} times the NF type's max_instances")
    refuse_forbidden(checked, chain)
    return checked


def ask(decide: Callable[[Reading], Any], reading: Reading, chain: ServiceChain) -> Answer:
    """Let `decide` answer a reading, and judge that; whatever it does, an answer comes of it."""
    begun = perf_counter()
    try:
        wanted = decide(reading)
    except (Exception, SystemExit) as error:
        return Answer(None, Fault.RAISED, one_line(error), perf_counter() - begun)
    decision_s = perf_counter() - begun
    try:
        return Answer(judge(wanted, chain), decision_s=decision_s)
    except Exception as error:
        return Answer(None, Fault.INVALID, one_line(error), decision_s)


def one_line(error: BaseException) -> str:
    """Kind and message of an error in at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
