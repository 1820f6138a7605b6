"""Train a scaling policy with PPO, compare it with the paper's law, and keep it as a bundle.

    python train/ppo.py                       the defaults: some minutes on two cores
    python train/ppo.py --quick               a minute's run, to see that everything works
    python train/ppo.py --seeds 5             five training seeds side by side, through Ray
    python train/ppo.py --resume runs/edge-1  go on with an interrupted run

The recipe, top to bottom: one row of observation per NF type (`RowVecEnv`), so that unmodified PPO
learns one network for chains of any length; an actor that adds instances one by one
(`OrdinalPolicy`); a warm start on what the next interval uses; PPO on the true costs, for every
drop_cost between cores and drops at once; validation on held-out traces; and at the end the
drop_cost that loses no more than the law does, the bundle, and the comparison on the test split.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from flexnfv import terminal
from flexnfv.backends import carried_pps, description_of, make_backend
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import BackendError, InputError
from flexnfv.failures import one_line_errors, run_program
from flexnfv.options import backend_options
from flexnfv.policy import make_policy
from flexnfv.traces import TraceSet, as_trace_set
from flexnfv.train.run import Run, next_free


@dataclass(frozen=True)
class Args:
    """Arguments of a training run; the defaults are those of the search that docs/training.md
    describes."""

    chain: str = "edge"
    """Service chain: a shipped name or the path of a TOML file."""
    traces: tuple[str, ...] = ("train",)
    """Training traffic: a split's name, or trace names and paths."""
    validation: tuple[str, ...] = ("validation",)
    """Held-out traffic that chooses which policy and which drop cost are kept."""
    test: tuple[str, ...] = ("test",)
    """Traffic of the comparison at the end; the policy never sees it before."""
    out: Path | None = None
    """Directory of the run; by default runs/CHAIN-N."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Go on with this run, with the arguments that it was begun with."""
    init_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Start from the network of this run (or bundle) instead of the warm start."""
    seed: int = 1
    """Training seed; with --seeds the first of them."""
    seeds: int = 1
    """Training seeds to run side by side, through Ray."""
    quick: bool = False
    """A minute's run: everything happens, little is learnt."""
    rows: int | None = None
    """Rows of experience: one NF type for one interval each; 4 million, or what half an hour of a
    live chain gives."""
    chains: int | None = None
    """Chains stepped together: 512 on the model, as many as it runs on another backend."""
    steps: int = 32
    """Intervals between two updates."""
    episode: int = 256
    """Intervals per training episode."""
    drop_costs: tuple[float, float] = (10.0, 30_000.0)
    """Lowest and highest cost of losing one interval's mean traffic, in core intervals."""
    peaks: tuple[float, float] = (0.3, 1.2)
    """Lowest and highest peak of training episodes, as shares of the chain's peak."""
    warm_start: int = 4_000_000
    """Rows that the actor is fitted to before PPO; 0 leaves the warm start out."""
    critic_first: int = 10
    """Updates at the start in which the critic alone learns, where the actor starts warm."""
    learning_rate: float = 1e-4
    """Of PPO at its start; it falls linearly to a tenth."""
    minibatch: int = 24_576
    """Rows per gradient step, at most those of one update."""
    epochs: int = 2
    """Passes over the experience of one update."""
    gamma: float = 0.9
    """Discount per interval."""
    gae_lambda: float = 0.7
    """Of the generalised advantage estimate."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    clip: float = 0.2
    """Range of the probability ratio."""
    width: int = 192
    """Units of the actor's two hidden layers; the critic has a third."""
    margin: float = 0.6
    """The drop cost is chosen so that validation loses this share of what the law loses."""
    benchmark_seeds: int = 3
    """Evaluation seeds of the comparison at the end; 0 leaves it out."""
    backend: str = "model"
    """What to train on: `model`, or `dpdk` to fine-tune live, at real time, with --init-from."""
    scale: str | None = None
    """Packet rates of a live chain relative to the chain's own, such as 1/20."""
    options: tuple[str, ...] = ()
    """Further options of a live backend as KEY=VALUE (dpdk: spares=2)."""

    @property
    def live(self) -> bool:
        """Whether time passes as it does for people."""
        return description_of(self.backend).clocked


