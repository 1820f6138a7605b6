"""One policy on one backend through one trace, or through a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np

from flexnfv.backend import Backend, Single, timing_of
from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.evaluation.backends import BatchBackend
from flexnfv.evaluation.contestants import start
from flexnfv.evaluation.records import Episode, Recorder
from flexnfv.policy import Policy
from flexnfv.traces import Trace

Tick = Callable[[int], None]
"""Told how many intervals of how many episodes just passed, for progress."""


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
    judged: ServiceChain | None = None,
) -> Episode:
    """Every interval of a trace, the first with the chain's initial instances.

    Args:
        policy: decides.
        backend: is decided for.
        trace: the traffic.
        seed: of policy and backend.
        tick: told of every interval.
        judged: the chain that the policy takes its thresholds from, the backend's own if None.

    Raises:
        InputError: what the backend refuses.
        BackendError: the backend died.
    """
    chain, one = backend.chain, Single(backend)
    length = intervals(trace, chain)
    recorder = Recorder(chain)
    start(policy, judged or chain, trace, seed)
    reading = one.reset(trace, seed)
    recorder.add(reading, chain.initial_instances, float("nan"))
    for _ in range(length - 1):
        if one.remaining == 0:
            break
        before = perf_counter()
        decision = policy.decide(reading)
        decision_s = perf_counter() - before
        reading = one.step(decision)
        recorder.add(reading, decision, decision_s)
        if tick is not None:
            tick(1)
    return recorder.episode(_facts(backend, trace, seed), trace)


def run_batch(
    policy: Policy,
    backend: BatchBackend,
    chain: ServiceChain,
    traces: Sequence[Trace],
    seed: int,
    tick: Tick | None = None,
    judged: ServiceChain | None = None,
) -> list[Episode]:
    """Several traces of one length under one seed at once; one episode per trace.

    Args:
        policy: one that is `batched` and has no foresight.
        backend: of that many rows.
        chain: of the backend.
        traces: of equal length in intervals.
        seed: of the policy and of every row.
        tick: told of every interval.
        judged: see `run_episode`.
    """
    length = intervals(traces[0], chain)
    recorder = Recorder(chain)
    policy.reset(judged or chain, seed)
    reading = backend.reset(traces, [seed] * len(traces))
    recorder.add(reading, chain.initial_instances, float("nan"))
    for _ in range(length - 1):
        before = perf_counter()
        decision = policy.decide(reading)
        decision_s = (perf_counter() - before) / len(traces)
        reading = backend.step(Decision.of(decision).targets)
        recorder.add(reading, decision, decision_s)
        if tick is not None:
            tick(len(traces))
    return recorder.episodes([_facts(backend, trace, seed) for trace in traces], traces)


def _facts(backend: Backend | BatchBackend, trace: Trace, seed: int) -> Mapping[str, Any]:
    timing = timing_of(backend)
    return {
        "trace": trace.name,
        "seed": seed,
        "backend": asdict(backend.description),
        "numpy": np.__version__,
        **({} if timing is None else {"timing": asdict(timing)}),
    }
