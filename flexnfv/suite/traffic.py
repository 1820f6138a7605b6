"""The suite's traces: how each part's are made, where users' lie, and that they are the right ones.

Every rate is a whole number of packets/s. Generators use logarithms and exponentials, which two
machines may round differently in the last bit; the rounding to whole packets takes that away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.suite.definition import Definition, Item
from flexnfv.suite.sources import SOURCES
from flexnfv.traces import Trace, datacenter, files, prior, split
from flexnfv.traces.trace import FloatArray

LONGEST: Final = 3000
"""Most intervals of a trace: a verification of everything must take seconds."""

DRAWN: Final = 1500
"""Intervals of a draw of the prior."""

_PRIOR_SEED: Final = 20261127
"""Of the suite's draws; whoever trains on the prior uses another."""
_TEST_SHARE: Final = 0.8
"""Measured traffic before this share of its time belongs to training and validation."""
_UNIT_BYTES: Final = 1024
"""Packet size for series of bits/s: dividing by a power of two keeps their shape to the bit."""


class Missing(InputError):
    """A trace that is not on this machine."""


@dataclass(frozen=True)
class Shelf:
    """Where the traces come from.

    Attributes:
        definition: names and pins them.
        folder: holds what `flexnfv suite import` wrote.
    """

    definition: Definition
    folder: Path = field(default_factory=lambda: user_folder())

    @cached_property
    def chains(self) -> dict[str, ServiceChain]:
        """Every chain of the suite by its name.

        Raises:
            InputError: one is not the one that was pinned.
        """
        return {name: self.definition.chain(name) for name in self.definition.chains}

    def trace(self, item: Item) -> Trace:
        """The trace of an item, checked.

        Raises:
            Missing: it is not on this machine.
            InputError: what is here is something else.
        """
        made = make(item.part, item.trace, self.chains[item.chain], self.folder)
        if digest(made.rate_pps) != item.sha256:
            raise InputError(
                f"is not that of suite {self.definition.version}: its rates have another SHA-256",
                where=f"trace {item.trace!r} of part {item.part!r}",
                fix=_mend(item, self.folder),
            )
        return made


def user_folder() -> Path:
    """Where imported series lie: `FLEXNFV_TRACES`, or the user's data folder (XDG)."""
    if named := os.environ.get("FLEXNFV_TRACES"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME", "")
    # The XDG rules: a relative path counts as not given.
    home = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return home / "flexnfv" / "traces"


def make(part: str, name: str, chain: ServiceChain, folder: Path) -> Trace:
    """A trace at the chain's interval and peak, unchecked.

    Args:
        part, name: of the trace.
        chain: gives interval and peak.
        folder: with imported series.

    Raises:
        Missing: it is not on this machine.
        InputError: a file that cannot be read.
    """
    rates = np.rint(_MAKERS[part](name, chain, folder))
    return Trace(name, rates, chain.interval_s, None, f"suite, part {part}", part)


def digest(rates: FloatArray) -> str:
    """SHA-256 of rates as float64, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(rates, "<f8").tobytes()).hexdigest()


def to_peak(shape: FloatArray, chain: ServiceChain) -> FloatArray:
    """The first intervals of a series, one sample in each, its highest at the chain's peak."""
    rates = shape[:LONGEST]
    return np.asarray(rates / rates.max() * chain.peak_pps)


def path_of(name: str, folder: Path) -> Path:
    """Where the imported series of a public source lies."""
    return folder / SOURCES[name].file


def _family(name: str, chain: ServiceChain, folder: Path) -> FloatArray:
    test = split("test", peak_pps=chain.peak_pps, step_s=chain.interval_s, measured=False)
    return test.get(f"test/{name}").rate_pps


def _prior(name: str, chain: ServiceChain, folder: Path) -> FloatArray:
    row = int(name.removeprefix("draw-"))
    return to_peak(prior.draw(np.random.default_rng([_PRIOR_SEED, row]), DRAWN), chain)


def _six(name: str, chain: ServiceChain, folder: Path) -> FloatArray:
    return (_prior if name.startswith("draw-") else _family)(name, chain, folder)


def _measured(name: str, chain: ServiceChain, folder: Path) -> FloatArray:
    if not datacenter.installed():
        raise Missing(
            "is not installed", where=f"trace {name!r}", fix="pip install 'flexnfv[traces]'"
        )
    whole = datacenter.alibaba2018()
    test = whole.cut(_TEST_SHARE * whole.duration_s)
    factor = float(name.rpartition("-x")[2])
    return to_peak(test.compress(factor).rates(chain.interval_s), chain)


def _public(name: str, chain: ServiceChain, folder: Path) -> FloatArray:
    path = path_of(name, folder)
    if not path.is_file():
        raise Missing(
            "is not imported",
            where=f"trace {name!r}",
            fix=f"flexnfv suite import {name} FILE",
        )
    return to_peak(files.read(path, packet_bytes=_UNIT_BYTES).rate_pps, chain)


_MAKERS: Final[dict[str, Callable[[str, ServiceChain, Path], FloatArray]]] = {
    "families": _family,
    "prior": _prior,
    "measured": _measured,
    "public": _public,
    "six": _six,
}


def _mend(item: Item, folder: Path) -> str:
    if item.part == "public":
        return f"remove {path_of(item.trace, folder)} and import it again"
    if item.part == "measured":
        return "install the version of the package that constraints.txt pins"
    return "use the version of FlexNFV that the suite was made for"
