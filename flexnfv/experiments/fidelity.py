"""Fidelity: the same policy on the model and on another backend, compared second by second.

Twice over: each backend in its own closed loop, where the policy answers to what it reads there;
and, on request, with the other backend's targets replayed in the model, so that its error is not
mixed with that of another decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Description
from flexnfv.chain import ServiceChain
from flexnfv.decision import FIELDS, Decision
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.candidates import Candidate, check
from flexnfv.evaluation.episodes import intervals
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.progress import bar
from flexnfv.evaluation.records import Episode
from flexnfv.experiments import pages
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner, kept, rate_errors, traffic_claim
from flexnfv.files import new_directory, refuse_existing
from flexnfv.policy import BasePolicy, make_policy
from flexnfv.reading import Reading
from flexnfv.spec import bundle_of, policy_spec
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
        decisions: what it ran under, levers included, of fields [N, T].
    """

    def __init__(self, ends_s: npt.ArrayLike, decisions: Decision) -> None:
        self.ends_s = np.asarray(ends_s, dtype=np.float64)
        self.decisions = decisions

    @classmethod
    def of(cls, episode: Episode) -> Self:
        """Of what an episode ran under."""
        fields = np.stack([episode.types[name] for name in FIELDS]).astype(np.int64)
        return cls(episode.chain["time_s"], Decision.of_array(fields))

    def decide(self, reading: Reading) -> Decision:
        """The decision on the interval that begins now, of [T]; the last one for ever after."""
        middle_s = float(reading.time_s) + self.chain.interval_s / 2
        place = int(np.searchsorted(self.ends_s, middle_s))
        return self.decisions[min(place, len(self.ends_s) - 1)]


def seconds_of(episode: Episode) -> tuple[FloatArray, IntArray]:
    """Where whole seconds of a run end, as far as a reading ends there.

    A late reading of a live chain covers several seconds: what happened in each of them is not
    known, so that they stay together. An interval longer than a second stays whole, too.

    Returns:
        Edges, seconds since reset, [S + 1], the first being the run's beginning; and which second
        each of them ends, [S + 1], the first being 0.
    """
    end, length = episode.chain["time_s"], episode.chain["interval_s"]
    start = float(end[0] - length[0])
    # A live reading may end a little before the second that it belongs to.
    number = np.floor(end - start + min(float(np.median(length)), 1.0) / 2).astype(np.int64)
    last = np.flatnonzero(np.diff(np.append(0, number)))
    if not last.size:  # A run shorter than a second is one part.
        last, number = np.array([len(end) - 1]), np.ones_like(number)
    return np.append(start, end[last]), np.append(0, number[last])


