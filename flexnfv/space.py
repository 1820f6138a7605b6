"""Search spaces: what a policy's class says of the parameters that a calibration may set.

A class attribute `space` maps names of parameters to one of these. `flexnfv.evaluation.tuning`
searches it; `flexnfv.policy` needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Real:
    """A number between two.

    Attributes:
        low, high: both included.
        log: whether ratios count, not differences.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Times:
    """For a knob: the drop cost or drop target that is calibrated for, times a factor.

    Attributes:
        low, high: of the factor; ratios count.
        otherwise: where the policy is calibrated for the other of the two.
    """

    low: float
    high: float
    otherwise: Real


Space = Mapping[str, Real | Choice | Times]
