"""How fast the evaluation is: a training's comparison, and `flexnfv bench` on long traces.

Run: [FLEXNFV_TRACES=DIR] python -m tests.benchmarks.evaluation_speed [--repeat N] [train|bench]

train  what `train/ppo.py` runs at its end: static, watermark, target tracking and one bundle with
       the sweeps, 18 test traces of 600 intervals, 3 seeds, chain edge; wall clock with two
       processes. Floor 30 s, aim 10 s; on disk 60 MB, aim 25 MB.
bench  watermark, target tracking and clairvoyant with the sweeps on five long traces, one seed and
       process; CPU time. Floor 30 s, aim 10 s. The traces are real ones of the folder that
       FLEXNFV_TRACES names, else synthetic ones of the same lengths.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flexnfv.chain import load_chain
from flexnfv.evaluation import benchmark
from flexnfv.traces import Trace, load_trace
from tests.policies.networks import write_random_bundle

LONG = {
    # name: time compression, seconds kept
    "azure_llm_conv_1s": (1, 3400),
    "wc98_60s_group": (60, 10080),
    "msft_db_60s": (60, 10080),
    "industrial_1s": (1, 5444),
    "wikipedia_1s": (1, 3600),
}


def long_traces() -> list[Trace]:
    """Five traces of 3,400 to 10,080 intervals of a second."""
    folder, made = os.environ.get("FLEXNFV_TRACES"), []
    for number, (name, (compress, seconds)) in enumerate(LONG.items()):
        if folder:
            trace = load_trace(Path(folder) / f"{name}.csv").compress(compress).cut(0, seconds)
        else:
            family = ("diurnal", "self_similar", "flash_crowd", "mmpp", "diurnal")[number]
            trace = load_trace(f"synthetic/{family}?duration_s={seconds}").renamed(name)
        made.append(trace)
    return made


def train(folder: Path) -> None:
    """The comparison of a training, its report included."""
    bundle = write_random_bundle(folder / "best.onnx", load_chain("edge"))
    policies = {
        "ppo": str(bundle),
        "static": "static",
        "watermark": "watermark",
        "target_tracking": "target_tracking",
    }
    result = benchmark(policies, "edge", seeds=3, out=folder / "out", progress=False, processes=2)
    result.table()
    result.write_report(folder / "out" / "report.html")


def bench(folder: Path) -> None:
    """Three policies with their sweeps on long traces, the report included."""
    result = benchmark(
        ("watermark", "target_tracking", "clairvoyant"),
        "edge",
        long_traces(),
        seeds=1,
        out=folder / "out",
        progress=False,
    )
    result.table()
    result.write_report(folder / "out" / "report.html")


def cpu_s() -> float:
    """CPU time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(run: Callable[[Path], None], repeat: int) -> None:
    """Print medians of wall clock, CPU time and what is left on the disk."""
    found = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as name:
            wall, cpu = time.perf_counter(), cpu_s()
            run(Path(name))
            size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
            found.append((time.perf_counter() - wall, cpu_s() - cpu, size / 1e6))
    wall_s, used_s, megabytes = (statistics.median(one) for one in zip(*found, strict=True))
    print(f"{run.__name__:6s} wall {wall_s:6.1f} s  CPU {used_s:6.1f} s  disk {megabytes:6.1f} MB")


def main() -> None:
    """Time what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["train", "bench"])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:  # compiles what is not compiled yet
        benchmark(
            ("watermark", "target_tracking", "clairvoyant"),
            "edge",
            load_trace("synthetic/diurnal?duration_s=30"),
            1,
            out=Path(name) / "out",
            progress=False,
        )
    for what in [args.what] if args.what else ["train", "bench"]:
        timed({"train": train, "bench": bench}[what], args.repeat)


if __name__ == "__main__":
    main()
