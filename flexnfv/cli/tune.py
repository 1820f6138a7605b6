"""`flexnfv tune`: calibrate rules, each with the same number of trials."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import tyro

from flexnfv.cli.bench import seconds
from flexnfv.errors import InputError
from flexnfv.terminal import Listing, console


def tune(
    policies: tyro.conf.Positional[tuple[str, ...]],
    *,
    out: Path,
    chain: str = "edge",
    traces: tuple[str, ...] = ("prior-validation",),
    drop_cost: tuple[float, ...] = (),
    drop_target: tuple[float, ...] = (),
    parked_weight: tuple[float, ...] = (),
    trials: int = 36,
    seed: int = 0,
    segment: str | None = None,
    processes: int = 1,
) -> None:
    """Find the best parameters of rules for drop costs or drop targets.

    A file that is there already is added to: settings of the same rule, goal and chain are
    replaced, the others stay. Use it as rule:drop_cost=300,settings=FILE.

    Args:
        policies: registered policies that declare a search space.
        out: file of settings (TOML).
        chain: name of a shipped chain, or the path of a chain file.
        traces: splits, trace names or paths to calibrate on; none that policies are judged by.
        drop_cost: costs of losing one interval's mean traffic, in core intervals; 30 to 3000 if
            neither these nor targets are given.
        drop_target: shares of the traffic that may be lost.
        parked_weight: costs of a parked core; the chain's own if not given.
        trials: settings to try for each rule and each goal.
        seed: of the search.
        segment: START:END, seconds that named traces and files are cut to.
        processes: processes of this machine that share the work.
    """
    from flexnfv.chain import load_chain
    from flexnfv.evaluation import tuning
    from flexnfv.evaluation.cost import DROP_COSTS
    from flexnfv.evaluation.episodes import intervals
    from flexnfv.evaluation.progress import bar
    from flexnfv.evaluation.traffic import resolve
    from flexnfv.evaluation.tuning import Goal
    from flexnfv.policies.calibrated import load_settings

    if not policies:
        raise InputError("no policy to calibrate", where="policies", fix="name at least one")
    for name in policies:
        tuning.space_of(name)
    for name in traces:
        if name.partition("/")[0] in ("test", "prior-test"):
            raise InputError(
                f"{name!r} is what policies are judged by",
                where="--traces",
                fix="calibrate on prior-validation, validation or traffic of your own",
            )
    if not 1 <= trials <= 10_000:
        raise InputError(f"{trials} trials", where="--trials", fix="give 1 to 10000")
    _check("--drop-cost", drop_cost, 0.0, float("inf"))
    _check("--drop-target", drop_target, 0.0, 1.0)
    _check("--parked-weight", parked_weight, -1e-300, 1.0 + 1e-9)
    if find_spec("optuna") is None:
        raise InputError("needs Optuna", where="flexnfv tune", fix="pip install 'flexnfv[train]'")
    loaded = load_chain(chain)
    traffic = resolve(traces, loaded, segment=seconds(segment))
    kept = {one.key: one for one in load_settings(out)} if out.exists() else {}
    weights = parked_weight or (loaded.parked_weight,)
    costs = drop_cost or (() if drop_target else DROP_COSTS)
    goals = [
        *(Goal("drop_cost", value, weight) for weight in weights for value in costs),
        *(Goal("drop_target", value, weight) for weight in weights for value in drop_target),
    ]
    steps = len(policies) * len(goals) * trials
    steps *= sum(intervals(trace, loaded) - 1 for trace in traffic)
    found = []
    with bar("calibrating", steps) as tick:
        for one in tuning.tune(
            policies,
            loaded,
            traffic,
            goals,
            trials=trials,
            seed=seed,
            processes=processes,
            tick=tick,
            compiling=lambda: print("compiling, once: this takes some seconds", file=sys.stderr),
        ):
            found.append(one)
            kept[one.key] = one
            tuning.write(out, list(kept.values()))
    rows = [
        (
            one.policy,
            f"{one.knob}={one.value:g}",
            f"{one.parked_weight:g}",
            f"{one.cost:.3f}",
            one.spec.partition(":")[2].replace(",", ", "),
        )
        for one in found
    ]
    heading = ("policy", "for", "parked weight", "cost / bound", "setting")
    console().print(Listing(heading, rows, prose=heading[4:]))
    console().print(f"settings: {out}", soft_wrap=True)


def _check(option: str, values: Sequence[float], above: float, below: float) -> None:
    for value in values:
        if not above < value < below:
            raise InputError(
                f"{value:g} is out of range", where=option, fix="see `flexnfv tune --help`"
            )


COMMAND = tune
