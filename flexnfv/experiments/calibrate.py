"""Calibration: measure a backend's NFs one by one, and write what the model needs of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain as chain_of
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from flexnfv.backend import Backend, Description
from flexnfv.backends import make_backend, options_of
from flexnfv.chain import Calibration, Name, NFCalibration, NFType, ServiceChain
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.episodes import Tick
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.progress import bar
from flexnfv.experiments import latency, pages
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.latency import Latencies
from flexnfv.experiments.measure import (
    FACTORS,
    Overload,
    fit_overload,
    half_width,
    look,
    loss_free_rate,
    middle_half_width,
    overload,
    split,
    together,
)
from flexnfv.experiments.runner import kept
from flexnfv.experiments.workbench import BackendBench
from flexnfv.files import new_directory, new_file, refuse_existing
from flexnfv.model import ModelBackend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T")

INTERVAL_S: Final = 0.1
"""Time that one reading covers: a sub-step of the model at the paper's interval of 1 s, so that the
variation from one to the next is the model's jitter."""
GENTLE: Final = 0.5
"""Share of the loss-free rate at which processing times and latencies are taken."""
SPLITS: Final = (2, 3, 4)
"""Instances among which the split of the flows is looked at."""
TOGETHER: Final = 2
"""Instances, each with a ring of its own, that are overloaded together."""
TOGETHER_FACTOR: Final = 1.2
"""What each of them is offered on average, relative to the loss-free rate."""
FIRST_GUESS: Final = 1.5
"""Where the search for the loss-free rate begins, relative to what the calibration has."""
MARGIN: Final = 1.02
"""What is measured may be that much above what the present calibration has."""
AGREES_WITHIN: Final = 0.02
"""How far the model with the new calibration may be from what it was measured from."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one NF function.

    Attributes:
        processing_ns: a sample per run, as readings hold it.
        inside_ns: time inside `process()`, a sample per run; none where the backend cannot tell.
        declared: whether readings hold a declared processing time: the instances are paced.
        loss_free_pps: a sample per run.
        overload: what is served above the loss-free rate, at every one of `FACTORS`.
        served: of single readings in overload, relative to the median at that offered rate.
        rings: longest rings seen in overload, packets: of one instance at every one of `FACTORS`,
            then of each of `TOGETHER` at once.
        together: served by `TOGETHER` instances in overload, relative to one's loss-free rate; none
            where an NF may not have so many.
        latencies: a launch and a rerun per run.
        imbalance: largest share x instances (1 is even) for each of `SPLITS`.
    """

    processing_ns: FloatArray
    inside_ns: FloatArray
    declared: bool
    loss_free_pps: FloatArray
    overload: Overload
    served: FloatArray
    rings: FloatArray
    together: FloatArray
    latencies: Sequence[Latencies]
    imbalance: Sequence[float]


def estimate(found: Measured) -> NFCalibration:
    """The model's constants of one NF function, from what was measured of it."""
    penalty, span = fit_overload(found.overload)
    return NFCalibration(
        processing_ns=_round(float(np.median(found.processing_ns))),
        loss_free_pps=_round(float(np.median(found.loss_free_pps))),
        overload_penalty=round(penalty, 4),
        overload_span=span,
        jitter=round(middle_half_width(found.served), 4),
        source=(
            f"{_processing_source(found)}; measured: loss-free rate "
            f"±{half_width(found.loss_free_pps):.2%} over {len(found.loss_free_pps)} samples, "
            f"overload over {len(found.overload.offered)} rates, "
            f"jitter over {len(found.served)} readings of {INTERVAL_S:g} s in overload"
        ),
    )


def _processing_source(found: Measured) -> str:
    """Whether the processing time was measured, or stands for a slower core and why."""
    if not found.declared:
        return f"processing time measured, ±{half_width(found.processing_ns):.2%}"
    inside = (
        f"; inside process() it measures {np.median(found.inside_ns):.1f} ns "
        f"±{half_width(found.inside_ns):.1%}"
        if found.inside_ns.size
        else ""
    )
    return (
        "processing time declared, not measured: a paced instance stands for a slower core, and "
        f"keeps its nominal time so that a load means the same at every scale{inside}"
    )


