"""What chain files and calibrations may state, and what of it must agree.

A chain file (TOML) states intent: NF types in order, limits, watermark ratios, interval, mapping,
budget. A calibration file states measurements: processing time, loss-free rate, overload, jitter,
latencies. A chain names its calibration; no constant stands in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flexnfv.chain.functions import facts
from flexnfv.errors import InputError

MAX_TYPES = 16
"""NF types that one chain file may hold (the dataplane's limit too)."""
MAX_INSTANCES = 64
"""Instances that one NF type, and all of a chain's budget together, may reach."""

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
        stateful: whether a flow must stay with its instance; of FlexNFV's own NFs it is known.
        files: arguments of the NF that name files; likewise (`rules` and `routes` if not).
        source: where the numbers come from.
    """

    processing_ns: Annotated[float, Field(gt=0, le=1e9)]
    loss_free_pps: Annotated[float, Field(gt=0, le=1e9)]
    overload_penalty: Annotated[float, Field(ge=0, lt=1)] = 0.0
    overload_span: Annotated[float, Field(gt=0, le=10)] = 0.35
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0
    stateful: bool | None = None
    files: tuple[str, ...] | None = None
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
        high_watermark: H as a share of the maximum load. The paper prints no number; 0.682 is
            our reading of its Fig. 3 (docs/reproduction.md).
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


class ChainFile(_Model):
    """What a chain file states: NF types, limits, and the calibration it names.

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
        self._check_flows_stay(lambda function: facts(function).stateful)
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

    def _check_flows_stay(self, stateful: Callable[[str], bool]) -> None:
        """Raise ValueError where instances of a stateful function would exchange flows."""
        for nf in self.nf:
            process = self.nf[0] if self._replicated else nf
            if (
                stateful(nf.function)
                and process.max_instances > 1
                and (process.mapping or self.mapping) != "rendezvous"
            ):
                raise ValueError(
                    f"nf.{process.name}: {nf.function!r} keeps state per flow: give it "
                    'mapping = "rendezvous" or max_instances = 1'
                )

    @property
    def _replicated(self) -> bool:
        return self.mode == "run_to_completion"


def input_error(error: ValidationError, where: str) -> InputError:
    """The first of pydantic's findings as one line: key, what is wrong, the allowed range."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] != "missing" and key and not isinstance(first["input"], dict):
        message += f" (got {first['input']!r})"
    return InputError(f"{key}: {message}" if key else message, where=where)
