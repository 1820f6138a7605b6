"""Train a policy that knows how likely the demand is to exceed what, for any chain.

    python train/exceedance.py                       the defaults: about a minute on two cores
    python train/exceedance.py --quick               a short run, to see that everything works
    python train/exceedance.py --seeds 5             five training seeds side by side, through Ray
    python train/exceedance.py --resume runs/any-1   go on with an interrupted run

The recipe, top to bottom: series drawn anew from a wide prior of demand, no two alike; a memory
that describes each of them as a deployed policy will; a network that is fitted to what came next,
by its cross-entropy; the bundle; and a comparison with the rules on traffic that nobody trained on.
No environment is stepped: traffic does not react to scaling, so what would have been lost with any
number of instances is known, and what is best follows from the probabilities (`flexnfv.provision`).
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation.progress import Begin, phases
from flexnfv.failures import one_line_errors, run_program
from flexnfv.train.arguments import trace_set
from flexnfv.train.comparison import compare
from flexnfv.train.run import Run, next_free

BUNDLE: Final = "best.onnx"
"""Name of the bundle in the folder of its training seed."""
BATCH: Final = 50
"""Series that are drawn, and learnt from, at a time."""


@dataclass(frozen=True)
class Args:
    """Arguments of a run; docs/training.md tells where the defaults come from."""

    out: Path | None = None
    """Directory of the run; by default runs/any-N."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Go on with this run, with the arguments that it was begun with."""
    seed: int = 1
    """Training seed; with --seeds the first of them."""
    seeds: int = 1
    """Training seeds to run side by side, through Ray."""
    quick: bool = False
    """A short run: everything happens, little is learnt."""
    series: int = 5_000
    """Series of 3,000 intervals to draw and to learn from, each once."""
    width: int = 192
    """Units of the network's two hidden layers."""
    learning_rate: float = 2e-3
    """Of Adam, at its highest."""
    drop_cost: float = 300.0
    """Cost of losing one interval's mean traffic, in core intervals, that the bundle acts on unless
    told otherwise."""
    chain: str = "edge"
    """Service chain of the comparison at the end; the policy itself is of no chain."""
    test: tuple[str, ...] = ("test",)
    """Traffic of the comparison at the end: a split's name, or trace names and paths."""
    benchmark_seeds: int = 1
    """Evaluation seeds of the comparison at the end; 0 leaves it out."""


