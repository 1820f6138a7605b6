"""How long a policy takes to decide on a single reading: median and 99th percentile.

    python -m tests.benchmarks.decision_latency [SPEC ...] [--chain NAME] [--readings N]

Without specs: every heuristic, a bundle of actions of 2 x 128 units with random weights made on
the spot, and the bundle of exceedances that is shipped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.policy import make_policy
from flexnfv.reading import Reading
from flexnfv.states import RUNNING
from tests.policies.networks import write_random_bundle

HEURISTICS = ("static", "watermark", "target_tracking")


def readings(chain: ServiceChain, count: int) -> list[Reading]:
    """Readings of a chain whose offered rate wanders."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        reading = Reading.zeros(chain.types, chain.slots)
        reading.time_s[...] = (index + 1) * chain.interval_s
        reading.state[:, : 1 + index % chain.slots] = RUNNING
        reading.processing_ns[...] = chain.processing_ns[:, None]
        reading.arrived_pps[...] = rng.uniform(0, 2e6, reading.state.shape)
        reading.queue[...] = rng.uniform(0, 100, reading.state.shape)
        reading.offered_pps[...] = chain.peak_pps * rng.uniform(0.1, 0.5)
        made.append(reading)
    return made


def main() -> None:
    """Print one line per policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--chain", default="edge")
    parser.add_argument("--readings", type=int, default=5000)
    arguments = parser.parse_args()
    chain = load_chain(arguments.chain)
    with tempfile.TemporaryDirectory() as folder:
        specs = arguments.specs or [
            *HEURISTICS,
            str(write_random_bundle(Path(folder) / "random-weights.onnx", chain)),
            "pretrained/any-chain",
        ]
        for spec in specs:
            policy = make_policy(spec)
            policy.reset(chain, seed=0)
            taken = []
            for reading in readings(chain, arguments.readings):
                start = time.perf_counter_ns()
                policy.decide(reading)
                taken.append(time.perf_counter_ns() - start)
            median, late = np.percentile(taken, [50, 99]) / 1e3
            print(f"{Path(spec).name}: median {median:.0f} µs, 99th percentile {late:.0f} µs")


if __name__ == "__main__":
    main()
