"""Makes a definition anew: `python -m flexnfv.suite.pin > flexnfv/suite/v1.toml`.

For maintainers, before a version is published: afterwards its digests never change. It needs every
public series in the user's folder and the extra `traces`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from flexnfv.chain import load_chain
from flexnfv.suite.definition import NEWEST, chain_digest
from flexnfv.suite.sources import SOURCES
from flexnfv.suite.traffic import digest, make, user_folder
from flexnfv.traces import split

DROP_COSTS = (30, 100, 300, 1000, 3000)
PARKED_WEIGHTS = (0.3, 0.0)
SEEDS = (0,)
CHAINS = ("edge", "six")
DRAWS = 16
"""Draws of the prior on `edge`; a quarter as many on `six`."""


def names() -> Iterator[tuple[str, str, str]]:
    """Part, chain and trace of every item."""
    families = [name.removeprefix("test/") for name in split("test", measured=False).names]
    draws = [f"draw-{number:02}" for number in range(DRAWS)]
    yield from (("families", "edge", name) for name in families)
    yield from (("prior", "edge", name) for name in draws)
    yield from (("measured", "edge", f"alibaba2018-x{factor}") for factor in (10, 60))
    yield from (("public", "edge", name) for name in SOURCES)
    yield from (("six", "six", name) for name in families[::2])
    yield from (("six", "six", name) for name in draws[: DRAWS // 4])


def text() -> str:
    """The definition as a TOML file."""
    lines = [
        f'version = "{NEWEST}"',
        f"drop_costs = {list(DROP_COSTS)}",
        f"parked_weights = {list(PARKED_WEIGHTS)}",
        f"seeds = {list(SEEDS)}",
        "",
        "[chains]",
        *(f'{name} = "{chain_digest(load_chain(name))}"' for name in CHAINS),
    ]
    for part, chain, name in names():
        rates = make(part, name, load_chain(chain), user_folder()).rate_pps
        lines += [
            "",
            "[[trace]]",
            f'part = "{part}"',
            f'chain = "{chain}"',
            f'trace = "{name}"',
            f"intervals = {rates.size}",
            f'sha256 = "{digest(rates)}"',
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
