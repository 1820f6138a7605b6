"""`flexnfv calibrate`: measure a backend's NFs and write a calibration for the model."""

from __future__ import annotations

import sys
from pathlib import Path

from flexnfv.errors import InputError


def calibrate(
    *,
    out: Path,
    chain: str = "paper",
    backend: str = "dpdk",
    scale: str | None = None,
    options: tuple[str, ...] = (),
    samples: int = 5,
) -> int:
    """Measure every NF of a chain and write NAME.toml, which a chain can then name.

    Beside it NAME-report shows what the model with the new calibration does, against what was
    measured. The exit code is 1 if the two are further apart than 2 %.

    Args:
        out: NAME.toml, the calibration to write.
        chain: name of a shipped chain, or the path of a chain file; its NFs are measured alone.
        backend: dpdk, model, or the name of an installed one.
        scale: packet rates of a live chain relative to the chain's own, such as 1/20; the backend's
            own if not given. The calibration holds the chain's own rates.
        options: further options of the backend as KEY=VALUE (dpdk: spares=2).
        samples: of everything whose spread is written.
    """
    from flexnfv.chain import load_chain
    from flexnfv.experiments.calibrate import calibrate as run
    from flexnfv.options import backend_options

    if not 1 <= samples <= 100:
        raise InputError(f"{samples} samples", where="--samples", fix="give 1 to 100")
    measured, findings = run(
        load_chain(chain),
        backend,
        out,
        samples=samples,
        tell=lambda line: print(line, file=sys.stderr),
        **backend_options(scale, options),
    )
    for name, nf in measured.nf.items():
        print(
            f"{name}: {nf.processing_ns:g} ns, loss-free {nf.loss_free_pps / 1e6:g} Mpps, overload "
            f"penalty {nf.overload_penalty:.1%}, jitter {nf.jitter:.1%}"
        )
    print(f"launch {1e3 * measured.launch_s:g} ms, rerun {1e3 * measured.rerun_s:g} ms")
    for finding in findings:
        for claim in finding.claims:
            print(f"{finding.name}: {claim.line()}")
    print(f"calibration: {out}, report: {out.with_name(f'{out.stem}-report') / 'report.html'}")
    return 0 if all(finding.holds for finding in findings) else 1


COMMAND = calibrate
