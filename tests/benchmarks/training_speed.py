"""How long `train/ppo.py` takes with its defaults, start to bundle, and what it leaves on the disk.

Run: python -m tests.benchmarks.training_speed [--seed N]
Without the comparison at its end. Seconds are told by phase, of the clock and of all threads' CPU
time; on two idle cores. The first run compiles: repeat it.
Floor: 75 s, aim: 45 s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexnfv.evaluation.episodes import Tick

OTHER = "imports, law, export"


def now() -> tuple[float, float]:
    """Seconds of the clock and of all threads' CPU time."""
    return time.perf_counter(), time.process_time()


class Stopwatch:
    """Seconds by phase; those of a phase within another do not count for the outer one."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.running = [OTHER]
        self.since = (time.perf_counter(), 0.0)  # imports before this one count as CPU time

    def turn(self) -> None:
        """Give the time since the last turn to the innermost phase."""
        then, self.since = self.since, now()
        spent = self.spent.setdefault(self.running[-1], [0.0, 0.0])
        for k in range(2):
            spent[k] += self.since[k] - then[k]

    @contextmanager
    def begin(
        self, label: str, total: int, unit: str = "intervals", *, stays: bool = True
    ) -> Iterator[Tick]:
        """Begin a phase, as `train_seed` does."""
        self.turn()
        self.running.append(label)
        try:
            yield lambda count: None
        finally:
            self.turn()
            self.running.pop()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    watch = Stopwatch()
    from flexnfv.train.ppo import Args, settled, train_seed

    with tempfile.TemporaryDirectory() as folder:
        args = settled(Args(benchmark_seeds=0))
        train_seed(args, seed, Path(folder), watch.begin)
        watch.turn()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    print(
        f"{args.warm_start:,} rows of warm start, {args.rows:,} rows of PPO, {os.cpu_count()} cores"
    )
    print(f"{'':24}{'clock, s':>10}{'CPU, s':>10}")
    for phase, (clock, cpu) in watch.spent.items():
        print(f"{phase:24}{clock:10.1f}{cpu:10.1f}")
    clock, cpu = (sum(spent[k] for spent in watch.spent.values()) for k in range(2))
    print(f"{'together':24}{clock:10.1f}{cpu:10.1f}")
    print(f"left: {size / 1e6:.2f} MB in {len(files)} files; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
