"""Service chains: what an operator intends, and the calibration that it rests on.

A chain file (TOML) states intent: NF types in order, limits, watermark ratios, interval, mapping,
budget. A calibration file states measurements: processing time, loss-free rate, overload, jitter,
latencies. A chain names its calibration; no constant stands in both. The numeric view of a chain
(one numpy array per figure, one entry per NF type) is what policies, backends and laws use.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from flexnfv.errors import InputError
from flexnfv.mapping import MappingKind
from flexnfv.suggest import nearest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_TYPES = 16
"""NF types that one chain file may hold (the dataplane's limit too)."""
MAX_INSTANCES = 64
"""Instances that one NF type, and all of a chain's budget together, may reach."""

FILE_ARGUMENTS = frozenset({"rules", "routes"})
"""Arguments of NFs that name files."""

STATEFUL_FUNCTIONS = frozenset({"nat"})
"""NF functions whose flows must stay with their instance, since state cannot move."""

Mapping = Literal["algorithm1", "rendezvous", "even"]
Mode = Literal["pipeline", "backpressure", "run_to_completion"]
Name = Annotated[str, Field(min_length=1, max_length=31, pattern=r"^[A-Za-z0-9_.-]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NFCalibration(_Model):
    """What one NF function costs on one machine.

    Attributes:
        processing_ns: per-packet processing time, nanoseconds; by timestamps, which the paper takes
            when an NF starts and this dataplane for as long as it runs.
        loss_free_pps: highest rate that one instance carries without loss, packets/s.
        overload_penalty: share of `loss_free_pps` that a fully overloaded instance loses, 0..1.
        overload_span: excess (offered / loss-free rate - 1) at which the penalty is complete.
        jitter: relative half-width of the uniform variation of the service rate, per sub-step.
        source: where the numbers come from.
    """

    processing_ns: Annotated[float, Field(gt=0, le=1e9)]
    loss_free_pps: Annotated[float, Field(gt=0, le=1e9)]
    overload_penalty: Annotated[float, Field(ge=0, lt=1)] = 0.0
    overload_span: Annotated[float, Field(gt=0, le=10)] = 0.35
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0
    source: str = ""

    @property
    def max_load(self) -> float:
        """Maximum load in erlangs: loss-free rate x processing time (paper, Sec. V-B)."""
        return self.loss_free_pps * self.processing_ns * 1e-9


class PowerCalibration(_Model):
    """Power of one core by what it does, watts; the energy estimate's stated constants."""

    busy_w: Annotated[float, Field(ge=0)] = 10.0
    idle_poll_w: Annotated[float, Field(ge=0)] = 8.0
    parked_w: Annotated[float, Field(ge=0)] = 2.5
    source: str = ""


class Calibration(_Model):
    """Measurements of one machine's dataplane.

    Attributes:
        launch_s: launch of a new instance, command to first packet, seconds.
        rerun_s: rerun of a blocked instance, seconds.
        launch_spread, rerun_spread: relative half-width of each latency's variation, 0..1.
        scale: packet rates of the dataplane that was measured, relative to the chain's own (1/20
            for a paced machine); the figures here are in the chain's own rates.
        nf: one entry per NF function.
    """

    name: Name
    description: str = ""
    machine: str = ""
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    launch_s: Annotated[float, Field(ge=0, le=600)]
    rerun_s: Annotated[float, Field(ge=0, le=600)]
    launch_spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rerun_spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    launch_source: str = ""
    rerun_source: str = ""
    power: PowerCalibration = PowerCalibration()
    nf: dict[str, NFCalibration]

    @model_validator(mode="after")
    def _has_functions(self) -> Self:
        if not self.nf:
            raise ValueError("nf: at least one NF function must be calibrated")
        return self


class NFType(_Model):
    """One NF type of a chain.

    Attributes:
        name: unique within the chain file.
        function: the NF function that it runs; the calibration must know it.
        min_instances, max_instances: limits on wanted instances.
        initial_instances: running at reset.
        high_watermark: H as a share of the maximum load (0.682: our reading, see the paper facts).
        low_watermark: L as a share of H.
        ring_size: receive ring, a power of two; it holds one packet less (rte_ring).
        cores_per_instance: cores that each instance holds.
        mapping: this type's own mapping, where it differs from the chain's.
        args: arguments handed to the NF on the dataplane; `rules=` and `routes=` name files, beside
            the chain file or from where the manager is started.
    """

    name: Name
    function: Name
    min_instances: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] = 1
    max_instances: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] = 8
    initial_instances: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] = 1
    high_watermark: Annotated[float, Field(gt=0, le=2)] = 0.682
    low_watermark: Annotated[float, Field(ge=0, lt=1)] = 0.5
    ring_size: Annotated[int, Field(ge=64, le=1 << 20)] = 4096
    cores_per_instance: Annotated[int, Field(ge=1, le=16)] = 1
    mapping: Mapping | None = None
    args: str = ""

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"min_instances: {self.min_instances} is above max_instances {self.max_instances}"
            )
        if not self.min_instances <= self.initial_instances <= self.max_instances:
            raise ValueError(
                f"initial_instances: {self.initial_instances} is outside "
                f"{self.min_instances}..{self.max_instances}"
            )
        if self.ring_size & (self.ring_size - 1):
            raise ValueError(f"ring_size: {self.ring_size} is not a power of two")
        return self


