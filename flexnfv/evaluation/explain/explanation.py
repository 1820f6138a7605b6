"""Explain a learned policy on a trace: run it beside a rule, look at what it went by."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.backends import make_backend
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.compiled import told_of_compiling
from flexnfv.errors import InputError
from flexnfv.evaluation.cost import total
from flexnfv.evaluation.episodes import Tick, intervals, run_episodes
from flexnfv.evaluation.explain.occlusion import Answers, Influence, Means, Replay
from flexnfv.evaluation.explain.watch import Decisions, Watched
from flexnfv.evaluation.metrics import measures
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.traffic import Peak, resolve
from flexnfv.memory import Levels
from flexnfv.policies.bundle import read_bundle
from flexnfv.policies.calibrated import Rule
from flexnfv.policies.exceedance import Tuning
from flexnfv.policy import Policy, make_policy
from flexnfv.policy_batch import PolicyBatch
from flexnfv.provision import HORIZONS, Types
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LONGEST: Final = 20_000
"""Intervals of a trace, at most: every one of them is kept in memory."""
LEVELS_SHOWN: Final = (0.5, 0.1, 0.01, 0.001)
"""Shares of intervals that the demand is expected to exceed a shown level in."""


@dataclass(frozen=True)
class Course:
    """What a policy did on the trace.

    Attributes:
        spec: of the policy.
        episode: every interval.
        figures: measures of the episode by name.
    """

    spec: str
    episode: Episode
    figures: dict[str, float]

    @property
    def cores(self) -> FloatArray:
        """Cores held by running, launching and draining instances, [N]."""
        return np.asarray(self.episode.chain["cores"], np.float64)

    @property
    def parked(self) -> FloatArray:
        """Cores held by parked instances, [N]."""
        return np.asarray(self.episode.chain["parked_cores"], np.float64)

    @property
    def lost(self) -> FloatArray:
        """Lost packets/s, [N]."""
        return np.asarray(self.episode.chain["dropped_pps"], np.float64)

    def runs_pps(self, types: Types) -> FloatArray:
        """Demand at the entry that the running instances carry at an interval's end, [N]."""
        return carried(self.episode.types["running"], types)


