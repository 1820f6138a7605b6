"""A grid's cells in batches, and the worker that runs them.

Rows of a batch differ in policy, setting, trace, seed and length; a row's results are, to the bit,
those of its episode alone, so that it does not matter which rows share a batch.
"""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from flexnfv.backend import Backend
from flexnfv.backends import make_backend
from flexnfv.evaluation.episodes import Outcome, Tick, run_episodes
from flexnfv.evaluation.grid import Cell, Grid, description_of
from flexnfv.policy_batch import PolicyBatch, group

Job = tuple[Cell, ...]
"""Cells that are run as one batch."""

ROWS: Final = 1024
"""Most rows of a batch: a step's fixed cost weighs little, and the caches hold most of them."""
JOBS_PER_WORKER: Final = 3
"""Jobs that each worker gets at least: one that ends early takes another."""


def jobs(grid: Grid, todo: Collection[Cell], workers: int = 1) -> list[Job]:
    """Cells in batches, the longest first; rows of a batch that one instance decides for in a row.

    Args:
        grid: that the cells are of.
        todo: cells to run.
        workers: that share the jobs.
    """
    most = description_of(grid.backend).batch or ROWS
    if workers > 1:
        most = min(most, max(1, -(-len(todo) // (workers * JOBS_PER_WORKER))))
    place = {cell: number for number, cell in enumerate(grid.cells())}
    first_of = {spec: (group(spec) or spec) for spec in grid.specs}
    order = {key: number for number, key in enumerate(dict.fromkeys(first_of.values()))}

    def by_group(cell: Cell) -> tuple[int, int]:
        return order[first_of[cell.spec]], place[cell]

    by_length = sorted(todo, key=lambda cell: (-grid.lengths[cell.trace], *by_group(cell)))
    batches = [by_length[start : start + most] for start in range(0, len(by_length), most)]
    return [tuple(sorted(batch, key=by_group)) for batch in batches]


class Worker:
    """Runs jobs one after the other; makes the backend once."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._traces = {trace.name: trace for trace in grid.traces}
        self._backend: Backend | None = None

    def run(self, job: Job, tick: Tick | None = None) -> dict[Cell, Outcome]:
        """What is known of the job's cells."""
        grid = self._grid
        if self._backend is None:
            self._backend = make_backend(grid.backend, grid.chain, **grid.options)
        outcomes = run_episodes(
            PolicyBatch([cell.spec for cell in job]),
            self._backend,
            [self._traces[cell.trace] for cell in job],
            [cell.seed for cell in job],
            recorded=[row for row, cell in enumerate(job) if cell.spec in grid.recorded],
            tick=tick,
            policy_chain=grid.policy_chain,
        )
        return dict(zip(job, outcomes, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None