class FlowSetSpec(_Model):
    """The flows that share the offered rate; a part of an experiment's definition.

    Attributes:
        count: number of flows.
        zipf: exponent of the popularity distribution, 0 for equal flows.
        seed: of the flows' addresses and ports.
    """

    count: Annotated[int, Field(ge=1, le=1 << 20)] = 4096
    zipf: Annotated[float, Field(ge=0, le=4)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1


class PathSpec(_Model):
    """One service chain of a deployment: the NF types its packets pass, in order.

    Attributes:
        share: its part of the offered rate; the shares of a file add up to 1.
    """

    name: Name
    nfs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_TYPES)]
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class ServiceChain(_Model):
    """A validated chain file: NF types, limits, and the calibration it names.

    Without `[[path]]` tables the NF types form one chain in file order; with them the file is a
    deployment of several chains that share NF types and the core budget.

    Attributes:
        interval_s: monitor interval, seconds (1 s in the paper).
        mapping: which instance a flow goes to: `algorithm1`, `rendezvous` or `even`.
        mode: `pipeline` (the paper), `backpressure` (NFVnice: shed at the chain's entry),
            `run_to_completion` (the whole chain in one process per core): then the first NF type
            stands for the replicas of that process, and the others have no instances.
        core_budget: cores that all instances together may hold.
        parked_weight: cost of a parked core relative to a running one.
        park_timeout_s: parked longer than this is stopped; never if absent (as the paper).
        peak_pps: peak that default training and test traces are scaled to, packets/s.
        packet_bytes: frame size of the offered traffic without preamble and gap, bytes.
    """

    name: Name
    description: str = ""
    calibration: str
    interval_s: Annotated[float, Field(ge=0.01, le=3600)] = 1.0
    mapping: Mapping = "algorithm1"
    mode: Mode = "pipeline"
    core_budget: Annotated[int, Field(ge=1, le=1024)]
    parked_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    park_timeout_s: Annotated[float, Field(gt=0)] | None = None
    peak_pps: Annotated[float, Field(gt=0, le=1e9)] = 10e6
    packet_bytes: Annotated[int, Field(ge=60, le=9600)] = 64
    flows: FlowSetSpec = FlowSetSpec()
    nf: Annotated[tuple[NFType, ...], Field(min_length=1, max_length=MAX_TYPES)]
    path: tuple[PathSpec, ...] = ()

    _measured: Calibration = PrivateAttr()
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [nf.name for nf in self.nf]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"nf: the name {name!r} is used {names.count(name)} times")
        for path in self.path:
            for name in path.nfs:
                if name not in names:
                    raise ValueError(f"path.{path.name}: unknown NF type {name!r}")
                if path.nfs.count(name) > 1:
                    raise ValueError(f"path.{path.name}: NF type {name!r} appears twice")
        for nf in self.nf:
            process = self.nf[0] if self._replicated else nf
            if (
                nf.function in STATEFUL_FUNCTIONS
                and process.max_instances > 1
                and (process.mapping or self.mapping) != "rendezvous"
            ):
                raise ValueError(
                    f"nf.{process.name}: {nf.function!r} keeps state per flow: give it "
                    'mapping = "rendezvous" or max_instances = 1'
                )
        if self.path and abs(sum(path.share for path in self.path) - 1.0) > 1e-9:
            raise ValueError("path: the shares must add up to 1")
        unused = set(names) - {name for path in self.path for name in path.nfs}
        if self.path and unused:
            raise ValueError(f"nf: {sorted(unused)[0]!r} is on no path")
        processes = self.nf[:1] if self._replicated else self.nf
        start = sum(nf.initial_instances * nf.cores_per_instance for nf in processes)
        if start > self.core_budget:
            raise ValueError(
                f"core_budget: {self.core_budget} cores cannot hold the {start} cores of the "
                "initial instances"
            )
        return self

    def __eq__(self, other: object) -> bool:
        # Not pydantic's: it would compare the cached arrays of the numeric view.
        if not isinstance(other, ServiceChain):
            return NotImplemented
        return self.model_dump() == other.model_dump() and getattr(
            self, "_measured", None
        ) == getattr(other, "_measured", None)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def measured(self) -> Calibration:
        """The calibration that the chain names."""
        return self._measured

    def with_calibration(self, calibration: Calibration) -> Self:
        """This chain bound to `calibration`.

        Raises:
            InputError: an NF function of the chain is not calibrated.
        """
        for nf in self.nf:
            if nf.function not in calibration.nf:
                raise InputError(
                    f"NF type {nf.name!r} runs {nf.function!r}, which calibration "
                    f"{calibration.name!r} does not hold",
                    where=f"chain {self.name!r}",
                    fix=f"calibrated functions are {', '.join(sorted(calibration.nf))}",
                )
        bound = self.model_copy(update={"calibration": calibration.name})
        bound._measured = calibration
        for cached in list(bound.__dict__):
            if cached not in type(self).model_fields:
                del bound.__dict__[cached]
        return bound

    def replace(self, **changes: Any) -> Self:
        """A validated copy with other top-level keys (interval_s, mapping, core_budget ...).

        Raises:
            InputError: a key is unknown or its value out of range.
        """
        data = self.model_dump() | changes
        try:
            copy = type(self).model_validate(data)
        except ValidationError as error:
            raise _input_error(error, f"chain {self.name!r}") from error
        copy._measured = self._measured
        copy._folder = self._folder
        return copy

    @property
    def nf_args(self) -> tuple[str, ...]:
        """Arguments of every NF type's instances, [T]; files beside the chain file by full path.

        Raises:
            InputError: such a path has a blank, which arguments cannot hold.
        """
        return tuple(" ".join(map(self._whole, nf.args.split())) for nf in self.nf)

    def _whole(self, argument: str) -> str:
        name, _, value = argument.partition("=")
        if name not in FILE_ARGUMENTS or self._folder is None:
            return argument
        path = self._folder / value
        if not path.is_file():
            return argument  # from where the manager is started
        if len(str(path).split()) > 1:
            raise InputError(
                f"the path of {path.name} has a blank, which arguments of NFs cannot hold",
                where=str(path.parent),
                fix="put chain file and it elsewhere",
            )
        return f"{name}={path}"

    # --- the numeric view: one entry per NF type --------------------------------------------

    @property
    def types(self) -> int:
        """Number of NF types, T."""
        return len(self.nf)

    @cached_property
    def slots(self) -> int:
        """Instance slots per NF type in a reading, I: the largest `max_instances`."""
        return max(nf.max_instances for nf in self.nf)

    @property
    def nf_names(self) -> tuple[str, ...]:
        """Names of the NF types in file order."""
        return tuple(nf.name for nf in self.nf)

    def _floats(self, values: Iterable[float]) -> FloatArray:
        array = np.array(list(values), dtype=np.float64)
        array.flags.writeable = False
        return array

    def _ints(self, values: Iterable[int]) -> IntArray:
        array = np.array(list(values), dtype=np.int64)
        array.flags.writeable = False
        return array

    @property
    def _replicated(self) -> bool:
        return self.mode == "run_to_completion"

    @property
    def _functions(self) -> dict[str, str]:
        """NF function by NF type."""
        return {nf.name: nf.function for nf in self.nf}

    @property
    def chains(self) -> tuple[PathSpec, ...]:
        """Every chain of the file, the only one too; whatever process runs its functions."""
        return self.path or (PathSpec(name=self.name, nfs=self.nf_names),)

    def _first_only(self, numbers: Iterable[int]) -> list[int]:
        """Numbers of instances; run to completion, only the first type has any."""
        first, *others = numbers
        return [first, *(0 if self._replicated else number for number in others)]

    @cached_property
    def capacity_pps(self) -> FloatArray:
        """Loss-free rate of one instance, packets/s, [T].

        A run-to-completion replica spends the processing times of all NFs on a packet, and the
        longest of their times outside processing (receive, transmit, loop) once.
        """
        rates = [self._measured.nf[nf.function].loss_free_pps for nf in self.nf]
        if self._replicated:
            measured = [self._measured.nf[nf.function] for nf in self.nf]
            outside_ns = max(max(0.0, 1e9 / nf.loss_free_pps - nf.processing_ns) for nf in measured)
            rates[0] = 1e9 / (self.processing_ns[0] + outside_ns)
        return self._floats(rates)

    @cached_property
    def processing_ns(self) -> FloatArray:
        """Per-packet processing time, ns, [T]; of a replica: of all NFs, mean over the paths."""
        times = [self._measured.nf[nf.function].processing_ns for nf in self.nf]
        if self._replicated:
            times[0] = sum(
                chain.share
                * sum(self._measured.nf[self._functions[name]].processing_ns for name in chain.nfs)
                for chain in self.chains
            )
        return self._floats(times)

    @cached_property
    def overload_penalty(self) -> FloatArray:
        """Share of the loss-free rate lost in full overload, [T]."""
        return self._floats(self._measured.nf[nf.function].overload_penalty for nf in self.nf)

    @cached_property
    def overload_span(self) -> FloatArray:
        """Excess at which the overload penalty is complete, [T]."""
        return self._floats(self._measured.nf[nf.function].overload_span for nf in self.nf)

    @cached_property
    def jitter(self) -> FloatArray:
        """Relative half-width of the service rate's variation, [T]."""
        return self._floats(self._measured.nf[nf.function].jitter for nf in self.nf)

    @cached_property
    def max_load(self) -> FloatArray:
        """Maximum load of one instance, erlangs, [T]."""
        return self._floats(self.capacity_pps * self.processing_ns * 1e-9)

    @cached_property
    def high_load(self) -> FloatArray:
        """High watermark H, erlangs, [T]."""
        return self._floats(
            nf.high_watermark * load for nf, load in zip(self.nf, self.max_load, strict=True)
        )

    @cached_property
    def low_load(self) -> FloatArray:
        """Low watermark L, erlangs, [T]."""
        return self._floats(
            nf.low_watermark * load for nf, load in zip(self.nf, self.high_load, strict=True)
        )

    @cached_property
    def ring_slots(self) -> IntArray:
        """Packets that a receive ring holds (its size less one), [T]."""
        return self._ints(nf.ring_size - 1 for nf in self.nf)

    @cached_property
    def ring_packets(self) -> FloatArray:
        """The chain's own packets that a receive ring takes up, [T].

        A dataplane that runs at a scale keeps its rings: each of their packets stands for
        1 / scale of the chain's own, so that at 1/20 a ring fills twenty times as slowly.
        """
        return self._floats(slots / self._measured.scale for slots in self.ring_slots)

    @cached_property
    def min_instances(self) -> IntArray:
        """Fewest wanted instances, [T]."""
        return self._ints(self._first_only(nf.min_instances for nf in self.nf))

    @cached_property
    def max_instances(self) -> IntArray:
        """Most wanted instances, [T]."""
        return self._ints(nf.max_instances for nf in self.nf)

    @cached_property
    def own_slots(self) -> IntArray:
        """Instance slots that each NF type can fill, [T]; run to completion, only the first."""
        return self._ints(self._first_only(nf.max_instances for nf in self.nf))

    @cached_property
    def initial_instances(self) -> IntArray:
        """Instances running at reset, [T]."""
        return self._ints(self._first_only(nf.initial_instances for nf in self.nf))

    @cached_property
    def cores_per_instance(self) -> IntArray:
        """Cores that one instance holds, [T]."""
        return self._ints(nf.cores_per_instance for nf in self.nf)

    @cached_property
    def mapping_kinds(self) -> IntArray:
        """Each NF type's mapping as a `flexnfv.mapping.MappingKind`, [T]."""
        return self._ints(MappingKind[(nf.mapping or self.mapping).upper()] for nf in self.nf)

    @cached_property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """NF type indices of every chain of the file, in order of passage."""
        if self._replicated:
            return ((0,),)
        index = {name: t for t, name in enumerate(self.nf_names)}
        return tuple(tuple(index[name] for name in chain.nfs) for chain in self.chains)

    @cached_property
    def path_shares(self) -> FloatArray:
        """Each path's part of the offered rate, [P]."""
        if self._replicated:
            return self._floats([1.0])
        return self._floats(chain.share for chain in self.chains)

    @cached_property
    def through(self) -> FloatArray:
        """Share of the offered rate that passes each NF type, [T]."""
        share = np.zeros(self.types)
        for path, part in zip(self.paths, self.path_shares, strict=True):
            share[list(path)] += part
        share.flags.writeable = False
        return share

    @cached_property
    def upstream(self) -> FloatArray:
        """Of a packet at type u, the share that would go on to type t, [T, T] as [u, t]."""
        share = np.zeros((self.types, self.types))
        for path, part in zip(self.paths, self.path_shares, strict=True):
            for place, u in enumerate(path):
                share[u, list(path[place + 1 :])] += part / self.through[u]
        share.flags.writeable = False
        return share


