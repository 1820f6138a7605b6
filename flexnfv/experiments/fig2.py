"""Fig. 2: throughput against input rate, FlexNFV, OpenNetVM and the theoretical line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flexnfv.evaluation.records import Episode
from flexnfv.experiments import paper
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_FACTOR: Final = 1.95
"""FlexNFV's throughput / OpenNetVM's at 6 Gbps, at least."""
FOLLOWS_WITHIN: Final = 0.01
"""Relative distance of FlexNFV's throughput from the offered rate, at most."""
FLAT_WITHIN: Final = 0.05
"""Relative change of OpenNetVM's throughput from 3 Gbps up, at most."""


def run(runner: Runner) -> Finding:
    """Throughput per input rate; the episodes are those of Table I.

    Raises:
        InputError: what the backend refuses.
        BackendError: the backend died.
    """
    chain = paper.chain()
    rows: list[dict[str, float]] = []
    for gbps in paper.GBPS:
        trace = paper.constant(gbps, chain)
        flexnfv = runner.episodes(chain, paper.FLEXNFV, trace)
        opennetvm = runner.episodes(chain, paper.OPENNETVM, trace)
        rows.append(
            {
                "gbps": gbps,
                "theoretical_mpps": trace.mean_pps / 1e6,
                "offered_mpps": settled_mpps(flexnfv, "offered_pps"),
                "flexnfv_mpps": settled_mpps(flexnfv, "delivered_pps"),
                "opennetvm_mpps": settled_mpps(opennetvm, "delivered_pps"),
            }
        )
    factor = rows[-1]["flexnfv_mpps"] / rows[-1]["opennetvm_mpps"]
    apart = max(abs(row["flexnfv_mpps"] / row["offered_mpps"] - 1) for row in rows)
    flat = [row["opennetvm_mpps"] for row in rows if row["gbps"] >= 3]
    change = max(abs(rate / flat[0] - 1) for rate in flat)
    claims = (
        Claim(
            "FlexNFV / OpenNetVM at 6 Gbps",
            f"{factor:.2f}",
            f"at least {LEAST_FACTOR}, the paper's {paper.FACTOR_AT_6_GBPS:g}",
            factor >= LEAST_FACTOR,
        ),
        Claim(
            "FlexNFV follows the offered rate up to 6 Gbps",
            f"at most {apart:.2%} apart",
            f"{FOLLOWS_WITHIN:.0%}",
            apart <= FOLLOWS_WITHIN,
        ),
        Claim(
            "OpenNetVM is flat from 3 Gbps",
            f"changes by at most {change:.1%}",
            f"{FLAT_WITHIN:.0%}",
            change <= FLAT_WITHIN,
        ),
    )
    return Finding(
        "fig2",
        "Fig. 2: throughput with varying input rate, 64-byte packets",
        rows,
        claims,
        lambda figure: draw(figure, rows),
        ("The paper states the factor at 6 Gbps and the courses; its points are in no table.",),
    )


def settled_mpps(episodes: list[Episode], column: str) -> float:
    """Mean of a rate over the last intervals, median of the runs, Mpps."""
    return float(
        np.median([episode.chain[column][-paper.SETTLED :].mean() for episode in episodes]) / 1e6
    )


def draw(figure: Figure, rows: list[Row] | list[dict[str, float]]) -> None:
    """Throughput over input rate, with the theoretical line."""
    axes = figure.subplots()
    gbps = [float(row["gbps"]) for row in rows]
    for key, label, style in (
        ("flexnfv_mpps", "FlexNFV", "o-"),
        ("opennetvm_mpps", "OpenNetVM (static)", "s-"),
        ("theoretical_mpps", "theoretical", "k--"),
    ):
        axes.plot(gbps, [float(row[key]) for row in rows], style, label=label)
    top, low = float(rows[-1]["flexnfv_mpps"]), float(rows[-1]["opennetvm_mpps"])
    axes.annotate(
        f"× {top / low:.2f} (paper: × {paper.FACTOR_AT_6_GBPS:g})",
        (gbps[-1], (top + low) / 2),
        ha="right",
    )
    axes.set_xlabel("input rate, Gbps")
    axes.set_ylabel("throughput, Mpps")
    axes.set_xticks(gbps)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
