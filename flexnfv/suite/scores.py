"""The measure: J of episodes, relative to the bound and to the best rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flexnfv.suite.submission import Episode, Point, Setting, label

Costs = Mapping[str, Mapping[str, Mapping[str, float]]]
"""J by part, trace and point."""


def cost(amounts: Mapping[str, float], point: Point) -> float:
    """J = core usage + parked weight × parked cores + drop cost × lost share of an episode.

    Plain arithmetic of two machines agrees to the bit.
    """
    drop_cost, parked_weight = point
    cores = (amounts["core_s"] + parked_weight * amounts["parked_core_s"]) / amounts["time_s"]
    return cores + drop_cost * (amounts["lost"] / amounts["offered"])


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