ROWS = 4_000_000
"""Rows of a run on the model."""
CHAINS = 512
"""Chains stepped together on the model."""
LIVE_S = 1800.0
"""Length of a run on a live chain."""


def settled(args: Args) -> Args:
    """The same with its numbers of rows and chains."""
    chain = load_chain(args.chain)
    rows = round(LIVE_S / chain.interval_s) * chain.types if args.live else ROWS
    return replace(
        args,
        rows=rows if args.rows is None else args.rows,
        chains=args.chains or description_of(args.backend).batch or CHAINS,
    )


def quick(args: Args) -> Args:
    """The same run, cut down to about a minute."""
    assert args.rows is not None
    return replace(
        args,
        rows=min(args.rows, 300_000),
        warm_start=min(args.warm_start, 150_000),
        benchmark_seeds=min(args.benchmark_seeds, 1),
    )


# --- one training seed ------------------------------------------------------------------------


def train_seed(args: Args, seed: int, folder: Path, report: Callable[[int], None]) -> Path:
    """Train one seed in its folder, from its checkpoint if there is one.

    Returns:
        Path of its bundle.
    """
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import configure

    from flexnfv.train import warm_start
    from flexnfv.train.callbacks import (
        Checkpoints,
        CriticFirst,
        Deaths,
        Figures,
        KeepBest,
        Progress,
    )
    from flexnfv.train.export import export, load_weights
    from flexnfv.train.ordinal import OrdinalPolicy
    from flexnfv.train.validation import Score, Validation

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    chain = load_chain(args.chain)
    assert args.rows is not None
    env = make_env(args, chain, seed)
    validation = Validation(chain, trace_set(args.validation, chain), drop_costs(args))
    law = validation.run_policy(make_policy("watermark"))
    allowed = float(law.drop_rate[0])

    progress = folder / "progress.json"
    done: dict[str, Any] = {"rows": 0, "best": float("inf")}
    if progress.exists():
        done = json.loads(progress.read_text())
    if done["rows"]:
        model = PPO.load(folder / "checkpoint.zip", env=env, device="cpu")
    else:
        model = PPO(
            OrdinalPolicy,
            env,
            n_steps=args.steps,
            batch_size=min(args.minibatch, args.steps * env.num_envs),
            n_epochs=args.epochs,
            gamma=args.gamma,
            gae_lambda=args.gae_lambda,
            clip_range=args.clip,
            ent_coef=args.entropy,
            learning_rate=falling(args.learning_rate),
            policy_kwargs={
                "net_arch": {"pi": [args.width] * 2, "vf": [max(args.width // 3, 1)] * 2},
                "activation_fn": torch.nn.ReLU,
            },
            seed=seed,
            device="cpu",
        )
        assert isinstance(model.policy, OrdinalPolicy)
        if args.init_from is not None:
            load_weights(model.policy, args.init_from)
        elif args.warm_start:
            warm_start.fit(model.policy, env.task, samples=args.warm_start, seed=seed)
    model.set_logger(configure(str(folder / "tensorboard"), ["tensorboard"]))

    def keep(score: Score, cores: float) -> None:
        assert isinstance(model.policy, OrdinalPolicy)
        export(
            model.policy,
            folder,
            name=f"ppo-{chain.name}-seed-{seed}",
            chain=chain,
            drop_cost=score.drop_cost_for(allowed * args.margin, validation.drop_costs),
            drop_costs=args.drop_costs,
            seed=seed,
            traces={
                "train": env.task.traces.names,
                "validation": trace_set(args.validation, chain).names,
                "test": trace_set(args.test, chain).names,
            },
            scores={
                "validation_cores_at_law_drop_rate": cores,
                "validation_law_cores": float(law.core_usage[0]),
                "validation_law_drop_rate": allowed,
            },
            training={key: str(value) for key, value in asdict(args).items()}
            | {"rows_done": model.num_timesteps, "kept": "last" if args.live else "best"},
        )

    best = KeepBest(
        validation,
        allowed,
        # A live chain does not wait for a validation: once before and once after.
        every=args.rows if args.live else max(args.rows // 12, 1),
        keep=keep,
        best=done["best"],
        last=args.live,
    )
    checkpoints = Checkpoints(folder, best)
    patience = CriticFirst(0 if done["rows"] else args.critic_first)
    remaining = args.rows - done["rows"]
    if remaining > 0:
        try:
            model.learn(
                remaining,
                callback=[Figures(env), Deaths(), patience, best, checkpoints, Progress(report)],
                reset_num_timesteps=False,
                tb_log_name="tensorboard",
            )
        except (KeyboardInterrupt, BackendError, InputError):
            checkpoints.save()
            raise
        finally:
            env.close()
    return folder / "best.onnx"


def make_env(args: Args, chain: ServiceChain, seed: int) -> Any:
    """The training environment: rows of many chains on the model, or of one live chain."""
    from flexnfv.envs.sb3 import RowVecEnv
    from flexnfv.envs.task import Task

    task = Task(
        chain,
        trace_set(args.traces, chain, peak_range(args, chain)),
        episode=args.episode,
        drop_cost=args.drop_costs,
    )
    assert args.chains is not None
    backend = make_backend(args.backend, chain, **backend_options(args.scale, args.options))
    return RowVecEnv(task, args.chains, seed=seed, gamma=args.gamma, backend=backend)


def peak_range(args: Args, chain: ServiceChain) -> tuple[float, float]:
    """Lowest and highest peak of training episodes, packets/s, none above what is carried live."""
    low, high = (share * chain.peak_pps for share in args.peaks)
    most = carried_pps(args.backend, backend_options(args.scale, args.options))
    return min(low, most), min(high, most)


def tell_live(args: Args) -> None:
    """Say before a live run what it will take, and what it trains on."""
    chain = load_chain(args.chain)
    assert args.rows is not None
    intervals = math.ceil(args.rows / chain.types / args.steps) * args.steps
    low, high = peak_range(args, chain)
    print(
        f"live: {intervals} intervals of {chain.interval_s:g} s, "
        f"{intervals * chain.interval_s / 60:.1f} minutes and the starts of "
        f"{math.ceil(intervals / args.episode)} episodes; the last network is kept"
    )
    if high < args.peaks[1] * chain.peak_pps:
        print(
            f"live: peaks are {low / 1e6:.3g} to {high / 1e6:.3g} Mpps, the highest that is "
            f"carried at this scale, instead of up to {args.peaks[1] * chain.peak_pps / 1e6:.3g}"
        )


def trace_set(
    names: Sequence[str], chain: ServiceChain, peaks: tuple[float, float] | None = None
) -> TraceSet:
    """Traces by name or path, scaled to the chain's peak or to a range of peaks."""
    given = names[0] if len(names) == 1 else tuple(names)
    return as_trace_set(given, step_s=chain.interval_s, peak_pps=peaks or chain.peak_pps)


def drop_costs(args: Args) -> Any:
    """The drop costs that validation tries: all over the range, evenly by ratio."""
    return np.geomspace(*args.drop_costs, 13)


def falling(start: float) -> Callable[[float], float]:
    """A linear schedule from `start` to a tenth of it; SB3 hands the part that remains."""
    return lambda remaining: start * (0.1 + 0.9 * remaining)


# --- several seeds, the comparison, the command -------------------------------------------------


def train_all(args: Args, run: Run) -> list[Path]:
    """Train every seed, in this process or side by side through Ray; their bundles."""
    seeds = range(args.seed, args.seed + args.seeds)
    if args.seeds > 1:
        from flexnfv.train.seeds import train_on_ray

        assert args.rows is not None
        return train_on_ray(
            lambda seed, report: train_seed(args, seed, run.seed(seed), report),
            list(seeds),
            args.rows,
        )
    from flexnfv.evaluation.progress import bar, from_totals

    assert args.rows is not None
    with bar("training", args.rows, unit="rows") as tick:
        return [train_seed(args, args.seed, run.seed(args.seed), from_totals(tick))]


def compare(args: Args, run: Run, bundles: list[Path]) -> None:
    """Benchmark the kept policies, deterministic, on the test split; print and write the report."""
    from flexnfv.evaluation import benchmark, report, tables

    chain = load_chain(args.chain)
    result = benchmark(
        {
            "ppo": [str(bundle) for bundle in bundles],
            "static": "static",
            "watermark": "watermark",
            "target_tracking": "target_tracking",
        },
        chain,
        trace_set(args.test, chain),
        seeds=args.benchmark_seeds,
        baseline="watermark",
        sweep=True,
        out=run.benchmark,
        ray=None if args.quick else "local",
    )
    terminal.console().print(tables.tables(result))
    report.write(result, run.benchmark / "report.html")


def main(args: Args) -> None:
    """Train, compare, and say what to do next."""
    check(args)
    begun = time.monotonic()
    if args.resume is not None:
        run, noted = Run.reopen(args.resume)
        args = settled(restore(noted))
    else:
        args = settled(args)
        args = quick(args) if args.quick else args
        out = args.out or next_free(Path("runs"), load_chain(args.chain).name)
        run = Run.begin(out, asdict(args))
    print(f"run: {run.path} (curves: tensorboard --logdir {run.path})")
    if args.live:
        tell_live(args)
    try:
        bundles = train_all(args, run)
    except (KeyboardInterrupt, BackendError) as stop:
        raise type(stop)(
            "; ".join(filter(None, (str(stop), f"go on: python train/ppo.py --resume {run.path}")))
        ) from None
    if args.benchmark_seeds:
        compare(args, run, bundles)
        print(f"report: {run.benchmark / 'report.html'}")
    names = shlex.join(map(str, bundles))
    print(f"bundle: {names} ({(time.monotonic() - begun) / 60:.1f} minutes)")
    print(f"next:   flexnfv bench --policies {names} watermark --chain {args.chain} --out DIR")


def check(args: Args) -> None:
    """Refuse arguments that cannot work, before anything is written.

    Raises:
        InputError: which argument, and what it may be.
    """
    chain = load_chain(args.chain)
    for name in ("traces", "validation", "test"):
        trace_set(getattr(args, name), chain)
    for name in ("rows", "chains", "steps", "episode", "minibatch", "epochs", "width", "seeds"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"is {getattr(args, name)}", where=f"--{name}", fix="use at least 1")
    low, high = args.drop_costs
    if not 0 < low < high < float("inf"):
        raise InputError(
            f"are {low:g} and {high:g}", where="--drop_costs", fix="give a lower and a higher one"
        )
    backend_options(args.scale, args.options)
    most = description_of(args.backend).batch
    if most is not None and (args.chains or most) > most:
        raise InputError(
            f"is {args.chains}",
            where="--chains",
            fix=f"backend {args.backend!r} runs {most} at once: leave it out",
        )
    if args.live and args.init_from is None:
        raise InputError(
            "trains no network from its beginning: that takes too long in real time",
            where=f"--backend {args.backend}",
            fix="name a run of the model's to go on with: --init-from RUN",
        )


def restore(noted: dict[str, Any]) -> Args:
    """Arguments as a run noted them (JSON) back in their types."""
    known = {item.name for item in fields(Args)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in noted.items()
        if key in known
    }
    for key in ("out", "init_from", "resume"):
        values[key] = None if values.get(key) is None else Path(values[key])
    return Args(**values)


def command() -> None:
    """The command line."""
    with one_line_errors("ppo.py"):
        args = tyro.cli(Args, description=__doc__)
    main(args)


if __name__ == "__main__":
    sys.exit(run_program("ppo.py", command))
