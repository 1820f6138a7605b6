"""Sec. V-C: the time that launching a new instance takes, and rerunning a blocked one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flexnfv.experiments import paper
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.latency import Latencies, for_latency, measure
from flexnfv.experiments.runner import Runner
from flexnfv.experiments.workbench import BackendBench
from flexnfv.traces import gbps_to_pps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GBPS: Final = 2
"""Input rate."""
LAUNCH_WITHIN: Final = 0.01
"""Relative distance of the model's launch from the paper's, at most."""


def run(runner: Runner) -> Finding:
    """Launch and rerun a second instance of NF1 at 2 Gbps.

    Raises:
        InputError: what the backend refuses.
        BackendError: an instance did not come up, or the backend died.
    """
    chain = for_latency(paper.chain())
    backend = runner.backend(chain)
    found = [measure(BackendBench(backend, seed=seed), gbps_to_pps(GBPS)) for seed in runner.seeds]
    rows: list[Row] = [
        {"run": seed, "launch_ms": one.launch_s * 1e3, "rerun_ms": one.rerun_s * 1e3}
        for seed, one in zip(runner.seeds, found, strict=True)
    ]
    launch_ms = 1e3 * float(np.median([one.launch_s for one in found]))
    rerun_ms = 1e3 * float(np.median([one.rerun_s for one in found]))
    apart = abs(launch_ms / paper.LAUNCH_MS - 1)
    if runner.reproducible:
        launch = Claim(
            "launch of a new instance (by calibration)",
            f"{launch_ms:.1f} ms, median of {len(found)}",
            f"the paper's {paper.LAUNCH_MS:g} ms ± {LAUNCH_WITHIN:.0%}",
            apart <= LAUNCH_WITHIN,
        )
    else:
        launch = Claim(
            "launch of a new instance (measured)",
            f"{launch_ms:.1f} ms, median of {len(found)}",
            f"at most the paper's {paper.LAUNCH_MS:g} ms",
            launch_ms <= paper.LAUNCH_MS,
        )
    claims = (
        launch,
        Claim(
            "rerun is faster than launch, which is why launching is avoided",
            f"{rerun_ms:.2f} ms, median of {len(found)}",
            f"below {launch_ms:.1f} ms",
            rerun_ms < launch_ms,
        ),
    )
    return Finding(
        "launch",
        "Sec. V-C: launch of a new instance, rerun of a blocked one",
        rows,
        claims,
        lambda figure: draw(figure, found),
        ("The paper measured no rerun.",),
    )


def draw(figure: Figure, found: list[Latencies]) -> None:
    """Medians on a logarithmic axis, the paper's launch as a line."""
    axes = figure.subplots()
    values = [
        1e3 * float(np.median([one.launch_s for one in found])),
        1e3 * float(np.median([one.rerun_s for one in found])),
    ]
    bars = axes.barh(["launch", "rerun"], [max(value, 1e-3) for value in values], height=0.5)
    axes.bar_label(bars, labels=[f"{value:.2f} ms" for value in values], padding=3)
    axes.axvline(paper.LAUNCH_MS, color="k", linestyle="--", label="the paper's launch, 998 ms")
    axes.set_xscale("log")
    axes.set_xlim(1e-2, 1e4)
    axes.set_xlabel("ms")
    axes.legend()
