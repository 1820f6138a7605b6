"""`flexnfv fidelity`: how far the model is from a live chain."""

from __future__ import annotations

import sys
from pathlib import Path


def fidelity(
    *,
    trace: str,
    out: Path,
    chain: str = "paper",
    policy: tuple[str, ...] = ("watermark",),
    backend: str = "dpdk",
    scale: str | None = None,
    options: tuple[str, ...] = (),
    calibration: str | None = None,
    replay_targets: bool = False,
    seed: int = 0,
) -> int:
    """Run policies on the model and on a live chain, and compare second by second.

    The exit code is 1 if the two are further apart than they may be.

    Args:
        trace: a trace, with what it needs to fit the chain: 'link.csv?compress=300&peak=8e6'.
        out: directory for data, figures and report.html.
        chain: name of a shipped chain, or the path of a chain file (TOML).
        policy: a policy, or several: registered names, name:key=value, paths of bundles.
        backend: what the model is compared with: dpdk, or the name of an installed one.
        scale: packet rates of the live chain relative to the chain's own, such as 1/20.
        options: further options of the live backend as KEY=VALUE (dpdk: spares=2).
        calibration: what the model runs with, measured on that backend by `flexnfv calibrate`; the
            chain's own if not given.
        replay_targets: also replay the live targets in the model.
        seed: of policies and backends.
    """
    from flexnfv.chain import load_chain
    from flexnfv.experiments.fidelity import fidelity as run
    from flexnfv.options import backend_options
    from flexnfv.traces import load_trace

    live = load_chain(chain)
    findings = run(
        live,
        load_trace(trace),
        policy,
        out,
        backend=backend,
        modelled=load_chain(live, calibration=calibration),
        replay_targets=replay_targets,
        seed=seed,
        tell=lambda line: print(line, file=sys.stderr),
        options=backend_options(scale, options),
    )
    for finding in findings:
        for claim in finding.claims:
            print(f"{finding.name}: {claim.line()}")
    print(f"report: {out / 'report.html'}")
    return 0 if all(finding.holds for finding in findings) else 1


COMMAND = fidelity
