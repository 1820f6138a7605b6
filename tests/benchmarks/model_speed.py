"""How fast the model steps: environment steps/s on one core.

Run: python -m tests.benchmarks.model_speed [--repeat N]
`paper.toml` (3 NF types x 8 instances), 10 sub-steps, offered rates uniform over 2 to 9 Mpps.
Time is the CPU time of the one thread, so that neighbours on the machine count less.
Floors: 700,000 steps/s at batch 1024, 50,000 steps/s at batch 1 with its Reading.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.model import BatchModel, ModelBackend
from flexnfv.traces import Trace

BATCH = 1024
INTERVALS = 300


def steps_per_s(step: Callable[[], object], each: int, repeat: int) -> list[float]:
    """Rates of `repeat` timed calls that make `each` environment steps."""
    rates = []
    for _ in range(repeat):
        start = time.thread_time()
        step()
        rates.append(each / (time.thread_time() - start))
    return rates


def batched(chain: ServiceChain, changing: float, repeat: int) -> list[float]:
    """A batch whose environments get new random targets in a share `changing` of the steps."""
    rng = np.random.default_rng(0)
    model = BatchModel(chain, BATCH)
    rates = rng.uniform(2e6, 9e6, (BATCH, INTERVALS))
    targets = rng.integers(1, 9, (INTERVALS, BATCH, chain.types))
    for k in range(1, INTERVALS):
        kept = rng.random((BATCH, 1)) >= changing
        targets[k] = np.where(kept, targets[k - 1], targets[k])

    def episode() -> None:
        model.reset_envs(np.arange(BATCH), rates, np.arange(BATCH))
        for k in range(1, INTERVALS):
            model.step(targets[k])

    episode()
    return steps_per_s(episode, BATCH * INTERVALS, repeat)


def single(chain: ServiceChain, repeat: int) -> list[float]:
    """The backend: a batch of one, with its Reading and derived loads."""
    rng = np.random.default_rng(0)
    backend = Single(ModelBackend(chain))
    trace = Trace("random", rng.uniform(2e6, 9e6, 5000), 1.0)
    targets = np.array([3, 2, 2])

    def episode() -> None:
        backend.reset(trace, 1)
        while backend.remaining:
            backend.step(targets)

    episode()
    return steps_per_s(episode, 5000, repeat)


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
    chain = load_chain("paper")
    print(f"machine: {processor()}, Python {platform.python_version()}, one core")
    for name, rates in [
        ("batch 1024, targets kept", batched(chain, 0.0, repeat)),
        ("batch 1024, targets change in 1 step of 10", batched(chain, 0.1, repeat)),
        ("batch 1024, new random targets every step", batched(chain, 1.0, repeat)),
        ("batch 1, through ModelBackend", single(chain, repeat)),
    ]:
        print(f"{name:46s} median {statistics.median(rates):11,.0f}/s  best {max(rates):11,.0f}/s")


if __name__ == "__main__":
    main()
