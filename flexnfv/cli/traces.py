"""`flexnfv traces`: what traffic there is, how it looks, and how to bring one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from flexnfv import terminal
from flexnfv.errors import InputError
from flexnfv.files import new_file, refuse_existing
from flexnfv.terminal import Listing

if TYPE_CHECKING:
    from flexnfv.traces import Trace

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 72
_ANY_BYTES = 1500.0
"""Packet size of series of bits/s where only the shape counts."""
_PRIOR = {
    "prior": "a new series for every training episode, of all kinds of links",
    "prior-validation": "64 fixed series of it, prior-validation/0 and so on",
    "prior-test": "64 others",
}


def list_traces() -> None:
    """List the synthetic families, data sets and default splits."""
    import inspect

    from flexnfv.traces import datacenter, split, splits, synthetic

    families = []
    for name, family in synthetic.FAMILIES.items():
        summary = (inspect.getdoc(family) or "").partition("\n\n")[0].replace("\n", " ")
        keys = " ".join(inspect.signature(family).parameters)
        families.append((f"synthetic/{name}", summary, keys))
    state = "" if datacenter.installed() else " (not installed: pip install 'flexnfv[traces]')"
    families.append(("datacenter/alibaba2018", f"Demand of a data centre, 7.8 days{state}", ""))
    chosen = [split(name) for name in splits.PARTS]
    members = [one.get(name) for one in chosen for name in one.names]
    rows = [
        (
            trace.name,
            trace.family,
            f"{trace.duration_s:g}",
            f"{trace.mean_pps / 1e6:.2f}",
            f"{trace.peak_pps / 1e6:.2f}",
        )
        for trace in members
    ]
    out = terminal.console()
    prose = ("what", "keys")
    out.print(Listing(("name", *prose), families, prose=prose, title="Families and data sets"))
    out.print()
    heading = ("name", "family", "seconds", "mean Mpps", "peak Mpps")
    out.print(Listing(heading, rows, title="Default splits"))
    out.print()
    out.print(
        Listing(
            ("name", "what"),
            [(name, _PRIOR[name]) for name in splits.PRIOR],
            prose=("what",),
            title="The wide prior (docs/traffic.md)",
        )
    )
    out.print()
    out.print(
        "Keys of every trace: start end compress step noise noise_seed scale peak, as in "
        "synthetic/flash_crowd?shock=3&seed=7&peak=20e6 or link.csv?compress=300&peak=20e6"
    )


def show(name: Annotated[str, tyro.conf.Positional], *, out: Path | None = None) -> None:
    """Show one trace: its length, its rates and its shape over time.

    Args:
        name: a path or a name, with keys (see `flexnfv traces list`).
        out: draw a plot to this file (.png, .svg or .pdf) instead of a line in the terminal.
    """
    from rich.console import Console
    from rich.markup import escape

    from flexnfv.traces import load_trace

    if out is not None:
        refuse_existing(out)
    trace = load_trace(name)
    if out is not None:
        _plot(trace, out)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(trace.name)}[/bold]  {escape(summary(trace))}")
    for line in _capture_lines(name):
        console.print(escape(line))
    console.print(sparkline(trace) if out is None else f"plot: {escape(str(out))}")


def import_trace(
    file: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    step: float | None = None,
    peak: float | None = None,
    compress: float | None = None,
    packet_bytes: float | None = None,
) -> None:
    """Convert a rate series or a capture to a trace file.

    Args:
        file: CSV (t_s,pps or t_s,bps), Parquet, pcap or pcapng; CSV and captures also as .gz.
        out: file to create, .parquet or .csv.
        step: seconds of a sample; a capture is counted in steps of 1 s without it.
        peak: scale to this peak, packets/s.
        compress: time compression factor.
        packet_bytes: mean packet size in bytes; a series of bits/s needs it.
    """
    from flexnfv.traces import files, load_trace

    refuse_existing(out)
    given = {"packet_bytes": packet_bytes, "compress": compress, "step": step, "peak": peak}
    query = "&".join(f"{key}={value!r}" for key, value in given.items() if value is not None)
    if "?" in file.name:
        raise InputError(
            "the options of import stand apart from the path", where=str(file), fix="use --step 1"
        )
    trace = load_trace(f"{file}?{query}" if query else file)
    files.write(trace, out)
    print(f"{out}: {summary(trace)}")


def coverage(
    traces: tyro.conf.Positional[tuple[str, ...]],
    *,
    draws: int = 2000,
    intervals: int = 3000,
    seed: int = 0,
) -> int:
    """Show where series lie among the draws of the wide prior, statistic by statistic.

    The exit code is 1 if any lies outside the prior's 2 to 98 % range.

    Args:
        traces: directories of rate series, files, or names (see `flexnfv traces list`).
        draws: of the prior, to compare with.
        intervals: length of a draw; of a series so many first samples, one an interval.
        seed: of the draws.
    """
    from flexnfv.evaluation.progress import bar
    from flexnfv.traces.coverage import RANGE, STATISTICS
    from flexnfv.traces.coverage import coverage as compare

    found = _series(traces)
    with bar("draws", draws, unit="draws") as tick:
        result = compare(
            [trace.name for trace in found],
            [trace.rate_pps[:intervals] for trace in found],
            count=draws,
            intervals=intervals,
            seed=seed,
            tick=tick,
        )
    rows = [
        (name, *(f"{at:.1f}{'' if ok else '!'}" for at, ok in zip(places, inside, strict=True)))
        for name, places, inside in zip(
            result.names, result.percentiles, result.inside, strict=True
        )
    ]
    rows += [
        (f"prior's {share:g} %", *(f"{value:.3g}" for value in values))
        for share, values in zip(RANGE, result.limits, strict=True)
    ]
    out = terminal.console()
    out.print(Listing(("series", *STATISTICS), rows, title=f"Percentiles in {draws:,} draws"))
    outside = int((~result.inside).sum())
    total = result.inside.size
    what = (
        f"outside it (!) {outside} of {total} values" if outside else f"all {total} values within"
    )
    out.print(f"{len(found)} series; the prior's range is {RANGE[0]:g} to {RANGE[1]:g} %: {what}")
    return int(outside > 0)


def _series(names: tuple[str, ...]) -> list[Trace]:
    """The traces of files, directories and names; of bits/s only the shape matters."""
    from flexnfv.traces import files, load_trace

    kinds = files.CSV_SUFFIXES + files.PARQUET_SUFFIXES
    found = []
    for name in names:
        path = Path(name)
        members = [path]
        if path.is_dir():
            members = sorted(file for file in path.iterdir() if files.has_suffix(file, kinds))
            if not members:
                raise InputError("holds no rate series", where=name, fix="name files")
        for member in members:
            rates = member.is_file() and files.has_suffix(member, kinds)
            found.append(files.read(member, _ANY_BYTES) if rates else load_trace(name))
    if not found:
        raise InputError("no series given", where="coverage", fix="name files or a directory")
    return found


def summary(trace: Trace) -> str:
    """A trace's length, rates and packet size in one line."""
    size = "" if trace.packet_bytes is None else f", {trace.packet_bytes:.0f}-byte packets"
    return (
        f"{trace.family}, {len(trace)} samples of {trace.step_s:g} s = {trace.duration_s:g} s, "
        f"mean {_rate(trace.mean_pps)}, peak {_rate(trace.peak_pps)}{size}"
    )


