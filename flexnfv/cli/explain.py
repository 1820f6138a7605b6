"""`flexnfv explain`: a page that shows when a learned policy scales, and why."""

from __future__ import annotations

from pathlib import Path

import tyro


def explain(
    bundle: tyro.conf.Positional[str],
    *,
    trace: str,
    out: Path,
    chain: str = "edge",
    drop_cost: float | None = None,
    against: str | None = None,
    peak: str | None = None,
    seed: int = 0,
) -> None:
    """Show when a learned policy scales and why, on a trace, beside a rule's decisions.

    Args:
        bundle: path of a bundle of exceedances or pretrained/NAME, with parameters or without
            (pretrained/any-chain:drop_target=0.001).
        trace: trace name or path, with keys or without (link.csv?compress=300&end=3000).
        out: page to write (HTML).
        chain: name of a shipped chain, or the path of a chain file (TOML).
        drop_cost: cost of losing one interval's mean traffic, in core intervals; the bundle's own
            if not given.
        against: policy to show beside it, such as target_tracking; the best calibrated rule at its
            drop cost if not given.
        peak: packets/s that the trace's highest interval is scaled to, or "keep"; the chain's
            peak_pps if not given.
        seed: of the model and of the rule.
    """
    from flexnfv.cli.bench import peak_rate
    from flexnfv.evaluation import explain as explaining
    from flexnfv.evaluation.explain.page import verdict
    from flexnfv.files import refuse_existing
    from flexnfv.spec import with_pairs
    from flexnfv.terminal import console

    refuse_existing(out)
    spec = bundle if drop_cost is None else with_pairs(bundle, {"drop_cost": f"{drop_cost:g}"})
    found = explaining.explain(spec, trace, chain, against, peak=peak_rate(peak), seed=seed)
    explaining.write(found, out)
    console().print(verdict(found))
    console().print(f"page: {out}", soft_wrap=True)


COMMAND = explain
