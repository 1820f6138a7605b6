"""Fidelity: the same policy on the model and on another backend, compared second by second.

Twice over: each backend in its own closed loop, where the policy answers to what it reads there;
and, on request, with the other backend's targets replayed in the model, so that its error is not
mixed with that of another decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.episode import intervals
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.records import Episode
from flexnfv.experiments import pages
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner, kept, rates_off, traffic_claim
from flexnfv.files import new_directory
from flexnfv.policy import BasePolicy, Policy, make_policy
from flexnfv.reading import Reading
from flexnfv.traces import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

THROUGHPUT_WITHIN: Final = 0.02
"""Relative distance of the throughput in a second, at most, with targets replayed ..."""
SECONDS_SHARE: Final = 0.95
"""... in at least this share of the seconds."""
DROP_RATE_WITHIN: Final = 0.005
"""Distance of the drop rates of the whole run, at most: 0.5 percentage point."""
MODEL: Final = "the model"
"""How the model is called beside a backend, which may be the model as well."""
CORES_WITHIN: Final = 0.03
"""Relative distance of the core usage in closed loops, at most."""


class Replay(BasePolicy):
    """Says again what was decided before, by time: a late reading of a live chain covers several
    intervals, so that its number says nothing.

    Args:
        ends_s: end of every recorded interval, [N].
        targets: what it ran under, [N, T].
    """

    def __init__(self, ends_s: npt.ArrayLike, targets: npt.ArrayLike) -> None:
        self.ends_s = np.asarray(ends_s, dtype=np.float64)
        self.targets = np.asarray(targets, dtype=np.int64)

    def decide(self, reading: Reading) -> IntArray:
        """The targets of the interval that begins now, [T]; the last ones for ever after."""
        middle_s = float(reading.time_s) + self.chain.interval_s / 2
        place = int(np.searchsorted(self.ends_s, middle_s))
        return np.asarray(self.targets[min(place, len(self.targets) - 1)].copy())


def per_second(episode: Episode) -> dict[str, FloatArray]:
    """Rates, queue and instances by second of the run (by interval, where that is longer).

    Returns:
        `second` (its number), `offered_pps`, `delivered_pps`, `dropped_pps` (means), `queue`
        (packets in all rings at the end), `instances` and `cores` (at the end), [seconds] each;
        and `NF.running` for every NF type.
    """
    length = episode.chain["interval_s"]
    end = episode.chain["time_s"]
    second = np.floor(end - length / 2).astype(np.int64)
    number, group = np.unique(second, return_inverse=True)
    last = np.flatnonzero(np.diff(group, append=group[-1] + 1))
    time = np.bincount(group, weights=length)
    found = {
        name: np.bincount(group, weights=episode.chain[name] * length) / time
        for name in ("offered_pps", "delivered_pps", "dropped_pps")
    }
    found |= {
        "second": number.astype(np.float64),
        "queue": episode.types["queue"][last].sum(axis=1),
        "instances": episode.types["running"][last].sum(axis=1).astype(np.float64),
        "cores": episode.chain["cores"][last],
    }
    for t, name in enumerate(episode.nf_names):
        found[f"{name}.running"] = episode.types["running"][last, t].astype(np.float64)
    return found


def together(courses: Sequence[Mapping[str, FloatArray]]) -> list[dict[str, FloatArray]]:
    """The seconds that all courses have."""
    common = reduce(np.intersect1d, [course["second"] for course in courses])
    return [
        {name: values[np.isin(course["second"], common)] for name, values in course.items()}
        for course in courses
    ]


def drop_rate(episode: Episode) -> float:
    """Lost / offered packets of the whole run."""
    length = episode.chain["interval_s"]
    offered = float((episode.chain["offered_pps"] * length).sum())
    lost = float((episode.chain["dropped_pps"] * length).sum())
    return lost / offered if offered > 0 else 0.0


def core_usage(episode: Episode) -> float:
    """Mean cores of running, launching and draining instances."""
    length = episode.chain["interval_s"]
    return float((episode.chain["cores"] * length).sum() / length.sum())


def closed_loop_claims(model: Episode, other: Episode) -> tuple[Claim, ...]:
    """What must hold when each backend has its own closed loop."""
    cores, live_cores = core_usage(model), core_usage(other)
    apart = abs(cores / live_cores - 1)
    return (
        Claim(
            "closed loops: core usage",
            f"{cores:.3f} on the model, {live_cores:.3f}, {apart:.2%} apart",
            f"{CORES_WITHIN:.0%}",
            apart <= CORES_WITHIN,
        ),
        _drop_rates("closed loops", model, other),
    )


def replay_claims(model: Episode, other: Episode) -> tuple[Claim, ...]:
    """What must hold with the other backend's targets replayed in the model."""
    courses = together([per_second(model), per_second(other)])
    ours, theirs = (course["delivered_pps"] for course in courses)
    near = np.abs(ours - theirs) <= THROUGHPUT_WITHIN * theirs
    return (
        Claim(
            f"targets replayed: throughput within {THROUGHPUT_WITHIN:.0%}",
            f"in {near.mean():.1%} of {near.size} seconds",
            f"{SECONDS_SHARE:.0%}",
            bool(near.mean() >= SECONDS_SHARE),
        ),
        _drop_rates("targets replayed", model, other),
    )


