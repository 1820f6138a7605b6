"""Policies on a backend through traces: one loop, for one chain or for thousands at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from time import monotonic
from typing import Any, Final, NamedTuple

import numpy as np

from flexnfv.backend import Backend, timing_of
from flexnfv.chain import ServiceChain
from flexnfv.evaluation.digest import Digests
from flexnfv.evaluation.records import Episode, Recorder
from flexnfv.evaluation.sums import Amounts, Meter, Sums, segments_of
from flexnfv.policy import Policy
from flexnfv.policy_batch import PolicyBatch
from flexnfv.traces import Trace

Tick = Callable[[int], None]
"""Told how many intervals of how many episodes just passed, for progress."""

_TICK_S: Final = 0.1
"""Shortest time between two ticks."""


class Outcome(NamedTuple):
    """What is known of an episode.

    Attributes:
        sums: by segment.
        facts: trace, seed, backend and its timing.
        episode: its records, where they were asked for.
        decisions: what identifies the policy's decisions (`Digests`).
    """

    sums: Sums
    facts: Mapping[str, Any]
    episode: Episode | None
    decisions: str = ""


def intervals(trace: Trace, chain: ServiceChain) -> int:
    """Monitor intervals that a trace lasts on a chain.

    Raises:
        InputError: the trace is shorter than one interval.
    """
    return len(trace.rates(chain.interval_s))


def run_episode(
    policy: Policy,
    backend: Backend,
    trace: Trace,
    seed: int,
    tick: Tick | None = None,
    policy_chain: ServiceChain | None = None,
) -> Episode:
    """The records of one policy on one trace; see `run_episodes`."""
    policies = PolicyBatch.of(policy)
    (found,) = run_episodes(
        policies, backend, [trace], [seed], recorded=[0], tick=tick, policy_chain=policy_chain
    )
    assert found.episode is not None
    return found.episode


def run_episodes(
    policies: PolicyBatch,
    backend: Backend,
    traces: Sequence[Trace],
    seeds: Sequence[int],
    *,
    recorded: Sequence[int] = (),
    tick: Tick | None = None,
    policy_chain: ServiceChain | None = None,
) -> list[Outcome]:
    """Every interval of every trace, the first with the chain's initial instances.

    Traces may differ in length: a row whose trace has ended is not stepped any more.

    Args:
        policies: decide, [B].
        backend: is decided for.
        traces: the traffic of each row, [B].
        seeds: of backend and policy, [B].
        recorded: rows whose every interval is kept.
        tick: told of the intervals that passed, now and then.
        policy_chain: the chain that the policies take their thresholds from, the backend's own if
            None.

    Returns:
        What is known of each row, [B].

    Raises:
        InputError: what policies or backend refuse.
        BackendError: the backend died.
    """
    chain = backend.chain
    lengths = np.array([intervals(trace, chain) for trace in traces], np.int64)
    segments = np.array([segments_of(length) for length in lengths.tolist()], np.int64)
    meter = Meter(lengths, segments, chain.parked_weight)
    digests = Digests(len(traces))
    recorder, kept = Recorder(chain), np.array(recorded, np.int64)
    progress = _Progress(tick)
    policies.reset(policy_chain or chain, seeds, traces)
    reading = backend.reset(traces, seeds)
    undecided = np.full(len(traces), np.nan)
    alive = np.arange(len(traces))
    meter.add(Amounts.of_reading(reading, chain, undecided), alive)
    if kept.size:
        recorder.add(reading[kept], chain.initial_instances, np.nan)
    passed = np.ones(len(traces), np.int64)
    while True:
        goes_on = (passed[alive] < lengths[alive]) & (backend.remaining[alive] > 0)
        if not goes_on.all():
            alive = alive[goes_on]
        if not alive.size:
            break
        decision = policies.decide(reading, alive)
        digests.add(decision, alive)
        if len(alive) == len(traces):
            reading = backend.step(decision)
        else:
            reading = backend.step(decision[alive], alive)
        passed[alive] += 1
        meter.add(Amounts.of_reading(reading, chain, policies.decision_s), alive)
        if kept.size:
            recorder.add(reading[kept], decision[kept], policies.decision_s[kept])
        progress.add(alive.size)
    progress.flush()
    facts = [_facts(backend, trace, seed) for trace, seed in zip(traces, seeds, strict=True)]
    episodes = dict(
        zip(
            kept.tolist(),
            recorder.episodes(
                [facts[row] for row in kept],
                [traces[row] for row in kept],
                [int(passed[row]) for row in kept],
            ),
            strict=True,
        )
    )
    decided = digests.hex()
    return [
        Outcome(sums, facts[row], episodes.get(row), decided[row])
        for row, sums in enumerate(meter.sums())
    ]


class _Progress:
    """Tells of progress seldom enough that telling costs nothing."""

    def __init__(self, tick: Tick | None) -> None:
        self._tick = tick
        self._count = 0
        self._told = monotonic()

    def add(self, count: int) -> None:
        self._count += count
        if monotonic() - self._told >= _TICK_S:
            self.flush()

    def flush(self) -> None:
        if self._tick is not None and self._count:
            self._tick(self._count)
        self._count = 0
        self._told = monotonic()


def _facts(backend: Backend, trace: Trace, seed: int) -> Mapping[str, Any]:
    timing = timing_of(backend)
    return {
        "trace": trace.name,
        "seed": seed,
        "backend": asdict(backend.description),
        "numpy": np.__version__,
        **({} if timing is None else {"timing": asdict(timing)}),
    }
