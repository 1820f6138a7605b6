"""The grid: every policy x trace x seed, each with all of its training seeds, run once and kept.

    DIR/manifest.json                     what the grid is (and, beside it, what made it)
    DIR/records/POLICY/TRACE.SEED.parquet the intervals of a named policy's cell
    DIR/sums/POLICY.NUMBER.npz            the sums by segment of a swept policy's cells

`flexnfv.evaluation.store` writes and reads them. A directory that holds anything else, or another
grid, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from flexnfv.backend import Description
from flexnfv.backends import backend_class
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.evaluation.candidates import Candidate, fingerprint
from flexnfv.evaluation.cost import DROP_COSTS
from flexnfv.evaluation.episodes import intervals
from flexnfv.evaluation.machine import made_with
from flexnfv.files import new_file, refuse_existing
from flexnfv.traces import Trace

MANIFEST: Final = "manifest.json"
FORMAT: Final = 4


class Cell(NamedTuple):
    """One episode of the grid: a policy's spec, a trace's name, a seed."""

    spec: str
    trace: str
    seed: int


@dataclass(frozen=True)
class Grid:
    """What is to be run.

    Attributes:
        chain: bound to its calibration.
        candidates: with distinct names; specs may be shared.
        traces: with distinct names.
        seeds: evaluation seeds, of backend and policy alike.
        baseline: name of the candidate that the others are compared to.
        backend: name of a backend.
        options: of the backend, such as `scale`.
        policy_chain: the chain that the policies decide for, where it has another calibration than
            the one that the backend runs.
        drop_costs: that policies are judged by, in core intervals.
        rules: fronts whose best setting is the rule.
    """

    chain: ServiceChain
    candidates: tuple[Candidate, ...]
    traces: tuple[Trace, ...]
    seeds: tuple[int, ...]
    baseline: str
    backend: str = "model"
    options: Mapping[str, Any] = field(default_factory=dict)
    policy_chain: ServiceChain | None = None
    drop_costs: tuple[float, ...] = DROP_COSTS
    rules: tuple[str, ...] = ()

    @cached_property
    def specs(self) -> tuple[str, ...]:
        """Every policy's spec, once."""
        return tuple(dict.fromkeys(spec for one in self.candidates for spec in one.specs))

    @cached_property
    def recorded(self) -> frozenset[str]:
        """Specs whose every interval is kept: those of the comparison, not of its sweeps.

        Where a backend is not deterministic, all are: what it did cannot be had again.
        """
        everything = not description_of(self.backend).deterministic
        return frozenset(
            spec for one in self.candidates for spec in one.specs if everything or not one.front
        )

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Monitor intervals of every trace."""
        return {trace.name: intervals(trace, self.chain) for trace in self.traces}

    def cells(self) -> Iterator[Cell]:
        """Every cell."""
        for spec in self.specs:
            for seed in self.seeds:
                for trace in self.traces:
                    yield Cell(spec, trace.name, seed)

    def identity(self) -> dict[str, Any]:
        """What makes two grids the same one."""
        return {
            "format": FORMAT,
            "chain": self.chain.model_dump(mode="json"),
            "calibration": self.chain.measured.model_dump(mode="json"),
            "backend": self.backend,
            "baseline": self.baseline,
            "policies": [
                {
                    "name": one.name,
                    "specs": {spec: self.fingerprints[spec] for spec in one.specs},
                    "front": one.front,
                    "setting": dict(one.setting),
                }
                for one in self.candidates
            ],
            "traces": [
                {
                    "name": trace.name,
                    "family": trace.family,
                    "samples": len(trace),
                    "step_s": trace.step_s,
                    "peak_pps": trace.peak_pps,
                    "sha256": _digest(trace),
                }
                for trace in self.traces
            ],
            "seeds": list(self.seeds),
            "drop_costs": list(self.drop_costs),
            "rules": list(self.rules),
            **({"options": _plain(self.options)} if self.options else {}),
            **(
                {"policy_chain": self.policy_chain.measured.model_dump(mode="json")}
                if self.policy_chain
                else {}
            ),
        }

    def file(self, cell: Cell) -> Path:
        """Where a recorded cell lies, relative to the grid's directory."""
        policy = f"{slug(cell.spec)}-{self.fingerprints[cell.spec][:8]}"
        trace = f"{slug(cell.trace)}-{hashlib.sha256(cell.trace.encode()).hexdigest()[:4]}"
        return Path("records") / policy / f"{trace}.{cell.seed}.parquet"

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """What identifies each policy, by its spec."""
        return {spec: fingerprint(spec) for spec in self.specs}


def open_directory(grid: Grid, out: Path) -> None:
    """Make `out` the directory of this grid, or find that it already is.

    Raises:
        InputError: it holds something else, or another grid (what differs is named).
    """
    manifest = out / MANIFEST
    if not manifest.is_file():
        refuse_existing(out)
        out.mkdir(parents=True, exist_ok=True)
        content = {"grid": grid.identity(), "made": made_with()}
        with new_file(manifest) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))["grid"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "is not a manifest of ours", where=str(manifest), fix="name another output directory"
        ) from None
    wanted = json.loads(json.dumps(grid.identity()))
    if found != wanted:
        differing = [key for key in wanted | found if found.get(key) != wanted.get(key)]
        raise InputError(
            f"holds another grid (its {', '.join(differing) or 'keys'} differ)",
            where=str(out),
            fix="name another output directory, or repeat the command that made it to resume it",
        )
    for stale in [*out.glob("records/*/.*"), *out.glob("sums/.*")]:
        stale.unlink()  # a killed process left it


def description_of(backend: str) -> Description:
    """What the backend of that name can do, without making one.

    Raises:
        InputError: no such backend (the nearest is given), or it cannot be imported here.
    """
    found = getattr(backend_class(backend), "description", None)
    return found if isinstance(found, Description) else Description(backend)


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", text).strip("_.")[-60:]


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options), default=str))
    return plain


def _digest(trace: Trace) -> str:
    return hashlib.sha256(trace.rate_pps.tobytes()).hexdigest()
