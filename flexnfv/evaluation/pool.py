"""A grid's jobs in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

from flexnfv.compiled import told_of_compiling
from flexnfv.errors import BackendError
from flexnfv.evaluation.episodes import Outcome, Tick
from flexnfv.evaluation.grid import Cell, Grid
from flexnfv.evaluation.jobs import Job, Worker

_LOOK_S: Final = 0.2
"""How often the workers' progress is looked at."""


def run_in_processes(
    grid: Grid,
    jobs: Sequence[Job],
    workers: int,
    tick: Tick | None = None,
    compiling: Callable[[], None] | None = None,
) -> Iterator[dict[Cell, Outcome]]:
    """What is known of the cells of each job, in the order in which jobs finish.

    Args:
        grid: what the jobs belong to.
        jobs: to run.
        workers: processes.
        tick: told of the intervals that passed.
        compiling: told, once, that workers compile.

    Raises:
        InputError, BackendError: see `run_episodes`; or a worker died (for want of memory, say).
    """
    # A fork would copy this process's locks as other threads hold them.
    context = multiprocessing.get_context("spawn")
    passed = context.Array("q", 2)  # intervals, and workers that compile
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_begin, initargs=(grid, passed)
    )
    try:
        waiting = {pool.submit(_run, job) for job in jobs}
        while waiting:
            finished, waiting = wait(waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            with passed.get_lock():
                count, compile_now = passed[0], passed[1]
                passed[0] = 0
            if compiling is not None and compile_now:
                compiling()
                compiling = None
            if tick is not None and count:
                tick(count)
            for future in finished:
                yield _outcomes(future)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # A job in progress is of no use any more; at the end all workers idle.
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()


def _outcomes(future: Future[dict[Cell, Outcome]]) -> dict[Cell, Outcome]:
    try:
        return future.result()
    except BrokenProcessPool:
        raise BackendError(
            "a worker process died (for want of memory?); what is finished is kept: repeat the "
            "command to go on, with fewer processes if need be"
        ) from None


_worker: Worker | None = None
_tick: Tick | None = None
_compiling: Callable[[], None]


def _begin(grid: Grid, passed: Any) -> None:
    """Make this process a worker that goes without a word when its parent does."""
    global _worker, _tick, _compiling
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tick(count: int) -> None:
        with passed.get_lock():
            passed[0] += count

    def compiling() -> None:
        with passed.get_lock():
            passed[1] += 1

    _worker, _tick, _compiling = Worker(grid), tick, compiling


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job) -> dict[Cell, Outcome]:
    assert _worker is not None
    with told_of_compiling(_compiling):
        return _worker.run(job, _tick)
