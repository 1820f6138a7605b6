"""A grid's jobs on Ray, on this machine or on a cluster.

Workers send their episodes back and only this process writes, so a cluster needs no common disk
for the records; bundles must be readable by the workers under the paths given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from flexnfv.errors import BackendError, FlexNFVError, InputError
from flexnfv.evaluation.episodes import Outcome
from flexnfv.evaluation.grid import Cell, Grid
from flexnfv.evaluation.jobs import Job, Worker

RETRIES: Final = 3
"""How often a job whose worker was lost is started again."""


def run_on_ray(
    grid: Grid, jobs: Sequence[Job], address: str = "local"
) -> Iterator[dict[Cell, Outcome]]:
    """What is known of the cells of each job, in the order in which jobs finish.

    Args:
        grid: what the jobs belong to.
        jobs: to run.
        address: "local" for this machine's cores, else a cluster's address ("auto" finds one).

    Raises:
        InputError: no Ray, or no cluster at the address.
        BackendError: jobs whose worker was lost more than `RETRIES` times; raised at the end.
    """
    try:
        import ray
        from ray import exceptions
    except ImportError:
        raise InputError(
            "Ray is not installed", where="--ray", fix="pip install 'flexnfv[train]'"
        ) from None
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_run)
        shared = ray.put(grid)
        waiting = list(jobs)
        running: dict[Any, Job] = {}
        lost: list[Job] = []
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting or running:
            # One more than there are cores, so that none waits for this process.
            while waiting and len(running) <= slots:
                job = waiting.pop(0)
                running[remote.remote(shared, job)] = job
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                job = running.pop(reference)
                try:
                    outcomes = ray.get(reference)
                except exceptions.RayTaskError as error:
                    if isinstance(error.cause, FlexNFVError):
                        raise error.cause from None
                    raise
                except exceptions.RayError:
                    lost.append(job)
                    continue
                yield outcomes
    finally:
        if ours:
            ray.shutdown()
    if lost:
        raise BackendError(
            f"{len(lost)} jobs lost their worker {RETRIES + 1} times, the first being that of "
            f"{lost[0][0].spec!r} with seed {lost[0][0].seed}; the rest is kept: "
            "repeat the command to try them again"
        )


def _run(grid: Grid, job: Job) -> dict[Cell, Outcome]:
    with Worker(grid) as worker:
        return worker.run(job)


def _connect(ray: Any, address: str) -> None:
    quiet = {"logging_level": "error", "log_to_driver": False}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError) as error:
        reason = (str(error).splitlines() or ["no answer"])[0]
        raise InputError(
            f"no Ray cluster at {address!r} ({reason})",
            where="--ray",
            fix="give the address of one, or none to use this machine",
        ) from error
