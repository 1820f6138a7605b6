"""What a version of the suite is made of: chains, traces, seeds and costs, pinned by digests."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.suggest import known

VERSIONS: Final = ("v1",)
NEWEST: Final = VERSIONS[-1]

PARTS: Final[dict[str, str]] = {
    "families": "the synthetic families of the test split",
    "prior": "draws of the wide prior of demand",
    "measured": "real demand that the extra `traces` installs",
    "public": "public series that a user imports",
    "six": "the chain `six` on families and prior",
}
"""Every part and what it holds, in the order of lists and tables."""


@dataclass(frozen=True)
class Item:
    """One trace on one chain.

    Attributes:
        part: that it belongs to.
        chain: name of a shipped chain.
        trace: name, unique within the part.
        intervals: monitor intervals.
        sha256: of its rates as evaluated: float64, little-endian, packets/s.
    """

    part: str
    chain: str
    trace: str
    intervals: int
    sha256: str


@dataclass(frozen=True)
class Definition:
    """A version of the suite.

    Attributes:
        version: its name.
        drop_costs: λ, what losing one interval's mean traffic costs, in core intervals.
        parked_weights: cost of a parked core relative to a running one.
        seeds: evaluation seeds, of backend and policy alike.
        chains: digest of every chain with its calibration (`chain_digest`).
        items: every trace.
    """

    version: str
    drop_costs: tuple[float, ...]
    parked_weights: tuple[float, ...]
    seeds: tuple[int, ...]
    chains: dict[str, str]
    items: tuple[Item, ...]

    @property
    def sha256(self) -> str:
        """What identifies the definition."""
        return _digest(asdict(self))

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Every pair of drop cost and parked weight, that a policy is judged at."""
        return tuple((cost, weight) for weight in self.parked_weights for cost in self.drop_costs)

    @property
    def parts(self) -> tuple[str, ...]:
        """Its parts, in the order of `PARTS`."""
        return tuple(part for part in PARTS if self.of_part(part))

    def of_part(self, part: str) -> tuple[Item, ...]:
        """The traces of a part."""
        return tuple(item for item in self.items if item.part == part)

    def chain(self, name: str) -> ServiceChain:
        """A chain of the suite.

        Raises:
            InputError: the shipped chain or its calibration is not the one that was pinned.
        """
        chain = load_chain(name)
        if chain_digest(chain) != self.chains[name]:
            raise InputError(
                f"is not the chain of suite {self.version}",
                where=f"chain {name!r}",
                fix="use the version of FlexNFV that the suite was made for",
            )
        return chain


@cache
def load(version: str = NEWEST) -> Definition:
    """A version of the suite by its name.

    Raises:
        InputError: no such version.
    """
    known(version, VERSIONS, kind="suite")
    text = resources.files("flexnfv.suite").joinpath(f"{version}.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return Definition(
        version=table["version"],
        drop_costs=tuple(map(float, table["drop_costs"])),
        parked_weights=tuple(map(float, table["parked_weights"])),
        seeds=tuple(table["seeds"]),
        chains=table["chains"],
        items=tuple(Item(**item) for item in table["trace"]),
    )


def chain_digest(chain: ServiceChain) -> str:
    """SHA-256 of all that a chain and its calibration state (defaults aside: keys may be added)."""
    stated = {
        "chain": chain.model_dump(mode="json", exclude_defaults=True),
        "calibration": chain.measured.model_dump(mode="json", exclude_defaults=True),
    }
    return _digest(stated)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
