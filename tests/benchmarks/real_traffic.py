"""What learned policies cost on real traffic, beside rules set with hindsight and rules tuned.

Run: FLEXNFV_TRACES=DIR python -m tests.benchmarks.real_traffic SPEC|PATTERN [--chain CHAIN]

Every CSV of the folder is a trace of one sample an interval, scaled to the chain's peak, 3,000
intervals of it at most. SPEC is a policy that takes `drop_cost` and `parked_weight`; a pattern
names the bundles of several training seeds. J = core usage + parked weight x parked cores + drop
cost x drop rate, at parked weights 0 and 0.3 and drop costs 30 to 3,000, against three opponents:

hindsight   target tracking's best of 36 settings (at weight 0.3 also of park timeouts never, 10,
            60 and 300 s), chosen on these very traces, one setting for all of them
rule        the calibrated setting that costs least on these very traces, of all shipped rules
bound       `flexnfv.model.bound`, for the gap closed between the rule and it

Printed are mean, interval, worst and on how many it is better: of the mean over training seeds, the
95 % interval by a bootstrap over training seeds and traces. `--targets` judges drop targets.
"""

from __future__ import annotations

import argparse
import glob
import os
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.evaluation.cost import DROP_COSTS, gap_closed, total
from flexnfv.evaluation.episodes import run_episodes
from flexnfv.evaluation.metrics import ratio
from flexnfv.model import ModelBackend
from flexnfv.model.bound import lower_bounds
from flexnfv.policies.calibrated import SHIPPED, load_settings
from flexnfv.policy_batch import PolicyBatch
from flexnfv.traces import Trace, load_trace

FloatArray = npt.NDArray[np.float64]
INTERVALS = 3000
UTILISATIONS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0)
WINDOWS = (1, 5, 20, 60)
TIMEOUTS = ("inf", "10", "60", "300")
MEASURES = ("core_usage", "parked_cores", "drop_rate")


def traces(folder: Path, chain: ServiceChain) -> list[Trace]:
    """Every series of the folder, fitted to the chain."""
    found = []
    for file in sorted(folder.glob("*.csv")):
        rates = load_trace(f"{file}?packet_bytes=500").rate_pps[:INTERVALS]
        trace = Trace(file.stem, rates * (chain.peak_pps / rates.max()), chain.interval_s)
        found.append(trace)
    return found


def measured(specs: list[str], chain: ServiceChain, on: list[Trace], seed: int) -> FloatArray:
    """Cores, parked cores and drop rate of every spec on every trace, [specs, traces, 3]."""
    rows = list(product(specs, on))
    outcomes = run_episodes(
        PolicyBatch([spec for spec, _ in rows]),
        ModelBackend(chain),
        [trace for _, trace in rows],
        [seed] * len(rows),
    )
    sums = [outcome.sums.segments.sum(axis=0) for outcome in outcomes]
    values = [[ratio(table, name) for name in MEASURES] for table in sums]
    return np.array(values).reshape(len(specs), len(on), len(MEASURES))


def costs(values: FloatArray, drop_cost: float, weight: float) -> FloatArray:
    """J of measured values, [..., 3] to [...]."""
    return total(values[..., 0], values[..., 1], values[..., 2], drop_cost, weight)


def best_for_all(found: FloatArray) -> FloatArray:
    """J of the setting that is best for all traces together, [settings, traces] to [traces]."""
    return np.asarray(found[(found / found.min(axis=0)).mean(axis=1).argmin()])


