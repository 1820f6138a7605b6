"""Draws docs/result.png: what policies cost on real traffic, series by series.

Run: FLEXNFV_TRACES=DIR python docs/figures/real_traffic.py BUNDLE --out docs/result.png

Every CSV of the folder is a series: one sample an interval, scaled to the chain's peak, its first
3,000 samples. Drawn is J relative to the bound at one drop cost, for the paper's law at its
settings, for the best of all rules (one setting for all series, chosen in hindsight on them) and
for the policy, told the drop cost. What the picture shows is also printed, whoever wins.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation import benchmark
from flexnfv.evaluation.candidates import rules_of, sweep_of
from flexnfv.evaluation.gap import Gaps
from flexnfv.files import new_file
from flexnfv.policy import registered
from flexnfv.traces import Trace, load_trace

LAW = "watermark"
POLICY = "policy"
ANY_SIZE = 800
"""Bytes a packet of series in bits/s: any will do, since every series is scaled to one peak."""


def main() -> None:
    """Run the comparison, draw it and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", help="the policy: a bundle, or a pattern of training seeds")
    parser.add_argument("--out", type=Path, default=Path("docs/result.png"))
    parser.add_argument("--chain", default="edge")
    parser.add_argument("--drop-cost", type=float, default=300.0)
    parser.add_argument("--parked-weight", type=float)
    parser.add_argument("--intervals", type=int, default=3000, help="most of a series")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rules", nargs="*", help="all with a sweep if not given")
    args = parser.parse_args()
    chain = load_chain(args.chain)
    rules = args.rules or [name for name in registered() if sweep_of(name) and name != "static"]
    result = benchmark(
        [f"{POLICY}={args.bundle}", LAW],
        chain,
        series(chain, args.intervals),
        args.seeds,
        LAW,
        peak="keep",
        processes=args.processes,
        drop_costs=(args.drop_cost,),
        parked_weight=args.parked_weight,
        rules=rules_of([], [name for name in rules if name != "clairvoyant"]),
    )
    assert result.gaps is not None
    tell(result.gaps, args.drop_cost)
    args.out.unlink(missing_ok=True)
    draw(result.gaps, args.drop_cost, args.out)


def series(chain: ServiceChain, most: int) -> list[Trace]:
    """The series of the folder that FLEXNFV_TRACES names, a sample an interval."""
    folder = Path(os.environ.get("FLEXNFV_TRACES", ""))
    files = sorted(folder.glob("*.csv")) if os.environ.get("FLEXNFV_TRACES") else []
    if not files:
        raise InputError("no series", where="FLEXNFV_TRACES", fix="name a folder of CSV files")
    found = []
    for file in files:
        bits = "bps" in file.read_text(encoding="utf-8").partition("\n")[0]
        rates = load_trace(f"{file}?packet_bytes={ANY_SIZE}" if bits else str(file)).rate_pps
        rates = rates[:most]
        if not rates.any():
            print(f"{file.name} is silent so long: left out", file=sys.stderr)
            continue
        scaled = rates * (chain.peak_pps / rates.max())
        found.append(Trace(file.stem, scaled, chain.interval_s))
    return found


def tell(gaps: Gaps, drop_cost: float) -> None:
    """What a caption may say."""
    at = gaps.standings[POLICY][drop_cost]
    mean, worst = at.mean["to_rule"].traces, at.worst
    print(f"drop cost {drop_cost:g}, parked weight {gaps.parked_weight:g}")
    print(f"the rule: {gaps.rule[drop_cost]}")
    print(
        f"policy against it: {mean.estimate:+.1%} [{mean.low:+.1%}, {mean.high:+.1%}], worst "
        f"{worst[1].estimate:+.1%} ({gaps.grid.traces[worst[0]].name}), better on {at.better} of "
        f"{len(at.cost)}, gap closed {at.mean['gap'].traces.estimate:+.2f}"
    )


def draw(gaps: Gaps, drop_cost: float, path: Path) -> None:
    """One row a series, the policy's best first; a mark for each of law, best rule and policy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    at, law = gaps.standings[POLICY][drop_cost], gaps.standings[LAW][drop_cost]
    rule = gaps.rule_costs[drop_cost] / gaps.bound[drop_cost]
    order = np.argsort(at.to_rule)[::-1]
    figure = Figure(figsize=(9, 1.6 + 0.27 * len(order)), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    rows = np.arange(len(order)) + 2
    for row, place in zip(rows, order, strict=True):
        colour = "#009e73" if at.to_rule[place] < 0 else "#d55e00"
        axes.plot([rule[place], at.to_bound[place]], [row, row], color=colour, lw=2, zorder=1)
    for values, marker, colour, label in (
        (law.to_bound, "x", "#888888", "the paper's law"),
        (rule, "o", "#0072b2", "best rule"),
        (at.to_bound, "D", "#000000", "learned policy"),
    ):
        axes.plot(values[order], rows, marker, color=colour, label=label, zorder=2)
        axes.plot([values.mean()], [0], marker, color=colour, zorder=2)
    axes.axvline(1.0, color="black", ls="--", lw=1, label="the bound")
    axes.set_yticks([0, *rows], ["mean", *(gaps.grid.traces[place].name for place in order)])
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 1.5, 2, 3, 5, 10, 20, 50, 100) if tick <= law.to_bound.max()]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(
        f"cost relative to the bound (a lost interval's traffic costs {drop_cost:g} core "
        f"intervals, a parked core {gaps.parked_weight:g})"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with new_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