def calibration(
    name: str, description: Description, found: dict[str, Measured], chain: ServiceChain
) -> Calibration:
    """A calibration from what was measured of every NF function.

    Launch and rerun are the chain's, over all functions. What cannot be measured (power; latencies
    where no NF may have two instances) stays as the chain's present calibration has it.
    """
    latencies = [one for each in found.values() for one in each.latencies]
    if latencies:
        columns = _columns(latencies)
        launches, reruns = columns["launch"], columns["rerun"]
    else:
        launches = np.array([chain.measured.launch_s])
        reruns = np.array([chain.measured.rerun_s])
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return Calibration(
        name=name,
        description=f"measured on {description.name}, {day}",
        machine=f"{description.machine}, pacing {description.pacing}",
        scale=description.scale,
        launch_s=_round(float(launches.mean())),
        rerun_s=_round(float(reruns.mean())),
        launch_spread=round(half_width(launches), 4),
        rerun_spread=round(half_width(reruns), 4),
        launch_source=_source(launches) if latencies else chain.measured.launch_source,
        rerun_source=_source(reruns) if latencies else chain.measured.rerun_source,
        power=chain.measured.power,
        nf={
            function: estimate(one).model_copy(
                update=chain.measured.nf[function].model_dump(include={"stateful", "files"})
            )
            for function, one in found.items()
        },
    )


