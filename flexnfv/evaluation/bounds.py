"""What no policy beats on the traces of a grid, by drop cost."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from flexnfv.evaluation.cost import FloatArray
from flexnfv.evaluation.episodes import Tick
from flexnfv.evaluation.grid import Grid
from flexnfv.model.bound import lower_bound

Bounds = Mapping[float, FloatArray]
"""J of the bound on every trace, [K], by drop cost."""


def bounded(grid: Grid) -> bool:
    """Whether the proven bound holds for what the grid runs on: the model, on which nobody dies."""
    return grid.backend == "model" and not grid.options.get("death_rate_per_s")


def proven(
    grid: Grid,
    parked_weight: float | None = None,
    tick: Tick | None = None,
    workers: int = 1,
) -> Bounds:
    """The proven bound on each trace, means over the evaluation seeds.

    Args:
        grid: of the model.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.
        tick: told of the intervals of the episodes that are done, one of all drop costs.
        workers: threads that share the work; the compiled part of it runs side by side.
    """
    substeps = grid.options.get("substeps", 10)
    found = np.zeros((len(grid.drop_costs), len(grid.traces)))

    def bound(place: int, seed: int) -> tuple[int, list[float]]:
        trace = grid.traces[place]
        of_seed = [
            lower_bound(grid.chain, trace, drop_cost, parked_weight, seed, substeps=substeps)
            for drop_cost in grid.drop_costs
        ]
        return place, of_seed

    def add(place: int, of_seed: list[float]) -> None:
        found[:, place] += np.array(of_seed) / len(grid.seeds)
        if tick is not None:
            tick(grid.lengths[grid.traces[place].name])

    first, *rest = [(place, seed) for seed in grid.seeds for place in range(len(grid.traces))]
    add(*bound(*first))  # alone, since it may compile
    pool = ThreadPoolExecutor(workers)
    try:
        for done in pool.map(bound, *zip(*rest, strict=True)) if rest else ():
            add(*done)
    finally:
        pool.shutdown(cancel_futures=True)
    return dict(zip(grid.drop_costs, found, strict=True))