def train_seed(args: Args, seed: int, folder: Path, begin: Begin, processes: int) -> Path:
    """Train one seed in its folder, from its checkpoint if there is one.

    Args:
        args: of the run.
        seed: the training seed.
        folder: of the seed.
        begin: begins a phase of the work, which is shown.
        processes: that draw series meanwhile.

    Returns:
        Path of its bundle.
    """
    import torch
    from torch.utils.tensorboard import SummaryWriter

    from flexnfv.provision import HORIZONS
    from flexnfv.train.examples import batches
    from flexnfv.train.exceedance_fit import Fit

    torch.set_num_threads(1)
    total = max(args.series // BATCH, 1)
    fit = Fit(args.width, args.learning_rate, total, seed)
    fit.load(folder)
    names = ["next", *(f"within_{horizon:g}" for horizon in HORIZONS)]
    with (
        begin("fitting", (total - fit.done) * BATCH, "series") as tick,
        SummaryWriter(str(folder / "tensorboard")) as curves,
    ):
        for examples in batches(seed, range(fit.done, total), BATCH, processes):
            losses = fit.learn(examples)
            for name, loss in zip(names, losses, strict=True):
                curves.add_scalar(f"cross_entropy/{name}", loss, fit.done * BATCH)
            fit.save(folder)
            tick(BATCH)
    write_bundle(args, seed, folder, fit)
    return folder / BUNDLE


def write_bundle(args: Args, seed: int, folder: Path, fit: Any) -> None:
    """Write the fitted network as a bundle, replacing one of the same run."""
    from flexnfv.evaluation.machine import revision
    from flexnfv.memory import LEVEL, TRAFFIC
    from flexnfv.policies import bundle
    from flexnfv.provision import HORIZONS
    from flexnfv.traces import prior
    from flexnfv.train.exceedance_fit import onnx_bytes

    fresh = folder / ".best.new.onnx"
    fresh.unlink(missing_ok=True)
    metadata = bundle.Metadata(
        kind="exceedance",
        name=f"exceedance-seed-{seed}",
        observation=(*TRAFFIC, *LEVEL),
        horizons=HORIZONS,
        drop_cost=args.drop_cost,
        seeds=(seed,),
        traces={"train": (prior.VERSION,)},
        git_revision=revision(),
        training={
            key: str(value) for key, value in asdict(args).items() if key not in ("out", "resume")
        },
    )
    bundle.write_bundle(fresh, onnx_bytes(fit.network), metadata)
    fresh.replace(folder / BUNDLE)


def train_all(args: Args, run: Run) -> list[Path]:
    """Train every seed, in this process or side by side through Ray; their bundles."""
    cores = len(os.sched_getaffinity(0))
    if args.seeds > 1:
        from flexnfv.train.seeds import train_on_ray

        return train_on_ray(
            lambda seed, begin: train_seed(args, seed, run.seed(seed), begin, 0),
            list(range(args.seed, args.seed + args.seeds)),
        )
    with phases() as begin:
        return [train_seed(args, args.seed, run.seed(args.seed), begin, cores)]


def check(args: Args) -> None:
    """Refuse arguments that cannot work, before anything is written.

    Raises:
        InputError: which argument, and what it may be.
    """
    trace_set(args.test, load_chain(args.chain))
    for name, least in (("seeds", 1), ("series", BATCH), ("width", 1), ("benchmark_seeds", 0)):
        if getattr(args, name) < least:
            raise InputError(
                f"is {getattr(args, name)}", where=f"--{name}", fix=f"use at least {least}"
            )
    for name in ("learning_rate", "drop_cost"):
        if not 0 < getattr(args, name) < float("inf"):
            raise InputError(
                f"is {getattr(args, name)}", where=f"--{name}", fix="use a positive number"
            )


def restore(noted: dict[str, Any]) -> Args:
    """Arguments as a run noted them (JSON) back in their types.

    Raises:
        InputError: they are another recipe's.
    """
    names = {item.name for item in fields(Args)}
    if not {"series", "width"} <= set(noted):
        raise InputError("is a run of another recipe", where="--resume", fix="use that recipe")
    values = {key: value for key, value in noted.items() if key in names}
    values["test"] = tuple(values["test"])
    for key in ("out", "resume"):
        values[key] = None if values.get(key) is None else Path(values[key])
    return Args(**values)


def quick(args: Args) -> Args:
    """The same run, cut down: everything happens, little is learnt."""
    return replace(args, series=min(args.series, 4 * BATCH))


def main(args: Args) -> None:
    """Train, compare, and say what to do next."""
    check(args)
    begun = time.monotonic()
    if args.resume is not None:
        run, noted = Run.reopen(args.resume)
        args = restore(noted)
    else:
        args = quick(args) if args.quick else args
        run = Run.begin(args.out or next_free(Path("runs"), "any"), asdict(args))
    print(f"run: {run.path} (curves: tensorboard --logdir {run.path})", flush=True)
    try:
        bundles = train_all(args, run)
    except KeyboardInterrupt:
        message = f"go on: python train/exceedance.py --resume {run.path}"
        raise KeyboardInterrupt(message) from None
    if args.benchmark_seeds:
        compare(
            run,
            "exceedance",
            bundles,
            ("watermark", "target_tracking", "newsvendor"),
            chain=args.chain,
            test=args.test,
            seeds=args.benchmark_seeds,
            alone=args.quick,
        )
    names = shlex.join(map(str, bundles))
    print(f"bundle: {names} ({(time.monotonic() - begun) / 60:.1f} minutes)")
    print(f"next:   flexnfv bench --policies {names} newsvendor --chain {args.chain} --out DIR")


def command() -> None:
    """The command line."""
    with one_line_errors("exceedance.py"):
        args = tyro.cli(Args, description=__doc__)
    main(args)


if __name__ == "__main__":
    sys.exit(run_program("exceedance.py", command))
