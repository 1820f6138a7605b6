"""Fig. 4: throughput of the reversed chain at line rate, FlexNFV, NFVnice and OpenNetVM.

NFVnice is backpressure on one instance of each NF type (its CPU scheduling has nothing to win on
dedicated cores); FlexNFV may use one extra core per NF type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flexnfv.experiments import paper
from flexnfv.experiments.fig2 import settled_mpps
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_BACKPRESSURE: Final = 0.99
"""NFVnice's throughput / OpenNetVM's, at least."""

CAVEAT: Final = (
    "The paper's NFVnice figure was copied from NFVnice's own article, measured on another "
    "testbed. On dedicated cores backpressure can win only what overload wastes, so one testbed "
    "gives another factor than the paper's; every absolute value stands beside the paper's."
)


def run(runner: Runner) -> Finding:
    """Throughput of the three systems at line rate.

    Raises:
        InputError: what the backend refuses.
        BackendError: the backend died.
    """
    chain = paper.reverse()
    backpressure = chain.replace(mode="backpressure")
    trace = paper.constant(paper.LINE_RATE_GBPS, chain)
    opennetvm = runner.episodes(chain, paper.OPENNETVM, trace)
    nfvnice = runner.episodes(backpressure, paper.OPENNETVM, trace)
    flexnfv = runner.episodes(chain, paper.FLEXNFV, trace)
    rates = {
        "FlexNFV": settled_mpps(flexnfv, "delivered_pps"),
        "NFVnice": settled_mpps(nfvnice, "delivered_pps"),
        "OpenNetVM": settled_mpps(opennetvm, "delivered_pps"),
    }
    cores = max(int(episode.types["running"].max()) for episode in flexnfv)
    stated = {
        "FlexNFV": f"{paper.NFVNICE_MPPS + paper.FLEXNFV_OVER_NFVNICE_MPPS:.2f}",
        "NFVnice": f"{paper.NFVNICE_MPPS:.2f}",
        "OpenNetVM": "below both",
    }
    rows: list[Row] = [
        {"system": system, "throughput_mpps": rate, "paper_mpps": stated[system]}
        for system, rate in rates.items()
    ]
    gain = rates["FlexNFV"] / rates["NFVnice"]
    kept = rates["NFVnice"] / rates["OpenNetVM"]
    claims = (
        Claim(
            "FlexNFV / NFVnice",
            f"{gain:.3f} ({rates['FlexNFV']:.2f} / {rates['NFVnice']:.2f} Mpps)",
            f"at least {paper.FIG4_FACTOR}; the paper: {stated['FlexNFV']} / {stated['NFVnice']}",
            gain >= paper.FIG4_FACTOR,
        ),
        Claim("FlexNFV's extra cores per NF type", f"{cores - 1}", "at most 1", cores <= 2),
        Claim(
            "NFVnice / OpenNetVM",
            f"{kept:.3f} ({rates['NFVnice']:.2f} / {rates['OpenNetVM']:.2f} Mpps)",
            f"at least {LEAST_BACKPRESSURE}; the paper: OpenNetVM below both",
            kept >= LEAST_BACKPRESSURE,
        ),
    )
    return Finding(
        "fig4",
        "Fig. 4: throughput of NF3, NF2, NF1 at line rate",
        rows,
        claims,
        lambda figure: draw(figure, rates),
        (CAVEAT,),
    )


def draw(figure: Figure, rates: dict[str, float]) -> None:
    """Bars in the paper's order, its stated values as dashes."""
    axes = figure.subplots()
    names = ("FlexNFV", "NFVnice", "OpenNetVM")
    bars = axes.bar(names, [rates[name] for name in names], width=0.5, label="ours")
    axes.bar_label(bars, fmt="%.2f")
    stated = [paper.NFVNICE_MPPS + paper.FLEXNFV_OVER_NFVNICE_MPPS, paper.NFVNICE_MPPS]
    axes.hlines(stated, (-0.3, 0.7), (0.3, 1.3), "k", linestyles="--", label="the paper's text")
    axes.set_ylabel("throughput, Mpps")
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
