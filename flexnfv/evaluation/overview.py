"""One picture of a result: the fronts, and one trace over time under baseline and best policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flexnfv.evaluation.candidates import BOUND, Candidate
from flexnfv.evaluation.fronts import DROP_FLOOR
from flexnfv.evaluation.report import thin
from flexnfv.evaluation.result import Result
from flexnfv.files import new_file


def write(result: Result, path: Path) -> None:
    """Write the picture (PNG) to a new file, whole or not at all.

    Raises:
        InputError: the file exists.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _fronts(left, result)
    _cores(right, result)
    with new_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def shown(result: Result) -> list[Candidate]:
    """The baseline and the first candidate that is not the baseline or static, if any."""
    baseline = next(one for one in result.named if one.name == result.grid.baseline)
    others = [one for one in result.named if one is not baseline and one.specs != ("static",)]
    return [baseline, *others[:1]]


def busiest(result: Result) -> int:
    """The trace whose rate varies most relative to its mean: scaling shows there."""
    variation = [np.std(t.rate_pps) / (t.mean_pps or 1.0) for t in result.grid.traces]
    return int(np.argmax(variation))


def _fronts(axes: Any, result: Result) -> None:
    for front in result.fronts.values():
        best = [front.points[index] for index in front.best]
        style = "k--" if front.policy == BOUND else ".-"
        axes.plot(
            [point.core_usage for point in best],
            [100 * max(point.drop_rate, DROP_FLOOR) for point in best],
            style,
            label=f"{front.policy} (swept)",
            alpha=0.7,
        )
    for one in result.named:
        found = result.intervals[one.name]
        cores, drops = found["core_usage"], found["drop_rate"]
        x, y = cores.estimate, 100 * max(drops.estimate, DROP_FLOOR)
        axes.errorbar(
            x,
            y,
            xerr=[[x - cores.low], [cores.high - x]],
            yerr=[[max(y - 100 * drops.low, 0)], [max(100 * drops.high - y, 0)]],
            fmt="D",
            label=one.name,
        )
    # The limits come first: `set_yscale` would choose its own, and warn where they coincide.
    axes.set_ylim(*_log_range(axes.dataLim.minposy, axes.dataLim.y1))
    axes.set_yscale("log")
    axes.set_xlabel("core usage")
    axes.set_ylabel("dropped packets, %")
    axes.set_title(f"{result.grid.chain.name}: {len(result.grid.traces)} traces")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _log_range(low: float, high: float) -> tuple[float, float]:
    """Limits of a logarithmic axis, which has height even where all drop rates are the same."""
    if not np.isfinite([low, high]).all():  # No packet was offered, so none could be lost.
        low = high = 100 * DROP_FLOOR
    return low / 2, 2 * high


def _cores(axes: Any, result: Result) -> None:
    trace = busiest(result)
    for one in shown(result):
        chain = result.episode(one.specs[0], trace).chain
        time = thin(chain["time_s"], np.max)
        axes.plot(time, thin(chain["cores"], np.mean), label=f"cores: {one.name}")
    rate = axes.twinx()
    rate.fill_between(time, thin(chain["offered_pps"] / 1e6, np.mean), color="0.85", zorder=0)
    rate.set_ylabel("offered, Mpps")
    axes.set_zorder(rate.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_xlabel("seconds")
    axes.set_ylabel("cores")
    axes.set_title(result.grid.traces[trace].name)
    axes.legend(fontsize=8, loc="upper right")
