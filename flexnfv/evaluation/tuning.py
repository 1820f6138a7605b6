"""Calibration: finds each rule's best parameters, with the same number of trials for every rule.

The search is Optuna's (a tree-structured Parzen estimator: Bergstra et al., "Algorithms for
Hyper-Parameter Optimization", 2011), seeded. What is minimised is the criterion that the rule of a
comparison is chosen by (`flexnfv.evaluation.cost.best_setting`): the mean over the traces of the
cost relative to the proven bound. At a drop target there is no such bound: the cost without drops
counts, relative to the bound of the drop cost `REFERENCE`, times lost / target where more is lost.

A run of a setting tells what it costs at every drop cost. The searches of a policy therefore go on
side by side, in rounds, and each learns from what the others tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.compiled import told_of_compiling
from flexnfv.errors import InputError
from flexnfv.evaluation.bench import run
from flexnfv.evaluation.candidates import Candidate
from flexnfv.evaluation.cost import FloatArray, cost, total
from flexnfv.evaluation.episodes import Tick
from flexnfv.evaluation.grid import Grid
from flexnfv.evaluation.metrics import ratio
from flexnfv.files import replace_text
from flexnfv.model.bound import lower_bound
from flexnfv.policies.calibrated import Knob, Setting, written
from flexnfv.policy import make_policy, parameters_of, policy_class, registered
from flexnfv.space import Choice, Real, Space, Times
from flexnfv.spec import annotated
from flexnfv.suggest import known
from flexnfv.traces import Trace

ROUND: Final = 6
"""Settings that each search asks for before it hears how they did: they are run as one batch."""
REFERENCE: Final = 1000.0
"""Drop cost of the bound that costs at a drop target are relative to."""
DIGITS: Final = 4
"""Significant digits of a parameter: no calibration is worth more."""


@dataclass(frozen=True)
class Goal:
    """What a setting is sought for.

    Attributes:
        knob, value: a drop cost or a drop target.
        parked_weight: cost of a parked core.
    """

    knob: Knob
    value: float
    parked_weight: float


class Search:
    """The search for one policy's best setting at one goal.

    Args:
        policy: a registered policy with a `space`.
        goal: what is sought.
        seed: of the sampler.
    """

    def __init__(self, policy: str, goal: Goal, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.policy, self.goal = policy, goal
        factory, _ = policy_class(policy)
        self._space = {
            name: one.otherwise if isinstance(one, Times) and name != goal.knob else one
            for name, one in space_of(policy).items()
        }
        accepted = annotated(factory)
        self.fixed: dict[str, float] = {}
        if goal.knob in accepted and goal.knob not in self._space:
            self.fixed[goal.knob] = goal.value
        if "parked_weight" in accepted:
            self.fixed["parked_weight"] = goal.parked_weight
        self._distributions = {name: _distribution(one) for name, one in self._space.items()}
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * ROUND)
        self._study = optuna.create_study(sampler=sampler)
        self._asked: list[tuple[Any, dict[str, float]]] = []
        self._study.enqueue_trial(self._defaults(), skip_if_exists=True)
        self.best: tuple[float, dict[str, float]] = (np.inf, {})

    def ask(self, count: int) -> list[dict[str, float]]:
        """Parameters that are worth a try."""
        self._asked = []
        for _ in range(count):
            trial = self._study.ask(self._distributions)
            self._asked.append((trial, self._parameters(trial.params)))
        return [parameters for _, parameters in self._asked]

    def tell(self, found: Mapping[str, float]) -> None:
        """Hear the costs of all settings that were run, by spec, those of other searches too."""
        import optuna

        for trial, parameters in self._asked:
            self._study.tell(trial, found[spec_of(self.policy, parameters)])
        own = {spec_of(self.policy, parameters) for _, parameters in self._asked}
        for spec, value in found.items():
            _, parameters = policy_class(spec)
            if not all(parameters.get(name) == fixed for name, fixed in self.fixed.items()):
                continue
            if value < self.best[0]:
                self.best = value, parameters
            if spec not in own:
                with suppress(ValueError):  # It lies outside this search's space.
                    self._study.add_trial(
                        optuna.trial.create_trial(
                            params=self._point(parameters),
                            distributions=self._distributions,
                            value=value,
                        )
                    )

    def _defaults(self) -> dict[str, float]:
        """The policy's defaults, as far as they are numbers, as the first point to try."""
        given = {name: found.default for name, found in parameters_of(self.policy).items()}
        return {
            name: 1.0 if isinstance(one, Times) else given[name]
            for name, one in self._space.items()
            if isinstance(given[name], (int, float))
        }

    def _parameters(self, point: Mapping[str, Any]) -> dict[str, float]:
        """A point of the search space as the policy's parameters."""
        found = dict(self.fixed)
        for name, value in point.items():
            scaled = value * self.goal.value if isinstance(self._space[name], Times) else value
            found[name] = scaled if isinstance(scaled, int) else float(f"{scaled:.{DIGITS}g}")
        return found

    def _point(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Parameters as a point of the search space, or one outside of it."""
        return {
            name: parameters[name] / self.goal.value if isinstance(one, Times) else parameters[name]
            for name, one in self._space.items()
        }


def space_of(policy: str) -> Space:
    """What a policy's class says of the parameters that a calibration may set.

    Raises:
        InputError: no such policy, or nothing of it can be calibrated.
    """
    points = registered()
    known(policy, points, kind="policy")
    space: Space | None = getattr(points[policy].load(), "space", None)
    if not space:
        able = [name for name, point in points.items() if getattr(point.load(), "space", None)]
        raise InputError(
            f"policy {policy!r} declares no parameters to calibrate",
            where="policies",
            fix=f"calibrate one of {', '.join(able)}",
        )
    return space


def spec_of(policy: str, parameters: Mapping[str, float]) -> str:
    """The spec of a policy with these parameters."""
    pairs = ",".join(f"{key}={value!r}" for key, value in parameters.items())
    return f"{policy}:{pairs}" if pairs else policy


def tune(
    policies: Sequence[str],
    chain: ServiceChain,
    traces: Sequence[Trace],
    goals: Sequence[Goal],
    *,
    trials: int = 36,
    seed: int = 0,
    processes: int = 1,
    tick: Tick | None = None,
    compiling: Callable[[], None] | None = None,
) -> Iterator[Setting]:
    """Settings of the policies at the goals, policy by policy as they are found.

    Args:
        policies: registered, each with a `space`.
        chain: to run them on.
        traces: at the chain's interval and peak, none that policies are judged by.
        goals: at least one.
        trials: settings that are tried for each policy and goal.
        seed: of the sampler; the same one finds the same settings.
        processes: that share the runs.
        tick: told of the intervals that passed (`intervals_of` tells how many there will be).
        compiling: told where this machine has to compile first.

    Raises:
        InputError: a policy that cannot be calibrated.
        BackendError: the backend died.
    """
    with told_of_compiling(compiling or (lambda: None)):
        bounds = {goal: _bound(chain, traces, goal) for goal in goals}
    for policy in policies:
        searches = [Search(policy, goal, seed + place) for place, goal in enumerate(goals)]
        tables: dict[str, FloatArray] = {}
        for begun in range(0, trials, ROUND):
            asked = [search.ask(min(ROUND, trials - begun)) for search in searches]
            specs = {spec_of(policy, one): None for part in asked for one in part}
            new = [spec for spec in specs if spec not in tables]
            tables |= _run(new, chain, traces, processes, tick, compiling)
            for search in searches:
                goal = search.goal
                search.tell({spec: score(tables[spec], goal, bounds[goal]) for spec in specs})
        for search in searches:
            value, parameters = search.best
            yield Setting(
                policy=policy,
                knob=search.goal.knob,
                value=search.goal.value,
                parked_weight=search.goal.parked_weight,
                chain=chain.name,
                cost=float(f"{value:.{DIGITS}g}"),
                trials=trials,
                parameters=parameters,
            )


def write(path: Path, settings: Sequence[Setting]) -> None:
    """Write a file of settings, whole or not at all, in the place of an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, written(settings))


