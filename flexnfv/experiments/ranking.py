"""Ranking: whether policies that are worth comparing stand in the same order on both backends.

Every policy runs on every trace, on the model and on another backend. A policy's cost (cores, with
parked ones at the chain's weight) and its drop rate have 95 % intervals on each of the two, from
the evaluation's hierarchical bootstrap over repetitions and segments of the trace. Two policies are
*apart* where their intervals do not overlap; where they are on both backends, the one that is
better on the model must be the better one on the other as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.evaluation import Result, benchmark
from flexnfv.evaluation.candidates import candidates, check
from flexnfv.evaluation.grid import MANIFEST
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.metrics import MEASURES
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.statistics import Interval
from flexnfv.evaluation.traffic import Peak, Traffic, resolve
from flexnfv.experiments import pages
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner, rate_errors, traffic_claim
from flexnfv.files import new_directory, refuse_existing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POLICIES: Final = (
    "static",
    "static:instances=3",
    "watermark",
    "target_tracking",
    "target_tracking:target=0.9",
)
"""From too few instances to too many, with the laws between them."""

TRACES: Final = (
    "synthetic/flash_crowd?gap_s=16&ramp_s=2&duration_s=32&step_s=0.25&seed=1",
    "synthetic/on_off?on_s=4&off_s=4&duration_s=32&step_s=0.25",
    "synthetic/diurnal?period_s=16&duration_s=32&step_s=0.25",
)
"""Short, so that a live ranking takes a quarter of an hour."""
INTERVAL_S: Final = 0.25
"""Monitor interval that goes with them: eight segments of 16 intervals each."""
REPETITIONS: Final = 2

RANKED: Final = ("cost", "drop_rate")
"""Figures of the evaluation that policies are ranked by; less is better."""

OTHER: Final = "live"
"""Name of the folder of the other backend's records, whatever its name is."""


class Order(NamedTuple):
    """Two policies that are apart on both backends, the better one on the model first."""

    better: str
    worse: str
    same: bool


def apart(one: Interval, other: Interval) -> int:
    """-1 where one lies wholly below the other, 1 wholly above, 0 where they overlap."""
    if one.high < other.low:
        return -1
    return int(one.low > other.high)


def orders(model: Mapping[str, Interval], other: Mapping[str, Interval]) -> list[Order]:
    """Every pair of policies that is apart on both backends.

    Args:
        model, other: the same policies' figure on either backend.
    """
    found = []
    for one, two in combinations(model, 2):
        ours, theirs = apart(model[one], model[two]), apart(other[one], other[two])
        if ours and theirs:
            better, worse = (one, two) if ours < 0 else (two, one)
            found.append(Order(better, worse, ours == theirs))
    return found


def rank(policy: str, of: Mapping[str, Interval]) -> int:
    """1 and the number of policies that are better beyond doubt; those not apart share a rank."""
    return 1 + sum(apart(interval, of[policy]) < 0 for interval in of.values())


def ranking(
    chain: ServiceChain,
    out: Path,
    *,
    policies: Sequence[str] = POLICIES,
    traces: Traffic = TRACES,
    backend: str = "dpdk",
    modelled: ServiceChain | None = None,
    repetitions: int = REPETITIONS,
    peak: Peak = None,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: None,
    options: Mapping[str, Any] | None = None,
    started: Callable[[], None] | None = None,
) -> list[Finding]:
    """Run policies on traces on both backends and compare their order; one finding per trace.

    Args:
        chain: what the other backend runs.
        out: directory for records and report; an interrupted ranking in it is carried on.
        policies: as `flexnfv.evaluation.benchmark` takes them, at least two.
        traces: likewise.
        backend: name of the other backend.
        modelled: the chain as the model runs it, with a calibration of the other backend; `chain`
            if None. The policies decide by this calibration on both sides.
        repetitions: episodes per policy and trace on either backend.
        peak: what the traces are scaled to; the chain's `peak_pps` if None.
        progress: show a progress bar on standard error.
        tell: given a line on what is to come, with the time it takes.
        options: handed to the other backend, such as `scale`.
        started: called once the input is checked.

    Raises:
        InputError: `out` holds something else, fewer than two policies, or what policies, traces
            and backends refuse.
        BackendError: the backend died; what is finished stays.
        KeyboardInterrupt: Ctrl-C; what is finished stays.
    """
    named = candidates(policies)
    if len(named) < 2:
        raise InputError("one policy has no rank", where="policies", fix="name at least two")
    if not 1 <= repetitions <= 1000:
        raise InputError(f"{repetitions} repetitions", where="repetitions", fix="give 1 to 1000")
    if not (out / "model" / MANIFEST).is_file():
        refuse_existing(out)
    traffic = resolve(traces, chain, peak=peak)
    with Runner(backend, runs=1, **(options or {})) as runner:
        # The backend must refuse, say, too fast a trace before anything is written.
        runner.try_out(chain, max(traffic, key=lambda trace: trace.peak_pps))
        timed = not runner.reproducible
    episodes = sum(len(one.specs) for one in named) * repetitions
    seconds = episodes * sum(trace.duration_s for trace in traffic)

    def run(name: str, folder: str, on: ServiceChain, given: Mapping[str, Any]) -> Result:
        return benchmark(
            policies,
            on,
            traffic,
            repetitions,
            named[0].name,
            False,
            out / folder,
            progress,
            backend=name,
            options=given,
            peak="keep",
            policy_chain=on.with_calibration(policy_chain.measured),
            started=started,
        )

    policy_chain = modelled or chain
    check(named, policy_chain, traffic[0])
    tell(
        f"{episodes * len(traffic)} episodes on either backend; {backend}"
        + (f" takes about {seconds / 60:.0f} minutes at most" if timed else " takes seconds")
    )
    model = run("model", "model", policy_chain, {})
    other = run(backend, OTHER, chain, options or {})
    findings = [
        compare(number, trace.name, model.on(trace.name), other.on(trace.name), backend)
        for number, trace in enumerate(traffic, 1)
    ]
    if not (out / "report").exists():
        facts = made_with() | {
            "chain": f"{chain.name}, interval {chain.interval_s:g} s",
            "policies": ", ".join(one.name for one in named),
            "repetitions": repetitions,
            "model's calibration": policy_chain.calibration,
            backend: other.backend,
        }
        with new_directory(out / "report") as directory:
            title = f"The order of policies: the model against {backend}"
            pages.write(directory, title, {backend: findings}, facts)
    return findings


