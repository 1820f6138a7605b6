"""Train a scaling policy with PPO, compare it with the paper's law, and keep it as a bundle.

    python train/ppo.py                       the defaults: about a minute on two cores
    python train/ppo.py --quick               a short run, to see that everything works
    python train/ppo.py --seeds 5             five training seeds side by side, through Ray
    python train/ppo.py --weights launch=0.1  a launch costs a tenth of a core interval
    python train/ppo.py --resume runs/edge-1  go on with an interrupted run

The recipe, top to bottom: one row of observation per NF type (`RowVecEnv`), so that unmodified PPO
learns one network for chains of any length; an actor that adds instances one by one
(`OrdinalPolicy`); a warm start on what the next interval uses; PPO on the true costs, for every
drop cost between cores and drops at once; validation on held-out traces; and at the end the drop
cost that loses no more than the law does, the bundle, and the comparison on the test split.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from flexnfv.backends import make_backend, options_of
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.progress import Begin, phases
from flexnfv.failures import one_line_errors, run_program
from flexnfv.policy import make_policy
from flexnfv.train import live
from flexnfv.train.arguments import Args, check, restore, settled, trace_set
from flexnfv.train.comparison import compare
from flexnfv.train.run import Run, next_free

if TYPE_CHECKING:
    from stable_baselines3 import PPO

    from flexnfv.envs.sb3 import RowVecEnv
    from flexnfv.train.callbacks import Checkpoint
    from flexnfv.train.ordinal import OrdinalPolicy
    from flexnfv.train.validation import Score


def train_seed(args: Args, seed: int, folder: Path, begin: Begin) -> Path:
    """Train one seed in its folder, from its checkpoint if there is one.

    Args:
        args: of the run.
        seed: the training seed.
        folder: of the seed.
        begin: begins a phase of the work, which is shown.

    Returns:
        Path of its bundle.
    """
    import torch

    from flexnfv.train import callbacks, warm_start
    from flexnfv.train.export import BUNDLE, load_weights
    from flexnfv.train.ordinal import OrdinalPolicy
    from flexnfv.train.validation import Validation

    assert args.rows is not None
    torch.set_num_threads(1)  # a second one gains little, and costs much where cores are busy
    torch.manual_seed(seed)
    chain = load_chain(args.chain)
    env = make_env(args, chain, seed)
    validation = Validation(chain, trace_set(args.validation, chain), args.tried_drop_costs)
    law = validation.run_policy(make_policy("watermark"))

    checkpoint = callbacks.Checkpoint(folder)
    done = checkpoint.rows
    model = make_ppo(args, env, seed, checkpoint)
    policy = model.policy
    assert isinstance(policy, OrdinalPolicy)
    if not done and args.init_from is not None:
        load_weights(policy, args.init_from)
    elif not done and args.warm_start:
        with begin("warm start", args.warm_start, "rows") as tick:
            warm_start.fit(policy, env.task, samples=args.warm_start, seed=seed, tick=tick)

    best = callbacks.KeepBest(
        folder,
        validation,
        allowed=float(law.drop_rate[0]),
        margin=args.margin,
        every=args.rows if args.live else max(args.rows // args.validations, 1),
        last=args.live,
        begin=begin,
    )
    try:
        if done < args.rows:
            with begin("PPO", args.rows - done, "rows") as tick:
                model.learn(
                    args.rows - done,
                    callback=[
                        callbacks.Curves(env),
                        callbacks.Deaths(),
                        callbacks.CriticFirst(0 if done else args.critic_first),
                        best,
                        checkpoint,
                        callbacks.Progress(tick),
                    ],
                    reset_num_timesteps=False,
                    tb_log_name="tensorboard",
                )
    except (KeyboardInterrupt, BackendError, InputError):
        checkpoint.save()
        raise
    finally:
        env.close()
        if best.kept is not None:
            write_bundle(args, seed, folder, policy, law)
    return folder / BUNDLE


def write_bundle(args: Args, seed: int, folder: Path, policy: OrdinalPolicy, law: Score) -> None:
    """Write the kept policy of a seed as a bundle; `policy` takes its weights."""
    from flexnfv.train.export import export

    chain = load_chain(args.chain)
    export(
        policy,
        folder,
        name=f"ppo-{chain.name}-seed-{seed}",
        chain=chain,
        drop_costs=args.drop_costs,
        seed=seed,
        traces={
            "train": trace_set(args.traces, chain).names,
            "validation": trace_set(args.validation, chain).names,
            "test": trace_set(args.test, chain).names,
        },
        law={
            "validation_law_cores": float(law.core_usage[0]),
            "validation_law_drop_rate": float(law.drop_rate[0]),
        },
        training={
            key: str(value) for key, value in asdict(args).items() if key not in ("out", "resume")
        }
        | {"kept": "last" if args.live else "best"},
    )


def make_env(args: Args, chain: ServiceChain, seed: int) -> RowVecEnv:
    """The training environment: the rows of many chains, or of as many as the backend runs."""
    from flexnfv.envs.sb3 import RowVecEnv
    from flexnfv.envs.task import Task

    task = Task(
        chain,
        trace_set(args.traces, chain, live.peaks(args, chain)),
        episode=args.episode,
        drop_cost=args.drop_costs,
        weights=args.reward_weights,
    )
    assert args.chains is not None
    # Moved flows are neither observed nor rewarded, and the model steps quicker without them.
    unseen = {"count_flows": False} if "count_flows" in options_of(args.backend) else {}
    backend = make_backend(args.backend, chain, **unseen | args.backend_options)
    return RowVecEnv(task, args.chains, seed=seed, gamma=args.gamma, backend=backend)


def make_ppo(args: Args, env: RowVecEnv, seed: int, checkpoint: Checkpoint) -> PPO:
    """Stable-Baselines3's PPO with the ordinal actor, or as the checkpoint holds it."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import configure

    from flexnfv.train.ordinal import OrdinalPolicy

    if checkpoint.rows:
        model = PPO.load(checkpoint.path, env=env, device="cpu")
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
    model.set_logger(configure(str(checkpoint.folder / "tensorboard"), ["tensorboard"]))
    return model


