"""`flexnfv reproduce`: the paper's table and figures."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import tyro

from flexnfv.errors import InputError


def reproduce(
    experiment: tyro.conf.Positional[
        Literal["table1", "fig2", "fig3", "fig4", "launch", "all"]
    ] = "all",
    *,
    backend: tuple[str, ...] | None = None,
    scale: str | None = None,
    options: tuple[str, ...] = (),
    runs: int | None = None,
    out: Path | None = None,
) -> int:
    """Reproduce the paper's evaluation, and say of every claim whether it holds.

    The exit code is 1 if a claim does not hold.

    Args:
        experiment: one of the paper's, or all of them.
        backend: model, dpdk, or the name of an installed one, or several. Without it the model and,
            where it is available, dpdk; FLEXNFV_REQUIRE_DPDK=1 makes a missing one a failure.
        scale: packet rates of a live chain relative to the paper's, such as 1/20; the backend's
            own if not given. The model runs at the paper's rates.
        options: further options of live backends as KEY=VALUE (dpdk: spares=2).
        runs: runs per setting; 20 on the model and 5 live if not given.
        out: directory for data, figures and report.html; runs/reproduce-TIME if not given.
    """
    from flexnfv.experiments.reproduce import EXPERIMENTS
    from flexnfv.experiments.reproduce import reproduce as run
    from flexnfv.options import backend_options

    if runs is not None and not 1 <= runs <= 1000:
        raise InputError(f"{runs} runs", where="--runs", fix="give 1 to 1000")
    required = bool(os.environ.get("FLEXNFV_REQUIRE_DPDK"))
    directory = out or Path("runs") / f"reproduce-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    result = run(
        list(EXPERIMENTS) if experiment == "all" else [experiment],
        backend or ("model", "dpdk"),
        directory,
        options=backend_options(scale, options),
        runs=runs,
        optional=() if backend or required else ("dpdk",),
        tell=lambda line: print(line, file=sys.stderr),
    )
    for name, findings in result.findings.items():
        for finding in findings:
            for claim in finding.claims:
                print(f"{name} {finding.name}: {claim.line()}")
    for name, how in result.failed.items():
        print(f"{name} FAIL  did not get through {how}")
    print(f"report: {directory / 'report.html'}")
    return 0 if result.holds else 1


COMMAND = reproduce
