"""Running a policy on the suite, at every drop cost and parked weight that it can be told."""

from __future__ import annotations

import hashlib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flexnfv.errors import InputError
from flexnfv.evaluation.bench import run as run_grid
from flexnfv.evaluation.candidates import Candidate, check
from flexnfv.evaluation.episodes import Outcome
from flexnfv.evaluation.grid import Cell, Grid
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.sums import QUANTITIES
from flexnfv.policies.bundle import read_metadata
from flexnfv.policy import policy_class
from flexnfv.spec import annotated, bundle_of, with_pairs
from flexnfv.suite.definition import Definition, Item
from flexnfv.suite.scores import costs
from flexnfv.suite.submission import (
    SUMS,
    Episode,
    Line,
    Name,
    Point,
    Setting,
    Submission,
    check_line,
)
from flexnfv.suite.traffic import Missing, Shelf
from flexnfv.traces import Trace

PROCESSES: Final = 2
"""That share the work; always as many, so that the batches are the same everywhere."""

KNOBS: Final = ("drop_cost", "parked_weight")
"""Parameters by which a policy is told what drops and parked cores cost; see `Point`."""

Traffic = Mapping[str, Sequence[tuple[Item, Trace]]]
"""The traces of every part that is here."""


@dataclass(frozen=True)
class Settings:
    """A policy's settings on the suite.

    Attributes:
        spec: what they were made of.
        settings: which of them counts for which points.
        bundle: that they run; None for a rule.
    """

    spec: str
    settings: tuple[Setting, ...]
    bundle: Path | None

    @classmethod
    def of(cls, spec: str, definition: Definition) -> Settings:
        """The settings that a spec, or a file of settings (`.toml`), stands for.

        A policy that takes `drop_cost` or `parked_weight` runs at each value of the suite, unless
        the spec states it. A file of settings has a table `[[setting]]` with `spec`, `drop_cost`
        and `parked_weight` for every point.

        Raises:
            InputError: an unknown policy or parameter, one with foresight, or a bad file.
        """
        if spec.endswith(".toml"):
            at = _of_file(Path(spec), definition)
        else:
            at = {point: _told(spec, point) for point in definition.points}
        for one in dict.fromkeys(at.values()):
            factory, _ = policy_class(one)
            if getattr(factory, "foresight", False):
                raise InputError(
                    "has foresight: it is a bound, no policy", where=repr(one), fix="submit another"
                )
        settings = tuple(
            Setting(spec=one, points=tuple(point for point in at if at[point] == one))
            for one in dict.fromkeys(at.values())
        )
        bundles = {bundle_of(setting.spec) for setting in settings}
        if len(bundles) > 1:
            raise InputError("names several bundles", where=repr(spec), fix="submit one at a time")
        return cls(spec, settings, bundles.pop())

    @property
    def name(self) -> str:
        """How tables call it unless told otherwise: the spec, or the name of its file."""
        if self.bundle is not None:
            return self.bundle.stem
        return Path(self.spec).stem if self.spec.endswith(".toml") else self.spec


def bundle_digest(bundle: Path | None) -> str | None:
    """SHA-256 of a bundle's file; None without one.

    Raises:
        InputError: it cannot be read.
    """
    if bundle is None:
        return None
    try:
        return hashlib.sha256(bundle.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})",
            where=f"bundle {str(bundle)!r}",
            fix="check the path",
        ) from error


def run(
    spec: str,
    shelf: Shelf,
    *,
    name: str | None = None,
    trained_on: str = "",
    progress: bool = True,
) -> Submission:
    """Run a policy on every part of the suite that is whole on this machine.

    Args:
        spec: of the policy, or a file of settings; see `Settings.of`.
        shelf: where the traces come from.
        name: how tables call it; see `Settings.name` if None.
        trained_on: the traffic that it was trained or calibrated on.
        progress: show a progress bar on standard error.

    Raises:
        InputError: see `Settings.of`; a name or a declaration that no table can hold; a bundle or a
            file of settings without its traffic declared; a trace that is not the right one; a
            policy that runs on no part.
        BackendError: a worker died.
    """
    definition = shelf.definition
    settings = Settings.of(spec, definition)
    name = name or settings.name
    check_line("--name", name, Name, "up to 60 characters, none of | < > `")
    check_line("--trained-on", trained_on, Line, "a line of up to 300 characters, none of < > `")
    digest = bundle_digest(settings.bundle)
    if not trained_on and (digest is not None or spec.endswith(".toml")):
        raise InputError(
            "does not say what traffic it was trained or calibrated on",
            where=repr(spec),
            fix='declare it: --trained-on "the prior, seed 1"',
        )
    traffic, missing = available(shelf)
    missing |= _refused(settings, traffic, shelf)
    traffic = {part: found for part, found in traffic.items() if part not in missing}
    if not traffic:
        reasons = "; ".join(dict.fromkeys(missing.values()))
        raise InputError(f"runs on no part ({reasons})", where=repr(spec), fix="submit another")
    episodes = execute(settings.settings, traffic, shelf, progress=progress)
    return Submission(
        suite=definition.version,
        definition=definition.sha256,
        name=name,
        spec=spec,
        bundle_sha256=digest,
        trained_on=trained_on,
        made_with={
            key: value for key, value in made_with().items() if key not in ("machine", "system")
        },
        missing={part: missing[part] for part in definition.parts if part in missing},
        settings=settings.settings,
        costs=costs(settings.settings, episodes),
        episodes=episodes,
    )


