"""The grid: every member of every contestant x trace x seed, run once and kept.

    DIR/manifest.json                     what the grid is (and, beside it, what made it)
    DIR/records/MEMBER/TRACE.SEED.parquet one cell each, see `flexnfv.evaluation.records`

A record appears whole or not at all, so the files are the grid's progress: whatever stops a run
(Ctrl-C, a lost worker, a power cut), the same command carries on with the missing cells. A
directory that holds anything else, or another grid, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from flexnfv.backend import Backend
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.evaluation.backends import BackendKind, BatchBackend, find_backend
from flexnfv.evaluation.contestants import Contestant, fingerprint
from flexnfv.evaluation.episode import Tick, intervals, run_batch, run_episode
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.records import Episode, write_episode
from flexnfv.files import new_file, refuse_existing
from flexnfv.policy import Policy, make_policy
from flexnfv.traces import Trace

MANIFEST: Final = "manifest.json"
FORMAT: Final = 2


class Cell(NamedTuple):
    """One episode of the grid: a member's spec, a trace's name, a seed."""

    spec: str
    trace: str
    seed: int


class Task(NamedTuple):
    """What one worker runs at a time: a member and a seed on traces of one length and step.

    A policy that decides for batches gets all of them at once, always the same ones, so that a
    resumed grid gives the same records as one that was never stopped.
    """

    spec: str
    seed: int
    traces: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """What is to be run.

    Attributes:
        chain: bound to its calibration.
        contestants: with distinct names; members may be shared.
        traces: with distinct names.
        seeds: evaluation seeds, of backend and policy alike.
        baseline: name of the contestant that the others are compared to.
        backend: name of a backend.
        options: of the backend, such as `scale`.
        judged: the chain that the policies decide for, where it has another calibration than the
            one that the backend runs.
    """

    chain: ServiceChain
    contestants: tuple[Contestant, ...]
    traces: tuple[Trace, ...]
    seeds: tuple[int, ...]
    baseline: str
    backend: str = "model"
    options: Mapping[str, Any] = field(default_factory=dict)
    judged: ServiceChain | None = None

    @cached_property
    def specs(self) -> tuple[str, ...]:
        """Every member's spec, once."""
        return tuple(dict.fromkeys(spec for one in self.contestants for spec in one.members))

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

    def tasks(self) -> Iterator[Task]:
        """Every cell, in tasks."""
        alike: dict[tuple[int, float], list[str]] = {}
        for trace in self.traces:
            alike.setdefault((self.lengths[trace.name], trace.step_s), []).append(trace.name)
        kind = find_backend(self.backend, self.options)
        for spec in self.specs:
            batched = kind.batch is not None and takes_batches(make_policy(spec))
            for seed in self.seeds:
                if batched:
                    yield from (Task(spec, seed, tuple(names)) for names in alike.values())
                else:
                    yield from (Task(spec, seed, (trace.name,)) for trace in self.traces)

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
                    "members": {spec: self._fingerprints[spec] for spec in one.members},
                    "heuristic": one.heuristic,
                    "setting": dict(one.setting),
                }
                for one in self.contestants
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
            **({"options": _plain(self.options)} if self.options else {}),
            **({"judged": self.judged.measured.model_dump(mode="json")} if self.judged else {}),
        }

    def file(self, cell: Cell) -> Path:
        """Where a cell's record lies, relative to the grid's directory."""
        member = f"{_slug(cell.spec)}-{self._fingerprints[cell.spec][:8]}"
        trace = f"{_slug(cell.trace)}-{hashlib.sha256(cell.trace.encode()).hexdigest()[:4]}"
        return Path("records") / member / f"{trace}.{cell.seed}.parquet"

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
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
    for stale in out.glob("records/*/.*"):
        stale.unlink()  # a killed process left it


def missing(grid: Grid, out: Path) -> set[Cell]:
    """Cells without a record yet."""
    return {cell for cell in grid.cells() if not (out / grid.file(cell)).is_file()}


def run(
    grid: Grid,
    out: Path,
    *,
    ray: str | None = None,
    tick: Tick | None = None,
    keep: Callable[[Cell, Episode], None] | None = None,
) -> None:
    """Run the missing cells and write their records.

    Args:
        grid: what to run.
        out: its directory (`open_directory`).
        ray: None for this process; "local" or the address of a cluster for Ray.
        tick: told of the intervals that passed.
        keep: told of every episode once its record is written.

    Raises:
        InputError, BackendError: see `run_episode`; what is finished stays.
        KeyboardInterrupt: Ctrl-C; what is finished stays.
    """
    todo = missing(grid, out)
    tasks = [
        task
        for task in grid.tasks()
        if any(Cell(task.spec, trace, task.seed) in todo for trace in task.traces)
    ]
    facts = made_with()

    def finish(task: Task, episodes: Sequence[Episode]) -> None:
        for trace, episode in zip(task.traces, episodes, strict=True):
            cell = Cell(task.spec, trace, task.seed)
            if cell not in todo:
                continue
            stamped = replace(
                episode,
                facts={
                    **episode.facts,
                    "policy": cell.spec,
                    "fingerprint": grid._fingerprints[cell.spec],
                    "chain": grid.chain.name,
                    "revision": facts["revision"],
                },
            )
            write_episode(stamped, out / grid.file(cell))
            if keep is not None:
                keep(cell, stamped)

    if ray is None:
        with Runner(grid) as runner:
            for task in tasks:
                finish(task, runner.run(task, tick))
        return
    from flexnfv.evaluation.cluster import run_on_ray

    for task, episodes in run_on_ray(grid, tasks, address=ray):
        finish(task, episodes)
        if tick is not None:
            tick(sum(len(episode) - 1 for episode in episodes))


@dataclass
class Runner:
    """Runs tasks one after the other; makes each backend once."""

    grid: Grid
    _one: Backend | None = None
    _batches: dict[int, BatchBackend] = field(default_factory=dict)

    @cached_property
    def _kind(self) -> BackendKind:
        return find_backend(self.grid.backend, self.grid.options)

    @cached_property
    def _traces(self) -> dict[str, Trace]:
        return {trace.name: trace for trace in self.grid.traces}

    def run(self, task: Task, tick: Tick | None = None) -> list[Episode]:
        """The task's episodes, one per trace."""
        chain, traces = self.grid.chain, [self._traces[name] for name in task.traces]
        policy = make_policy(task.spec)
        if self._kind.batch is not None and takes_batches(policy):
            if len(traces) not in self._batches:
                self._batches[len(traces)] = self._kind.batch(chain, len(traces))
            batch = self._batches[len(traces)]
            return run_batch(policy, batch, chain, traces, task.seed, tick, self.grid.judged)
        if self._one is None:
            self._one = self._kind.one(chain)
        return [
            run_episode(policy, self._one, trace, task.seed, tick, judged=self.grid.judged)
            for trace in traces
        ]

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._one is not None:
            self._one.close()
            self._one = None


def takes_batches(policy: Policy) -> bool:
    """Whether a policy may decide for several episodes at once."""
    return policy.batched and not policy.foresight


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", text).strip("_.")[-60:]


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options), default=str))
    return plain


def _digest(trace: Trace) -> str:
    return hashlib.sha256(trace.rate_pps.tobytes()).hexdigest()
