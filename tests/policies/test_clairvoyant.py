"""The clairvoyant: loses nothing that could be saved, with as few instances as that takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.mapping import BUCKETS, EVEN, empty_table, shares, update_table
from flexnfv.model import ModelBackend
from flexnfv.policies.clairvoyant import Clairvoyant, Scratch, even_split, highest_rates
from flexnfv.policy import make_policy
from flexnfv.states import DRAINING, RUNNING, STOPPED
from flexnfv.traces import Trace

PAPER = load_chain("paper")
EDGE = load_chain("edge")


def wandering(chain: ServiceChain, intervals: int = 200) -> Trace:
    """Traffic that starts low (the first interval cannot be helped) and then jumps about."""
    rng = np.random.default_rng(8)
    rate = chain.peak_pps * rng.uniform(0.05, 0.8, intervals)
    rate[:4] = 0.05 * chain.peak_pps
    return Trace("wandering", rate, chain.interval_s)


def episode(
    chain: ServiceChain, trace: Trace, policy: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Dropped packets/s and running instances, per interval."""
    backend = Single(ModelBackend(chain))
    if policy.foresight:
        policy.reset(chain, 0, trace=trace)
    else:
        policy.reset(chain, 0)
    reading = backend.reset(trace, 0)
    dropped, running = [], []
    for _ in range(len(trace) - 1):
        reading = backend.step(policy.decide(reading))
        dropped.append(float(reading.dropped_pps))
        running.append(reading.running.copy())
    return np.array(dropped), np.array(running)


@pytest.mark.parametrize("mapping", ["algorithm1", "rendezvous", "even"])
@pytest.mark.parametrize("chain", [PAPER, EDGE], ids=["paper", "edge"])
def test_it_loses_next_to_nothing_under_every_mapping(chain: ServiceChain, mapping: str) -> None:
    chain = chain.replace(mapping=mapping)
    trace = wandering(chain)
    dropped, running = episode(chain, trace, Clairvoyant())
    at_most = running.mean(axis=0) < chain.max_instances
    assert at_most.all()
    # Where even all instances cannot carry the rate, as the mapping spreads it, losses are due.
    free = (running < chain.max_instances).all(axis=1)
    assert dropped[free].sum() < 1e-5 * trace.rate_pps.sum()


def test_it_uses_no_more_than_an_even_split_needs_by_much_and_never_less() -> None:
    trace = wandering(EDGE)
    _, running = episode(EDGE, trace, Clairvoyant())
    floor = np.ceil(trace.rate_pps[1:, None] / EDGE.capacity_pps)
    assert (running >= np.minimum(floor, EDGE.max_instances)).all()
    assert running.sum() < 1.15 * floor.sum()


def test_it_needs_fewer_instances_than_the_law() -> None:
    trace = wandering(EDGE)
    _, running = episode(EDGE, trace, Clairvoyant())
    _, of_the_law = episode(EDGE, trace, make_policy("watermark"))
    assert running.sum() < of_the_law.sum()


@pytest.mark.parametrize("launch_s", [0.01, 0.998, 2.0, 3.5])
def test_it_launches_as_far_ahead_as_a_launch_takes(launch_s: float) -> None:
    slow = PAPER.with_calibration(PAPER.measured.model_copy(update={"launch_s": launch_s}))
    rate = np.full(30, 1e6)
    rate[15:] = 8e6
    dropped, running = episode(slow, Trace("step", rate, 1.0), Clairvoyant())
    assert dropped.sum() == 0
    assert (running[: 13 - int(launch_s)] == 1).all(), "and not earlier"


@pytest.mark.parametrize("rerun_s", [0.001, 0.5, 1.5])
def test_it_reruns_ahead_where_a_rerun_would_overflow_a_ring(rerun_s: float) -> None:
    slow = PAPER.with_calibration(PAPER.measured.model_copy(update={"rerun_s": rerun_s}))
    rate = np.full(40, 1e6)
    rate[10:15] = 8e6
    rate[25:] = 8e6
    dropped, running = episode(slow, Trace("twice", rate, 1.0), Clairvoyant())
    assert dropped.sum() == 0
    assert (running[18:21] == 1).all(), "parked in between"


def test_a_negative_margin_trades_losses_for_instances() -> None:
    trace = wandering(EDGE)
    dropped, running = episode(EDGE, trace, Clairvoyant())
    more_dropped, fewer = episode(EDGE, trace, Clairvoyant(margin=-0.2))
    assert more_dropped.sum() > dropped.sum()
    assert fewer.sum() < running.sum()


def test_the_highest_tenth_of_an_interval_counts_where_the_trace_is_finer() -> None:
    rate = np.ones(40)
    rate[13] = 5.0
    assert highest_rates(Trace("fine", rate, 0.1), 1.0).tolist() == [1.0, 5.0, 1.0, 1.0]
    assert highest_rates(Trace("coarse", np.array([1.0, 3.0]), 2.0), 1.0).tolist() == [1, 1, 3, 3]


def test_without_a_trace_it_refuses() -> None:
    with pytest.raises(InputError, match="trace to come"):
        Clairvoyant().reset(PAPER)
    with pytest.raises(ValueError, match="margin"):
        Clairvoyant(margin=1.0)


@pytest.mark.parametrize("case", range(40))
def test_the_even_mapping_in_one_pass_splits_as_the_mapping_does(case: int) -> None:
    rng = np.random.default_rng(case)
    slots = int(rng.integers(1, 17))
    weight = rng.integers(0, 1 << 40, BUCKETS) * 2.0**-52  # their sums are exact
    now, then = (rng.choice([STOPPED, DRAINING, RUNNING], slots).astype(np.int8) for _ in "ab")
    table = empty_table()
    for state in (then, now):
        update_table(EVEN, state, table)
    held = np.bincount(table[table >= 0], minlength=slots)
    own = np.bincount(table[table >= 0], weight[table >= 0], minlength=slots)
    scratch = Scratch(
        trial=np.empty((1, slots), np.int8),
        command=np.empty((1, slots), np.int8),
        clipped=np.empty(1, np.int64),
        one=np.ones(1, np.int64),
        row=np.empty(slots, np.int64),
        share=np.empty(slots),
        quota=np.empty(slots, np.int64),
        kept=np.empty(slots, np.int64),
        table=empty_table(),
    )
    trial = rng.choice([STOPPED, DRAINING, RUNNING, RUNNING], slots).astype(np.int8)
    found = even_split(table, held, own, weight, trial, scratch)
    after, share = table.copy(), np.empty(slots)
    update_table(EVEN, trial, after)
    lost = shares(EVEN, trial, after, weight, np.empty((0, 0)), scratch.row, share)
    assert found == (np.inf if lost else share.max())
