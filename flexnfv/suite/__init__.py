"""The benchmark suite: fixed chains, traces, seeds and costs, and results that anybody can check.

A *definition* (`v1.toml`) pins every trace by the SHA-256 of its rates. A *submission* is what a
policy did on them, as one file; to *verify* it is to do everything again and find the same bits.
"""

from flexnfv.suite.definition import NEWEST, Definition, Item, load
from flexnfv.suite.execution import Settings, run
from flexnfv.suite.submission import Submission
from flexnfv.suite.traffic import Shelf
from flexnfv.suite.verification import verify

__all__ = [
    "NEWEST",
    "Definition",
    "Item",
    "Settings",
    "Shelf",
    "Submission",
    "load",
    "run",
    "verify",
]
