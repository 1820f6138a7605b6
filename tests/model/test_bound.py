"""The bound: nothing that can be decided on the model costs less, and little costs as much."""

from __future__ import annotations

import csv
import itertools
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.chain import Calibration, NFCalibration, NFType, PathSpec, ServiceChain, load_chain
from flexnfv.decision import Decision
from flexnfv.evaluation.episodes import run_episodes
from flexnfv.evaluation.metrics import measures
from flexnfv.model import ModelBackend
from flexnfv.model.bound import decouple, lower_bound, lower_bounds
from flexnfv.model.levels import Launch, Levels, cheapest, new_lives, new_scratch
from flexnfv.policies.clairvoyant import Clairvoyant
from flexnfv.policy import make_policy
from flexnfv.policy_batch import PolicyBatch
from flexnfv.reading import Reading
from flexnfv.traces import Trace
from tests.model.chains import random_chain

FloatArray = npt.NDArray[np.float64]
COSTS = tuple(np.array(list(itertools.product((0.0, 3.0, 30.0, 300.0), (0.0, 0.3, 1.0)))).T)
"""Drop costs, and the weights of parked cores with them."""
ROUNDING = 1e-9
MOST_ROWS = 7_000


class Costs:
    """Mean cores, mean parked cores and lost / offered of every row of a batch."""

    def __init__(self, chain: ServiceChain, reading: Reading) -> None:
        self._chain = chain
        self._intervals = 0
        self.cores, self.parked, self.lost, self.offered = np.zeros((4, *reading.batch))
        self.add(reading)

    def add(self, reading: Reading) -> None:
        self._intervals += 1
        self.cores += reading.core_usage(self._chain).sum(axis=-1)
        self.parked += reading.parked_cores(self._chain).sum(axis=-1)
        self.lost += reading.dropped_pps
        self.offered += reading.offered_pps

    def j(self, drop_cost: float, weight: float) -> FloatArray:
        lost = np.divide(self.lost, self.offered, out=np.zeros_like(self.lost), where=self.lost > 0)
        cores = self.cores + weight * self.parked
        return np.asarray(cores / self._intervals + drop_cost * lost)

    def least(self) -> FloatArray:
        """The lowest J of all rows for each of `COSTS`."""
        pairs = zip(*(each.tolist() for each in COSTS), strict=True)
        return np.array([self.j(*pair).min() for pair in pairs])


def small_chain(rng: np.random.Generator, **changes: Any) -> ServiceChain:
    """One type of up to three instances, or two of up to two."""
    types = int(rng.integers(1, 3))
    most = rng.integers(1, 5 - types, types)
    most[0] = 4 - types
    nf = tuple(
        NFType(
            name=f"n{t}",
            function=f"f{t}",
            max_instances=int(most[t]),
            min_instances=int(rng.integers(1, max(2, most[t]))),
            initial_instances=int(most[t] if rng.random() < 0.3 else max(1, most[t] - 1)),
            ring_size=int(changes.get("ring_size", rng.choice([64, 256, 1024]))),
            cores_per_instance=int(rng.integers(1, 3)),
        )
        for t in range(types)
    )
    calibration = Calibration(
        name="small",
        launch_s=float(rng.choice([0.0, 0.02, 0.4, 0.998, 1.0, 2.3])),
        launch_spread=float(rng.choice([0.0, 0.3])),
        rerun_s=float(rng.choice([0.0, 0.001, 0.2, 1.2])),
        rerun_spread=float(rng.choice([0.0, 0.5])),
        nf={
            f"f{t}": NFCalibration(
                processing_ns=100.0,
                loss_free_pps=float(rng.uniform(500, 2000)),
                overload_penalty=float(rng.choice([0.0, 0.1])),
                jitter=float(rng.choice([0.0, 0.05, 0.3])),
            )
            for t in range(types)
        },
    )
    paths: tuple[PathSpec, ...] = ()
    if types > 1 and rng.random() < 0.5:
        paths = (
            PathSpec(name="there", nfs=("n0", "n1"), share=0.5),
            PathSpec(name="back", nfs=("n1", "n0"), share=0.2),
            PathSpec(name="one", nfs=("n1",), share=0.3),
        )
    return ServiceChain.model_validate(
        {
            "name": "small",
            "calibration": "small",
            "core_budget": int(sum(n.initial_instances * n.cores_per_instance for n in nf))
            + int(rng.integers(1, 6)),
            "park_timeout_s": None if rng.random() < 0.7 else 2.0,
            "mapping": str(rng.choice(["algorithm1", "rendezvous", "even"])),
            "mode": str(rng.choice(["pipeline", "pipeline", "backpressure"])),
            "flows": {"count": 500, "zipf": float(rng.choice([0.0, 1.0])), "seed": 3},
            "nf": nf,
            "path": paths,
        }
    ).with_calibration(calibration)