def falling(start: float) -> Callable[[float], float]:
    """A linear schedule from `start` to a tenth of it; SB3 hands the part that remains."""
    return lambda remaining: start * (0.1 + 0.9 * remaining)


# --- several seeds, the comparison, the command -------------------------------------------------


def train_all(args: Args, run: Run) -> list[Path]:
    """Train every seed, in this process or side by side through Ray; their bundles."""
    if args.seeds > 1:
        from flexnfv.train.seeds import train_on_ray

        return train_on_ray(
            lambda seed, begin: train_seed(args, seed, run.seed(seed), begin),
            list(range(args.seed, args.seed + args.seeds)),
        )
    with phases() as begin:
        return [train_seed(args, args.seed, run.seed(args.seed), begin)]


def main(args: Args) -> None:
    """Train, compare, and say what to do next."""
    check(args)
    begun = time.monotonic()
    if args.resume is not None:
        run, noted = Run.reopen(args.resume)
        args = settled(restore(noted))
    else:
        args = settled(args)
        run = Run.begin(
            args.out or next_free(Path("runs"), load_chain(args.chain).name), asdict(args)
        )
    print(f"run: {run.path} (curves: tensorboard --logdir {run.path})", flush=True)
    if args.live:
        live.tell(args)
    try:
        bundles = train_all(args, run)
    except (KeyboardInterrupt, BackendError) as stop:
        raise type(stop)(
            "; ".join(filter(None, (str(stop), f"go on: python train/ppo.py --resume {run.path}")))
        ) from None
    if args.benchmark_seeds:
        compare(
            run,
            "ppo",
            bundles,
            ("static", "watermark", "target_tracking"),
            chain=args.chain,
            test=args.test,
            seeds=args.benchmark_seeds,
            alone=args.quick,
        )
    names = shlex.join(map(str, bundles))
    print(f"bundle: {names} ({(time.monotonic() - begun) / 60:.1f} minutes)")
    print(f"next:   flexnfv bench --policies {names} watermark --chain {args.chain} --out DIR")


def command() -> None:
    """The command line."""
    with one_line_errors("ppo.py"):
        args = tyro.cli(Args, description=__doc__)
    main(args)


if __name__ == "__main__":
    sys.exit(run_program("ppo.py", command))
