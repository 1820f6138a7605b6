"""Readings: what the monitor measured in one interval, and the figures derived from them.

Both backends fill the same arrays. Leading dimensions are a batch: a single reading has none, a
batched model has one. `T` is the number of NF types, `I` the instance slots per type; slots that
a type does not use stay `STOPPED` with zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, InstanceState

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _spec(dtype: type[np.generic], dims: str, unit: str, doc: str) -> dict[str, Any]:
    return {"dtype": np.dtype(dtype), "dims": dims, "unit": unit, "doc": doc}


@dataclass(frozen=True, eq=False)
class Reading:
    """One monitor interval of a chain (or of a batch of chains).

    Rates are means over the interval, in the chain's own packets. Queues are packets in the
    dataplane's rings: at a scale of 1/20 each stands for 20 of the chain's own. `dims` of a field
    is "" (one value), "T" or "TI" behind the batch dimensions; dtype, unit and meaning of each
    field stand in its metadata (`describe()`).
    """

    time_s: FloatArray = field(
        metadata=_spec(np.float64, "", "s", "end of the interval, since reset")
    )
    interval_s: FloatArray = field(
        metadata=_spec(np.float64, "", "s", "measured length of the interval")
    )
    offered_pps: FloatArray = field(metadata=_spec(np.float64, "", "1/s", "offered to the chain"))
    delivered_pps: FloatArray = field(metadata=_spec(np.float64, "", "1/s", "left the chain"))
    dropped_pps: FloatArray = field(metadata=_spec(np.float64, "", "1/s", "lost, all causes"))
    shed_pps: FloatArray = field(
        metadata=_spec(np.float64, "", "1/s", "lost at the entry to backpressure")
    )
    latency_s: FloatArray = field(
        metadata=_spec(np.float64, "", "s", "mean time in the chain (estimate)")
    )
    energy_j: FloatArray = field(
        metadata=_spec(np.float64, "", "J", "energy of all cores (estimate)")
    )
    unmapped_pps: FloatArray = field(
        metadata=_spec(np.float64, "T", "1/s", "lost: no unblocked instance")
    )
    unsettled: npt.NDArray[np.bool_] = field(
        metadata=_spec(
            np.bool_, "T", "", "an instance joined (launched, rerun) or died within the interval"
        )
    )
    launches: IntArray = field(
        metadata=_spec(np.int64, "T", "", "launches begun for this interval")
    )
    reruns: IntArray = field(
        metadata=_spec(np.int64, "T", "", "reruns commanded for this interval")
    )
    blocks: IntArray = field(
        metadata=_spec(np.int64, "T", "", "blocks commanded for this interval")
    )
    stops: IntArray = field(
        metadata=_spec(np.int64, "T", "", "parked instances stopped for this interval")
    )
    deaths: IntArray = field(
        metadata=_spec(np.int64, "T", "", "instances that died within the interval")
    )
    clipped: IntArray = field(
        metadata=_spec(np.int64, "T", "", "wanted instances that limits or budget refused")
    )
    flows_moved: FloatArray = field(
        metadata=_spec(
            np.float64, "T", "", "share of flows whose instance changed, summed over the changes"
        )
    )
    mapping: npt.NDArray[np.int8] = field(
        metadata=_spec(np.int8, "T", "", "MappingKind in force at the interval's end")
    )
    state: npt.NDArray[np.int8] = field(
        metadata=_spec(np.int8, "TI", "", "InstanceState at the interval's end")
    )
    start_kind: npt.NDArray[np.int8] = field(
        metadata=_spec(np.int8, "TI", "", "StartKind of the instance")
    )
    arrived_pps: FloatArray = field(
        metadata=_spec(
            np.float64, "TI", "1/s", "offered to the instance: enqueued plus dropped at its ring"
        )
    )
    served_pps: FloatArray = field(
        metadata=_spec(np.float64, "TI", "1/s", "processed by the instance")
    )
    ring_dropped_pps: FloatArray = field(
        metadata=_spec(np.float64, "TI", "1/s", "lost at the instance's ring")
    )
    queue: FloatArray = field(
        metadata=_spec(np.float64, "TI", "packets", "in the receive ring, at the end")
    )
    queue_peak: FloatArray = field(
        metadata=_spec(np.float64, "TI", "packets", "longest receive ring seen")
    )
    parked_s: FloatArray = field(
        metadata=_spec(np.float64, "TI", "s", "how long a blocked instance is parked")
    )
    processing_ns: FloatArray = field(
        metadata=_spec(np.float64, "TI", "ns", "per-packet processing time")
    )
    load_if_blocked: FloatArray = field(
        metadata=_spec(
            np.float64, "TI", "erlang", "highest load among the others if this one were blocked"
        )
    )

    @classmethod
    def zeros(cls, types: int, slots: int, batch: tuple[int, ...] = ()) -> Self:
        """A reading of zeros to be filled in place by a backend."""
        layout = _layout(types, slots)
        return cls.of({name: np.zeros(batch + shape, dtype) for name, shape, dtype in layout})

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Self:
        """A reading of these arrays, one for every field: quicker than the constructor."""
        made = cls.__new__(cls)
        made.__dict__.update(arrays)
        return made

    @classmethod
    def describe(cls) -> dict[str, dict[str, str]]:
        """Dtype, dimensions, unit and meaning of every field."""
        return {
            item.name: {key: str(value) for key, value in item.metadata.items()}
            for item in fields(cls)
        }

    @classmethod
    def stack(cls, readings: list[Self]) -> Self:
        """Readings of equal shape as one batch."""
        return cls(
            **{
                item.name: np.stack([getattr(reading, item.name) for reading in readings])
                for item in fields(cls)
            }
        )

    def items(self) -> Iterator[tuple[str, Array]]:
        """Field names and their arrays."""
        for name in FIELDS:
            yield name, self.__dict__[name]

    def to_bytes(self) -> bytes:
        """All arrays, one behind the other."""
        arrays: list[Any] = [array for _, array in self.items()]
        try:
            return b"".join(arrays)
        except BufferError:  # not contiguous
            return b"".join([array.tobytes() for array in arrays])

    @classmethod
    def from_bytes(cls, body: bytes, types: int, slots: int) -> Self:
        """The single reading of `to_bytes`, with arrays of its own.

        Raises:
            ValueError: so many bytes are no reading of that many NF types and slots.
        """
        place, arrays = 0, {}
        for name, shape, dtype in _layout(types, slots):
            size = math.prod(shape)
            arrays[name] = np.frombuffer(body, dtype, size, place).reshape(shape).copy()
            place += size * dtype.itemsize
        if place != len(body):
            raise ValueError(f"{len(body)} bytes are no reading, which has {place}")
        return cls.of(arrays)

    def copy(self) -> Self:
        """A reading of its own; a backend may reuse its buffers in the next step."""
        return self.of({name: array.copy() for name, array in self.items()})

    def __getitem__(self, index: Any) -> Self:
        """One or some readings of a batch (views), with what is derived already."""
        place = (*index, ...) if isinstance(index, tuple) else (index, ...)
        part = self.of({name: self.__dict__[name][place] for name in FIELDS})
        for name in _DERIVED:
            if name in self.__dict__:
                part.__dict__[name] = self.__dict__[name][place]
        if "_demand" in self.__dict__:
            chain, demand = self.__dict__["_demand"]
            part.__dict__["_demand"] = (chain, demand[place])
        return part

    def __getstate__(self) -> dict[str, Array]:
        return dict(self.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reading):
            return NotImplemented
        return same_layout(self, other) and all(
            np.array_equal(a, b) for (_, a), (_, b) in zip(self.items(), other.items(), strict=True)
        )

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch dimensions, () for a single reading."""
        return self.time_s.shape

    # --- derived figures ----------------------------------------------------------------------

    @cached_property
    def load(self) -> FloatArray:
        """Arrival rate x processing time, erlangs, [..., T, I] (paper, Sec. III-B)."""
        return self.arrived_pps * self.processing_ns * 1e-9

    @cached_property
    def running(self) -> IntArray:
        """Running instances, [..., T]."""
        return np.asarray(self._counts[RUNNING])

    @cached_property
    def launching(self) -> IntArray:
        """Launching instances, [..., T]."""
        return np.asarray(self._counts[LAUNCHING])

    @cached_property
    def draining(self) -> IntArray:
        """Blocked instances that still drain, [..., T]."""
        return np.asarray(self._counts[DRAINING])

    @cached_property
    def blocked(self) -> IntArray:
        """Parked instances (blocked and drained), [..., T]."""
        return np.asarray(self._counts[BLOCKED])

    @cached_property
    def _counts(self) -> IntArray:
        """Instances in each state, [states, ..., T]."""
        states = np.arange(len(InstanceState), dtype=np.int8)
        matches = self.state == states.reshape(-1, *(1,) * self.state.ndim)
        # A sum of bytes (a type has at most 128 slots): einsum's is the fastest of numpy's.
        return np.asarray(np.einsum("...i->...", matches.view(np.uint8)), dtype=np.int64)

    @cached_property
    def type_arrived_pps(self) -> FloatArray:
        """Offered to each NF type, packets/s, [..., T]."""
        return np.asarray(self.arrived_pps.sum(axis=-1) + self.unmapped_pps)

    @cached_property
    def type_dropped_pps(self) -> FloatArray:
        """Lost at each NF type, packets/s, [..., T]."""
        return np.asarray(self.ring_dropped_pps.sum(axis=-1) + self.unmapped_pps)

    def utilisation(self, chain: ServiceChain) -> FloatArray:
        """Arrival rate / loss-free rate of each instance, [..., T, I]."""
        return np.asarray(self.arrived_pps / chain.capacity_pps[:, None])

    def demand_pps(self, chain: ServiceChain) -> FloatArray:
        """What each NF type would be offered if nothing upstream were lost, packets/s, [..., T].

        Its arrivals plus the losses upstream of it: chain-level information, since more instances
        upstream release the traffic that is lost there now.
        """
        known: tuple[ServiceChain, FloatArray] | None = self.__dict__.get("_demand")
        if known is not None and known[0] is chain:
            return known[1]
        demand = (
            self.type_arrived_pps
            + self.type_dropped_pps @ chain.upstream
            + self.shed_pps[..., None] * chain.through
        )
        self.__dict__["_demand"] = (chain, demand)
        return np.asarray(demand)

    def core_usage(self, chain: ServiceChain) -> FloatArray:
        """Cores of running, launching and draining instances, per NF type, [..., T]."""
        awake = self.running + self.launching + self.draining
        return np.asarray(awake * chain.cores_per_instance, dtype=np.float64)

    def parked_cores(self, chain: ServiceChain) -> FloatArray:
        """Cores of parked instances, per NF type, [..., T]."""
        return np.asarray(self.blocked * chain.cores_per_instance, dtype=np.float64)

    @cached_property
    def drop_rate(self) -> FloatArray:
        """Lost packets / offered packets of the interval, [...]; 0 where nothing was offered."""
        return np.divide(
            self.dropped_pps,
            self.offered_pps,
            out=np.zeros_like(self.offered_pps),
            where=self.offered_pps > 0,
        )


FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Reading))
"""Names of a reading's fields."""
_DERIVED = (
    "load",
    "running",
    "launching",
    "draining",
    "blocked",
    "type_arrived_pps",
    "type_dropped_pps",
    "drop_rate",
)
"""Derived figures that are kept once they are asked for; a batch's dimensions stand first."""


@cache
def _layout(types: int, slots: int) -> tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]:
    """Name, shape and dtype of every field of a single reading."""
    shapes = {"": (), "T": (types,), "TI": (types, slots)}
    return tuple(
        (item.name, shapes[item.metadata["dims"]], item.metadata["dtype"])
        for item in fields(Reading)
    )


def same_layout(one: Reading, other: Reading) -> bool:
    """Whether two readings agree in the dtype and shape of every field."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape
        for (_, a), (_, b) in zip(one.items(), other.items(), strict=True)
    )
