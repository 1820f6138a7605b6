"""Small tasks whose episodes are known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexnfv.envs.task import Task
from flexnfv.traces import Trace, TraceSet

LENGTH = 12


def ramp(length: int = LENGTH, low: float = 2e6, high: float = 9e6) -> Trace:
    """A rate that rises steadily, one sample a second."""
    return Trace("ramp", np.linspace(low, high, length), 1.0)


def ramp_task(chain: str = "paper", length: int = LENGTH, **options: Any) -> Task:
    """A task whose every episode is the whole ramp."""
    return Task.build(chain, TraceSet("ramps", (ramp(length),)), episode=length, **options)