def _input_error(error: ValidationError, where: str) -> InputError:
    """The first of pydantic's findings as one line: key, what is wrong, the allowed range."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] != "missing" and key and not isinstance(first["input"], dict):
        message += f" (got {first['input']!r})"
    return InputError(f"{key}: {message}" if key else message, where=where)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise InputError("is a folder, not a TOML file", where=str(path)) from None
    except PermissionError:
        raise InputError("cannot be read (permission denied)", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML: {error}", where=str(path)) from None


def shipped(folder: str) -> dict[str, Path]:
    """Names and paths of the TOML files that FlexNFV ships in `folder` (chains, calibration)."""
    root = Path(str(resources.files("flexnfv") / folder))
    return {path.stem: path for path in sorted(root.glob("*.toml"))}


def _locate(name: str | Path, folder: str, beside: Path | None = None) -> Path:
    """A path as given, beside the file that named it, or a shipped file by its name."""
    text = str(name)
    known = shipped(folder)
    if text.removesuffix(".toml") in known and not Path(text).exists():
        return known[text.removesuffix(".toml")]
    if text.endswith(".toml") or "/" in text:
        path = Path(text)
        if beside is not None and not path.is_absolute() and (beside / path).exists():
            return beside / path
        return path
    if beside is not None and (beside / f"{text}.toml").exists():
        return beside / f"{text}.toml"
    raise InputError(
        f"no {folder} file of that name",
        where=repr(text),
        fix=f"{nearest(text, known)}give a path ending in .toml or one of {', '.join(known)}",
    )


def load_calibration(name: str | Path, *, beside: Path | None = None) -> Calibration:
    """A calibration by shipped name or path.

    Raises:
        InputError: no such file, not TOML, or a key that is missing, unknown or out of range.
    """
    path = _locate(name, "calibration", beside)
    try:
        return Calibration.model_validate(_read_toml(path))
    except ValidationError as error:
        raise _input_error(error, str(path)) from error


def load_chain(
    name: str | Path | ServiceChain, *, calibration: str | Path | None = None
) -> ServiceChain:
    """A chain by shipped name or path, bound to the calibration it names (or to another one).

    Raises:
        InputError: no such file, not TOML, a key that is missing, unknown or out of range, or a
            calibration that does not hold one of the chain's NF functions.
    """
    if isinstance(name, ServiceChain):
        return name if calibration is None else name.with_calibration(load_calibration(calibration))
    path = _locate(name, "chains")
    try:
        chain = ServiceChain.model_validate(_read_toml(path))
    except ValidationError as error:
        raise _input_error(error, str(path)) from error
    chain._folder = path.parent.resolve()
    measured = load_calibration(
        calibration if calibration is not None else chain.calibration,
        beside=None if calibration is not None else path.parent,
    )
    try:
        return chain.with_calibration(measured)
    except InputError as error:
        raise InputError(error.what, where=f"{path}, {error.where}", fix=error.fix) from None
