"""`flexnfv bench`: compare policies on traces."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from flexnfv import terminal
from flexnfv.errors import InputError


def bench(
    policies: tuple[str, ...] = ("static", "watermark", "target_tracking"),
    *,
    out: Path,
    chain: str = "edge",
    traces: tuple[str, ...] = ("test",),
    seeds: int = 5,
    backend: str = "model",
    scale: str | None = None,
    options: tuple[str, ...] = (),
    baseline: str = "watermark",
    sweep: bool = True,
    drop_costs: tuple[float, ...] | None = None,
    parked_weight: float | None = None,
    rules: tuple[str, ...] | None = None,
    peak: str | None = None,
    compress: float = 1.0,
    segment: str | None = None,
    processes: int = 1,
    ray: tuple[str, ...] | None = None,
    json: bool = False,
) -> int | None:
    """Compare policies on traces: a table here, records and a report in a directory.

    An interrupted run is continued by the same command.

    Args:
        policies: policies as [NAME=]SPEC: a registered name, name:key=value,key=value, the path of
            a bundle, or a quoted pattern such as 'ppo=run/seed*/best.onnx' whose bundles are the
            training seeds of one policy.
        out: directory for records, report.html, overview.png and result.json.
        chain: name of a shipped chain, or the path of a chain file (TOML).
        traces: a split (train, validation, test), trace names, or paths of traces.
        seeds: evaluation seeds per policy and trace.
        backend: model, dpdk, or the name of an installed one.
        scale: packet rates of a live chain relative to the chain's own, such as 1/20.
        options: further options of the backend as KEY=VALUE (dpdk: spares=2).
        baseline: the policy that the others are compared with; added if it is not among them.
        sweep: run every rule over its own parameters too and every bundle over its drop cost, for
            the comparison of costs, drop targets and fronts.
        drop_costs: what losing one interval's mean traffic costs, in core intervals; 30, 100, 300,
            1000 and 3000 if not given.
        parked_weight: cost of a parked core relative to a running one; the chain's if not given.
        rules: policies whose best setting is the rule that the others are compared with; those of
            the policies named that have a sweep, if not given.
        peak: packets/s that each trace's highest interval is scaled to, or "keep"; the chain's
            peak_pps if not given.
        compress: time compression of trace files: 60 turns a sample a minute into one a second.
        segment: START:END, seconds of the compressed time to cut trace files to.
        processes: processes of this machine that share the work.
        ray: run on Ray: without a value on this machine's cores, else on the cluster at that
            address.
        json: print the result as JSON, and nothing else, on standard output.
    """
    from flexnfv.evaluation import benchmark, overview, report, tables
    from flexnfv.evaluation.cost import DROP_COSTS
    from flexnfv.options import backend_options

    address, cut = _ray(ray), seconds(segment)
    begun = False

    def started() -> None:
        nonlocal begun
        begun = True

    try:
        result = benchmark(
            policies,
            chain,
            traces,
            seeds,
            baseline,
            sweep,
            out,
            backend=backend,
            options=backend_options(scale, options),
            peak=peak_rate(peak),
            compress=compress,
            segment=cut,
            processes=processes,
            ray=address,
            drop_costs=DROP_COSTS if drop_costs is None else drop_costs,
            parked_weight=parked_weight,
            rules=rules,
            started=started,
        )
        for name, write in (
            ("result.json", result.write_json),
            ("report.html", partial(report.write, result)),
            ("overview.png", partial(overview.write, result)),
        ):
            if not (out / name).exists():
                write(out / name)
    except KeyboardInterrupt as stop:
        if not begun:
            raise
        command = shlex.join(["flexnfv", *sys.argv[1:]])
        raise type(stop)(f"to carry on: {command}") from None
    if json:
        print(result.to_json())
        return None
    console = terminal.console()
    console.print(tables.tables(result))
    console.print(f"report: {out / 'report.html'}", soft_wrap=True)
    return None


def peak_rate(text: str | None) -> float | Literal["keep"] | None:
    """What `--peak` asks for.

    Raises:
        InputError: neither a number nor "keep".
    """
    if text is None:
        return None
    if text == "keep":
        return "keep"
    return _number("--peak", text, 'packets/s (20e6) or "keep"')


def seconds(text: str | None) -> tuple[float, float] | None:
    """The two ends of a `--segment`.

    Raises:
        InputError: it is not START:END.
    """
    if text is None:
        return None
    start, mark, end = text.partition(":")
    if not mark:
        raise InputError(f"{text!r} is not START:END", where="--segment", fix="e.g. 0:1800")
    fix = "give START:END in seconds"
    return _number("--segment", start or "0", fix), _number("--segment", end, fix)


def _number(option: str, text: str, fix: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{text!r} is no number", where=option, fix=fix) from None


def _ray(values: Sequence[str] | None) -> str | None:
    if values is None:
        return None
    if len(values) > 1:
        raise InputError(
            f"takes one address, not {len(values)}", where="--ray", fix="give one or none"
        )
    return values[0] if values else "local"


COMMAND = bench
