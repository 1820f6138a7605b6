"""Fidelity: the same policy on the model and on another backend, compared second by second.

Twice over: each backend in its own closed loop, where the policy answers to what it reads there;
and, on request, with the other backend's targets replayed in the model, so that its error is not
mixed with that of another decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.records import Episode
from flexnfv.experiments import pages
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner
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
CORES_WITHIN: Final = 0.03
"""Relative distance of the core usage in closed loops, at most."""


class Replay(BasePolicy):
    """Says again what was decided before.

    Args:
        targets: what every interval ran under, [N, T]; the first one's are not decided.
    """

    state_names: ClassVar[tuple[str, ...]] = ("place",)
    place: IntArray | None

    def __init__(self, targets: npt.ArrayLike) -> None:
        self.targets = np.asarray(targets, dtype=np.int64)

    def decide(self, reading: Reading) -> IntArray:
        """The targets of the next interval, [T]; the last ones for ever after."""
        self.place = (
            np.zeros((), np.int64) if self.place is None else np.asarray(self.place)
        ) + np.int64(1)
        return np.asarray(self.targets[min(int(self.place), len(self.targets) - 1)].copy())


def per_second(episode: Episode) -> dict[str, FloatArray]:
    """Rates, queue and instances by second of the run (by interval, where that is longer).

    Returns:
        `time_s` (end), `offered_pps`, `delivered_pps`, `dropped_pps` (means), `queue` (packets in
        all rings at the end), `instances` and `cores` (at the end), [seconds] each; and
        `NF.running` for every NF type.
    """
    length = episode.chain["interval_s"]
    end = episode.chain["time_s"]
    second = np.floor(end - length / 2).astype(np.int64)
    _, group = np.unique(second, return_inverse=True)
    last = np.flatnonzero(np.diff(group, append=group[-1] + 1))
    time = np.bincount(group, weights=length)
    found = {
        name: np.bincount(group, weights=episode.chain[name] * length) / time
        for name in ("offered_pps", "delivered_pps", "dropped_pps")
    }
    found |= {
        "time_s": end[last],
        "queue": episode.types["queue"][last].sum(axis=1),
        "instances": episode.types["running"][last].sum(axis=1).astype(np.float64),
        "cores": episode.chain["cores"][last],
    }
    for t, name in enumerate(episode.nf_names):
        found[f"{name}.running"] = episode.types["running"][last, t].astype(np.float64)
    return found


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
    ours, theirs = per_second(model)["delivered_pps"], per_second(other)["delivered_pps"]
    seconds = min(len(ours), len(theirs))
    ours, theirs = ours[:seconds], theirs[:seconds]
    near = np.abs(ours - theirs) <= THROUGHPUT_WITHIN * theirs
    return (
        Claim(
            f"targets replayed: throughput within {THROUGHPUT_WITHIN:.0%}",
            f"in {near.mean():.1%} of {seconds} seconds",
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
        BackendError: the backend died; nothing is written then.
    """
    findings: list[Finding] = []
    with (
        new_directory(out) as directory,
        Runner(backend, runs=1, **(options or {})) as live,
        Runner("model", runs=1) as model,
    ):
        for spec in policies:
            policy = make_policy(spec)
            tell(f"{backend}: {spec}")
            other = live.run(chain, policy, trace, seed)
            tell(f"model: {spec}")
            closed = model.run(modelled or chain, make_policy(spec), trace, seed)
            replayed = None
            if replay_targets:
                again: Policy = Replay(other.types["targets"])
                replayed = model.run(modelled or chain, again, trace, seed)
            findings.append(compare(spec, backend, other, closed, replayed, taken=findings))
        facts = made_with() | {
            "trace": trace.name,
            "chain": chain.name,
            "seed": seed,
            "model's calibration": (modelled or chain).calibration,
            backend: asdict(live.backend(chain).description),
        }
        pages.write(directory, f"The model against {backend}", {backend: findings}, facts)
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
    courses = {backend: per_second(other), "model": per_second(closed)}
    claims = closed_loop_claims(closed, other)
    if replayed is not None:
        courses["model, targets replayed"] = per_second(replayed)
        claims += replay_claims(replayed, other)
    seconds = min(len(course["time_s"]) for course in courses.values())
    rows: list[Row] = [
        {
            "time_s": float(courses[backend]["time_s"][n]),
            **{
                f"{where}: {name}": float(values[n])
                for where, course in courses.items()
                for name, values in course.items()
                if name != "time_s"
            },
        }
        for n in range(seconds)
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
            axes.plot(course["time_s"], course[name] * unit, label=where, linewidth=1, alpha=0.8)
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