def small_trace(rng: np.random.Generator, chain: ServiceChain, intervals: int) -> Trace:
    """Traffic around what the chain can carry, with silence, bursts, or finer than its interval."""
    most = float((chain.capacity_pps * chain.own_slots).min())
    fine = rng.random() < 0.3
    rates = most * rng.uniform(0.0, 1.1, intervals * (10 if fine else 1))
    rates[rng.random(rates.size) < 0.3] = 0.0
    rates[-1] = 0.7 * most
    return Trace("small", rates, chain.interval_s / (10 if fine else 1))


def of_all_decisions(chain: ServiceChain, trace: Trace, seed: int) -> Costs:
    """What every sequence of targets and spares costs in the model."""
    of_type = [
        list(itertools.product(range(int(least), int(most) + 1), range(int(most))))
        for least, most in zip(chain.min_instances, chain.own_slots, strict=True)
    ]
    choices = np.array(list(itertools.product(*of_type)))  # [choices, T, (target, spares)]
    intervals = len(trace.rates(chain.interval_s))
    rows = len(choices) ** (intervals - 1)
    assert rows <= MOST_ROWS
    backend = ModelBackend(chain, count_flows=False)
    costs = Costs(chain, backend.reset([trace] * rows, [seed] * rows))
    for step in range(intervals - 1):
        chosen = choices[np.arange(rows) // len(choices) ** step % len(choices)]
        costs.add(backend.step(Decision(chosen[..., 0], spares=chosen[..., 1])))
    return costs


def intervals_for(chain: ServiceChain) -> int:
    """As many as can be tried out in full."""
    choices = np.prod((chain.own_slots - chain.min_instances + 1) * chain.own_slots)
    return 1 + min(7, int(np.log(MOST_ROWS) / np.log(max(2, choices))))


@pytest.mark.parametrize("case", range(30))
def test_no_sequence_of_decisions_on_a_small_chain_costs_less(case: int) -> None:
    rng = np.random.default_rng(case)
    chain = small_chain(rng)
    trace = small_trace(rng, chain, intervals_for(chain))
    found = of_all_decisions(chain, trace, seed=case).least()
    bounds = lower_bounds(chain, trace, *COSTS, seed=case)
    assert (bounds <= found * (1 + ROUNDING)).all()
    assert (lower_bounds(chain, trace, *COSTS) <= bounds * (1 + ROUNDING)).all()


def plain_chain(types: int, most: int, launch_s: float, initial: int = 1) -> ServiceChain:
    """A chain whose rings hold next to nothing, whose flows spread evenly, without jitter."""
    nf = tuple(
        NFType(
            name=f"n{t}",
            function=f"f{t}",
            max_instances=most,
            initial_instances=initial,
            ring_size=64,
        )
        for t in range(types)
    )
    calibration = Calibration(
        name="plain",
        launch_s=launch_s,
        rerun_s=0.001,
        nf={
            f"f{t}": NFCalibration(processing_ns=100.0, loss_free_pps=1e6 * (1 + 0.4 * t))
            for t in range(types)
        },
    )
    return ServiceChain.model_validate(
        {
            "name": "plain",
            "calibration": "plain",
            "core_budget": types * most,
            "mapping": "even",
            "flows": {"count": 1 << 14, "zipf": 0.0, "seed": 3},
            "nf": nf,
        }
    ).with_calibration(calibration)


@pytest.mark.parametrize("launch_s", [0.0, 0.998, 1.0, 2.0])
@pytest.mark.parametrize(("types", "most"), [(1, 3), (2, 2)])
def test_the_cheapest_of_all_decisions_costs_little_more(
    types: int, most: int, launch_s: float
) -> None:
    rng = np.random.default_rng(1)
    chain = plain_chain(types, most, launch_s)
    ratios = []
    for _ in range(3):
        trace = Trace("any", rng.uniform(0.1, 1.0, intervals_for(chain)) * most * 1e6, 1.0)
        costs = of_all_decisions(chain, trace, seed=0)
        ratios.append(lower_bounds(chain, trace, *COSTS, seed=0) / costs.least())
    assert np.max(ratios) <= 1 + ROUNDING
    assert np.min(ratios) > 0.85
    assert np.mean(ratios) > 0.95


def fixed_chain(capacity: tuple[float, ...], ring: tuple[int, ...], jitter: float) -> ServiceChain:
    """A chain of one instance of each type: there is nothing to decide."""
    nf = tuple(
        NFType(name=f"n{t}", function=f"f{t}", max_instances=1, ring_size=size)
        for t, size in enumerate(ring)
    )
    functions = {
        f"f{t}": NFCalibration(processing_ns=100.0, loss_free_pps=rate, jitter=jitter)
        for t, rate in enumerate(capacity)
    }
    calibration = Calibration(name="fixed", launch_s=1.0, rerun_s=0.001, nf=functions)
    return ServiceChain.model_validate(
        {"name": "fixed", "calibration": "fixed", "core_budget": 9, "nf": nf}
    ).with_calibration(calibration)


@pytest.mark.parametrize(
    ("capacity", "ring", "jitter", "rates"),
    [
        pytest.param((1000.0,), (1024,), 0.0, (0, 2200), id="its ring holds over what is left"),
        pytest.param((1000.0, 800.0), (1024, 64), 0.0, (0, 2023), id="so does a ring upstream"),
        pytest.param((1e5,), (64,), 0.3, (2e5, 2e5), id="luck serves more than the mean"),
    ],
)
def test_where_nothing_can_be_decided_it_is_close_and_no_higher(
    capacity: tuple[float, ...], ring: tuple[int, ...], jitter: float, rates: tuple[float, ...]
) -> None:
    chain = fixed_chain(capacity, ring, jitter)
    trace = Trace("fixed", np.array(rates), 1.0)
    for seed in range(10):
        (found,) = of_policy(chain, trace, make_policy("static"), seed).j(300.0, 0.3)
        bound = lower_bound(chain, trace, 300.0, 0.3, seed)
        assert 0.9 * found < bound <= found * (1 + ROUNDING)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_no_random_decisions_cost_less_on_any_chain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(rng)
    rows, intervals = 60, int(rng.integers(3, 30))
    trace = small_trace(rng, chain, intervals)
    backend = ModelBackend(chain, count_flows=False)
    costs = Costs(chain, backend.reset([trace] * rows, [seed] * rows))
    shape = rows, chain.types
    calm = rng.random(rows) * 0.9
    targets = rng.integers(0, chain.own_slots + 1, shape)
    for _ in range(len(trace.rates(1.0)) - 1):
        changes = rng.random(shape) > calm[:, None]
        targets = np.where(changes, rng.integers(0, chain.own_slots + 1, shape), targets)
        levers = {"mapping": rng.integers(-1, 3, shape), "spares": rng.integers(-1, 4, shape)}
        if any(chain.stateful):
            levers.pop("mapping")
        costs.add(backend.step(Decision(targets, **levers)))
    bounds = lower_bounds(chain, trace, *COSTS, seed=seed)
    assert (bounds <= costs.least() * (1 + ROUNDING)).all()


def of_policy(chain: ServiceChain, trace: Trace, policy: Any, seed: int) -> Costs:
    """What a policy's episode costs."""
    backend = ModelBackend(chain, count_flows=False)
    policy.reset(chain, seed, **({"trace": [trace]} if policy.foresight else {}))
    reading = backend.reset([trace], [seed])
    costs = Costs(chain, reading)
    for _ in range(len(trace.rates(chain.interval_s)) - 1):
        reading = backend.step(policy.decide(reading))
        costs.add(reading)
    return costs


POLICIES = ("watermark", "target_tracking", "target_tracking:target=1,window=1", "random")


@pytest.mark.parametrize("name", ["edge", "paper", "six", "two-paths"])
def test_no_policy_crosses_it_not_even_one_with_foresight(name: str) -> None:
    chain = load_chain(name)
    rng = np.random.default_rng(2)
    jumping = np.exp(np.cumsum(rng.normal(0, 0.4, 150)))
    trace = Trace("jumping", jumping / jumping.max() * chain.peak_pps, chain.interval_s)
    for drop_cost, weight in itertools.product((30.0, 1000.0), (0.0, 0.3)):
        bound = lower_bound(chain, trace, drop_cost, weight, seed=5)
        planned = Clairvoyant(drop_cost=drop_cost, parked_weight=weight)
        for policy in (*map(make_policy, POLICIES), planned):
            (found,) = of_policy(chain, trace, policy, seed=5).j(drop_cost, weight)
            assert bound <= found
        assert found < 1.2 * bound, "the plan with foresight is close"


def test_levels_choose_the_cheapest_of_all_lives() -> None:
    rng = np.random.default_rng(4)
    intervals, launch = 6, Launch(2, True, 0.5)
    for _ in range(20):
        idle = rng.uniform(0, 1, intervals) * (rng.random(intervals) < 0.7)
        fresh = idle * rng.random(intervals)
        price = rng.uniform(0, 4, intervals)
        starts, weight = bool(rng.random() < 0.5), float(rng.choice([0.0, 0.3]))
        levels = Levels(
            idle=idle[None, None],
            fresh=fresh[None, None],
            beyond=np.zeros((1, intervals)),
            size=np.array([1]),
            least=np.array([0]),
            initial=np.array([int(starts)]),
            cost=np.array([1.0]),
        )
        lives = new_lives(1, intervals)
        found = cheapest(0, levels, price, weight, launch, new_scratch(intervals), lives)
        costs = [
            cost_of_life(life, starts, idle, fresh, price, weight)
            for life in itertools.product("olpr", repeat=intervals - 1)
        ]
        assert found == pytest.approx(min(costs))
        # The life that was followed costs what is said of it.
        cores = lives.running[0] + weight * (lives.held[0] - lives.running[0])
        assert found == pytest.approx(float(cores.sum() + price @ lives.lost[0]))


def cost_of_life(
    life: tuple[str, ...],
    starts: bool,
    idle: FloatArray,
    fresh: FloatArray,
    price: FloatArray,
    weight: float,
) -> float:
    """What a life of off, launching (two intervals), parked and running costs; inf if none."""
    text = "".join(life)
    total = 1.0 if starts else price[0] * idle[0]
    launched, held = 0, starts
    for n, (before, now) in enumerate(pairwise(("r" if starts else "o") + text), start=1):
        if (launched == 1 and now != "l") or (now == "o" and before in "lr"):
            return np.inf
        if now == "l":
            if held:
                return np.inf
            launched += 1
            total += 1.0 + price[n] * (fresh if launched == 2 else idle)[n]
            if launched == 2:
                launched, held = 0, True
        elif now == "o":
            held = False
            total += price[n] * idle[n]
        elif not held:
            return np.inf
        else:
            total += 1.0 if now == "r" else weight + price[n] * idle[n]
    return np.inf if launched == 1 else float(total)


def test_prices_of_the_types_add_up_along_every_path() -> None:
    from flexnfv.model.backend import rates_of
    from flexnfv.model.levels import levels_of

    chain = load_chain("two-paths")
    trace = Trace("any", np.random.default_rng(3).uniform(0, 1, 80) * chain.peak_pps, 1.0)
    levels = levels_of(chain, rates_of(trace, chain, 10), 0)
    _, parts, _ = decouple(chain, levels, 1e-5, 0.3)
    assert (parts >= 0).all()
    for path in chain.paths:
        assert (parts[list(path)].sum(axis=0) <= 1 + ROUNDING).all()


def test_what_cannot_be_a_cost_is_refused() -> None:
    chain, trace = load_chain("edge"), Trace("any", np.ones(5), 1.0)
    with pytest.raises(ValueError, match="drop_cost"):
        lower_bound(chain, trace, -1.0)
    with pytest.raises(ValueError, match="parked_weight"):
        lower_bound(chain, trace, 1.0, 1.5)


def real_series(most: int = 3000) -> list[Trace]:
    """The series of the folder FLEXNFV_TRACES, one sample per interval, scaled to edge's peak."""
    folder = os.environ.get("FLEXNFV_TRACES")
    found = []
    for file in sorted(Path(folder).glob("*.csv")) if folder else []:
        with file.open() as lines:
            rates = np.array([float(row[1]) for row in list(csv.reader(lines))[1 : most + 1]])
        found.append(Trace(file.stem, rates, 1.0).scale_to_peak(load_chain("edge").peak_pps))
    return found


@pytest.mark.skipif("FLEXNFV_TRACES" not in os.environ, reason="FLEXNFV_TRACES is not set")
def test_no_policy_crosses_it_on_real_series() -> None:
    chain, series = load_chain("edge"), real_series()
    drop_costs, weights = np.array(list(itertools.product((30.0, 300.0, 3000.0), (0.0, 0.3)))).T
    planned = [
        f"clairvoyant:drop_cost={drop_cost},parked_weight={weight}"
        for drop_cost, weight in zip(drop_costs, weights, strict=True)
    ]
    specs = [*POLICIES[:3], *planned]
    rows = [(spec, trace) for spec in specs for trace in series]
    found = run_episodes(
        PolicyBatch([spec for spec, _ in rows]),
        ModelBackend(chain, count_flows=False),
        [trace for _, trace in rows],
        [0] * len(rows),
    )
    names = ("core_usage", "parked_cores", "drop_rate")
    measured = np.array([[measures(one.sums.segments)[name] for name in names] for one in found])
    cores, parked, drops = measured.T.reshape(3, len(specs), len(series))
    for place, trace in enumerate(series):
        bounds = lower_bounds(chain, trace, drop_costs, weights, seed=0)
        of_all = cores[:, place, None] + weights * parked[:, place, None]
        of_all = of_all + drop_costs * drops[:, place, None]
        assert (of_all >= bounds).all(), trace.name
        assert (of_all.min(axis=0) < 1.15 * bounds).all(), trace.name
