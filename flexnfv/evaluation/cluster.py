"""A grid's tasks on Ray, on this machine or on a cluster.

Workers send their episodes back and only this process writes, so a cluster needs no common disk
for the records; bundles must be readable by the workers under the paths given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from flexnfv.errors import BackendError, FlexNFVError, InputError
from flexnfv.evaluation.backends import find_backend
from flexnfv.evaluation.records import Episode

if TYPE_CHECKING:
    from flexnfv.evaluation.grid import Grid, Task

RETRIES: Final = 3
"""How often a task whose worker was lost is started again."""


def run_on_ray(
    grid: Grid, tasks: Sequence[Task], address: str = "local"
) -> Iterator[tuple[Task, list[Episode]]]:
    """Tasks with their episodes, in the order in which they finish.

    Args:
        grid: what the tasks belong to.
        tasks: to run.
        address: "local" for this machine's cores, else a cluster's address ("auto" finds one).

    Raises:
        InputError: no Ray, no cluster at the address, or a backend of which there is one only.
        BackendError: tasks whose worker was lost more than `RETRIES` times; raised at the end.
    """
    try:
        import ray
        from ray import exceptions
    except ImportError:
        raise InputError(
            "Ray is not installed", where="--ray", fix="pip install 'flexnfv[train]'"
        ) from None
    if not find_backend(grid.backend).parallel:
        raise InputError(
            f"backend {grid.backend!r} runs one episode at a time",
            where="--ray",
            fix="leave --ray out",
        )
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_run)
        shared = ray.put(grid)
        waiting = list(tasks)
        running: dict[Any, Task] = {}
        lost: list[Task] = []
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting or running:
            # One more than there are cores, so that none waits for this process.
            while waiting and len(running) <= slots:
                task = waiting.pop(0)
                running[remote.remote(shared, task)] = task
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                task = running.pop(reference)
                try:
                    episodes = ray.get(reference)
                except exceptions.RayTaskError as error:
                    if isinstance(error.cause, FlexNFVError):
                        raise error.cause from None
                    raise
                except exceptions.RayError:
                    lost.append(task)
                    continue
                yield task, episodes
    finally:
        if ours:
            ray.shutdown()
    if lost:
        raise BackendError(
            f"{len(lost)} tasks lost their worker {RETRIES + 1} times, the first being "
            f"{lost[0].spec!r} with seed {lost[0].seed}; the rest is kept: "
            "repeat the command to try them again"
        )


def _run(grid: Grid, task: Task) -> list[Episode]:
    from flexnfv.evaluation.grid import Runner

    with Runner(grid) as runner:
        return runner.run(task)


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
