"""How many training segments a core draws from the default training set per second.

python -m tests.benchmarks.trace_segments [--length N] [--seconds S]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from flexnfv.traces import split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=256, help="intervals in a segment")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long to measure each batch")
    options = parser.parse_args()
    began = time.perf_counter()
    traces = split("train")
    traces.sample_batch(np.random.default_rng(0), 1, options.length)
    built = time.perf_counter() - began
    print(f"{len(traces)} traces, built in {built * 1e3:.0f} ms, segments of {options.length}")
    for count in (1, 32, 1024):
        rng = np.random.default_rng(0)
        out = np.empty((count, options.length))
        drawn, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < options.seconds:
            traces.sample_batch(rng, count, options.length, out=out)
            drawn += count
        print(f"batch {count:>4}: {drawn / passed:>10,.0f} segments/s")


if __name__ == "__main__":
    main()
