"""Arguments of a training run: what they are, what they default to, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro

from flexnfv.backends import description_of
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.options import backend_options
from flexnfv.reward import RewardWeights
from flexnfv.traces import TraceSet, as_trace_set
from flexnfv.train import live

ROWS = 2_000_000
"""Rows of experience of a run that is not bound to a clock."""
CHAINS = 512
"""Chains stepped together where the backend sets no limit."""


@dataclass(frozen=True)
class Args:
    """Arguments of a training run; docs/training.md tells where the defaults come from."""

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
    """A short run: everything happens, little is learnt."""
    weights: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TERM=WEIGHT")] = ()
    """Weights of the reward's terms, such as launch=0.1 (cores, parked, drops, launch, rerun,
    energy)."""
    rows: int | None = None
    """Rows of experience: one NF type for one interval each; 2 million, or what half an hour of a
    live chain gives."""
    chains: int | None = None
    """Chains stepped together: 512, or as many as the backend runs."""
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
    minibatch: int = 8_192
    """Rows per gradient step, at most those of one update."""
    epochs: int = 1
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
    validations: int = 6
    """How often during training the policy is validated; a live chain before and after alone."""
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

    @property
    def backend_options(self) -> dict[str, Any]:
        """Keyword arguments of the backend."""
        return backend_options(self.scale, self.options)

    @property
    def reward_weights(self) -> RewardWeights:
        """What the reward's terms weigh."""
        return RewardWeights.parse(self.weights)

    @property
    def tried_drop_costs(self) -> npt.NDArray[np.float64]:
        """The drop costs that validation tries: all over the range, evenly by ratio, [13]."""
        return np.geomspace(*self.drop_costs, 13)


def settled(args: Args) -> Args:
    """The same with its numbers of rows and chains, cut down where a short run is asked for."""
    rows = live.rows(load_chain(args.chain)) if args.live else ROWS
    args = replace(
        args,
        rows=rows if args.rows is None else args.rows,
        chains=args.chains or description_of(args.backend).batch or CHAINS,
    )
    return quick(args) if args.quick else args


def quick(args: Args) -> Args:
    """The same run, cut down: everything happens, little is learnt."""
    assert args.rows is not None
    return replace(
        args,
        rows=min(args.rows, 300_000),
        warm_start=min(args.warm_start, 150_000),
        benchmark_seeds=min(args.benchmark_seeds, 1),
    )


def check(args: Args) -> None:
    """Refuse arguments that cannot work, before anything is written.

    Raises:
        InputError: which argument, and what it may be.
    """
    chain = load_chain(args.chain)
    for name in ("traces", "validation", "test"):
        trace_set(getattr(args, name), chain)
    for name in _COUNTS:
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"is {getattr(args, name)}", where=f"--{name}", fix="use at least 1")
    low, high = args.drop_costs
    if not 0 < low < high < float("inf"):
        raise InputError(
            f"are {low:g} and {high:g}", where="--drop_costs", fix="give a lower and a higher one"
        )
    RewardWeights.parse(args.weights)
    most = description_of(args.backend).batch
    _ = args.backend_options  # a wrong one is refused here
    if most is not None and (args.chains or most) > most:
        raise InputError(
            f"is {args.chains}",
            where="--chains",
            fix=f"backend {args.backend!r} runs {most} at once: leave it out",
        )
    if args.live:
        live.check(args)


_COUNTS = (
    "rows", "chains", "steps", "episode", "minibatch", "epochs", "width", "seeds", "validations",
)  # fmt: skip


def restore(noted: dict[str, Any]) -> Args:
    """Arguments as a run noted them (JSON) back in their types."""
    names = {item.name for item in fields(Args)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in noted.items()
        if key in names
    }
    for key in ("out", "init_from", "resume"):
        values[key] = None if values.get(key) is None else Path(values[key])
    return Args(**values)


def trace_set(
    names: Sequence[str], chain: ServiceChain, peaks: tuple[float, float] | None = None
) -> TraceSet:
    """Traces by name or path, scaled to the chain's peak or to a range of peaks."""
    given = names[0] if len(names) == 1 else tuple(names)
    return as_trace_set(given, step_s=chain.interval_s, peak_pps=peaks or chain.peak_pps)
