"""The comparison at the end of a training, whatever the recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from flexnfv import terminal
from flexnfv.chain import load_chain
from flexnfv.train.arguments import trace_set
from flexnfv.train.run import Run


def compare(
    run: Run,
    learned: str,
    bundles: Sequence[Path],
    rules: Sequence[str],
    *,
    chain: str,
    test: Sequence[str],
    seeds: int,
    alone: bool,
) -> None:
    """Benchmark the bundles of a run beside rules; print the tables and write the report.

    Args:
        run: whose directory takes records and report.
        learned: what the tables call the policy.
        bundles: one for each training seed.
        rules: names of registered policies; the law is the baseline.
        chain: shipped name or path.
        test: traffic that nobody trained on.
        seeds: evaluation seeds.
        alone: whether this process does all of the work.
    """
    from flexnfv.evaluation import benchmark, report, tables

    loaded = load_chain(chain)
    result = benchmark(
        {learned: [str(bundle) for bundle in bundles], **{rule: rule for rule in rules}},
        loaded,
        trace_set(test, loaded),
        seeds=seeds,
        baseline="watermark",
        sweep=True,
        out=run.benchmark,
        processes=1 if alone else len(os.sched_getaffinity(0)),
    )
    terminal.console().print(tables.tables(result))
    report.write(result, run.benchmark / "report.html")
    print(f"report: {run.benchmark / 'report.html'}")
