"""What no policy beats on the traces of a grid, by drop cost."""

from __future__ import annotations

from collections.abc import Mapping

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


def proven(grid: Grid, parked_weight: float | None = None, tick: Tick | None = None) -> Bounds:
    """The proven bound on each trace, means over the evaluation seeds.

    Args:
        grid: of the model.
        parked_weight: cost of a parked core relative to a running one; the chain's if None.
        tick: told of the intervals of the episodes that are done, one of all drop costs.
    """
    substeps = grid.options.get("substeps", 10)
    found = {drop_cost: np.zeros(len(grid.traces)) for drop_cost in grid.drop_costs}
    for place, trace in enumerate(grid.traces):
        for seed in grid.seeds:
            for drop_cost, bound in found.items():
                one = lower_bound(
                    grid.chain, trace, drop_cost, parked_weight, seed, substeps=substeps
                )
                bound[place] += one / len(grid.seeds)
            if tick is not None:
                tick(grid.lengths[trace.name])
    return found
