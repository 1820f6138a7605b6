"""How long a deployment takes from a reading to its targets: median, 99th percentile, worst.

    python -m tests.benchmarks.deploy_latency [--chain NAME] [--interval S] [--intervals N]
        [--policy BUNDLE] [--backend model dpdk]

On the model in real time, recording everything; what is timed ends where the backend is called. A
bundle of the size that `train/ppo.py` makes by default decides (random weights, if no --policy is
given); then the same with two shadows; then the watermark law in a process of its own.

Live, the bundle decides for a paced chain under traffic, attached to its manager: timed from the
moment at which the manager made the snapshot to that at which it took the targets, both on the
manager's own clock. The exit code is 1 if the 99th percentile is above 1 ms.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from pyarrow import parquet

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.deploy import deploy
from flexnfv.experiments.findings import Claim
from flexnfv.failures import run_program
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import Snapshot
from flexnfv.hw_backend.client import Client, Reply
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.machine import machine
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import PktgenOptions
from flexnfv.policies.bundle import write_bundle
from flexnfv.traces import load_trace
from tests.policies.networks import ACTIONS, FEATURES, metadata, network

P99_MS = 1.0
"""From a reading to its targets in the manager, at most."""
WIDTH = 192
"""Units of both hidden layers that training makes by default."""
SCALE = 1 / 20
WARM = 10
"""The first decisions load code and caches."""


class TimedClient(Client):
    """A client that notes how long after a snapshot the next targets were taken."""

    taken_s: list[float]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._snapshot_ns = 0

    def snapshot(self) -> Snapshot:
        """A snapshot made now."""
        found = super().snapshot()
        self._snapshot_ns = found.time_ns
        return found

    def decide(self, decision: Any) -> Reply:
        """Set the wanted instances."""
        reply = super().decide(decision)
        self.taken_s.append((reply.time_ns - self._snapshot_ns) * 1e-9)
        return reply


def on_model(spec: str, shadows: tuple[str, ...], chain: ServiceChain, count: int) -> str:
    """One line about one deployment on the model."""
    trace = load_trace(f"synthetic/flash_crowd?peak={chain.peak_pps}&step={chain.interval_s}")
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
    return told(sent, status)


def live(spec: str, chain: ServiceChain, count: int) -> tuple[str, Claim]:
    """One line about a deployment on the dataplane, and what must hold."""
    duration_s = (count + 50) * chain.interval_s
    trace = load_trace(f"synthetic/flash_crowd?duration_s={max(duration_s, 10)}&peak=8e6")
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    options = ManagerOptions(scale=SCALE, pacing=True, law=True, status_s=0.02)
    TimedClient.taken_s = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ManagerProcess(chain, options=options) as manager,
        manager.generator(
            PktgenOptions(port=manager.peer, trace=trace, rate_scale=SCALE, flows=flows)
        ),
        mock.patch("flexnfv.hw_backend.live.Client", TimedClient),
    ):
        status = deploy(
            spec,
            chain,
            out=Path(folder) / "run",
            backend="dpdk",
            options={"attach": manager.folder},
            intervals=count,
        )
    taken = np.array(TimedClient.taken_s)
    late_ms = float(np.percentile(taken[WARM:], 99)) * 1e3
    claim = Claim(
        "reading to targets in the manager, 99th percentile",
        f"{late_ms:.3f} ms in {len(taken) - WARM} intervals",
        f"at most {P99_MS:g} ms",
        late_ms <= P99_MS,
    )
    return told(taken, status), claim


def told(taken_s: npt.NDArray[np.float64], status: dict[str, Any]) -> str:
    """The figures in one line."""
    median, late, worst = np.percentile(taken_s[WARM:], [50, 99, 100]) * 1e3
    policy = status["policy"]
    return (
        f"median {median:.3f} ms, 99th percentile {late:.3f} ms, worst {worst:.3f} ms; "
        f"{policy['decided']} decided, {policy['replaced_by_law']} replaced {policy['faults']}"
    )


def main() -> None:
    """Print one line per deployment, and one per claim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chain", default="paper")
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--intervals", type=int, default=3000)
    parser.add_argument("--policy", default="")
    parser.add_argument(
        "--backend", nargs="+", choices=("model", "dpdk"), default=["dpdk", "model"]
    )
    given = parser.parse_args()

    def program() -> int:
        chain = load_chain(given.chain).replace(interval_s=given.interval)
        print(time.strftime("%Y-%m-%d %H:%M:%S"), machine())
        if "dpdk" in given.backend:
            print(f"live: scale {SCALE:g}, paced")
        holds = True
        with tempfile.TemporaryDirectory() as folder:
            bundle = given.policy
            if not bundle:
                weights = network((FEATURES, WIDTH, WIDTH, ACTIONS)).SerializeToString()
                bundle = str(Path(folder) / "random-weights.onnx")
                write_bundle(Path(bundle), weights, metadata(chain))
            if "dpdk" in given.backend:
                line, claim = live(bundle, chain, given.intervals)
                holds = claim.holds
                print(f"live, bundle: {line}\n{claim.line()}", flush=True)
            if "model" in given.backend:
                for name, spec, shadows in (
                    ("bundle", bundle, ()),
                    ("bundle, two shadows", bundle, ("watermark", "target_tracking")),
                    ("law in its own process", "watermark", ()),
                ):
                    count = min(given.intervals, 600)
                    print(f"model, {name}: {on_model(spec, shadows, chain, count)}", flush=True)
        return 0 if holds else 1

    raise SystemExit(run_program(parser.prog, program))


if __name__ == "__main__":
    main()
