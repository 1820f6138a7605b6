"""Fill in the figures of a pretrained bundle's model card, so that none is typed by hand.

    python -m flexnfv.suite.card any-chain [--folder docs/suite]

They come from the bundle itself, and from the submissions and the bound that the repository keeps.
A bundle that has not been submitted has a card that says so.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill as fill_text
from typing import Final

import numpy as np
import tyro

from flexnfv.errors import InputError
from flexnfv.failures import one_line_errors, run_program
from flexnfv.policies.bundle import read_metadata
from flexnfv.spec import PRETRAINED, located
from flexnfv.suite.bound import Bound
from flexnfv.suite.definition import NEWEST, Definition, load
from flexnfv.suite.submission import Submission, label
from flexnfv.suite.table import SCOPES, rank, read_all

BEGIN: Final = "<!-- figures: written by `python -m flexnfv.suite.card` -->\n"
END: Final = "<!-- end of figures -->\n"
PRIVATE: Final = ("out", "resume")
"""Arguments of a training that tell of its author's machine, not of the bundle."""
WIDTH: Final = 80
"""Columns of the card's prose, which a terminal shows too."""
HEADING: Final = (
    "traffic",
    "parked weight",
    "drop cost",
    "the rule",
    "J against it, mean",
    "worst trace",
    "better on",
    "gap closed",
)


def fill(card: str, figures: str, where: str) -> str:
    """The card with these figures in the place of the old ones.

    Raises:
        InputError: the card has no place for them.
    """
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError("has no place for figures", where=where, fix=f"add {BEGIN.strip()}")
    return f"{before}{BEGIN}{figures}{END}{after}"


def facts(bundle: Path) -> str:
    """What the bundle says of itself, as a table."""
    content, told = bundle.read_bytes(), read_metadata(bundle)
    rows = {
        "SHA-256": f"`{digest(bundle)}`",
        "size": f"{len(content) / 1000:.0f} kB",
        "training seeds": ", ".join(map(str, told.seeds)),
        "trained on": ", ".join(told.traces.get("train", ())),
        "drop cost unless told": f"{told.drop_cost:g}",
        **{
            f"training, {key}": str(value)
            for key, value in told.training.items()
            if key not in PRIVATE
        },
        **{f"score, {key}": f"{value:.4g}" for key, value in told.scores.items()},
    }
    return table(("", ""), [(key, value) for key, value in rows.items() if value])


def scores(own: Submission, others: Sequence[Submission], bound: Bound, suite: Definition) -> str:
    """J against the rule's (`flexnfv.suite.table.rank`) by traffic, weight and drop cost."""
    return table(HEADING, list(_scores(own, others, bound, suite)))


def _scores(
    own: Submission, others: Sequence[Submission], bound: Bound, suite: Definition
) -> Iterator[tuple[str, ...]]:
    by_name = {one.name: one for one in others}
    for scope, parts in SCOPES.items():
        if any(part not in bound.costs or part not in own.costs for part in parts):
            continue
        places = [(part, item.trace) for part in parts for item in suite.of_part(part)]
        for weight in suite.parked_weights:
            ranking = rank([own, *others], bound, suite, parts, weight)
            figures = dict(ranking.rows)[own.name]
            for cost, rule in ranking.rules.items():
                key, rival = label((cost, weight)), by_name[rule].costs
                ratio = np.array([own.costs[p][t][key] / rival[p][t][key] - 1 for p, t in places])
                worst = int(ratio.argmax())
                yield (
                    scope,
                    f"{weight:g}",
                    f"{cost:g}",
                    rule,
                    f"{ratio.mean():+.1%}",
                    f"{ratio[worst]:+.1%} ({places[worst][1]})",
                    f"{(ratio < 0).sum()} of {len(ratio)}",
                    f"{figures.gap[cost]:+.2f}",
                )


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def digest(bundle: Path) -> str:
    """SHA-256 of a bundle's file."""
    return hashlib.sha256(bundle.read_bytes()).hexdigest()


def figures(
    bundle: Path, submissions: Sequence[Submission], bound: Bound, suite: Definition
) -> str:
    """The figures of a bundle's card."""
    own = [one for one in submissions if one.bundle_sha256 == digest(bundle)]
    if not own:
        return f"{facts(bundle)}\nIt has not been submitted to suite {suite.version}.\n"
    others = [one for one in submissions if one is not own[0]]
    told = fill_text(
        f"Suite {suite.version}: the cost J relative to that of the best rule at that drop cost "
        "(less is better), and the share that it closes of the gap between rule and bound. "
        "`flexnfv suite verify` runs it again.",
        WIDTH,
    )
    return f"{facts(bundle)}\n{told}\n\n{scores(own[0], others, bound, suite)}"


@dataclass(frozen=True)
class Args:
    """Whose card, and what its figures come from."""

    bundle: tyro.conf.Positional[str]
    """Name of a pretrained bundle."""
    folder: Path = Path("docs/suite")
    """What holds the suite's submissions (in a folder of its version) and bound."""
    suite: str = NEWEST
    """Version of the suite."""


def main(args: Args) -> None:
    """Fill in the figures of a model card.

    Raises:
        InputError: no such bundle, a file that cannot be used, or no place in the card.
    """
    bundle = Path(located(f"{PRETRAINED}{args.bundle.removeprefix(PRETRAINED)}"))
    suite, card = load(args.suite), bundle.with_suffix(".md")
    bound = Bound.read(args.folder / f"{args.suite}-bound.json", suite)
    told = figures(bundle, read_all(args.folder / args.suite), bound, suite)
    filled = fill(card.read_text(encoding="utf-8"), told, str(card))
    fresh = card.with_name(f".{card.name}.new")
    fresh.write_text(filled, encoding="utf-8")
    fresh.replace(card)
    print(f"{card}: figures filled in")


def command() -> None:
    """The command line."""
    with one_line_errors("suite.card"):
        args = tyro.cli(Args, prog="suite.card", description=__doc__)
    main(args)


if __name__ == "__main__":
    sys.exit(run_program("suite.card", command))
