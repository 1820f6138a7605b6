"""Traces: the offered rate over time, from files, captures, data sets and synthetic families."""

from flexnfv.traces.trace import Trace, gbps_to_pps, pps_to_gbps

__all__ = ["Trace", "gbps_to_pps", "pps_to_gbps"]
