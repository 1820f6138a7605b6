"""The dataplane's figures as lines for people: medians, the machine, who ran where."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator

from flexnfv.chain import ServiceChain
from flexnfv.hw_backend import measure
from flexnfv.hw_backend.machine import machine
from flexnfv.hw_backend.manager_process import place

SCALE = 1 / 20
"""Of the paced figures."""
PACED_PPS = 200_000.0
"""Of one instance, in the figures of pacing."""
PACED_INSTANCES = 4


def run(
    chain: ServiceChain, what: str, *, trials: int, trial_s: float, samples: int
) -> Iterator[str]:
    """The figures of one kind (or `all`), line by line as they come.

    Args:
        chain: the chain to measure.
        what: `forwarding`, `memif`, `idle`, `latency`, `pacing`, `page` or `all`.
        trials: trials of each rate.
        trial_s: length of a trial, seconds.
        samples: launches and reruns.
    """
    yield f"machine: {machine()}"
    yield f"placement: {place(sorted(os.sched_getaffinity(0)))}"
    yield f"chain: {' -> '.join(nf.function for nf in chain.nf)}"
    wanted = ("forwarding", "memif", "idle", "latency", "pacing", "page")
    for kind in wanted if what == "all" else (what,):
        yield from _KINDS[kind](chain, trials, trial_s, samples)


def _forwarding(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    rates = measure.forwarding_pps(chain, trials=trials, trial_s=trial_s)
    yield _rates("net_null -> chain -> net_null, 64 B, not paced", rates)


def _memif(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    rates = measure.lossless_pps(chain, trials=trials, trial_s=trial_s)
    name = (
        f"generator (on the NFs' CPU where there are two), {chain.flows.count} flows -> memif -> "
        "chain -> memif, loss <= 1e-5"
    )
    yield _rates(name, rates)


def _idle(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    used = measure.idle_cpu(chain, trials=trials, trial_s=trial_s)
    yield f"idle chain on memif, all processes: {100 * statistics.median(used):.1f} % CPU"


def _latency(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    for full_load in (False, True):
        for spares in (0, 1):
            found = measure.latencies(chain, samples=samples, spares=spares, full_load=full_load)
            load = "full load, not paced" if full_load else f"half load, paced at {SCALE:g}"
            for verb, taken in (("launch", found.launch_s), ("rerun", found.rerun_s)):
                q = measure.quantiles(taken)
                yield (
                    f"{verb}, command -> first packet, {spares} spares ({found.spare} used), "
                    f"{load}, {len(taken)} samples: p50 {q['p50'] * 1e3:.3f} ms, "
                    f"p99 {q['p99'] * 1e3:.3f} ms, max {q['max'] * 1e3:.3f} ms"
                )


def _pacing(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    for share in (1.3, 0.97):
        runs = [
            measure.paced_pps(chain, PACED_INSTANCES, PACED_PPS, share, seconds=trial_s)
            for _ in range(trials)
        ]
        ratio = statistics.median(run["served_pps"] / run["nominal_pps"] for run in runs)
        lost = statistics.median(run["lost"] for run in runs)
        yield (
            f"paced {PACED_PPS / 1e3:g} kpps x {PACED_INSTANCES} instances of {chain.types} types, "
            f"offered {share:g} x: served {ratio:.4f} of nominal, lost {lost:.2e}"
        )


def _page(chain: ServiceChain, trials: int, trial_s: float, samples: int) -> Iterator[str]:
    q = measure.quantiles(measure.page_read_s(chain))
    p50, p99 = q["p50"] * 1e6, q["p99"] * 1e6
    yield f"reading the page from Python under full load: p50 {p50:.1f} us, p99 {p99:.1f} us"


def _rates(name: str, rates: list[float]) -> str:
    return (
        f"{name}: {statistics.median(rates) / 1e6:.2f} Mpps "
        f"({', '.join(f'{rate / 1e6:.2f}' for rate in rates)})"
    )


_KINDS = {
    "forwarding": _forwarding,
    "memif": _memif,
    "idle": _idle,
    "latency": _latency,
    "pacing": _pacing,
    "page": _page,
}