def available(
    shelf: Shelf, parts: Iterable[str] | None = None
) -> tuple[dict[str, list[tuple[Item, Trace]]], dict[str, str]]:
    """The traces of the parts that are whole here, and why the others are not, by part.

    Args:
        shelf: where the traces come from.
        parts: to look for; all of the definition if None.

    Raises:
        InputError: a trace is here, but not the right one.
    """
    whole: dict[str, list[tuple[Item, Trace]]] = {}
    missing: dict[str, str] = {}
    for part in shelf.definition.parts if parts is None else parts:
        found, lacking = [], []
        for item in shelf.definition.of_part(part):
            try:
                found.append((item, shelf.trace(item)))
            except Missing as error:
                lacking.append((item.trace, error.what))
        if lacking:
            names = ", ".join(trace for trace, _ in lacking)
            missing[part] = f"{len(lacking)} traces: {lacking[0][1]} ({names})"
        else:
            whole[part] = found
    return whole, missing


def execute(
    settings: Sequence[Setting], traffic: Traffic, shelf: Shelf, *, progress: bool = True
) -> tuple[Episode, ...]:
    """Every episode of the settings on the traffic, in order of part, setting, trace and seed.

    Raises:
        InputError: what the policies refuse.
        BackendError: a worker died.
    """
    definition = shelf.definition
    grids = {
        chain: _grid(settings, chain, traffic, shelf)
        for chain in definition.chains
        if any(item.chain == chain for found in traffic.values() for item, _ in found)
    }
    total = sum(grid.lengths[cell.trace] - 1 for grid in grids.values() for cell in grid.cells())
    outcomes: dict[tuple[str, Cell], Outcome] = {}
    with bar("suite", total, shown=progress) as tick:
        for chain, grid in grids.items():
            cells = list(grid.cells())
            for batch in run_grid(
                grid,
                cells,
                processes=PROCESSES,
                tick=tick,
                compiling=_tell_of_compiling if progress else None,
            ):
                outcomes |= {(chain, cell): outcome for cell, outcome in batch.items()}
    return tuple(
        _episode(place, item, seed, outcomes[item.chain, Cell(setting.spec, _unique(item), seed)])
        for found in traffic.values()
        for place, setting in enumerate(settings)
        for item, _ in found
        for seed in definition.seeds
    )


def _grid(settings: Sequence[Setting], chain: str, traffic: Traffic, shelf: Shelf) -> Grid:
    candidates = tuple(
        # A swept setting's intervals are not kept, nor need these be.
        Candidate(one.spec, (one.spec,), front="suite")
        for one in settings
    )
    traces = tuple(
        trace.renamed(_unique(item))
        for found in traffic.values()
        for item, trace in found
        if item.chain == chain
    )
    return Grid(
        chain=shelf.chains[chain],
        candidates=candidates,
        traces=traces,
        seeds=shelf.definition.seeds,
        baseline=candidates[0].name,
    )


def _unique(item: Item) -> str:
    return f"{item.part}/{item.trace}"


def _episode(setting: int, item: Item, seed: int, outcome: Outcome) -> Episode:
    total = outcome.sums.segments.sum(axis=0)
    return Episode(
        setting=setting,
        part=item.part,
        trace=item.trace,
        seed=seed,
        decisions=outcome.decisions,
        sums=tuple(float(total[QUANTITIES.index(name)]).hex() for name in SUMS),
    )


def _refused(settings: Settings, traffic: Traffic, shelf: Shelf) -> dict[str, str]:
    """Why the policy does not run on a part's chain, by part."""
    refused = {}
    candidates = [Candidate(one.spec, (one.spec,)) for one in settings.settings]
    reasons: dict[str, str | None] = {}
    for part, found in traffic.items():
        item, trace = found[0]
        if item.chain not in reasons:
            try:
                check(candidates, shelf.chains[item.chain], trace)
                reasons[item.chain] = None
            except InputError as error:
                reasons[item.chain] = f"the policy refuses chain {item.chain} ({error.what})"
        if (reason := reasons[item.chain]) is not None:
            refused[part] = reason
    return refused


def _told(spec: str, point: Point) -> str:
    """The spec with the knobs that the policy takes and the spec leaves open."""
    factory, given = policy_class(spec)
    bundle = bundle_of(spec)
    accepted = tuple(annotated(factory)) if bundle is None else read_metadata(bundle).knobs
    targeted = "drop_target" in given  # the other way of saying what a drop costs
    told = {
        knob: f"{value:g}"
        for knob, value in zip(KNOBS, point, strict=True)
        if knob in accepted and knob not in given and not (knob == "drop_cost" and targeted)
    }
    return with_pairs(spec, told) if told else spec


def _of_file(path: Path, definition: Definition) -> dict[Point, str]:
    where = str(path)
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        at = {
            (float(one["drop_cost"]), float(one["parked_weight"])): str(one["spec"])
            for one in table["setting"]
        }
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=where) from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"is no file of settings ({error})",
            where=where,
            fix="give [[setting]] tables with spec, drop_cost and parked_weight",
        ) from error
    if lacking := set(definition.points) - set(at):
        cost, weight = min(lacking)
        raise InputError(
            f"has no setting for drop_cost {cost:g}, parked_weight {weight:g}",
            where=where,
            fix=f"give all {len(definition.points)} of them",
        )
    return {point: at[point] for point in definition.points}


def _tell_of_compiling() -> None:
    print("compiling the model, once: this takes some seconds", file=sys.stderr, flush=True)