def fidelity(
    chain: ServiceChain,
    trace: Trace,
    policies: Sequence[str],
    out: Path,
    *,
    backend: str = "dpdk",
    modelled: ServiceChain | None = None,
    replay_targets: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    options: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Run policies on both backends and write the comparison.

    Args:
        chain: what the other backend runs.
        trace: at the chain's own rates.
        policies: specs; one comparison each.
        out: directory to create.
        backend: name of the other backend.
        modelled: the chain as the model runs it, with a calibration of the other backend; `chain`
            if None.
        replay_targets: also replay the other backend's targets in the model.
        seed: of policies and backends.
        tell: given one line per episode.
        options: handed to the other backend, such as `scale`.

    Raises:
        InputError: `out` exists, or what policy or backends refuse.
        BackendError: the backend died.
        KeyboardInterrupt: Ctrl-C, SIGTERM. Then, too, `out` has the policies that were finished.
    """
    findings: list[Finding] = []
    stop: BaseException | None = None
    lasts = intervals(trace, chain) - 1
    with (
        new_directory(out) as directory,
        bar(f"on {backend}", lasts * len(policies)) as tick,
        Runner(backend, runs=1, tick=tick, **(options or {})) as live,
        Runner("model", runs=1) as model,
    ):
        try:
            for spec in policies:
                policy = make_policy(spec)
                tell(f"{backend}: {spec}")
                other = live.run(chain, policy, trace, seed)
                tell(f"model: {spec}")
                closed = model.run(modelled or chain, make_policy(spec), trace, seed)
                replayed = None
                if replay_targets:
                    again: Policy = Replay(other.chain["time_s"], other.types["targets"])
                    replayed = model.run(modelled or chain, again, trace, seed)
                found = compare(spec, backend, other, closed, replayed, taken=findings)
                findings.append(
                    replace(found, claims=(traffic_claim(rates_off(other, trace)), *found.claims))
                )
        except (InputError, BackendError, KeyboardInterrupt) as error:
            if not findings:
                raise
            stop = error
        facts = made_with() | {
            "trace": trace.name,
            "chain": chain.name,
            "seed": seed,
            "model's calibration": (modelled or chain).calibration,
            backend: asdict(live.backend(chain).description),
        }
        if stop is not None:
            facts["incomplete"] = str(stop) or "interrupted"
        pages.write(directory, f"The model against {backend}", {backend: findings}, facts)
    if stop is not None:
        raise kept(stop, out)
    return findings


def compare(
    spec: str,
    backend: str,
    other: Episode,
    closed: Episode,
    replayed: Episode | None,
    taken: Sequence[Finding] = (),
) -> Finding:
    """One policy on both backends: rows by second, claims, figure.

    Args:
        spec: the policy.
        backend: the other backend's name.
        other: its episode.
        closed: the model's in its own closed loop.
        replayed: the model's under the other's targets, if it was run.
        taken: findings whose names must not be used again.
    """
    courses = {backend: per_second(other), MODEL: per_second(closed)}
    claims = closed_loop_claims(closed, other)
    if replayed is not None:
        courses[f"{MODEL}, targets replayed"] = per_second(replayed)
        claims += replay_claims(replayed, other)
    courses = dict(zip(courses, together(list(courses.values())), strict=True))
    rows: list[Row] = [
        {
            "second": int(courses[backend]["second"][n]),
            **{
                f"{where}: {name}": float(values[n])
                for where, course in courses.items()
                for name, values in course.items()
                if name != "second"
            },
        }
        for n in range(len(courses[backend]["second"]))
    ]
    stem = Path(spec.partition(":")[0]).stem or "policy"
    name, names = stem, {one.name for one in taken}
    while name in names:
        name = f"{stem}-{len(names) + 1}"
    return Finding(
        name,
        f"{spec}: the model against {backend}",
        rows,
        claims,
        lambda figure: draw(figure, courses),
        (
            f"Drop rates: {drop_rate(other):.4%} on {backend}, {drop_rate(closed):.4%} on the "
            "model in its own closed loop"
            + ("." if replayed is None else f", {drop_rate(replayed):.4%} with targets replayed."),
        ),
    )


def draw(figure: Figure, courses: Mapping[str, Mapping[str, FloatArray]]) -> None:
    """Throughput, drops, queue and instances over time, one line per run."""
    figure.set_size_inches(9, 8)
    panels = figure.subplots(4, 1, sharex=True)
    for axes, (name, label, unit) in zip(
        panels,
        (
            ("delivered_pps", "throughput, Mpps", 1e-6),
            ("dropped_pps", "drops, Mpps", 1e-6),
            ("queue", "queue, packets", 1.0),
            ("instances", "instances", 1.0),
        ),
        strict=True,
    ):
        for where, course in courses.items():
            axes.plot(course["second"], course[name] * unit, label=where, linewidth=1, alpha=0.8)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    panels[-1].set_xlabel("time, s")


def _drop_rates(how: str, model: Episode, other: Episode) -> Claim:
    ours, theirs = drop_rate(model), drop_rate(other)
    return Claim(
        f"{how}: drop rate",
        f"{ours:.3%} on the model, {theirs:.3%}, {abs(ours - theirs) * 100:.3f} points apart",
        f"{DROP_RATE_WITHIN * 100:g} percentage point",
        abs(ours - theirs) <= DROP_RATE_WITHIN,
    )