def sparkline(trace: Trace, columns: int = _COLUMNS) -> str:
    """The shape of a trace in one line, from 0 to its peak; a bar is the mean of its time."""
    columns = min(columns, len(trace))
    bars = trace.rates(trace.duration_s / columns)
    top = float(bars.max()) or 1.0
    levels = np.minimum((bars / top * len(_BARS)).astype(int), len(_BARS) - 1)
    return "".join(_BARS[level] for level in levels)


def _rate(pps: float) -> str:
    for unit, factor in (("Mpps", 1e6), ("kpps", 1e3)):
        if pps >= factor:
            return f"{pps / factor:.4g} {unit}"
    return f"{pps:.4g} pps"


def _capture_lines(name: str) -> list[str]:
    """What only a capture has: packets and flows."""
    from flexnfv.spec import trace_spec
    from flexnfv.traces import files, pcap

    path = Path(trace_spec(name).head)
    if not files.has_suffix(path, pcap.PCAP_SUFFIXES):
        return []
    packets = pcap.read_packets(path)
    lines = [
        f"{packets.count} packets in {packets.duration_s:.3f} s, {packets.flow_count} two-way "
        f"flows (the largest has {packets.top_flow_share:.0%}), mean {packets.mean_bytes:.0f} bytes"
    ]
    if packets.reordered:
        lines.append(f"{packets.reordered} timestamps step back; packets are sorted by time")
    return lines


def _plot(trace: Trace, out: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "plots need matplotlib", where=str(out), fix="pip install 'flexnfv[report]'"
        ) from error
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.stairs(trace.rate_pps / 1e6, np.arange(len(trace) + 1) * trace.step_s, baseline=None)
    axes.set(title=trace.name, xlabel="seconds", ylabel="Mpps", ylim=(0, None))
    axes.margins(x=0)
    kinds = figure.canvas.get_supported_filetypes()
    if out.suffix.removeprefix(".").lower() not in kinds:
        raise InputError(
            f"unknown kind of picture {out.suffix!r}", where=str(out), fix="name it .png or .svg"
        )
    with new_file(out) as temporary:
        figure.savefig(temporary, dpi=120)


COMMAND = {
    "list": list_traces,
    "show": show,
    "import": import_trace,
    "coverage": coverage,
}
