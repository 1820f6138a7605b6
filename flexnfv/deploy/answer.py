"""What a policy answered to one reading: valid targets, or why there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import nan
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.backend import check_targets
from flexnfv.chain import ServiceChain
from flexnfv.reading import Reading

IntArray = npt.NDArray[np.int64]

MOST_TIMES: Final = 100
"""A policy whose targets exceed a type's `max_instances` this many times is taken to be broken.

Lower targets above `max_instances` are valid: under a load that the chain cannot carry, a policy
may ask for more instances than there can be. The manager applies limits and budget, not the policy.
"""


class Fault(StrEnum):
    """Why an interval is without a policy's targets."""

    RAISED = "raised"
    """`decide` raised."""
    INVALID = "invalid"
    """`decide` returned something that is no targets (`judge`)."""
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
        targets: valid targets [T], or None.
        fault: why there are none; None if there are.
        detail: what was wrong, in one line.
        decision_s: seconds that `decide` took; NaN where it is not known.
    """

    targets: IntArray | None
    fault: Fault | None = None
    detail: str = ""
    decision_s: float = nan


def judge(targets: npt.ArrayLike, chain: ServiceChain) -> IntArray:
    """Targets [T] that may be sent.

    Raises:
        ValueError: no targets (`flexnfv.backend.check_targets`), or above `MOST_TIMES`.
    """
    checked = check_targets(targets, (chain.types,))
    if (checked > MOST_TIMES * chain.max_instances).any():
        raise ValueError(f"targets are above {MOST_TIMES} times the NF type's max_instances")
    return checked


def ask(decide: Callable[[Reading], Any], reading: Reading, chain: ServiceChain) -> Answer:
    """Let `decide` answer a reading, and judge that; whatever it does, an answer comes of it."""
    begun = perf_counter()
    try:
        targets = decide(reading)
    except (Exception, SystemExit) as error:
        return Answer(None, Fault.RAISED, one_line(error), perf_counter() - begun)
    decision_s = perf_counter() - begun
    try:
        return Answer(judge(targets, chain), decision_s=decision_s)
    except Exception as error:
        return Answer(None, Fault.INVALID, one_line(error), decision_s)


def one_line(error: BaseException) -> str:
    """Kind and message of an error in at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
