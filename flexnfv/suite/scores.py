"""What the episodes of a submission cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flexnfv.evaluation.cost import total
from flexnfv.suite.submission import Episode, Point, Setting, label


def cost(amounts: Mapping[str, float], point: Point) -> float:
    """J of an episode, from its sums."""
    cores, parked, lost, offered, seconds = (
        np.asarray(amounts[name])
        for name in ("core_s", "parked_core_s", "lost", "offered", "time_s")
    )
    share = lost / offered if offered else offered
    return float(total(cores / seconds, parked / seconds, share, *point))


def costs(
    settings: Sequence[Setting], episodes: Sequence[Episode]
) -> dict[str, dict[str, dict[str, float]]]:
    """J by part, trace and point, the mean over seeds."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for one in episodes:
        amounts = one.amounts()
        of_trace = found.setdefault(one.part, {}).setdefault(one.trace, {})
        for point in settings[one.setting].points:
            of_trace.setdefault(label(point), []).append(cost(amounts, point))
    return {
        part: {
            trace: {point: sum(values) / len(values) for point, values in points.items()}
            for trace, points in traces.items()
        }
        for part, traces in found.items()
    }
