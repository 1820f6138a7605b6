"""Traces: the offered rate over time, from files, captures, data sets and synthetic families."""

from flexnfv.traces.catalogue import as_trace_set, load_trace
from flexnfv.traces.splits import split, split_by_time
from flexnfv.traces.trace import Trace, gbps_to_pps, pps_to_gbps
from flexnfv.traces.traceset import TraceSet

__all__ = [
    "Trace",
    "TraceSet",
    "as_trace_set",
    "gbps_to_pps",
    "load_trace",
    "pps_to_gbps",
    "split",
    "split_by_time",
]
