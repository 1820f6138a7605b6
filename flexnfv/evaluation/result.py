"""What a grid shows: costs, measures with intervals, differences, fronts, warnings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.bounds import Bounds
from flexnfv.evaluation.candidates import BOUND, Candidate
from flexnfv.evaluation.drop_targets import AtTarget, drop_targets
from flexnfv.evaluation.fronts import Front, Placement, Point, place
from flexnfv.evaluation.gap import Gaps
from flexnfv.evaluation.grid import MANIFEST, Cell, Grid
from flexnfv.evaluation.metrics import MEASURES, p95
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.statistics import (
    LEVEL,
    MARGIN,
    RESAMPLES,
    Difference,
    Draws,
    Interval,
    Sample,
    difference,
    non_inferior,
)
from flexnfv.evaluation.store import Store
from flexnfv.evaluation.sums import Sums
from flexnfv.files import new_file
from flexnfv.spec import is_bundle

FEW_SEEDS: Final = 5
CLAIM_SEEDS: Final = 10
"""Training seeds that a claim about a learned policy rests on."""
FEW_TRACES: Final = 10
"""A bootstrap over fewer traces is too sure of itself."""
COMPARED: Final = ("drop_rate", "core_usage", "cost", "throughput_pps", "launches_per_min")
"""Measures whose differences to the baseline are reported."""


class Result:
    """The numbers of a finished grid.

    Args:
        store: the grid and what is kept of it.
        measured: the sums of every cell.
        scratch: keeps a temporary `out` alive as long as the result.
        bounds: on the cost, proven for the chain's parked weight; None: there are none.
    """

    def __init__(
        self,
        store: Store,
        measured: Mapping[Cell, Sums],
        scratch: object = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.store = store
        self._measured = measured
        self._scratch = scratch
        self._bounds = bounds

    @property
    def grid(self) -> Grid:
        """What was run."""
        return self.store.grid

    @property
    def out(self) -> Path:
        """The grid's directory."""
        return self.store.out

    def on(self, trace: str) -> Self:
        """The same grid as if it had had this trace alone: its records, its own intervals."""
        place = [one.name for one in self.grid.traces].index(trace)
        grid = replace(self.grid, traces=(self.grid.traces[place],))
        bounds = self._bounds and {key: one[[place]] for key, one in self._bounds.items()}
        return type(self)(replace(self.store, grid=grid), self._measured, self._scratch, bounds)

    # --- the numbers -----------------------------------------------------------------------

    @cached_property
    def named(self) -> tuple[Candidate, ...]:
        """Candidates that are not points of a sweep."""
        return tuple(one for one in self.grid.candidates if not one.front)

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """Every candidate's sums, swept settings included, under shared resamples."""
        sizes = [self._measured[self._cell(trace=i)].segments.shape[0] for i in self._traces]
        strata = np.repeat(list(self._traces), sizes)
        draws = Draws(strata, len(self.grid.seeds))
        return {one.name: Sample(one.name, self._sums(one), draws) for one in self.grid.candidates}

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Every measure of every named candidate with its 95 % interval."""
        return {
            one.name: {measure: self.samples[one.name].interval(measure) for measure in MEASURES}
            for one in self.named
        }

    @cached_property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """Named candidates less the baseline on each trace, paired, for those of `COMPARED`."""
        baseline = self.samples[self.grid.baseline]
        return {
            one.name: {
                measure: difference(self.samples[one.name], baseline, measure)
                for measure in COMPARED
            }
            for one in self.named
            if one.name != self.grid.baseline
        }

    def no_more_drops(self, name: str) -> bool:
        """Whether a candidate's drops are not inferior to the baseline's (see `MARGIN`)."""
        return non_inferior(self.differences[name]["drop_rate"])

    @cached_property
    def reaction_p95(self) -> dict[str, float]:
        """95th percentile of the reaction time of every named candidate, seconds."""
        return {
            one.name: p95(
                [
                    self._measured[Cell(spec, trace.name, seed)].reactions_s
                    for spec in one.specs
                    for seed in self.grid.seeds
                    for trace in self.grid.traces
                ]
            )
            for one in self.named
        }

    @cached_property
    def per_trace(self) -> dict[str, dict[str, dict[str, float]]]:
        """Measures by candidate and trace, means over training and evaluation seeds."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for one in self.named:
            figures = {name: self.samples[one.name].by_trace(name) for name in MEASURES}
            found[one.name] = {
                trace.name: {name: float(values[place]) for name, values in figures.items()}
                for place, trace in enumerate(self.grid.traces)
            }
        return found

    @cached_property
    def gaps(self) -> Gaps | None:
        """Costs against the rule and the bound; None where no rule was swept."""
        rules = set(self.grid.rules)
        compared = rules and rules <= set(self._swept) and BOUND in self._swept
        return Gaps(self.grid, self.samples, bounds=self._bounds) if compared else None

    @cached_property
    def drop_targets(self) -> dict[str, dict[float, AtTarget]]:
        """What it takes to keep the drop targets; nothing where no rule was swept."""
        return {} if self.gaps is None else drop_targets(self.grid, self.samples)

    @cached_property
    def _swept(self) -> dict[str, list[Candidate]]:
        swept: dict[str, list[Candidate]] = {}
        for one in self.grid.candidates:
            if one.front:
                swept.setdefault(one.front, []).append(one)
        return swept

    @cached_property
    def fronts(self) -> dict[str, Front]:
        """The front of every swept rule and bundle, and of the clairvoyant."""
        return {
            front: Front.of(
                front,
                [
                    Point(
                        one.setting,
                        self.samples[one.name].estimate("core_usage"),
                        self.samples[one.name].estimate("drop_rate"),
                    )
                    for one in settings
                ],
            )
            for front, settings in self._swept.items()
        }

    @cached_property
    def placements(self) -> dict[str, dict[str, Placement]]:
        """Where each named candidate lies relative to the fronts of more than one setting."""
        return {
            one.name: {
                front: place(self.samples[one.name], [self.samples[s.name] for s in settings])
                for front, settings in self._swept.items()
                if len(settings) > 1
            }
            for one in self.named
        }

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing the numbers."""
        found = []
        for one in self.named:
            count = len(one.specs)
            if is_bundle(one.specs[0]) and count < CLAIM_SEEDS:
                few = "fewer than 5" if count < FEW_SEEDS else f"a claim takes {CLAIM_SEEDS}"
                plural = "seed" if count == 1 else "seeds"
                found.append(f"{one.name} was trained with {count} {plural}: {few}")
        if len(self.grid.seeds) < FEW_SEEDS:
            found.append(f"{len(self.grid.seeds)} evaluation seeds: fewer than {FEW_SEEDS}")
        if self.gaps is not None and len(self.grid.traces) < FEW_TRACES:
            found.append(
                f"{len(self.grid.traces)} traces: fewer than {FEW_TRACES} tell little about "
                "traffic of this kind"
            )
        sizes = {name: len(self._swept.get(name, ())) for name in self.grid.rules}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            found.append(f"rules were swept over unequal numbers of settings: {listed}")
        for key, what in (("revision", "source revisions"), ("backend", "backend descriptions")):
            seen = {json.dumps(facts.get(key)) for facts in self._facts}
            if len(seen) > 1:
                found.append(f"records come from {len(seen)} {what}")
        if any(str(facts.get("revision", "")).endswith("+") for facts in self._facts):
            found.append("the source had uncommitted changes")
        backend = self.backend
        if backend["scale"] != 1:
            found.append(f"rates ran at {backend['scale']:g} of the chain's, and are scaled back")
        return (*found, *self._timing())

    def _timing(self) -> list[str]:
        """What a live chain's clock and generator did not keep, over all its episodes."""
        if self.backend["deterministic"]:
            return []
        episodes = [
            self.episode(spec, trace, seed)
            for spec in self.grid.specs
            for trace in self._traces
            for seed in self.grid.seeds
        ]
        intervals = sum(len(one) for one in episodes)
        off = sum(int(one.chain["off_rate"].sum()) for one in episodes)
        timings = [one.facts["timing"] for one in episodes if "timing" in one.facts]
        late = sum(timing["late"] for timing in timings)
        found = []
        if off:
            found.append(f"{off} of {intervals} intervals were offered another rate than wanted")
        if late:
            worst = max(timing["lag_p99_s"] for timing in timings)
            lag = f"99 % of readings within {worst * 1e3:.2g} ms"
            found.append(f"{late} intervals were late; {lag}")
        return found

    @cached_property
    def _facts(self) -> list[Mapping[str, Any]]:
        """Facts of what was kept: enough to see what made it."""
        return self.store.facts()

    @cached_property
    def backend(self) -> dict[str, Any]:
        """Description of the backend that ran it: name, scale, pacing, machine."""
        return dict(self._facts[0]["backend"])

    @cached_property
    def made(self) -> dict[str, str]:
        """What made the grid: revision, machine, versions."""
        content = json.loads((self.out / MANIFEST).read_text(encoding="utf-8"))
        return dict(content["made"])

    def episode(self, spec: str, trace: int, seed: int | None = None) -> Episode:
        """The records of a cell that is not of a sweep; the first seed unless told otherwise."""
        chosen = self.grid.seeds[0] if seed is None else seed
        return self.store.episode(Cell(spec, self.grid.traces[trace].name, chosen))

    @property
    def _traces(self) -> range:
        return range(len(self.grid.traces))

    def _cell(self, *, trace: int) -> Cell:
        return Cell(self.grid.specs[0], self.grid.traces[trace].name, self.grid.seeds[0])

    def _sums(self, one: Candidate) -> npt.NDArray[np.float64]:
        """[M, S, G, Q]."""
        return np.stack(
            [
                np.stack(
                    [
                        np.concatenate(
                            [
                                self._measured[Cell(spec, trace.name, seed)].segments
                                for trace in self.grid.traces
                            ]
                        )
                        for seed in self.grid.seeds
                    ]
                )
                for spec in one.specs
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything above in plain values; measures in SI units, None for what is undefined."""
        found = {
            "format": 2,
            "grid": self.grid.identity(),
            "made": self.made,
            "backend": self.backend,
            "statistics": {"resamples": RESAMPLES, "level": LEVEL, "drop_margin": MARGIN},
            "policies": [
                {
                    "name": one.name,
                    "members": list(one.specs),
                    "figures": {
                        measure: vars(interval)
                        for measure, interval in self.intervals[one.name].items()
                    },
                    "reaction_p95_s": self.reaction_p95[one.name],
                    "to_baseline": None
                    if one.name == self.grid.baseline
                    else {
                        "no_more_drops": self.no_more_drops(one.name),
                        **{
                            measure: {
                                "absolute": vars(found.absolute),
                                "relative": vars(found.relative),
                                "worst_relative": found.worst,
                            }
                            for measure, found in self.differences[one.name].items()
                        },
                    },
                    "to_fronts": {
                        front: {**vars(at), "saved": vars(at.saved)}
                        for front, at in self.placements[one.name].items()
                    },
                    "per_trace": self.per_trace[one.name],
                }
                for one in self.named
            ],
            "fronts": [
                {
                    "policy": front.policy,
                    "points": [
                        {**vars(point), "setting": dict(point.setting)} for point in front.points
                    ],
                    "best": list(front.best),
                }
                for front in self.fronts.values()
            ],
            "costs": None if self.gaps is None else self.gaps.to_dict(),
            "drop_targets": {
                name: {
                    f"{target:g}": {"each": at.each.to_dict(), "common": at.common.to_dict()}
                    for target, at in by_target.items()
                }
                for name, by_target in self.drop_targets.items()
            },
            "warnings": list(self.warnings),
        }
        return dict(_plain(found))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    def write_json(self, path: Path) -> None:
        """Write `to_json` to a new file."""
        with new_file(path) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """JSON has no NaN: undefined measures become null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
