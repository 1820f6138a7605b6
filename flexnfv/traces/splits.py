"""Train, validation and test traffic without overlap, usable without any download.

Synthetic traces of different splits have different seeds and parameters, drawn from the same
ranges. A measured trace is cut by time: the first 60 % train, the next 20 % validate, the last
20 % test. Training segments are drawn at random; validation and test are fixed lists of traces, so
that every policy meets the same ones and differences are paired.

The wide prior (`flexnfv.traces.prior`) is split likewise: `prior` draws a new series for every
training segment, `prior-validation` and `prior-test` are fixed lists of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from flexnfv.suggest import known
from flexnfv.traces import datacenter, synthetic
from flexnfv.traces.fresh import FreshSet, listed
from flexnfv.traces.trace import Trace
from flexnfv.traces.traceset import TraceSet

DEFAULT_PEAK_PPS: Final = 20e6
"""Peak of the traces, packets/s: that of the shipped chain `edge.toml`."""

TRAIN_PEAKS: Final = (0.3, 1.2)
"""Lowest and highest peak of a training segment, as shares of the peak of validation and test."""


class _Split(NamedTuple):
    """Of a split: its seed, traces per synthetic family, their seconds, its share of the time."""

    seed: int
    per_family: int
    duration_s: float
    time_range: tuple[float, float]


_SPLITS: Final = {
    "train": _Split(seed=1, per_family=12, duration_s=4096.0, time_range=(0.0, 0.6)),
    "validation": _Split(seed=2, per_family=2, duration_s=600.0, time_range=(0.6, 0.8)),
    "test": _Split(seed=3, per_family=2, duration_s=600.0, time_range=(0.8, 1.0)),
}
PARTS: Final = tuple(_SPLITS)
"""The splits that hold every synthetic family and parts of a measured trace."""

_PRIOR_SEEDS: Final = {"prior": 1, "prior-validation": 2, "prior-test": 3}
_PRIOR_COUNT: Final = 64
PRIOR: Final = tuple(_PRIOR_SEEDS)
"""The splits of the wide prior."""

NAMES: Final = PARTS + PRIOR

_CONSTANT_SHARES: Final = (0.35, 0.7)
"""Levels of the constant validation and test traces: at the peak, all would be the same one."""

_ALIBABA_COMPRESSIONS: Final = (10.0, 60.0)
"""A sample a second, and a day in 24 minutes."""


@lru_cache(maxsize=32)
def split(
    name: str,
    *,
    peak_pps: float = DEFAULT_PEAK_PPS,
    step_s: float = 1.0,
    measured: bool | None = None,
) -> TraceSet:
    """One of the default sets; the same arguments always give the same bytes.

    Args:
        name: `train`, `validation` or `test`, or of the wide prior `prior` (to train on),
            `prior-validation` or `prior-test`.
        peak_pps: peak of the traces, packets/s; training segments peak at `TRAIN_PEAKS` of it.
        step_s: seconds of one interval.
        measured: whether to add the Alibaba trace; None adds it where the extra `traces` is
            installed. The prior has none.

    Raises:
        InputError: an unknown name, a peak or step that is not positive, or a measured trace that
            is asked for and not installed.
    """
    known(name, NAMES, kind="split")
    training = (TRAIN_PEAKS[0] * peak_pps, TRAIN_PEAKS[1] * peak_pps)
    if name in PRIOR:
        series = listed(name, _PRIOR_SEEDS[name], _PRIOR_COUNT, step_s)
        if name == "prior":
            return FreshSet(name, series, step_s, training)
        return TraceSet(name, series, step_s, (peak_pps, peak_pps))
    if measured is None:
        measured = datacenter.installed()
    traces = _synthetic(name) + (_alibaba(name) if measured else [])
    if name == "train":
        return TraceSet(name, tuple(traces), step_s, training)
    scaled = [trace.resample(step_s).scale_to_peak(_share(trace) * peak_pps) for trace in traces]
    return TraceSet(name, tuple(scaled), step_s)


def split_by_time(trace: Trace, shares: Sequence[float] = (0.6, 0.2, 0.2)) -> dict[str, Trace]:
    """Cuts one's own trace into `train`, `validation` and `test`, in this order of time.

    Raises:
        InputError: the trace is too short for three parts.
    """
    ends = np.cumsum([0.0, *shares]) * trace.duration_s
    return {
        name: trace.cut(ends[place], ends[place + 1]).renamed(f"{name}/{trace.name}")
        for place, name in enumerate(PARTS)
    }


def _synthetic(name: str) -> list[Trace]:
    plan = _SPLITS[name]
    traces = []
    for place, (family, draw) in enumerate(_DRAWS.items()):
        for number in range(plan.per_family):
            rng = np.random.default_rng([plan.seed, place, number])
            trace = draw(rng, plan.duration_s)
            traces.append(trace.renamed(f"{name}/{family}-{number}"))
    return traces


def _alibaba(name: str) -> list[Trace]:
    whole = datacenter.alibaba2018()
    first, last = (share * whole.duration_s for share in _SPLITS[name].time_range)
    part = whole.cut(first, last)
    traces = []
    for compression in _ALIBABA_COMPRESSIONS:
        trace = part.compress(compression)
        label = f"{name}/alibaba2018-x{compression:g}"
        if name == "train":
            traces.append(trace.renamed(label))
            continue
        length = _SPLITS[name].duration_s
        for number in range(_SPLITS[name].per_family):
            start = (trace.duration_s - length) * number / (_SPLITS[name].per_family - 1)
            traces.append(trace.cut(start, start + length).renamed(f"{label}-{number}"))
    return traces


def _share(trace: Trace) -> float:
    if trace.family != "constant":
        return 1.0
    return _CONSTANT_SHARES[int(trace.name.rpartition("-")[2]) % len(_CONSTANT_SHARES)]


# Each function below draws one trace of a family. Its amplitude is free: the sets scale it.


def _constant(rng: np.random.Generator, duration_s: float) -> Trace:
    trace = synthetic.constant(duration_s=duration_s)
    return trace.noise(rng.uniform(0.0, 0.05), _seed(rng))


def _diurnal(rng: np.random.Generator, duration_s: float) -> Trace:
    return synthetic.diurnal(
        trough_ratio=rng.uniform(0.25, 0.6),
        period_s=rng.uniform(300.0, 1200.0),
        phase=rng.uniform(0.0, 1.0),
        noise_cv=rng.uniform(0.02, 0.1),
        hurst=rng.uniform(0.7, 0.9),
        duration_s=duration_s,
        seed=_seed(rng),
    )


def _flash_crowd(rng: np.random.Generator, duration_s: float) -> Trace:
    return synthetic.flash_crowd(
        shock=rng.uniform(2.0, 6.5),
        ramp_s=_log_uniform(rng, 4.0, 60.0),
        decay=rng.uniform(2.0, 8.0),
        gap_s=rng.uniform(100.0, 500.0),
        noise_cv=rng.uniform(0.02, 0.1),
        hurst=rng.uniform(0.7, 0.9),
        duration_s=duration_s,
        seed=_seed(rng),
    )


def _on_off(rng: np.random.Generator, duration_s: float) -> Trace:
    on_s = _log_uniform(rng, 2.0, 20.0)
    return synthetic.on_off(
        sources=int(rng.integers(8, 65)),
        on_s=on_s,
        off_s=on_s * rng.uniform(1.0, 4.0),
        alpha_on=rng.uniform(1.4, 1.9),
        alpha_off=rng.uniform(1.1, 1.5),
        duration_s=duration_s,
        seed=_seed(rng),
    )


def _ramp(rng: np.random.Generator, duration_s: float) -> Trace:
    trace = synthetic.ramp(
        low_pps=rng.uniform(0.05, 0.6),
        high_pps=1.0,
        period_s=_log_uniform(rng, 40.0, 600.0),
        duration_s=duration_s,
    )
    return trace.noise(rng.uniform(0.0, 0.04), _seed(rng))


def _self_similar(rng: np.random.Generator, duration_s: float) -> Trace:
    return synthetic.self_similar(
        cv=rng.uniform(0.1, 0.6),
        hurst=rng.uniform(0.7, 0.9),
        duration_s=duration_s,
        seed=_seed(rng),
    )


def _step(rng: np.random.Generator, duration_s: float) -> Trace:
    mean_stay_s = _log_uniform(rng, 15.0, 120.0)
    stays = 3.0 + rng.exponential(mean_stay_s, math.ceil(duration_s / 3.0))
    jumps = np.cumsum(stays)
    jumps = jumps[jumps < duration_s]
    levels = rng.uniform(0.1, 1.0, jumps.size + 1)
    trace = synthetic.step(levels_pps=levels.tolist(), at_s=jumps.tolist(), duration_s=duration_s)
    return trace.noise(rng.uniform(0.0, 0.04), _seed(rng))


_DRAWS: Final[dict[str, Callable[[np.random.Generator, float], Trace]]] = {
    "constant": _constant,
    "diurnal": _diurnal,
    "flash_crowd": _flash_crowd,
    "on_off": _on_off,
    "ramp": _ramp,
    "self_similar": _self_similar,
    "step": _step,
}


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
