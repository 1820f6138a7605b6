"""Fill in the figures of a pretrained bundle's model card, so that none is typed by hand.

    python -m flexnfv.experiments.model_card any-chain SUBMISSION.json --rules docs/suite/v1/*.json

They come from the bundle itself and from files that `flexnfv suite run` wrote: the bundle's own,
and those of the rules that it is held against. Without files, the card tells of the bundle alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tyro

from flexnfv.errors import InputError
from flexnfv.failures import one_line_errors, run_program
from flexnfv.policies.bundle import read_metadata
from flexnfv.spec import PRETRAINED, located

BEGIN: Final = "<!-- figures: written by `python -m flexnfv.experiments.model_card` -->\n"
END: Final = "<!-- end of figures -->\n"

Costs = Mapping[str, Mapping[str, Mapping[str, float]]]
"""J by part of the suite, trace and point (drop cost/parked weight)."""


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
        "bundle": f"{len(content) / 1000:.0f} kB, SHA-256 `{hashlib.sha256(content).hexdigest()}`",
        "training seeds": ", ".join(map(str, told.seeds)),
        "trained on": ", ".join(told.traces.get("train", ())),
        "drop cost unless told": f"{told.drop_cost:g}",
        **{f"training, {key}": str(value) for key, value in told.training.items()},
        **{f"score, {key}": f"{value:.4g}" for key, value in told.scores.items()},
    }
    return table(("", ""), [(key, value) for key, value in rows.items() if value])


def scores(own: Costs, rules: Sequence[Costs]) -> str:
    """J against the best rule's by part and point, as a table.

    The best rule of a part and a point is the one of the lowest mean logarithm of J over traces.
    """
    heading = ("part", "drop cost / parked weight", "mean", "worst trace", "better on")
    return table(heading, list(_scores(own, rules)))


def _scores(own: Costs, rules: Sequence[Costs]) -> Iterator[tuple[str, ...]]:
    for part, traces in own.items():
        rivals = [rule[part] for rule in rules if part in rule]
        for point in next(iter(traces.values()), {}) if rivals else ():
            mine = np.array([costs[point] for costs in traces.values()])
            theirs = np.array([[rival[trace][point] for trace in traces] for rival in rivals])
            ratio = mine / theirs[np.log(theirs).mean(axis=1).argmin()] - 1.0
            worst = int(ratio.argmax())
            yield (
                part,
                point.replace("/", " / "),
                f"{ratio.mean():+.1%}",
                f"{ratio[worst]:+.1%} ({list(traces)[worst]})",
                f"{(ratio < 0).sum()} of {len(ratio)}",
            )


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read(path: Path) -> dict[str, Any]:
    """A file of `flexnfv suite run`.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"costs": found["costs"], "bundle": found["bundle_sha256"], "suite": found["suite"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"is no submission ({error})", where=str(path), fix="make it with `flexnfv suite run`"
        ) from None


@dataclass(frozen=True)
class Args:
    """What the figures come from."""

    bundle: tyro.conf.Positional[str]
    """Name of a pretrained bundle."""
    submission: tyro.conf.Positional[Path | None] = None
    """What `flexnfv suite run` wrote of it."""
    rules: tuple[Path, ...] = ()
    """What it wrote of the rules."""


def figures(args: Args, bundle: Path) -> str:
    """The figures of a bundle.

    Raises:
        InputError: a file that is no submission, or one of another bundle.
    """
    if args.submission is None:
        return facts(bundle) + "\nIt has not been run on the suite yet.\n"
    found = read(args.submission)
    if found["bundle"] != hashlib.sha256(bundle.read_bytes()).hexdigest():
        raise InputError("is of another bundle", where=str(args.submission), fix="run it again")
    return (
        f"{facts(bundle)}\nCost J on suite {found['suite']}, relative to that of the best rule of "
        "the part and point (less is better):\n\n"
        + scores(found["costs"], [read(path)["costs"] for path in args.rules])
    )


def main(args: Args) -> None:
    """Fill in the figures of a model card.

    Raises:
        InputError: no such bundle; see `figures` and `fill`.
    """
    bundle = Path(located(f"{PRETRAINED}{args.bundle.removeprefix(PRETRAINED)}"))
    card = bundle.with_suffix(".md")
    filled = fill(card.read_text(encoding="utf-8"), figures(args, bundle), str(card))
    fresh = card.with_name(f".{card.name}.new")
    fresh.write_text(filled, encoding="utf-8")
    fresh.replace(card)
    print(f"{card}: figures filled in")


def command() -> None:
    """The command line."""
    with one_line_errors("model_card"):
        args = tyro.cli(Args, prog="model_card", description=__doc__)
    main(args)


if __name__ == "__main__":
    sys.exit(run_program("model_card", command))
