"""Run a grid and compare its policies: what `flexnfv bench` and the end of a training call."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import told_of_compiling
from flexnfv.errors import InputError
from flexnfv.evaluation.bounds import bounded, proven
from flexnfv.evaluation.candidates import candidates, check, rules_of, sweeps, with_baseline
from flexnfv.evaluation.cost import DROP_COSTS
from flexnfv.evaluation.episodes import Outcome, Tick
from flexnfv.evaluation.grid import Cell, Grid, description_of, open_directory
from flexnfv.evaluation.jobs import Worker, jobs
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.result import Result
from flexnfv.evaluation.store import Store
from flexnfv.evaluation.traffic import Peak, Traffic, resolve

POLICIES: Final = ("static", "watermark", "target_tracking")
BASELINE: Final = "watermark"
SEEDS: Final = 5
MOST_PROCESSES: Final = 1024


class _Scratch:
    """A temporary directory that goes, without a word, with the last result that holds it."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="flexnfv-bench-")
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


def benchmark(
    policies: Iterable[str] | Mapping[str, str | Sequence[str]] = POLICIES,
    chain: str | Path | ServiceChain = "edge",
    traces: Traffic = "test",
    seeds: int | Sequence[int] = SEEDS,
    baseline: str = BASELINE,
    sweep: bool = True,
    out: Path | None = None,
    progress: bool = True,
    *,
    backend: str = "model",
    options: Mapping[str, Any] | None = None,
    peak: Peak = None,
    compress: float = 1.0,
    segment: tuple[float, float] | None = None,
    processes: int = 1,
    ray: str | None = None,
    policy_chain: ServiceChain | None = None,
    drop_costs: Sequence[float] = DROP_COSTS,
    parked_weight: float | None = None,
    rules: Sequence[str] | None = None,
    started: Callable[[], None] | None = None,
) -> Result:
    """Evaluate policies on traces and compare them with a baseline.

    Args:
        policies: `[NAME=]SPEC` texts, or a mapping from names to one spec or to the bundles of
            several training seeds.
        chain: shipped name, path, or a chain.
        traces: a split's name, trace names or paths, traces, or a set.
        seeds: how many evaluation seeds (0, 1, ...), or the seeds themselves.
        baseline: the policy that the others are compared with; added if it is not named.
        sweep: also run every heuristic and every bundle over its own parameter, and the
            clairvoyant; costs are compared where this is done.
        out: directory for records, continued if it holds an unfinished grid of the same kind;
            None keeps nothing after the process.
        progress: show a progress bar on standard error.
        backend: name of a backend.
        options: of the backend, such as `scale`.
        peak, compress, segment: how the traces are fitted to the chain, see `traffic.resolve`.
        processes: how many of this machine share the work; 1: this one does it.
        ray: "local" or a cluster's address, for workers on Ray instead; None: none.
        policy_chain: the chain with the calibration that the policies decide by, `chain` if None.
        drop_costs: what losing one interval's mean traffic costs, in core intervals: what the
            policies are compared by, each told where it can be.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.
        rules: registered policies whose best setting is the rule that the others are compared
            with; None: those of the candidates that have a sweep.
        started: called once the input is checked and `out` belongs to this grid.

    Raises:
        InputError: unknown or unfit policies, traces, seeds, backend; `out` holds something else.
        BackendError: the backend died.
        KeyboardInterrupt: Ctrl-C; what is finished stays in `out`.
    """
    loaded = _weighted(load_chain(chain), parked_weight)
    named = with_baseline(candidates(policies), baseline)
    _check_workers(backend, processes, ray)
    opponents, costs = rules_of(named, rules), _drop_costs(drop_costs)
    grid = Grid(
        chain=loaded,
        candidates=(
            *named,
            *(sweeps(named, opponents, costs, loaded.parked_weight) if sweep else ()),
        ),
        traces=resolve(traces, loaded, peak=peak, compress=compress, segment=segment),
        seeds=_seeds(seeds),
        baseline=baseline,
        backend=backend,
        options=dict(options or {}),
        policy_chain=_weighted(policy_chain, parked_weight) if policy_chain else None,
        drop_costs=costs,
        rules=opponents,
    )
    check(grid.candidates, grid.policy_chain or loaded, grid.traces[0])
    scratch = _Scratch() if out is None else None
    directory = Path(scratch.name) if scratch is not None else Path(out or "")
    open_directory(grid, directory)
    if started is not None:
        started()
    store = Store(grid, directory)
    measured = store.found()
    todo = [cell for cell in grid.cells() if cell not in measured]
    total = sum(grid.lengths[cell.trace] - 1 for cell in todo)
    with bar("evaluating", total, shown=progress and bool(todo)) as tick:
        who: dict[str, Any] = {"processes": processes, "ray": ray}
        tell = _tell_of_compiling if progress else None
        for outcomes in run(grid, todo, **who, tick=tick, compiling=tell):
            store.keep(outcomes)
            measured.update({cell: outcome.sums for cell, outcome in outcomes.items()})
    bounds = None
    if sweep and opponents and bounded(grid):
        intervals = len(grid.seeds) * sum(grid.lengths.values())
        with bar("bounding", intervals, shown=progress) as tick:
            bounds = proven(grid, tick=tick, workers=processes)
    return Result(store, measured, scratch, bounds)


