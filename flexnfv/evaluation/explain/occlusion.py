"""Which inputs moved a policy: what it would have provided without them.

Occlusion (Zeiler, Fergus 2014): the features of a group are replaced by their mean over the trace,
and the network, the correction and the choice are computed anew. By how much the provided cores
change is what the group did there. Groups act together, so their parts need not add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.evaluation.explain.watch import Decisions
from flexnfv.memory import LEVEL, TRAFFIC, Levels
from flexnfv.policies.exceedance import Links, Tuning, predict_links
from flexnfv.provision import EPSILON, Prices, Types, provide

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

GROUPS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "last readings": ("demand of the last 16 intervals", ("ratio_", "mean_8")),
    "size of changes": (
        "how much demand changes from one interval to the next, and by how much at most",
        ("change_8", "change_32", "change_128", "change_512", "change_2048", "largest_"),
    ),
    "jumps": (
        "how often demand jumps, and how long ago it last did",
        ("jumps_", "since_0", "since_1"),
    ),
    "changes of this size": (
        "how often a change was large enough to reach the level",
        ("change_above_",),
    ),
    "long averages": (
        "means and spread over 32 to 2,048 intervals and of all time",
        ("mean_", "spread_"),
    ),
    "extremes": ("highest and lowest demand of late and ever", ("highest_", "lowest_")),
    "time above the level": (
        "how long, how often and how lately demand was above the level",
        ("level_above_", "since_above", "stay", "crossings_"),
    ),
    "what came next": ("where demand went from where it is now", ("next_",)),
    "silence": ("how often and for how long the link carries nothing", ("silence_", "silent_for")),
    "forecast": (
        "what an autoregression fitted to this link expects next, and its errors",
        ("forecast", "error_above_"),
    ),
    "rhythm": (
        "whether demand repeats itself, and what came a period ago",
        ("rhythm", "correlation", "period"),
    ),
    "age": ("for how long the link is known", ("age",)),
}
"""Groups of features: what they tell, and how the names of their features begin."""
KEPT: Final = ("distance",)
"""Features that are never replaced: the question itself, how far the level is from the demand."""
AT_ONCE: Final = 256
"""Moments whose answers are computed together."""


class Answers(NamedTuple):
    """What would be provided at N moments.

    Attributes:
        exceedance: how likely the demand is to exceed each level in the next interval, [N, LEVELS].
        capacity_pps: that should run, at the chain's entry, [N].
        cores: of the instances that this capacity takes, [N].
        targets, spares: the decisions, [N, T].
    """

    exceedance: FloatArray
    capacity_pps: FloatArray
    cores: FloatArray
    targets: IntArray
    spares: IntArray


class Influence(NamedTuple):
    """What a group of features did at N moments.

    Attributes:
        cores: that it added to what was provided (taken away: negative), [N].
        likelihood: factor that it put on how likely the demand is to exceed what was provided,
            as a natural logarithm, [N].
    """

    cores: FloatArray
    likelihood: FloatArray


class Replay:
    """Answers again at moments that were watched, with other inputs.

    Args:
        session: runs the bundle's network.
        tuning: of the policy.
        chain: that it decided for.
    """

    def __init__(self, session: InferenceSession, tuning: Tuning, chain: ServiceChain) -> None:
        self._session, self._tuning = session, tuning
        self._levels, self._types = Levels.of(chain), Types.of(chain)

    def answers(self, moments: Decisions) -> Answers:
        """What these inputs lead to."""
        parts = [
            self._some(moments.of(np.arange(start, min(start + AT_ONCE, len(moments.traffic)))))
            for start in range(0, len(moments.traffic), AT_ONCE)
        ]
        return Answers(*(np.concatenate(found) for found in zip(*parts, strict=True)))

    def uncorrected(self, moments: Decisions) -> Answers:
        """What the network alone leads to, without the correction by what the link has shown."""
        nothing = np.zeros_like(moments.expected)
        return self.answers(moments._replace(expected=nothing, seen=nothing))

    def influences(self, moments: Decisions, means: Means) -> dict[str, Influence]:
        """What each group of features did at these moments."""
        whole = self.answers(moments)
        likely = _at(whole.exceedance, whole.capacity_pps, self._levels)
        found = {}
        for name in GROUPS:
            without = self.answers(means.put(moments, name))
            alike = _at(without.exceedance, whole.capacity_pps, self._levels)
            found[name] = Influence(
                whole.cores - without.cores, np.log(likely + 1e-6) - np.log(alike + 1e-6)
            )
        return found

    def _some(self, moments: Decisions) -> Answers:
        count, types = moments.targets.shape
        (logits,) = self._session.run(
            ["logits"], {"traffic": moments.traffic, "level": moments.level}
        )
        links = Links.of(count)
        links.expected[...], links.seen[...] = moments.expected, moments.seen
        everyone = np.arange(count)
        compiled(predict_links)(links, self._levels, self._tuning, everyone, logits)
        found = Answers(
            links.exceedance[..., 0],
            np.zeros(count),
            np.zeros(count),
            np.zeros((count, types), np.int64),
            np.zeros((count, types), np.int64),
        )
        for n in range(count):
            found.capacity_pps[n] = compiled(provide)(
                *moments.states[n],
                links.exceedance[n],
                links.area[n],
                self._levels,
                self._types,
                Prices(*moments.prices[n].tolist()),
                found.targets[n],
                found.spares[n],
            )
        needed = np.ceil(found.capacity_pps[:, None] / self._types.capacity - EPSILON)
        found.cores[:] = np.maximum(needed, self._types.fewest) @ self._types.cores
        return found


class Means(NamedTuple):
    """Means of the features over a trace, [F] and of every level [LEVELS, G]."""

    traffic: FloatRows
    level: FloatRows

    @classmethod
    def of(cls, decisions: Decisions) -> Means:
        """Over all decisions."""
        return cls(decisions.traffic.mean(axis=0), decisions.level.mean(axis=0))

    def put(self, moments: Decisions, group: str) -> Decisions:
        """The moments with the features of a group replaced."""
        traffic, level = moments.traffic.copy(), moments.level.copy()
        for name, all_moments, mean in (
            (TRAFFIC, traffic, self.traffic),
            (LEVEL, level, self.level),
        ):
            places = [place for place, feature in enumerate(name) if group_of(feature) == group]
            all_moments[..., places] = mean[..., places]
        return moments._replace(traffic=traffic, level=level)


def group_of(feature: str) -> str | None:
    """The group of a feature: the one whose beginning fits its name longest; None if kept."""
    if feature in KEPT:
        return None
    fits = [
        (len(start), name)
        for name, (_, starts) in GROUPS.items()
        for start in starts
        if feature.startswith(start)
    ]
    return max(fits)[1]


def _at(exceedance: FloatArray, rate_pps: FloatArray, levels: Levels) -> FloatArray:
    """How likely the demand is to exceed a rate, [N], by its exceedances, [N, LEVELS]."""
    return np.array(
        [
            np.interp(np.log(max(rate, 1e-9)), levels.log_rate, row)
            for rate, row in zip(rate_pps, exceedance, strict=True)
        ]
    )