def compare(number: int, trace: str, model: Result, other: Result, backend: str) -> Finding:
    """The two orders on one trace: rows by policy, claims, figure.

    Args:
        number: of the trace, for the file's name.
        trace: its name.
        model, other: the results, of this trace alone.
        backend: the other backend's name.
    """
    names = [one.name for one in model.named]
    both = {
        where: {
            figure: {name: result.samples[name].interval(figure) for name in names}
            for figure in RANKED
        }
        for where, result in (("the model", model), (backend, other))
    }
    found = {
        figure: orders(*(intervals[figure] for intervals in both.values())) for figure in RANKED
    }
    told = sum(len(pairs) for pairs in found.values())
    pairs = len(names) * (len(names) - 1) // 2
    off = np.concatenate(
        [
            rate_errors(by_second(other.episode(spec, 0, seed)), other.grid.traces[0])
            for spec in other.grid.specs
            for seed in other.grid.seeds
        ]
    )
    rows: list[Row] = [
        {
            "policy": name,
            **{
                f"{where}: {figure}{what}": value
                for where, figures in both.items()
                for figure in RANKED
                for what, value in (
                    ("", figures[figure][name].estimate),
                    (" low", figures[figure][name].low),
                    (" high", figures[figure][name].high),
                    (" rank", rank(name, figures[figure])),
                )
            },
        }
        for name in names
    ]
    return Finding(
        f"ranking-{number}",
        f"{trace}: the order of policies",
        rows,
        (
            traffic_claim(off),
            Claim(
                "policies are told apart at all",
                f"{told} of {pairs * len(RANKED)} pairs on both",
                "at least 1",
                told > 0,
            ),
            *(order_claim(figure, found[figure], pairs) for figure in RANKED),
        ),
        lambda figure: draw(figure, both),
        (
            "Intervals are 95 %, from the bootstrap over repetitions and segments of the trace; "
            "policies whose intervals overlap share a rank.",
        ),
    )


def by_second(episode: Episode) -> Episode:
    """What was offered, by second: a live chain's clock and its generator's begin some milliseconds
    apart, which is more than 1 % of a short interval in which the rate jumps."""
    length, end = episode.chain["interval_s"], episode.chain["time_s"]
    _, first, group = np.unique(np.floor(end - length / 2), return_index=True, return_inverse=True)
    seconds = np.bincount(group, weights=length)
    return replace(
        episode,
        chain={
            "time_s": end[np.append(first[1:], len(end)) - 1],
            "interval_s": seconds,
            "offered_pps": np.bincount(group, weights=episode.chain["offered_pps"] * length)
            / seconds,
        },
    )


def order_claim(figure: str, found: Sequence[Order], pairs: int) -> Claim:
    """Whether every pair that is apart on both backends stands in the same order."""
    turned = [f"{one.better} before {one.worse} on the model only" for one in found if not one.same]
    return Claim(
        f"order by {figure.replace('_', ' ')}",
        f"{len(found) - len(turned)} of {len(found)} pairs alike ({pairs - len(found)} not told "
        "apart)" + (f"; {'; '.join(turned)}" if turned else ""),
        "all alike",
        not turned,
    )


def draw(figure: Figure, both: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> None:
    """Each policy's figures with their intervals, one colour per backend."""
    panels = figure.subplots(1, len(RANKED), sharey=True)
    for axes, name in zip(panels, RANKED, strict=True):
        factor = MEASURES[name].factor
        for shift, (where, figures) in enumerate(both.items()):
            found = list(figures[name].values())
            middle = np.array([one.estimate for one in found]) * factor
            ends = np.array([[one.low for one in found], [one.high for one in found]]) * factor
            # Where little varies, an estimate may lie just outside its percentile interval.
            reach = np.maximum(np.abs(ends - middle), 0)
            places = np.arange(len(found)) + 0.15 * shift
            axes.errorbar(middle, places, xerr=reach, fmt="o", capsize=3, label=where)
        axes.set_xlabel(MEASURES[name].title)
        axes.grid(alpha=0.3)
    labels = list(next(iter(both.values()))[RANKED[0]])
    panels[0].set_yticks(range(len(labels)), labels, fontsize=8)
    panels[0].invert_yaxis()
    panels[-1].legend(fontsize=8)
