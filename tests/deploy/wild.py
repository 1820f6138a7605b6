"""A third-party package of policies that misbehave, found through entry points alone.

It is installed by `wild` (conftest.py): copied to a folder with a `.dist-info` beside it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import numpy as np

from flexnfv.decision import Decision
from flexnfv.policies.watermark import Watermark
from flexnfv.policy import BasePolicy

GARBAGE = {
    "not a number": lambda targets: np.full(targets.shape, np.nan),
    "fraction": lambda targets: targets + 0.5,
    "infinite": lambda targets: np.full(targets.shape, np.inf),
    "shape": lambda targets: np.append(targets, 1),
    "scalar": lambda targets: 3,
    "negative": lambda targets: -targets,
    "huge": lambda targets: targets * 2**60,
    "text": lambda targets: ["many"] * len(targets),
    "nothing": lambda targets: None,
    "ragged": lambda targets: [[1], [2, 3]],
    "booby trap": lambda targets: Trap(),
}


class Trap:
    """Raises whatever is done to it."""

    def __array__(self, *arguments, **keywords):
        raise RuntimeError("trap")

    def __reduce__(self):
        raise RuntimeError("trap")


class Levers(Watermark):
    """The law, with levers: a mapping for the first type, spares for all from the 6th time on."""

    state_names = (*Watermark.state_names, "number")

    def __init__(self, mapping=2, spares=1):
        super().__init__()
        self.mapping, self.spares = mapping, spares

    def decide(self, reading):
        targets = super().decide(reading)
        self.number = 1 if self.number is None else int(self.number) + 1
        mapping = np.full(targets.shape, -1)
        mapping[0] = self.mapping
        spares = np.full(targets.shape, self.spares) if self.number > 5 else None
        return Decision(targets, mapping=mapping, spares=spares)


class Fickle(Watermark):
    """The law, but at random moments it hangs, raises, dies or returns garbage."""

    def __init__(self, share=0.2, faults="all"):
        super().__init__()
        self.share = share
        self.kinds = list(FAULTS) if faults == "all" else faults.split("+")
        self.dice = random.Random(os.urandom(8))

    def decide(self, reading):
        targets = super().decide(reading)
        if self.dice.random() >= self.share:
            return targets
        return FAULTS[self.dice.choice(self.kinds)](targets)


def _spin(targets):
    while True:
        pass


def _raise(targets):
    raise RuntimeError("I would rather not")


def _write(targets):
    os.write(1, b"not for standard output\n")
    print("not for standard output")
    raise ValueError("several\nlines")


FAULTS = GARBAGE | {
    "spin": _spin,
    "sleep": lambda targets: time.sleep(3600),
    "raise": _raise,
    "write": _write,
    "leave": lambda targets: sys.exit(0),
    "die": lambda targets: os._exit(1),
    "recurse": lambda targets: FAULTS["recurse"](targets),
}


class Counting(BasePolicy):
    """Targets are the number of decisions so far; hangs once, at the decision given."""

    state_names = ("count",)

    def __init__(self, flag, hangs_at=5):
        self.flag = Path(flag)
        self.hangs_at = hangs_at

    def decide(self, reading):
        self.count = np.array(0 if self.count is None else self.count) + 1
        if self.count == self.hangs_at and not self.flag.exists():
            self.flag.touch()
            time.sleep(3600)
        return np.full(self.chain.types, self.count)


class Stillborn(BasePolicy):
    """Never gets ready."""

    def __init__(self):
        os._exit(3)


class Sleepy(Watermark):
    """Decides well, after a while."""

    def __init__(self, seconds=0.01):
        super().__init__()
        self.seconds = seconds

    def decide(self, reading):
        time.sleep(self.seconds)
        return super().decide(reading)
