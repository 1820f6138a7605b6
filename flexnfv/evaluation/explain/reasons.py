"""The moments of a trace that mattered most, and why the policy did there what it did, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.explain.explanation import Explanation, carried

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EACH: Final = 5
"""Moments of each kind."""
APART: Final = 3
"""Intervals between two moments of a kind, at least: neighbours tell the same story."""
UNLIKELY: Final = 0.01
"""Probability below which a jump is called unlikely."""


@dataclass(frozen=True)
class Moment:
    """A moment that mattered.

    Attributes:
        decision: its number; what it brought is seen in the interval behind it.
        time_s: end of that interval.
        what: happened.
        rule: did meanwhile.
        expected: of the next interval's demand.
        why: in words.
    """

    decision: int
    time_s: float
    what: str
    rule: str
    expected: str
    why: str


def moments(found: Explanation) -> list[Moment]:
    """The largest losses and the largest scale-ups, in order of time.

    The first interval is left out, which every policy starts with the chain's initial instances.
    """
    lost, added = found.own.lost[1:].copy(), wanted(found)
    lost[0] = added[0] = 0.0
    told = [_moment(found, k, *_loss(found, k)) for k in largest(lost)]
    told += [_moment(found, k, *_scale_up(found, k, added[k])) for k in largest(added)]
    return sorted(told, key=lambda moment: moment.decision)


def wanted(found: Explanation) -> FloatArray:
    """Cores that each decision added to what ran and was being launched, [K]."""
    running, _, launching = found.decisions.states.transpose(1, 0, 2)
    more = np.maximum(found.decisions.targets - running - launching, 0)
    return np.asarray(more @ found.types.cores)


def largest(amounts: FloatArray, count: int = EACH, apart: int = APART) -> list[int]:
    """Places of the largest amounts above 0 that lie some way apart."""
    chosen: list[int] = []
    for place in np.argsort(-amounts, kind="stable").tolist():
        if len(chosen) == count or amounts[place] <= 0:
            break
        if all(abs(place - other) >= apart for other in chosen):
            chosen.append(place)
    return chosen


def _moment(found: Explanation, k: int, what: str, why: str) -> Moment:
    usual, rare = (_mpps(found.expected_pps(share)[k]) for share in (0.5, 0.01))
    return Moment(
        k,
        float(found.time_s[k + 1]),
        what,
        _of_rule(found, k),
        f"about {usual}, above {rare} with 1 %; {_mpps(found.offered_pps[k + 1])} came",
        why,
    )


def _of_rule(found: Explanation, k: int) -> str:
    types = found.rule.episode.types
    running = int(types["running"][k + 1].sum())
    before = types["running"][k] + types["launching"][k]
    added = np.maximum(types["targets"][k + 1] - before, 0) @ found.types.cores
    lost = found.rule.lost[k + 1]
    return f"{_mpps(lost)} lost, {_count(added, 'core')} more, {_count(running, 'instance')} ran"


def _loss(found: Explanation, k: int) -> tuple[str, str]:
    """What was lost after decision k, and why."""
    came, lost = found.offered_pps[k + 1], found.own.lost[k + 1]
    what = f"{_mpps(lost)} lost, {lost / max(came, 1e-9):.1%} of the interval"
    running, parked, _ = found.decisions.states[k]
    there, targets = running + parked, found.decisions.targets[k]
    ready = float(carried(np.minimum(there, targets), found.types))
    if came <= ready:
        return what, (
            f"What was ready carries {_mpps(ready)}: enough for all. The loss is of single "
            "instances, to which more than their share came, or of such as were joining."
        )
    chance = found.chance(None, np.full(len(found.answers.cores), ready))[k]
    jump = _change(found.offered_pps[k], came)
    likely = f"It gave {_percent(chance)} to more than {_mpps(ready)}, which was ready."
    launch = found.chain.measured.launch_s
    if (targets > there).any():
        more = int(np.maximum(targets - there, 0).sum())
        return what, (
            f"{jump} {likely} It wanted {more} more than were there; a launch takes {launch:.2g} s."
        )
    if (targets == found.types.most).all():
        return what, f"{jump} {likely} Every instance that the chain may have was wanted."
    if carried(there, found.types) <= ready:
        return what, (
            f"{jump} {likely} Nothing was parked that could have been rerun, and a launch takes "
            f"{launch:.2g} s."
        )
    why = (
        "so little that more cores would have cost more than it"
        if chance < UNLIKELY
        else "not enough for one more instance at this drop cost"
    )
    return what, f"{jump} {likely} That is {why}."


def _scale_up(found: Explanation, k: int, added: float) -> tuple[str, str]:
    """What decision k added, and why."""
    types = found.own.episode.types
    launches, reruns = int(types["launches"][k + 1].sum()), int(types["reruns"][k + 1].sum())
    what = f"{_count(added, 'core')} more: {_count(reruns, 'rerun')}, {_count(launches, 'launch')}"
    before = max(k - 1, 0)
    rare = found.expected_pps(0.01)
    why = [
        _change(found.offered_pps[before], found.offered_pps[k]),
        f"The demand that it expected to be exceeded with 1 % went from {_mpps(rare[before])} to "
        f"{_mpps(rare[k])}.",
        moved_by(found, k),
    ]
    corrected = found.answers.cores[k] - found.uncorrected.cores[k]
    if corrected:
        why.append(f"What this link has shown {_added(corrected)}.")
    return what, " ".join(why)


def moved_by(found: Explanation, k: int, count: int = 3) -> str:
    """The groups of features that moved decision k most, in words."""
    did = {name: float(one.cores[k]) for name, one in found.influences.items()}
    most = sorted((name for name in did if did[name]), key=lambda name: -abs(did[name]))[:count]
    if not most:
        return "The demand itself moved it: no group of inputs changed the number of cores."
    return "Moved by " + ", ".join(f"{name} ({did[name]:+g} cores)" for name in most) + "."


def parking(found: Explanation) -> list[list[str]]:
    """Why instances were kept parked, let go or launched: what was thought likely, and what came.

    Returns:
        A row for each kind of decision: how many, and for the next interval and within 16 and 256
        how likely more was held to be needed, and how often it was.
    """
    types, kept = found.own.episode.types, found.own.parked[1:] > 0
    running, parked, launching = found.decisions.states.transpose(1, 0, 2)
    left = types["running"][1:] + types["launching"][1:] + types["draining"][1:]
    left = left + types["blocked"][1:]
    launched = types["launches"][1:].sum(axis=-1) > 0
    questions = (
        ("kept parked", "than runs", kept, carried(types["running"][1:], found.types)),
        (
            "let go",
            "than is left",
            types["stops"][1:].sum(axis=-1) > 0,
            carried(left, found.types),
        ),
        (
            "launched",
            "than was there",
            launched,
            carried(running + parked + launching, found.types),
        ),
    )
    return [_parking_row(found, name, than, places, rate) for name, than, places, rate in questions]


def _parking_row(
    found: Explanation, name: str, than: str, places: npt.NDArray[np.bool_], rate: FloatArray
) -> list[str]:
    row = [name, f"{places.sum():,}", f"more {than}"]
    for horizon in (None, 16.0, 256.0):
        if not places.any():
            row.append("-")
            continue
        thought = found.chance(horizon, rate)[places].mean()
        came = found.came(horizon, rate)[places].mean()
        row.append(f"{_percent(thought)} / {_percent(came)}")
    return row


def coverage(found: Explanation, shares: tuple[float, ...]) -> list[list[str]]:
    """How often the demand exceeded the levels that it was expected to exceed so often."""
    came = found.offered_pps[1:]
    rows = []
    for share in shares:
        level = found.expected_pps(share)
        raw = np.array(
            [
                np.interp(np.log(rate), found.levels.log_rate, row)
                for rate, row in zip(level, found.decisions.predicted, strict=True)
            ]
        )
        rows.append(
            [
                _percent(share),
                _mpps(level.mean()),
                _percent(float((came > level).mean())),
                _percent(float(raw.mean())),
            ]
        )
    return rows


def _change(before: float, after: float) -> str:
    times = after / before if before > 0 else np.inf
    much = f", {times:.1f} times as much" if 1.05 < times < 1000 else ""
    return f"Demand went from {_mpps(before)} to {_mpps(after)}{much}."


def _added(cores: float) -> str:
    return f"{'added' if cores > 0 else 'took away'} {_count(abs(cores), 'core')}"


def _count(number: float, word: str) -> str:
    plural = "" if number == 1 else "es" if word.endswith("ch") else "s"
    return f"{number:g} {word}{plural}"


def _mpps(rate: float) -> str:
    return f"{rate / 1e6:.3g} Mpps"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
