"""Run a grid and compare its policies: what `flexnfv bench` and the end of a training call."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation import grid as grids
from flexnfv.evaluation.backends import find_backend
from flexnfv.evaluation.contestants import check, contestants, sweeps, with_baseline
from flexnfv.evaluation.grid import Cell, Grid
from flexnfv.evaluation.metrics import Sums, segments_of, sums
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.records import Episode, read_episode
from flexnfv.evaluation.result import Result
from flexnfv.evaluation.traffic import Peak, Traffic, resolve

POLICIES: Final = ("static", "watermark", "target_tracking")
BASELINE: Final = "watermark"
SEEDS: Final = 5


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
    ray: str | None = None,
    judged: ServiceChain | None = None,
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
        sweep: also run every heuristic over its own parameter, and the clairvoyant bound.
        out: directory for records, continued if it holds an unfinished grid of the same kind;
            None keeps nothing after the process.
        progress: show a progress bar on standard error.
        backend: name of a backend.
        options: of the backend, such as `scale`.
        peak, compress, segment: how the traces are fitted to the chain, see `traffic.resolve`.
        ray: None for this process; "local" or a cluster's address for Ray.
        judged: the chain with the calibration that the policies decide by, `chain` if None.
        started: called once the input is checked and `out` belongs to this grid.

    Raises:
        InputError: unknown or unfit policies, traces, seeds, backend; `out` holds something else.
        BackendError: the backend died.
        KeyboardInterrupt: Ctrl-C; what is finished stays in `out`.
    """
    loaded = load_chain(chain)
    named = with_baseline(contestants(policies), baseline)
    find_backend(backend, options)
    plan = Grid(
        chain=loaded,
        contestants=(*named, *(sweeps(named) if sweep else ())),
        traces=resolve(traces, loaded, peak=peak, compress=compress, segment=segment),
        seeds=_seeds(seeds),
        baseline=baseline,
        backend=backend,
        options=dict(options or {}),
        judged=judged,
    )
    check(plan.contestants, judged or loaded, plan.traces[0])
    scratch = _Scratch() if out is None else None
    directory = Path(scratch.name) if scratch is not None else Path(out or "")
    grids.open_directory(plan, directory)
    if started is not None:
        started()

    measured: dict[Cell, Sums] = {}

    def keep(cell: Cell, episode: Episode) -> None:
        measured[cell] = _sums(plan, cell, episode)

    todo = grids.missing(plan, directory)
    total = sum(plan.lengths[cell.trace] - 1 for cell in todo)
    with bar("evaluating", total, shown=progress and bool(todo)) as tick:
        grids.run(plan, directory, ray=ray, tick=tick, keep=keep)
    for cell in plan.cells():
        if cell not in measured:
            measured[cell] = _sums(plan, cell, read_episode(directory / plan.file(cell)))
    return Result(plan, directory, measured, scratch)


def _sums(plan: Grid, cell: Cell, episode: Episode) -> Sums:
    segments = segments_of(plan.lengths[cell.trace])
    return sums(episode, plan.chain.parked_weight, segments)


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