def toml(measured: Calibration) -> str:
    """A calibration as TOML, as `flexnfv.chain.load_calibration` reads it."""
    data = measured.model_dump(exclude_none=True)  # TOML knows no null.
    functions, power = data.pop("nf"), data.pop("power")
    tables = {"power": power} | {f"nf.{name}": values for name, values in functions.items()}
    lines = [f"{key} = {_toml_value(value)}" for key, value in data.items()]
    for name, values in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def calibrate(
    chain: ServiceChain,
    backend: str,
    out: Path,
    *,
    samples: int = 5,
    tell: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> tuple[Calibration, list[Finding]]:
    """Measure every NF function of a chain on a backend; write calibration and report.

    Args:
        chain: its NF functions are measured one by one.
        backend: name of a registered backend.
        out: `NAME.toml`, the calibration; the report goes to `NAME-report` beside it.
        samples: of everything whose spread is written.
        tell: given one line per NF function.
        options: handed to the backend, such as `scale`.

    Raises:
        InputError: `out` exists or does not end in .toml, or the backend is not available.
        BackendError: the backend died.
        KeyboardInterrupt: Ctrl-C, SIGTERM. Then, too, the functions that were finished are in a
            calibration of their own beside `out`.
    """
    if out.suffix != ".toml":
        raise InputError(f"{out} is not a .toml file", where="--out", fix="name it NAME.toml")
    _check_name(out.stem)
    report = out.with_name(f"{out.stem}-report")
    refuse_existing(out)
    refuse_existing(report)
    # The model varies its service once a sub-step. With one sub-step a reading, its readings vary
    # as a machine's do.
    inner = options | ({"substeps": 1} if "substeps" in options_of(backend) else {})
    found: dict[str, Measured] = {}
    description = Description(backend)
    make = partial(make_backend, backend, **inner)
    functions: dict[str, NFType] = {}
    for nf in chain.nf:
        functions.setdefault(nf.function, nf)
    total = sum(_measurements(nf, samples) for nf in functions.values())
    try:
        _try_out(chain, make)
        with bar(f"on {backend}", total, unit="measurements") as tick:
            for function, nf in functions.items():
                tell(f"{backend}: {function}")
                found[function], description = _on_backend(chain, nf, make, samples, tick)
    except (InputError, BackendError, KeyboardInterrupt) as stop:
        if not found:
            raise
        part = _next_free(out)
        with new_file(part) as path:
            path.write_text(toml(calibration(part.stem, description, found, chain)))
        raise kept(stop, part) from None
    measured = calibration(out.stem, description, found, chain)
    bound = chain.with_calibration(measured)
    findings: list[Finding] = []
    for nf in {one.function: one for one in chain.nf}.values():
        model, _ = _on_backend(bound, nf, lambda one: ModelBackend(one, substeps=1), 1)
        findings.append(compare(nf.function, found[nf.function], model))
    with new_directory(report) as directory:
        title = f"Calibration {measured.name}: model against measurement"
        facts = made_with() | {"backend": asdict(description), "chain": chain.name}
        pages.write(directory, title, {backend: findings}, facts)
        _write_samples(found, directory / "samples.json")
        with new_file(out) as path:
            path.write_text(toml(measured), encoding="utf-8")
    return measured, findings


def _write_samples(found: dict[str, Measured], path: Path) -> None:
    """Every single measurement of every NF function, of which the calibration is the summary."""
    samples = {
        function: {
            "processing_ns": one.processing_ns.tolist(),
            "inside_ns": one.inside_ns.tolist(),
            "loss_free_pps": one.loss_free_pps.tolist(),
            "overload_offered": one.overload.offered.tolist(),
            "overload_served": one.overload.served.tolist(),
            "served_relative": one.served.tolist(),
            "longest_ring_packets": one.rings.tolist(),
            "launch_s": [each.launch_s for each in one.latencies],
            "rerun_s": [each.rerun_s for each in one.latencies],
            "together": one.together.tolist(),
            "largest_share": list(one.imbalance),
        }
        for function, one in found.items()
    }
    path.write_text(json.dumps(samples, indent=1), encoding="utf-8")


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValueError:
        raise InputError(
            f"{name!r} cannot be a calibration's name",
            where="--out",
            fix="use 1 to 31 letters, digits, dots, dashes and underscores",
        ) from None


def _next_free(out: Path) -> Path:
    """`NAME-part.toml` beside `NAME.toml`, or the first free of that name and a number."""
    stem = f"{out.stem[:24]}-part"
    numbered = (f"{stem}-{number}" for number in count(2))
    names = (out.with_name(f"{name}.toml") for name in chain_of((stem,), numbered))
    return next(path for path in names if not path.exists())


def _try_out(chain: ServiceChain, make: Callable[[ServiceChain], Backend]) -> None:
    """Offer the highest rate of all measurements once, before an hour is spent on the others.

    Raises:
        InputError, BackendError: the backend is not available here, or cannot carry it.
    """
    fastest = chain.nf[int(np.argmax(chain.capacity_pps))]
    alone = alone_chain(chain, fastest)
    several = TOGETHER * TOGETHER_FACTOR if chain.slots >= TOGETHER else 0.0
    highest = max(*FACTORS, FIRST_GUESS, several) * float(alone.capacity_pps[0]) * MARGIN
    backend = make(alone)
    try:
        BackendBench(backend).set_rate(highest)
    finally:
        backend.close()


def compare(function: str, measured: Measured, model: Measured) -> Finding:
    """What the model with the new calibration does, beside what it was measured from."""
    rows = [
        _pair("processing time, ns", measured.processing_ns, model.processing_ns),
        *(
            [_pair("time inside process(), ns", measured.inside_ns, np.empty(0))]
            if measured.inside_ns.size
            else []
        ),
        _pair("loss-free rate, pps", measured.loss_free_pps, model.loss_free_pps),
    ]
    for n, factor in enumerate(FACTORS):
        rows.append(
            _single(
                f"served at {factor:g} x loss-free, share of it",
                measured.overload.served[n],
                model.overload.served[n],
            )
        )
    rows += [
        _single(
            "jitter, half-width",
            middle_half_width(measured.served),
            middle_half_width(model.served),
        ),
        _pair("longest ring in overload, packets", measured.rings, model.rings),
        *(
            [_pair(f"served by {TOGETHER} instances, x one's", measured.together, model.together)]
            if measured.together.size
            else []
        ),
    ]
    ours, theirs = _columns(measured.latencies), _columns(model.latencies)
    rows += [_pair(f"{what}, ms", 1e3 * ours[what], 1e3 * theirs[what]) for what in ours]
    for k, one in enumerate(measured.imbalance):
        rows.append(
            _single(f"largest share among {SPLITS[k]}, x {SPLITS[k]}", one, model.imbalance[k])
        )
    overloaded = np.abs(
        model.overload.served * np.median(model.loss_free_pps)
        - measured.overload.served * np.median(measured.loss_free_pps)
    ) / np.median(measured.loss_free_pps)
    rate = abs(float(np.median(model.loss_free_pps) / np.median(measured.loss_free_pps)) - 1)
    shares = np.abs(np.array(model.imbalance) - np.array(measured.imbalance))
    several = (
        np.abs(model.together / measured.together - 1) if measured.together.size else shares[:0]
    )
    return Finding(
        function,
        f"{function}: measured and modelled",
        rows,
        (
            _within("loss-free rate", rate),
            _within("served in overload", float(overloaded.max())),
            *((_within("largest share of the flows", float(shares.max())),) if shares.size else ()),
            *(
                (_within(f"served by {TOGETHER} instances", float(several.max())),)
                if several.size
                else ()
            ),
        ),
        lambda figure: draw(figure, measured, model),
    )


def draw(figure: Figure, measured: Measured, model: Measured) -> None:
    """Served against offered rate, measured and modelled."""
    axes = figure.subplots()
    for found, label, style in ((measured, "measured", "o-"), (model, "model", "x--")):
        rate = float(np.median(found.loss_free_pps)) / 1e6
        axes.plot(found.overload.offered * rate, found.overload.served * rate, style, label=label)
    axes.set_xlabel("offered, Mpps")
    axes.set_ylabel("served by one instance, Mpps")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _on_backend(
    chain: ServiceChain,
    nf: NFType,
    make: Callable[[ServiceChain], Backend],
    samples: int,
    tick: Tick = lambda count: None,
) -> tuple[Measured, Description]:
    """Measure one NF on a chain of its own; one backend at a time, since there is one dataplane."""

    def done(measured: T) -> T:
        tick(1)
        return measured

    splits = [n for n in SPLITS if n <= nf.max_instances]
    alone = alone_chain(chain, nf)
    guess = float(alone.capacity_pps[0]) * FIRST_GUESS
    benches: list[Backend] = []

    def bench(of: ServiceChain) -> BackendBench:
        while benches:
            benches.pop().close()
        benches.append(make(of))
        return BackendBench(benches[-1])

    try:
        slow = bench(alone)
        rates = [done(loss_free_rate(slow, guess)) for _ in range(samples)]
        rate = float(np.median(rates))
        times, inside = [], []
        for _ in range(samples):
            times.append(done(look(slow, GENTLE * rate)).processing_ns)
            # The mean covers the whole episode of this look.
            inside += [float(ns) for ns in getattr(slow.backend, "inside_ns", ())]
        points, looks = done(overload(slow, rate))
        rings = [[one.queue for one in looks]]
        several = []
        if nf.max_instances >= TOGETHER:
            served, longest = done(together(slow, TOGETHER * TOGETHER_FACTOR * rate, TOGETHER))
            several.append(served / rate)
            rings.append(list(longest))
        imbalance = [float(done(split(slow, GENTLE * rate, n))[0]) * n for n in splits]
        description = slow.backend.description
        quick = bench(latency.for_latency(alone))
        latencies = (
            [done(latency.measure(quick, GENTLE * rate)) for _ in range(samples)]
            if nf.max_instances > 1
            else []
        )
    finally:
        while benches:
            benches.pop().close()
    found = Measured(
        processing_ns=np.array(times),
        inside_ns=np.array(inside)[np.isfinite(inside)],
        declared=description.pacing != "none",
        loss_free_pps=np.array(rates),
        overload=points,
        served=np.concatenate([one.served / one.served_pps for one in looks]),
        rings=np.concatenate(rings),
        together=np.array(several),
        latencies=latencies,
        imbalance=imbalance,
    )
    return found, description


def _measurements(nf: NFType, samples: int) -> int:
    """How many measurements `_on_backend` makes."""
    latencies = samples if nf.max_instances > 1 else 0
    several = nf.max_instances >= TOGETHER
    return 2 * samples + 1 + several + sum(n <= nf.max_instances for n in SPLITS) + latencies


def alone_chain(chain: ServiceChain, nf: NFType) -> ServiceChain:
    """One NF type of a chain as a chain of its own, starting with one instance."""
    return chain.replace(
        nf=[nf.model_dump() | {"min_instances": 1, "initial_instances": 1}],
        path=[],
        interval_s=INTERVAL_S,
        mode="pipeline",
    )


def _columns(latencies: Sequence[Latencies]) -> dict[str, FloatArray]:
    return {
        "launch": np.array([one.launch_s for one in latencies]),
        # The start is computed from shares of packets and may seem to precede the command.
        "rerun": np.maximum([one.rerun_s for one in latencies], 0.0),
    }


def _pair(figure: str, measured: FloatArray, model: FloatArray) -> Row:
    """Medians, and the spread of what was measured as a relative half-width."""
    return {
        "figure": figure,
        "measured": float(np.median(measured)) if measured.size else "",
        "model": float(np.median(model)) if model.size else "",
        "spread": half_width(measured),
        "samples": int(measured.size),
    }


def _single(figure: str, measured: float, model: float) -> Row:
    """One figure that stands for many readings, without a spread of its own."""
    return {
        "figure": figure,
        "measured": float(measured),
        "model": float(model),
        "spread": "",
        "samples": 1,
    }


def _within(name: str, apart: float) -> Claim:
    return Claim(
        f"model against measurement: {name}",
        f"{apart:.2%} apart",
        f"{AGREES_WITHIN:.0%}",
        apart <= AGREES_WITHIN,
    )


def _source(samples: FloatArray) -> str:
    return (
        f"measured: {len(samples)} samples, {1e3 * samples.min():.3g} to "
        f"{1e3 * samples.max():.3g} ms"
    )


def _round(value: float) -> float:
    """Five significant digits: more than any of these measurements has."""
    return float(f"{value:.5g}")


def _toml_value(value: object) -> str:
    # Strings and numbers are written alike in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)
