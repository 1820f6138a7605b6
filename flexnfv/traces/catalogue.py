"""Traces by name or path.

A *trace spec* is `NAME` or `NAME?key=value&key=value`. NAME is one of

==========================  ==================================================================
a path                      a rate series (`.csv`, `.csv.gz`, `.parquet`) or a capture
                            (`.pcap`, `.pcapng`, `.cap`, each also with `.gz`)
`synthetic/FAMILY`          a family of `flexnfv.traces.synthetic`; its parameters are keys
`datacenter/alibaba2018`    real demand (extra `traces`)
`train|validation|test/…`   a trace of the default splits, as `TraceSet.names` lists them
==========================  ==================================================================

and every trace takes these keys, applied in this order whatever the order they are written in:

================  ============================================================================
`packet_bytes`    mean packet size (files of rates only, and needed by those of bits/s)
`start`, `end`    cut, seconds of the original time
`compress`        time compression factor
`step`            resample to this many seconds; for a capture, the step that it is counted in
`noise`           sigma of multiplicative noise; `noise_seed` is its seed (default 0)
`scale`           factor on the rate
`peak`            scale to this peak, packets/s
================  ============================================================================

Examples: `synthetic/flash_crowd?shock=3&seed=7&peak=20e6`, `link.csv?compress=300&peak=2e7`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from flexnfv.errors import InputError
from flexnfv.suggest import known
from flexnfv.traces import datacenter, files, pcap, splits, synthetic
from flexnfv.traces.trace import Trace, check_amount
from flexnfv.traces.traceset import TraceSet, peak_range

_TRANSFORMS: Final = ("start", "end", "compress", "step", "noise", "noise_seed", "scale", "peak")
_DATASETS: Final[dict[str, Callable[[], Trace]]] = {
    "datacenter/alibaba2018": datacenter.alibaba2018
}


def load_trace(spec: str | Path | Trace) -> Trace:
    """The trace that a spec names (see the module); a `Trace` is returned as it is.

    Raises:
        InputError: no such file, name, key or value; or whatever reading and transforming raise.
    """
    if isinstance(spec, Trace):
        return spec
    name, options = _parse(spec)
    if name.startswith("synthetic/"):
        trace = _synthetic(name, options)
    elif name in _DATASETS:
        _check_keys(name, options, ())
        trace = _DATASETS[name]()
    elif name.partition("/")[0] in splits.NAMES and not Path(name).exists():
        _check_keys(name, options, ())
        trace = splits.split(name.partition("/")[0]).get(name)
    else:
        trace = _file(name, options)
    trace = _transformed(trace, options, str(spec))
    query = str(spec).partition("?")[2]
    return trace.renamed(f"{trace.name}?{query}") if options and query else trace


def as_trace_set(
    traces: TraceSet | Trace | str | Path | Iterable[str | Path | Trace],
    *,
    peak_pps: float | tuple[float, float] | None = None,
    step_s: float | None = None,
) -> TraceSet:
    """What users give for traffic as a `TraceSet`.

    Args:
        traces: a set; the name of a default split; a spec; or any number of specs and traces.
        peak_pps: for a split, the peak of its traces (default 20 Mpps); for specs and traces, the
            peak or range of peaks that each is scaled to; None leaves them as they are. A set
            takes it as `TraceSet.at` does.
        step_s: seconds of one interval; None keeps that of a set, and is 1 s for the rest.

    Raises:
        InputError: see `load_trace` and `TraceSet`.
    """
    if isinstance(traces, TraceSet):
        return traces.at(step_s=step_s, peak_pps=peak_pps)
    step = 1.0 if step_s is None else step_s
    peaks = peak_range(peak_pps)
    if isinstance(traces, str) and traces in splits.NAMES:
        return _split(traces, peaks, step)
    given = [traces] if isinstance(traces, (str, Path, Trace)) else list(traces)
    loaded: list[Trace] = []
    for item in given:
        if isinstance(item, str) and item in splits.NAMES:
            loaded += _split(item, peaks, step).traces
        else:
            loaded.append(load_trace(item))
    name = ", ".join(str(getattr(item, "name", item)) for item in given)
    return TraceSet(name, tuple(loaded), step, peaks)


def _split(name: str, peaks: tuple[float, float] | None, step_s: float) -> TraceSet:
    if peaks is None:
        return splits.split(name, step_s=step_s)
    chosen = splits.split(name, peak_pps=peaks[1], step_s=step_s)
    return chosen if peaks[0] == peaks[1] else chosen.at(peak_pps=peaks)


def _parse(spec: str | Path) -> tuple[str, dict[str, str]]:
    text = str(spec)
    name, mark, query = text.partition("?")
    if not mark or Path(text).exists():
        return text, {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise InputError(
            f"{query!r} is not of the form key=value&key=value", where=text, fix="mend the spec"
        ) from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise InputError("a key stands twice", where=text, fix="give every key once")
    return name, options


def _check_keys(name: str, options: Mapping[str, str], own: Iterable[str]) -> None:
    for key in options:
        known(key, [*own, *_TRANSFORMS], kind="key", where=name)


def _number(where: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{key} is {value!r}", where=where, fix="give a number") from None


def _whole(where: str, key: str, value: str) -> int:
    number = _number(where, key, value)
    if not number.is_integer() or number < 0:
        raise InputError(
            f"{key} is {value!r}", where=where, fix="give a whole number that is not negative"
        )
    return int(number)


def _synthetic(name: str, options: Mapping[str, str]) -> Trace:
    family = known(name.removeprefix("synthetic/"), synthetic.FAMILIES, kind="synthetic family")
    generate = synthetic.FAMILIES[family]
    parameters = inspect.signature(generate).parameters
    _check_keys(name, options, parameters)
    arguments: dict[str, Any] = {}
    for key in options.keys() & parameters.keys():
        default, value = parameters[key].default, options[key]
        if isinstance(default, tuple):
            arguments[key] = [_number(name, key, part) for part in value.split(",")]
        elif isinstance(default, int):
            arguments[key] = _whole(name, key, value)
        else:
            arguments[key] = _number(name, key, value)
    trace = generate(**arguments)
    return trace.renamed(family)


def _file(name: str, options: Mapping[str, str]) -> Trace:
    path = Path(name)
    if files.has_suffix(path, pcap.PCAP_SUFFIXES):
        _check_keys(name, options, ())
        step_s = _number(name, "step", options.get("step", "1"))
        compress = _number(name, "compress", options.get("compress", "1"))
        check_amount("step", step_s, where=name)
        check_amount("compress", compress, where=name)
        return pcap.read_packets(path).trace(step_s * compress)
    _check_keys(name, options, ("packet_bytes",))
    size = options.get("packet_bytes")
    if files.has_suffix(path, files.CSV_SUFFIXES + files.PARQUET_SUFFIXES):
        return files.read(path, None if size is None else _number(name, "packet_bytes", size))
    raise InputError(
        "is neither a trace file nor a name",
        where=name,
        fix="give a .csv, .parquet, .pcap or .pcapng file, synthetic/FAMILY, "
        + ", ".join([*_DATASETS, *splits.NAMES]),
    )


def _transformed(trace: Trace, options: Mapping[str, str], where: str) -> Trace:
    given = {key: _number(where, key, options[key]) for key in _TRANSFORMS if key in options}
    if "start" in given or "end" in given:
        trace = trace.cut(given.get("start", 0.0), given.get("end"))
    if "compress" in given:
        trace = trace.compress(given["compress"])
    if "step" in given:
        trace = trace.resample(given["step"])
    if "noise" in given:
        seed = _whole(where, "noise_seed", options.get("noise_seed", "0"))
        trace = trace.noise(given["noise"], seed)
    if "scale" in given:
        trace = trace.scale(given["scale"])
    if "peak" in given:
        trace = trace.scale_to_peak(given["peak"])
    return trace
