"""`flexnfv ranking`: whether policies stand in the same order on the model and on a live chain."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from flexnfv.errors import InputError
from flexnfv.failures import INTERRUPTED


def ranking(
    *,
    out: Path,
    policies: tuple[str, ...] | None = None,
    chain: str = "paper",
    traces: tuple[str, ...] | None = None,
    interval: float | None = None,
    repetitions: int | None = None,
    backend: str = "dpdk",
    scale: str | None = None,
    options: tuple[str, ...] = (),
    calibration: str | None = None,
    peak: float | None = None,
) -> int:
    """Rank policies on the model and on a live chain, and compare the orders.

    Wherever the 95 % intervals of two policies are apart on both backends, their order must be the
    same; the exit code is 1 if it is not. An interrupted run is continued by the same command.

    Args:
        out: directory for records and report/report.html.
        policies: policies as [NAME=]SPEC, see `flexnfv bench`; five heuristics if not given.
        chain: name of a shipped chain, or the path of a chain file (TOML).
        traces: trace names or paths; three synthetic ones of 32 s if not given.
        interval: the chain's monitor interval, seconds; 0.25 if not given.
        repetitions: episodes per policy and trace on either backend; 2 if not given.
        backend: what the model is compared with: dpdk, or the name of an installed one.
        scale: packet rates of the live chain relative to the chain's own, such as 1/20.
        options: further options of the live backend as KEY=VALUE (dpdk: spares=2 max_pps=2e6).
        calibration: what the model runs with, measured on that backend by `flexnfv calibrate`; the
            chain's own if not given.
        peak: packets/s that each trace is scaled to; the chain's peak_pps if not given.
    """
    from flexnfv.chain import load_chain
    from flexnfv.experiments import ranking as experiment
    from flexnfv.options import backend_options

    live = load_chain(chain)
    live = live.replace(interval_s=experiment.INTERVAL_S if interval is None else interval)
    if peak is not None and not peak > 0:
        raise InputError(f"{peak:g} packets/s", where="--peak", fix="give a positive rate")
    begun = False

    def started() -> None:
        nonlocal begun
        begun = True

    try:
        findings = experiment.ranking(
            live,
            out,
            policies=policies or experiment.POLICIES,
            traces=traces or experiment.TRACES,
            backend=backend,
            modelled=load_chain(live, calibration=calibration),
            repetitions=experiment.REPETITIONS if repetitions is None else repetitions,
            peak=peak,
            tell=lambda line: print(line, file=sys.stderr),
            options=backend_options(scale, options),
            started=started,
        )
    except KeyboardInterrupt:
        if not begun:
            raise
        command = shlex.join(["flexnfv", *sys.argv[1:]])
        print(f"flexnfv: interrupted; to carry on: {command}", file=sys.stderr)
        return INTERRUPTED
    for finding in findings:
        print(finding.title)
        for claim in finding.claims:
            print(f"  {claim.line()}")
    print(f"report: {out / 'report' / 'report.html'}")
    return 0 if all(finding.holds for finding in findings) else 1


COMMAND = ranking