@dataclass(frozen=True)
class Explanation:
    """A learned policy on a trace, beside a rule; decision k is made for interval k + 1.

    Attributes:
        chain, trace: what was run.
        own, rule: courses of the policy and the rule.
        setting: which rule at which parameters, where it is a calibrated one; "" otherwise.
        drop_cost: that the policy was given; with a drop target, the mean of those it came to.
        parked_weight: that the policy acted on.
        decisions: what each decision went by, K = N - 1 of them.
        answers, uncorrected: what the policy provided, and would have without the correction.
        influences: what each group of features did, [K].
    """

    chain: ServiceChain
    trace: Trace
    own: Course
    rule: Course
    setting: str
    drop_cost: float
    parked_weight: float
    tuning: Tuning
    decisions: Decisions
    answers: Answers
    uncorrected: Answers
    influences: dict[str, Influence]

    @cached_property
    def levels(self) -> Levels:
        """The levels that the demand was looked at by."""
        return Levels.of(self.chain)

    @cached_property
    def types(self) -> Types:
        """The chain's NF types as planning sees them."""
        return Types.of(self.chain)

    @cached_property
    def time_s(self) -> FloatArray:
        """End of every interval, [N]."""
        return np.asarray(self.own.episode.chain["time_s"])

    @cached_property
    def offered_pps(self) -> FloatArray:
        """Demand of every interval, [N]."""
        return np.asarray(self.own.episode.chain["offered_pps"])

    def cost(self, course: Course) -> float:
        """J of a course at the policy's drop cost and parked weight, cores."""
        names = ("core_usage", "parked_cores", "drop_rate")
        cores, parked, drop_rate = (np.array(course.figures[name]) for name in names)
        return float(total(cores, parked, drop_rate, self.drop_cost, self.parked_weight))

    def expected_pps(self, share: float) -> FloatArray:
        """The demand that was expected to be exceeded with this probability next, [K]."""
        return expected(self.decisions.exceedance[..., 0], share, self.levels)

    def chance(self, horizon: float | None, rate_pps: FloatArray) -> FloatArray:
        """How likely the demand was to exceed a rate, [K].

        Args:
            horizon: in the intervals from the second to this one; None: in the next.
            rate_pps: at each decision, [K].
        """
        place = 0 if horizon is None else 1 + HORIZONS.index(horizon)
        rows = self.decisions.exceedance[..., place]
        log_rate = np.log(np.maximum(rate_pps, 1e-9))
        pairs = zip(log_rate, rows, strict=True)
        return np.array([np.interp(rate, self.levels.log_rate, row) for rate, row in pairs])

    def came(self, horizon: float | None, rate_pps: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether the demand did exceed it, [K]; the trace's end counts as seen so far."""
        first, last = (1, 1) if horizon is None else (2, int(horizon))
        padded = np.concatenate([self.offered_pps, np.zeros(last)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, last - first + 1)
        highest = windows.max(axis=1)[first : first + len(rate_pps)]
        return np.asarray(highest > rate_pps)


def carried(instances: npt.NDArray[np.integer], types: Types) -> FloatArray:
    """Demand at the chain's entry that instances of each type carry, [..., T] to [...]."""
    return np.asarray((instances * types.capacity).min(axis=-1))


def expected(exceedance: FloatArray, share: float, levels: Levels) -> FloatArray:
    """The demand that is exceeded with a probability, [N], by exceedances, [N, LEVELS]."""
    found = [np.interp(-share, -row, levels.log_rate) for row in exceedance]
    return np.exp(np.array(found))


def explain(
    spec: str,
    trace: str | Path | Trace,
    chain: str | ServiceChain = "edge",
    against: str | None = None,
    *,
    peak: Peak = None,
    seed: int = 0,
    progress: bool = True,
) -> Explanation:
    """Run a learned policy and a rule on a trace, on the model, and look into the policy.

    Args:
        spec: of a bundle of exceedances.
        trace: its spec.
        chain: shipped name, path, or a chain.
        against: spec of any policy; None: the best calibrated rule at its drop cost.
        peak: packets/s that the trace's highest interval is scaled to, or "keep"; None takes the
            chain's `peak_pps`.
        seed: of the model and of the rule.
        progress: show a progress bar on standard error.

    Raises:
        InputError: an unknown or unfit policy, chain or trace, or one that is too long.
    """
    policy, loaded = Watched.named(spec), load_chain(chain)
    weight = loaded.parked_weight if policy.parked_weight is None else float(policy.parked_weight)
    against = against or f"rule:drop_cost={policy.drop_cost:g},parked_weight={weight:g}"
    rule = make_policy(against)
    series = short(trace, loaded, peak)
    tell = told_of_compiling(_tell_of_compiling) if progress else nullcontext()
    with tell, bar("running", 2 * (intervals(series, loaded) - 1), shown=progress) as tick:
        own = run(spec, policy, loaded, series, seed, tick)
        other = run(against, rule, loaded, series, seed, tick)
        decisions = policy.decisions
        tuning = Tuning(**policy.metadata.tuning)
        replay = Replay(read_bundle(policy.bundle)[1], tuning, loaded)
        answers, uncorrected = replay.answers(decisions), replay.uncorrected(decisions)
        influences = replay.influences(decisions, Means.of(decisions))
    targeted = policy.drop_target is not None
    return Explanation(
        chain=loaded,
        trace=series,
        own=own,
        rule=other,
        setting=rule.setting(loaded).spec if isinstance(rule, Rule) else "",
        drop_cost=float(decisions.drop_cost.mean() if targeted else policy.drop_cost),
        parked_weight=weight,
        tuning=tuning,
        decisions=decisions,
        answers=answers,
        uncorrected=uncorrected,
        influences=influences,
    )


def short(trace: str | Path | Trace, chain: ServiceChain, peak: Peak) -> Trace:
    """The trace, ready to run.

    Raises:
        InputError: see `resolve`; or it is too long.
    """
    (found,) = resolve(trace, chain, peak=peak)
    length = intervals(found, chain)
    if length > LONGEST:
        raise InputError(
            f"lasts {length:,} intervals, more than {LONGEST:,}",
            where=f"trace {found.name!r}",
            fix=f"cut it, such as TRACE?end={LONGEST // 2 * chain.interval_s:g}",
        )
    return found


def _tell_of_compiling() -> None:
    print("compiling, once: this may take a minute", file=sys.stderr, flush=True)


def run(
    spec: str, policy: Policy, chain: ServiceChain, trace: Trace, seed: int, tick: Tick
) -> Course:
    """A policy on the trace, on the model."""
    backend = make_backend("model", chain)
    try:
        policies = PolicyBatch.of(policy)
        (found,) = run_episodes(policies, backend, [trace], [seed], recorded=[0], tick=tick)
    finally:
        backend.close()
    assert found.episode is not None
    return Course(spec, found.episode, measures(found.sums.segments))