def per_second(
    episode: Episode, seconds: tuple[FloatArray, IntArray] | None = None
) -> dict[str, FloatArray]:
    """Rates, queue and instances by second of the run (see `seconds_of`).

    Args:
        episode: the run.
        seconds: edges and numbers of another run's, so that both are told of the same time; its own
            if None.

    Returns:
        `second` (the number of seconds before it), `seconds` (how many it covers),
        `offered_pps`, `delivered_pps`, `dropped_pps` (means), `queue` (packets in all rings at the
        end), `instances` and `cores` (at the end), [S] each; and `NF.running` for every NF type.
    """
    edges, numbers = seconds_of(episode) if seconds is None else seconds
    end, length = episode.chain["time_s"], episode.chain["interval_s"]
    known = np.append(end[0] - length[0], end)
    span = np.diff(edges)
    found: dict[str, FloatArray] = {
        "second": numbers[:-1].astype(np.float64),
        "seconds": np.diff(numbers).astype(np.float64),
    }
    for name in ("offered_pps", "delivered_pps", "dropped_pps"):
        packets = np.append(0.0, np.cumsum(episode.chain[name] * length))
        found[name] = np.diff(np.interp(edges, known, packets)) / span
    # A part ends with the reading whose end lies nearest to the edge.
    last = np.minimum(np.searchsorted(end, edges[1:] - float(length.min()) / 2), len(end) - 1)
    found |= {
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
    seconds = seconds_of(other)
    ours, theirs = per_second(model, seconds), per_second(other, seconds)
    near = np.abs(ours["delivered_pps"] - theirs["delivered_pps"]) <= (
        THROUGHPUT_WITHIN * theirs["delivered_pps"]
    )
    compared = int(seconds[1][-1])
    # A second that only one run has cannot count as near.
    whole = max(compared, int(seconds_of(model)[1][-1]))
    share = float(theirs["seconds"][near].sum()) / whole
    return (
        Claim(
            f"targets replayed: throughput within {THROUGHPUT_WITHIN:.0%}",
            f"in {share:.1%} of {whole} seconds, {compared} of them compared",
            f"{SECONDS_SHARE:.0%}",
            share >= SECONDS_SHARE,
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
        out: directory to create; holds what is found as it comes.
        backend: name of the other backend.
        modelled: the chain as the model runs it, with a calibration of the other backend; `chain`
            if None. The policies decide for this one on both sides.
        replay_targets: also replay the other backend's targets in the model.
        seed: of policies and backends.
        tell: given one line per episode.
        options: handed to the other backend, such as `scale`.

    Raises:
        InputError: `out` exists, no policy, or what policies or backends refuse.
        BackendError: the backend died.
        KeyboardInterrupt: Ctrl-C, SIGTERM. `out` has the policies that were finished before.
    """
    policy_chain = modelled or chain
    refuse_existing(out)
    if not policies:
        raise InputError("no policy to compare", where="policies", fix="name at least one")
    check([Candidate(spec, (spec,)) for spec in policies], policy_chain, trace)
    findings: list[Finding] = []
    lasts = intervals(trace, chain) - 1
    with (
        bar(f"on {backend}", lasts * len(policies)) as tick,
        Runner(backend, runs=1, tick=tick, **(options or {})) as live,
        Runner("model", runs=1) as model,
    ):
        try:
            for spec in policies:
                tell(f"{backend}: {spec}")
                # The policy takes its thresholds from the same calibration on both sides.
                other = live.run(chain, make_policy(spec), trace, seed, policy_chain)
                tell(f"model: {spec}")
                closed = model.run(policy_chain, make_policy(spec), trace, seed)
                replayed = None
                if replay_targets:
                    replayed = model.run(policy_chain, Replay.of(other), trace, seed)
                description = live.backend(chain).description
                found = compare(spec, backend, other, closed, replayed, taken=findings)
                findings.append(
                    replace(
                        found,
                        claims=(traffic_claim(rate_errors(other, trace)), *found.claims),
                        notes=(*found.notes, *_scales(policy_chain, description)),
                    )
                )
                facts = made_with() | {
                    "trace": trace.name,
                    "chain": chain.name,
                    "policies": list(policies),
                    "seed": seed,
                    "model's calibration": policy_chain.calibration,
                    backend: asdict(description),
                }
                _keep(out, f"The model against {backend}", {backend: findings}, facts)
        except (InputError, BackendError, KeyboardInterrupt) as error:
            if not findings:
                raise
            raise kept(error, out) from error
    return findings


def _keep(
    out: Path, title: str, findings: dict[str, list[Finding]], facts: Mapping[str, object]
) -> None:
    """Write what was found so far: a long run that is interrupted keeps it."""
    if any(len(group) > 1 for group in findings.values()):
        pages.write(out, title, findings, facts)
        return
    with new_directory(out) as directory:
        pages.write(directory, title, findings, facts)


def _scales(modelled: ServiceChain, description: Description) -> tuple[str, ...]:
    """A warning where model and backend differ in what their rings take up."""
    scale = modelled.measured.scale
    if abs(scale / description.scale - 1) < 1e-6 or not description.clocked:
        return ()
    return (
        f"The model's calibration {modelled.calibration!r} is of scale {scale:g}, and "
        f"{description.name} ran at {description.scale:g}: its rings take up "
        f"{scale / description.scale:g} times as many of the chain's own packets. "
        "`flexnfv calibrate` at this scale makes the two alike.",
    )


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
    seconds = seconds_of(other)
    courses = {backend: per_second(other, seconds), MODEL: per_second(closed, seconds)}
    claims = closed_loop_claims(closed, other)
    if replayed is not None:
        courses[f"{MODEL}, targets replayed"] = per_second(replayed, seconds)
        claims += replay_claims(replayed, other)
    rows: list[Row] = [
        {
            "second": int(courses[backend]["second"][n]),
            "seconds": int(courses[backend]["seconds"][n]),
            **{
                f"{where}: {name}": float(values[n])
                for where, course in courses.items()
                for name, values in course.items()
                if name not in ("second", "seconds")
            },
        }
        for n in range(len(courses[backend]["second"]))
    ]
    bundle = bundle_of(spec)
    stem = (bundle.stem if bundle else policy_spec(spec).head) or "policy"
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
            *_punctuality(other),
        ),
    )


def _punctuality(episode: Episode) -> tuple[str, ...]:
    """What a live chain's clock and generator kept; nothing of a backend without a clock."""
    timing = episode.facts.get("timing")
    if timing is None:
        return ()
    return (
        f"{timing['late']} intervals were late, 99 % of readings were taken within "
        f"{timing['lag_p99_s'] * 1e3:.2g} ms, and {int(episode.chain['off_rate'].sum())} of "
        f"{len(episode)} were offered another rate than wanted.",
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