def told(own: FloatArray, opponent: FloatArray) -> str:
    """Mean / worst / better on, and the interval, of J relative to an opponent.

    Args:
        own: [training seeds, traces].
        opponent: [traces].
    """
    relative = own / opponent - 1.0
    per_trace = relative.mean(axis=0)
    rng = np.random.default_rng(0)
    seeds, count = relative.shape
    draws = [
        relative[rng.integers(seeds, size=seeds)][:, rng.integers(count, size=count)].mean()
        for _ in range(2000)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return (
        f"{per_trace.mean():+6.1%} [{low:+.1%}, {high:+.1%}] / {per_trace.max():+.0%} / "
        f"{int((per_trace < 0).sum())} of {count}"
    )


def judge(bundles: list[str], chain: ServiceChain, on: list[Trace], seed: int, full: bool) -> None:
    """Print the tables of the drop costs."""
    tracking = [
        f"target_tracking:target={target},window={window}"
        for target, window in product(UTILISATIONS, WINDOWS)
    ]
    for weight in (0.0, 0.3):
        timeouts = TIMEOUTS if weight else TIMEOUTS[:1]
        hindsight = measured(
            [f"{spec},park_timeout={timeout}" for spec, timeout in product(tracking, timeouts)],
            chain,
            on,
            seed,
        )
        settings = [one for one in load_settings(SHIPPED) if one.parked_weight == weight]
        bounds = np.stack([lower_bounds(chain, one, DROP_COSTS, weight, seed=seed) for one in on])
        own = np.stack(
            [
                measured(
                    [f"{one}:drop_cost={cost},parked_weight={weight}" for cost in DROP_COSTS],
                    chain,
                    on,
                    seed,
                )
                for one in bundles
            ]
        )
        for place, drop_cost in enumerate(DROP_COSTS):
            mine = costs(own[:, place], drop_cost, weight)
            specs = [one.spec for one in settings if one.value == drop_cost]
            rules = costs(measured(specs, chain, on, seed), drop_cost, weight)
            rule, bound = best_for_all(rules), bounds[:, place]
            name = specs[int((rules / rules.min(axis=0)).mean(axis=1).argmin())].partition(":")[0]
            gap = gap_closed(mine.mean(axis=0), rule, bound)
            print(f"weight {weight:g}, drop cost {drop_cost:g}")
            print(f"  hindsight  {told(mine, best_for_all(costs(hindsight, drop_cost, weight)))}")
            print(f"  rule       {told(mine, rule)}  ({name})")
            print(
                f"  gap        mean {np.nanmean(gap):+.2f}, worst {np.nanmin(gap):+.2f}", flush=True
            )
            if full:
                for one, value, other, least in zip(
                    on, mine.mean(axis=0), rule, bound, strict=True
                ):
                    print(f"    {one.name:24} {value:7.2f}  rule {other:7.2f}  bound {least:7.2f}")


def judge_targets(bundles: list[str], chain: ServiceChain, on: list[Trace], seed: int) -> None:
    """Print how drop targets are kept."""
    tracking = [
        f"target_tracking:target={target},window={window}"
        for target, window in product(UTILISATIONS, WINDOWS)
    ]
    rules = measured(tracking, chain, on, seed)
    for target in (0.01, 0.003, 0.001):
        own = np.stack(
            [measured([f"{one}:drop_target={target}"], chain, on, seed)[0] for one in bundles]
        )
        shares, cores = own[..., 2].mean(axis=0) / target, own[..., 0].mean(axis=0)
        kept = shares <= 1.5
        keeps = rules[..., 2] <= 1.5 * target
        each = np.where(keeps, rules[..., 0], np.inf).min(axis=0)
        both = kept & np.isfinite(each)
        most = keeps.sum(axis=1)
        enough = most >= min(int(kept.sum()), int(most.max()))
        one = int(np.where(enough, rules[..., 0].mean(axis=1), np.inf).argmin())
        print(
            f"target {target:.2%}: within 1.5 times it on {int(kept.sum())} of {len(on)}, median "
            f"{np.median(shares):.2f} times, worst {shares.max():.1f}; cores {cores.mean():.2f}; "
            f"target tracking set for each trace keeps it on {int(np.isfinite(each).sum())}, there "
            f"{(cores[both] / each[both] - 1).mean():+.1%} cores; one setting keeps it on "
            f"{most[one]} at most, {(cores / rules[one, :, 0] - 1).mean():+.1%} cores against it",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("policy")
    parser.add_argument("--chain", default="edge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", action="store_true")
    parser.add_argument("--full", action="store_true", help="a line for each trace")
    args = parser.parse_args()
    folder = os.environ.get("FLEXNFV_TRACES")
    if folder is None:
        print("real_traffic: FLEXNFV_TRACES names no folder of traces: nothing to measure")
        return
    chain = load_chain(args.chain)
    bundles = sorted(glob.glob(args.policy)) or [args.policy]  # noqa: PTH207, as in candidates
    on = traces(Path(folder), chain)
    if args.targets:
        judge_targets(bundles, chain, on, args.seed)
    else:
        judge(bundles, chain, on, args.seed, args.full)


if __name__ == "__main__":
    main()