def run(
    grid: Grid,
    todo: Collection[Cell],
    *,
    processes: int = 1,
    ray: str | None = None,
    tick: Tick | None = None,
    compiling: Callable[[], None] | None = None,
) -> Iterator[dict[Cell, Outcome]]:
    """What is known of the cells of each batch, as batches finish; see `benchmark`.

    Args:
        grid: what the cells belong to.
        todo: to run.
        processes, ray: who runs them.
        tick: told of the intervals that passed.
        compiling: told, once, where this machine has to compile first (not of workers on Ray).

    Raises:
        InputError, BackendError: see `run_episodes`.
    """
    if not todo:
        return
    if ray is not None:
        from flexnfv.evaluation.cluster import run_on_ray

        for outcomes in run_on_ray(grid, jobs(grid, todo, os.cpu_count() or 1), address=ray):
            yield outcomes
            if tick is not None:
                tick(sum(grid.lengths[cell.trace] - 1 for cell in outcomes))
    elif processes > 1:
        from flexnfv.evaluation.pool import run_in_processes

        yield from run_in_processes(grid, jobs(grid, todo, processes), processes, tick, compiling)
    else:
        with Worker(grid) as worker, told_of_compiling(compiling or _say_nothing):
            for job in jobs(grid, todo):
                yield worker.run(job, tick)


def _tell_of_compiling() -> None:
    print("compiling the model, once: this takes some seconds", file=sys.stderr, flush=True)


def _say_nothing() -> None:
    pass


def _check_workers(backend: str, processes: int, ray: str | None) -> None:
    exclusive = description_of(backend).exclusive
    if not 1 <= processes <= MOST_PROCESSES:
        raise InputError(
            f"{processes} processes", where="processes", fix=f"give 1 to {MOST_PROCESSES}"
        )
    for where, asked in (("--ray", ray is not None), ("processes", processes > 1)):
        if exclusive and asked:
            raise InputError(
                f"a machine carries one backend {backend!r} at a time",
                where=where,
                fix="leave it out",
            )


def _weighted(chain: ServiceChain, parked_weight: float | None) -> ServiceChain:
    return chain if parked_weight is None else chain.replace(parked_weight=parked_weight)


def _drop_costs(drop_costs: Sequence[float]) -> tuple[float, ...]:
    chosen = tuple(sorted({float(one) for one in drop_costs}))
    if not chosen or not 0 < chosen[0] <= chosen[-1] < float("inf"):
        raise InputError(
            f"drop costs are {list(drop_costs)}", where="drop_costs", fix="give positive numbers"
        )
    return chosen


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int):
        if not 1 <= seeds <= 1000:
            raise InputError(f"{seeds} seeds", where="seeds", fix="give 1 to 1000")
        return tuple(range(seeds))
    chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise InputError(
            f"seeds are {list(chosen)}", where="seeds", fix="give distinct numbers from 0"
        )
    return chosen
