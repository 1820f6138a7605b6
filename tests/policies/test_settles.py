"""The paper's law on the calibrated model: Table I, and no flapping at any launch latency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.model import BatchModel
from flexnfv.policies.watermark import Watermark
from flexnfv.traces import gbps_to_pps

PAPER = load_chain("paper")
GBPS = (2, 3, 4, 5, 6)
TABLE_1 = {2: (1, 1, 1), 3: (2, 2, 1), 4: (2, 2, 2), 5: (3, 2, 2), 6: (4, 3, 2)}


class Run(NamedTuple):
    running: npt.NDArray[np.int64]  # [interval, rate x seed, T]
    actions: npt.NDArray[np.int64]
    dropped_pps: npt.NDArray[np.float64]  # [interval, rate x seed]


def constant_load(chain: ServiceChain, seeds: int, intervals: int = 60) -> Run:
    """The law under every constant rate of the paper, `seeds` episodes each."""
    rates = np.repeat([gbps_to_pps(gbps) for gbps in GBPS], seeds)
    model = BatchModel(chain, len(rates))
    reading = model.reset_envs(
        np.arange(len(rates)),
        np.repeat(rates[:, None], intervals, axis=1),
        np.tile(np.arange(seeds), len(GBPS)),
    )
    policy = Watermark()
    policy.reset(chain)
    running, actions, dropped = [], [], []
    for _ in range(intervals - 1):
        reading = model.step(policy.decide(reading))
        running.append(reading.running.copy())
        actions.append(reading.launches + reading.reruns + reading.blocks)
        dropped.append(reading.dropped_pps.copy())
    return Run(np.array(running), np.array(actions), np.array(dropped))


def with_latencies(launch_s: float, initial: int) -> ServiceChain:
    chain = PAPER.replace(
        nf=[nf.model_dump() | {"initial_instances": initial} for nf in PAPER.nf],
        # The counts that it settles at are another test's matter.
        flows=PAPER.flows.model_dump() | {"seed": initial},
    )
    return chain.with_calibration(PAPER.measured.model_copy(update={"launch_s": launch_s}))


def test_the_law_arrives_at_the_instances_of_table_1() -> None:
    """Each of the 15 cells in at least 18 of 20 seeds, kept for the last 30 intervals."""
    seeds = 20
    run = constant_load(PAPER, seeds)
    for index, gbps in enumerate(GBPS):
        last = run.running[-30:, index * seeds : (index + 1) * seeds]
        right = (last == TABLE_1[gbps]).all(axis=0).sum(axis=0)
        assert (right >= 18).all(), f"{gbps} Gbps: {right} of {seeds} seeds per NF type"


def test_once_settled_the_law_drops_nothing() -> None:
    assert constant_load(PAPER, 4).dropped_pps[-30:].max() == 0


@pytest.mark.parametrize("initial", [1, 2, 4, 6])
@pytest.mark.parametrize(
    "launch_s", [0.001, 0.014, 0.025, 0.1, 0.5, 0.9, 0.998, 1.0, 1.001, 1.5, 1.998, 2.0]
)
def test_the_chain_settles_without_flapping_at_every_launch_latency(
    launch_s: float, initial: int
) -> None:
    run = constant_load(with_latencies(launch_s, initial), seeds=3)
    assert (run.actions[15:] == 0).all()
    grew = np.diff(run.running, axis=0)
    rises, falls = (grew > 0).any(axis=0), (grew < 0).any(axis=0)
    assert not (rises & falls).any(), "no type both gained and gave up instances"


def test_judging_unsettled_readings_answers_an_overload_twice() -> None:
    """Why the law waits for a full interval: without it a quick launch overshoots."""
    chain = PAPER
    rate = np.full(30, gbps_to_pps(4))
    counts = {}
    for wait in (True, False):
        quick = chain.with_calibration(chain.measured.model_copy(update={"launch_s": 0.3}))
        model = BatchModel(quick, 1)
        reading = model.reset_envs([0], rate[None], [1])
        policy = Watermark(wait_for_full_interval=wait)
        policy.reset(quick)
        most = 0
        for _ in range(29):
            reading = model.step(policy.decide(reading))
            most = max(most, int(reading.running[0, 0]))
        counts[wait] = most
    assert counts[True] == 2
    assert counts[False] > 2
