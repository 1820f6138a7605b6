"""How fast the model steps, without an environment around it: environment steps/s on one core.

Run: python -m tests.benchmarks.model_speed [--repeat N]
1,024 chains, 10 sub-steps, a mean rate of 10 to 90 % of the peak for each, 20 % up and down from
interval to interval. Random targets: an environment's random actions at every step, new offsets
from what the rate needs. Held: one target per chain and type, 0 to 2 above the first one's need.
Time is the CPU time of the one thread, so that neighbours on the machine count less.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexnfv.action import OFFSETS
from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.model import BatchModel, ModelBackend
from flexnfv.traces import Trace

BATCH = 1024
INTERVALS = 120
ALONE = 5000
"""Intervals of the one chain."""
PEAK_PPS = 10e6
"""Peak rate of a chain that names none."""

IntArray = npt.NDArray[np.int64]


def steps_per_s(episode: Callable[[], int], repeat: int) -> list[float]:
    """Rates of an episode, which tells its environment steps, after a first one that compiles."""
    episode()
    rates = []
    for _ in range(repeat):
        start = time.thread_time()
        steps = episode()
        rates.append(steps / (time.thread_time() - start))
    return rates


def batched(chain: ServiceChain, repeat: int, *, held: bool) -> list[float]:
    """The kernel with 1,024 chains."""
    rng = np.random.default_rng(0)
    rates = (chain.peak_pps or PEAK_PPS) * rng.uniform(0.1, 0.9, (BATCH, 1))
    rates = rates * rng.uniform(0.8, 1.2, (BATCH, INTERVALS))
    needed = np.ceil(rates.T[..., None] / chain.capacity_pps).astype(np.int64)
    above = rng.choice(OFFSETS, needed.shape)
    if held:
        needed = np.broadcast_to(needed[0], needed.shape)
        above = np.broadcast_to(rng.integers(0, 3, needed.shape[1:]), needed.shape)
    targets = np.clip(needed + above, 1, chain.max_instances)
    model = BatchModel(chain, BATCH)

    def episode() -> int:
        model.reset_envs(np.arange(BATCH), rates, np.arange(BATCH))
        for wanted in targets[1:]:
            model.step(wanted)
        return BATCH * INTERVALS

    return steps_per_s(episode, repeat)


def alone(chain: ServiceChain, repeat: int) -> list[float]:
    """The kernel with one chain: what a call costs."""
    model = BatchModel(chain, 1)
    rates = np.random.default_rng(0).uniform(2e6, 9e6, (1, ALONE))
    targets = np.full((1, chain.types), 2)

    def episode() -> int:
        model.reset_envs([0], rates, [1])
        for _ in range(ALONE - 1):
            model.step(targets)
        return ALONE

    return steps_per_s(episode, repeat)


def backend(chain: ServiceChain, repeat: int) -> list[float]:
    """The backend with one chain, and its reading."""
    single = Single(ModelBackend(chain))
    trace = Trace("random", np.random.default_rng(0).uniform(2e6, 9e6, ALONE), 1.0)
    targets = np.full(chain.types, 2)

    def episode() -> int:
        single.reset(trace, 1)
        for _ in range(ALONE - 1):
            single.step(targets)
        return ALONE

    return steps_per_s(episode, repeat)


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Print medians, best runs and the machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    edge, paper = load_chain("edge"), load_chain("paper")
    print(f"machine: {processor()}, Python {platform.python_version()}, CPU time of one thread")
    for name, rates in [
        ("edge, 1,024 chains, random targets", batched(edge, repeat, held=False)),
        ("edge, 1,024 chains, targets held", batched(edge, repeat, held=True)),
        ("paper, 1,024 chains, random targets", batched(paper, repeat, held=False)),
        ("paper, 1,024 chains, targets held", batched(paper, repeat, held=True)),
        ("paper, one chain", alone(paper, repeat)),
        ("paper, one chain through ModelBackend", backend(paper, repeat)),
    ]:
        print(f"{name:40s} median {statistics.median(rates):11,.0f}/s  best {max(rates):11,.0f}/s")


if __name__ == "__main__":
    main()