def score(table: FloatArray, goal: Goal, bound: FloatArray) -> float:
    """What a setting costs, relative to the bound, as a mean over the traces.

    Args:
        table: sums over each episode, [K, Q].
        goal: what it is to be good at.
        bound: on each trace, [K].
    """
    if goal.knob == "drop_cost":
        own = cost(table, goal.value, goal.parked_weight)
    else:
        lost = np.nan_to_num(ratio(table, "drop_rate"))
        cores, parked = ratio(table, "core_usage"), ratio(table, "parked_cores")
        own = total(cores, parked, lost, 0.0, goal.parked_weight)
        own = own * np.maximum(lost / goal.value, 1.0)
    return float((own / bound).mean())


def _bound(chain: ServiceChain, traces: Sequence[Trace], goal: Goal) -> FloatArray:
    drop_cost = goal.value if goal.knob == "drop_cost" else REFERENCE
    return np.array(
        [lower_bound(chain, trace, drop_cost, goal.parked_weight, 0) for trace in traces]
    )


def _run(
    specs: Sequence[str],
    chain: ServiceChain,
    traces: Sequence[Trace],
    processes: int,
    tick: Tick | None,
    compiling: Callable[[], None] | None,
) -> dict[str, FloatArray]:
    """Sums over the episode of every spec on every trace, [K, Q] each."""
    if not specs:
        return {}
    for spec in specs:
        make_policy(spec)
    grid = Grid(
        chain=chain,
        candidates=tuple(Candidate(spec, (spec,), front=spec) for spec in specs),
        traces=tuple(traces),
        seeds=(0,),
        baseline=specs[0],
    )
    tables: dict[tuple[str, str], FloatArray] = {}
    for outcomes in run(
        grid, list(grid.cells()), processes=processes, tick=tick, compiling=compiling
    ):
        for cell, outcome in outcomes.items():
            tables[cell.spec, cell.trace] = outcome.sums.segments.sum(axis=0)
    return {spec: np.array([tables[spec, trace.name] for trace in traces]) for spec in specs}


def _distribution(one: Real | Choice | Times) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(one, Choice):
        return CategoricalDistribution(one.values)
    if isinstance(one, Times):
        return FloatDistribution(one.low, one.high, log=True)
    return FloatDistribution(one.low, one.high, log=one.log)
