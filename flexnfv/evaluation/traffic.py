"""The traces of a grid: a split, names, files; each at the chain's interval and peak."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.traces import Trace, TraceSet, as_trace_set, load_trace
from flexnfv.traces.splits import NAMES as SPLITS

Traffic = str | Path | Trace | TraceSet | Iterable[str | Path | Trace]
Peak = float | Literal["keep"] | None
"""Packets/s, the rates as they are, or the chain's own peak."""

FEWEST_INTERVALS: Final = 2
"""A backend's first interval runs without a decision: with one there is nothing to evaluate."""


def resolve(
    traffic: Traffic,
    chain: ServiceChain,
    *,
    peak: Peak = None,
    compress: float = 1.0,
    segment: tuple[float, float] | None = None,
) -> tuple[Trace, ...]:
    """The traces that the traffic names, ready to run.

    Args:
        traffic: a split's name, trace names or paths, traces, or a set, which is taken as it is.
        chain: gives interval and, by default, peak.
        peak: packets/s that every trace's highest interval is scaled to; None takes the chain's
            `peak_pps`, "keep" leaves files and traces as they are.
        compress: time compression of files and traces (60: a sample a minute becomes one a second).
        segment: start and end, seconds of the compressed time, that files and traces are cut to.

    Raises:
        InputError: an unknown split or trace, two traces of one name, a trace that is too short,
            or bad values of the options.
    """
    if isinstance(traffic, TraceSet):
        return _checked([traffic.get(name) for name in traffic.names], chain)
    given = [traffic] if isinstance(traffic, (str, Path, Trace)) else list(traffic)
    wanted = chain.peak_pps if peak is None else peak
    traces: list[Trace] = []
    for item in given:
        if isinstance(item, str) and item in SPLITS:
            # A split knows its peaks: its constant traces lie below the common one.
            limit = chain.peak_pps if wanted == "keep" else wanted
            members = as_trace_set(item, peak_pps=limit, step_s=chain.interval_s)
            traces += [members.get(name) for name in members.names]
            continue
        trace = load_trace(item)
        if compress != 1.0:
            trace = trace.compress(compress)
        if segment is not None:
            trace = trace.cut(*segment)
        traces.append(trace if wanted == "keep" else _scaled(trace, wanted, chain.interval_s))
    return _checked(traces, chain)


def _scaled(trace: Trace, peak_pps: float, interval_s: float) -> Trace:
    """With its highest interval, not its highest sample, at the peak: bursts stay within it."""
    highest = float(trace.rates(interval_s).max())
    if highest == 0:
        return trace.scale_to_peak(peak_pps)  # refuses a trace without packets in one line
    return trace.scale(peak_pps / highest)


def _checked(traces: list[Trace], chain: ServiceChain) -> tuple[Trace, ...]:
    if not traces:
        raise InputError("no trace to evaluate on", where="traces", fix="name a split or a file")
    names = [trace.name for trace in traces]
    for trace in traces:
        if names.count(trace.name) > 1:
            raise InputError(
                "two traces of that name", where=f"traces, {trace.name!r}", fix="rename one"
            )
        if len(trace.rates(chain.interval_s)) < FEWEST_INTERVALS:
            raise InputError(
                f"lasts {trace.duration_s:g} s, less than {FEWEST_INTERVALS} intervals of "
                f"{chain.interval_s:g} s",
                where=f"trace {trace.name!r}",
                fix="use a longer one or compress less",
            )
    return tuple(traces)
