"""`flexnfv suite`: the benchmark whose results anybody can check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import tyro

from flexnfv import terminal
from flexnfv.errors import InputError
from flexnfv.files import refuse_existing
from flexnfv.terminal import Listing

if TYPE_CHECKING:
    from flexnfv.suite import Shelf

DIFFERS: Final = 1
"""Exit code of a verification that fails, and of a table that is not up to date."""
_MOST_TOLD: Final = 10
"""Differences that are printed one by one."""

_DOCS = Path("docs")


def list_parts(*, suite: str = "v1", traces: Path | None = None) -> None:
    """List the parts and traces of the suite, and which of them are on this machine.

    Args:
        suite: version.
        traces: folder with imported series; the user's data folder if not given.
    """
    from flexnfv.suite.definition import PARTS
    from flexnfv.suite.sources import SOURCES

    shelf = _shelf(suite, traces)
    out = terminal.console()
    definition = shelf.definition
    out.print(
        f"Suite {suite}: drop costs {_numbers(definition.drop_costs)}, parked weights "
        f"{_numbers(definition.parked_weights)}, seeds {_numbers(definition.seeds)}"
    )
    for part in definition.parts:
        rows = [
            (item.trace, str(item.intervals), _state(shelf, part, item.trace))
            for item in definition.of_part(part)
        ]
        out.print()
        title = f"{part}: {PARTS[part]}"
        out.print(Listing(("trace", "intervals", "here"), rows, prose=("here",), title=title))
    sources = [
        (name, one.title, one.repository, one.path, one.commit, one.licence)
        for name, one in SOURCES.items()
    ]
    heading = ("name", "what", "github.com/", "file", "commit", "licence")
    out.print()
    out.print(Listing(heading, sources, prose=("what",), title="Where the public series are"))


def import_series(
    name: Annotated[str, tyro.conf.Positional],
    file: Annotated[Path, tyro.conf.Positional],
    *,
    to: Path | None = None,
    suite: str = "v1",
) -> None:
    """Check and import a public series that you downloaded.

    Args:
        name: of the series, see `flexnfv suite list`.
        file: the publisher's file (a folder of matrices for abilene), or a CSV t_s,pps that was
            made from it.
        to: folder to write it to; the user's data folder if not given.
        suite: version.
    """
    from flexnfv.suite import load
    from flexnfv.suite.importing import import_series as import_it
    from flexnfv.suite.traffic import user_folder

    written = import_it(name, file, to or user_folder(), load(suite))
    print(f"{written}: {name} as in suite {suite}")


def run(
    spec: Annotated[str, tyro.conf.Positional],
    *,
    out: Path,
    name: str | None = None,
    trained_on: str = "",
    suite: str = "v1",
    traces: Path | None = None,
) -> None:
    """Run a policy on every part of the suite that is whole here; write a submission.

    A policy that takes drop_cost or parked_weight runs at each value of the suite.

    Args:
        spec: a policy's spec, the path of a bundle, or a file of settings (.toml) with one
            [[setting]] of spec, drop_cost, parked_weight for every point.
        out: file to write (.json).
        name: how tables call the policy; the spec, or its file's name, if not given.
        trained_on: the traffic that it was trained or calibrated on; a bundle and a file of
            settings must declare it.
        suite: version.
        traces: folder with imported series; the user's data folder if not given.
    """
    from flexnfv.suite import run as run_it

    refuse_existing(out)
    made = run_it(spec, _shelf(suite, traces), name=name, trained_on=trained_on)
    made.write(out)
    for part, why in made.missing.items():
        print(f"not run: part {part}, {why}", file=sys.stderr)
    size = out.stat().st_size / 1e6
    print(f"{out}: {len(made.episodes)} episodes of {', '.join(made.parts)}, {size:.2f} MB")


def verify(
    file: Annotated[Path, tyro.conf.Positional],
    *,
    bundle: str | None = None,
    complete: bool = False,
    traces: Path | None = None,
) -> int:
    """Do again what a submission did; it must agree to the bit.

    The exit code is 0 if it does, 1 if an episode differs, 2 if it cannot be told: the policy is
    not here, or is another one.

    Args:
        file: the submission.
        bundle: where the bundle lies, if not where the submission says.
        complete: refuse a submission of which a part cannot be checked here.
        traces: folder with imported series; the user's data folder if not given.
    """
    from flexnfv.suite import Submission
    from flexnfv.suite import verify as verify_it

    submission = Submission.read(file)
    verdict = verify_it(submission, _shelf(submission.suite, traces), bundle=bundle)
    for part, why in verdict.unchecked.items():
        if complete:
            raise InputError(
                f"part {part} cannot be checked here, {why}", where=str(file), fix="import it"
            )
        print(f"not checked: part {part}, {why}", file=sys.stderr)
    if verdict.differences:
        for line in verdict.differences[:_MOST_TOLD]:
            print(f"differs: {line}")
        more = len(verdict.differences) - _MOST_TOLD
        print(*([f"and {more} more"] if more > 0 else []), end="\n" if more > 0 else "")
        return DIFFERS
    print(f"{file}: {verdict.episodes} episodes agree to the bit")
    return 0


def bound(*, out: Path, suite: str = "v1", traces: Path | None = None) -> None:
    """Work out the bound of every trace that is here: what tables measure policies against.

    Args:
        out: file to write (.json).
        suite: version.
        traces: folder with imported series; the user's data folder if not given.
    """
    from flexnfv.suite.bound import bound as work_out

    refuse_existing(out)
    found = work_out(_shelf(suite, traces))
    found.write(out)
    print(f"{out}: {found.how}; parts {', '.join(found.costs)}")


def table(
    *,
    page: Path = _DOCS / "suite.md",
    files: Path | None = None,
    suite: str = "v1",
    check: bool = False,
) -> int:
    """Write the ranked tables of the docs anew, from the submissions that are kept there.

    Args:
        page: where they stand, between markers.
        files: folder of the submissions (docs/suite/v1); the bound lies beside it (v1-bound.json).
        suite: version.
        check: change nothing; the exit code is 1 if the page is not up to date.
    """
    from flexnfv.suite import load
    from flexnfv.suite.bound import Bound
    from flexnfv.suite.table import between_markers, markdown, read_all

    folder = files or page.parent / "suite" / suite
    definition = load(suite)
    kept = Bound.read(folder.parent / f"{suite}-bound.json", definition)
    try:
        before = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=str(page), fix="give --page"
        ) from error
    submissions = read_all(folder)
    after = between_markers(before, suite, markdown(submissions, kept, definition), str(page))
    if check:
        if after != before:
            print(f"{page}: the table is not up to date; run `flexnfv suite table`")
            return DIFFERS
        print(f"{page}: up to date")
        return 0
    temporary = page.with_name(f".{page.name}.new")
    temporary.write_text(after, encoding="utf-8")
    temporary.replace(page)
    print(f"{page}: {len(submissions)} submissions")
    return 0


def _shelf(suite: str, traces: Path | None) -> Shelf:
    from flexnfv.suite import Shelf, load
    from flexnfv.suite.traffic import user_folder

    return Shelf(load(suite), traces or user_folder())


def _state(shelf: Shelf, part: str, trace: str) -> str:
    from flexnfv.suite.traffic import Missing

    (item,) = (one for one in shelf.definition.of_part(part) if one.trace == trace)
    try:
        shelf.trace(item)
    except Missing as error:
        return f"no: {error.what}; {error.fix}"
    except InputError as error:
        return f"no: {error.what}"
    return "yes"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


COMMAND = {
    "list": list_parts,
    "import": import_series,
    "run": run,
    "verify": verify,
    "bound": bound,
    "table": table,
}
