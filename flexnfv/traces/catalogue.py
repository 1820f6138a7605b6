"""Traces by name or path.

A *trace spec* is `NAME` or `NAME?key=value&key=value`. NAME is one of

==========================  ==================================================================
a path                      a rate series (`.csv`, `.csv.gz`, `.parquet`) or a capture
                            (`.pcap`, `.pcapng`, `.cap`, each also with `.gz`)
`synthetic/FAMILY`          a family of `flexnfv.traces.synthetic`; its parameters are keys
`datacenter/alibaba2018`    real demand (extra `traces`)
`train|validation|test/…`   a trace of the default splits, as `TraceSet.names` lists them
`prior-test/…`              a series of the wide prior, 0 to 63 (also `prior-validation/…`)
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

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from flexnfv.errors import InputError
from flexnfv.spec import Spec, UnfitValue, Whole, annotated, convert, trace_spec
from flexnfv.suggest import known
from flexnfv.traces import datacenter, files, pcap, splits, synthetic
from flexnfv.traces.trace import Trace, check_amount
from flexnfv.traces.traceset import TraceSet, peak_range

_TRANSFORMS: Final[dict[str, Any]] = {
    "start": float,
    "end": float,
    "compress": float,
    "step": float,
    "noise": float,
    "noise_seed": Whole,
    "scale": float,
    "peak": float,
}
"""Keys that every trace takes, and the type of each."""
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
    parts = trace_spec(str(spec))
    name = parts.head
    split, _, _ = name.partition("/")
    if name.startswith("synthetic/"):
        trace = _synthetic(parts)
    elif name in _DATASETS:
        _arguments(parts, {})
        trace = _DATASETS[name]()
    elif split in splits.NAMES and not Path(name).exists():
        _arguments(parts, {})
        trace = splits.split(split).get(name)
    else:
        trace = _file(parts)
    query = "&".join(f"{key}={value}" for key, value in parts.pairs.items())
    trace = _transformed(trace, parts)
    return trace.renamed(f"{trace.name}?{query}") if query else trace


def as_trace_set(
    traces: TraceSet | Trace | str | Path | Iterable[str | Path | Trace],
    *,
    peak_pps: float | tuple[float, float] | None = None,
    step_s: float | None = None,
) -> TraceSet:
    """What users give for traffic as a `TraceSet`.

    Args:
        traces: a set; the name of a default split; a spec; or any number of specs and traces.
            Only alone does `prior` draw every segment anew; among others it is 64 fixed series.
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


def _arguments(spec: Spec, accepted: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the keys that `accepted` annotates; every other key must be a transformation's."""
    values: dict[str, Any] = {}
    for key, text in spec.pairs.items():
        known(key, {**accepted, **_TRANSFORMS}, kind="key", where=spec.head)
        if key in accepted:
            try:
                values[key] = convert(text, accepted[key])
            except UnfitValue as error:
                raise InputError(
                    f"{key} is {error.text!r}", where=spec.head, fix=f"give {error.words}"
                ) from None
    return values


def _synthetic(spec: Spec) -> Trace:
    family = known(
        spec.head.removeprefix("synthetic/"), synthetic.FAMILIES, kind="synthetic family"
    )
    generate = synthetic.FAMILIES[family]
    return generate(**_arguments(spec, annotated(generate))).renamed(family)


def _file(spec: Spec) -> Trace:
    path = Path(spec.head)
    if files.has_suffix(path, pcap.PCAP_SUFFIXES):
        keys = _arguments(spec, _TRANSFORMS)
        step_s, compress = keys.get("step", 1.0), keys.get("compress", 1.0)
        check_amount("step", step_s, where=spec.head)
        check_amount("compress", compress, where=spec.head)
        return pcap.read_packets(path).trace(step_s * compress)
    keys = _arguments(spec, {"packet_bytes": float})
    if files.has_suffix(path, files.CSV_SUFFIXES + files.PARQUET_SUFFIXES):
        return files.read(path, keys.get("packet_bytes"))
    raise InputError(
        "is neither a trace file nor a name",
        where=spec.head,
        fix="give a .csv, .parquet, .pcap or .pcapng file, synthetic/FAMILY, "
        + ", ".join([*_DATASETS, *splits.NAMES]),
    )


def _transformed(trace: Trace, spec: Spec) -> Trace:
    given = _arguments(
        Spec(
            spec.text, spec.text, {key: spec.pairs[key] for key in _TRANSFORMS if key in spec.pairs}
        ),
        _TRANSFORMS,
    )
    if "start" in given or "end" in given:
        trace = trace.cut(given.get("start", 0.0), given.get("end"))
    if "compress" in given:
        trace = trace.compress(given["compress"])
    if "step" in given:
        trace = trace.resample(given["step"])
    if "noise" in given:
        trace = trace.noise(given["noise"], given.get("noise_seed", 0))
    if "scale" in given:
        trace = trace.scale(given["scale"])
    if "peak" in given:
        trace = trace.scale_to_peak(given["peak"])
    return trace
