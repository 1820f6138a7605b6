"""How fast environments step on the model: steps/s on one core.

Run: python -m tests.benchmarks.environment_speed [--repeat N]
`gymnasium.make_vec` with 1,024 chains, new random actions at every step or the same ones, and
`gymnasium.make` with one chain and Gymnasium's default wrappers. Time is the CPU time of the one
thread, so that neighbours on the machine count less.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import gymnasium

import flexnfv.envs  # noqa: F401 - registers the environment

ID = "flexnfv/ServiceChain-v0"
BATCH = 1024
STEPS = 60
ALONE = 4000
"""Steps of the one chain."""
KINDS = 16
"""Different random actions, one after the other."""


def many(chain: str, *, held: bool) -> Callable[[], int]:
    """Steps of the batched environment."""
    env = gymnasium.make_vec(
        ID, num_envs=BATCH, chain=chain, vectorization_mode="vector_entry_point"
    )
    env.reset(seed=1)
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(1 if held else KINDS)]

    def steps() -> int:
        for step in range(STEPS):
            env.step(actions[step % len(actions)])
        return STEPS * BATCH

    return steps


def one(chain: str) -> Callable[[], int]:
    """Steps of the single environment, with the resets that its episodes take."""
    env = gymnasium.make(ID, chain=chain)
    env.reset(seed=1)
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(KINDS)]

    def steps() -> int:
        for step in range(ALONE):
            if env.step(actions[step % KINDS])[3]:
                env.reset()
        return ALONE

    return steps


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    warnings.filterwarnings("ignore", module="gymnasium")
    print(f"machine: {platform.processor() or platform.machine()}, CPU time of one thread")
    cases = {
        f"make_vec {chain}, {'held' if held else 'random'}": many(chain, held=held)
        for chain in ("edge", "paper")
        for held in (False, True)
    } | {f"make {chain}": one(chain) for chain in ("edge", "paper")}
    for name, steps in cases.items():
        steps()
        rates = []
        for _ in range(repeat):
            begun = time.thread_time()
            rates.append(steps() / (time.thread_time() - begun))
        print(
            f"{name:24} median {statistics.median(rates):11,.0f}/s  best {max(rates):11,.0f}/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
