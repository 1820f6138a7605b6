"""What the dataplane's benchmark programs share: their options and their lines."""

from __future__ import annotations

import argparse
import time

from flexnfv.chain import load_chain
from flexnfv.failures import run_program
from flexnfv.hw_backend.benchmarks import run


def main(doc: str | None, *kinds: str) -> None:
    """Print the figures of the given kinds, as `flexnfv dataplane bench KIND` does."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--chain", default="paper")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--trial-s", type=float, default=10.0)
    parser.add_argument("--samples", type=int, default=200)
    given = parser.parse_args()

    def program() -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"))
        for kind in kinds:
            for line in run(
                load_chain(given.chain),
                kind,
                trials=given.trials,
                trial_s=given.trial_s,
                samples=given.samples,
            ):
                print(line, flush=True)

    raise SystemExit(run_program(parser.prog, program))
