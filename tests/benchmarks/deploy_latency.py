"""How long a deployment takes from a reading to its targets: median, 99th percentile, worst.

    python -m tests.benchmarks.deploy_latency [--chain NAME] [--interval S] [--intervals N]

On the model in real time, recording everything. What is timed ends where the backend is called; a
live one adds one message to the manager. A bundle of 2 x 128 units with random weights decides;
then the same with two shadows; then the watermark law in a process of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from pyarrow import parquet

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.deploy import deploy
from flexnfv.traces import load_trace
from tests.policies.networks import write_random_bundle


def measure(spec: str, shadows: tuple[str, ...], chain: ServiceChain, count: int) -> str:
    """One line about one deployment."""
    trace = load_trace(f"synthetic/flash_crowd?peak=20e6&step={chain.interval_s}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        status = deploy(
            spec,
            chain,
            out=out,
            shadows=shadows,
            backend="model",
            trace=trace,
            intervals=count,
            realtime=True,
        )
        sent = parquet.ParquetFile(out / "record.parquet").read(["send_s"])["send_s"].to_numpy()
    # The first decisions load code and caches.
    median, late, worst = np.percentile(sent[10:], [50, 99, 100]) * 1e3
    policy = status["policy"]
    return (
        f"median {median:.3f} ms, 99th percentile {late:.3f} ms, worst {worst:.3f} ms; "
        f"{policy['decided']} decided, {policy['replaced_by_law']} replaced {policy['faults']}"
    )


def main() -> None:
    """Print one line per deployment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chain", default="edge")
    parser.add_argument("--interval", type=float, default=0.05)
    parser.add_argument("--intervals", type=int, default=600)
    arguments = parser.parse_args()
    chain = load_chain(arguments.chain).replace(interval_s=arguments.interval)
    with tempfile.TemporaryDirectory() as folder:
        bundle = str(write_random_bundle(Path(folder) / "random-weights.onnx", chain))
        for name, spec, shadows in (
            ("bundle", bundle, ()),
            ("bundle, two shadows", bundle, ("watermark", "target_tracking")),
            ("law in its own process", "watermark", ()),
        ):
            print(f"{name}: {measure(spec, shadows, chain, arguments.intervals)}", flush=True)


if __name__ == "__main__":
    main()
