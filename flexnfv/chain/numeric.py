"""The numbers of a chain: one read-only numpy array per quantity, one entry per NF type.

This is what policies, backends and laws compute with. Each array is made when it is first asked
for, from the chain file and the calibration that the chain is bound to.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import PrivateAttr

from flexnfv.chain.schema import Calibration, ChainFile, PathSpec
from flexnfv.mapping import MappingKind

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class ChainNumbers(ChainFile):
    """A chain file with its numeric view: T NF types, P paths, I instance slots."""

    _measured: Calibration = PrivateAttr()

    @property
    def measured(self) -> Calibration:
        """The calibration that the chain names."""
        return self._measured

    @cached_property
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
        return _floats(rates)

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
        return _floats(times)

    @cached_property
    def overload_penalty(self) -> FloatArray:
        """Share of the loss-free rate lost in full overload, [T]."""
        return _floats(self._measured.nf[nf.function].overload_penalty for nf in self.nf)

    @cached_property
    def overload_span(self) -> FloatArray:
        """Excess at which the overload penalty is complete, [T]."""
        return _floats(self._measured.nf[nf.function].overload_span for nf in self.nf)

    @cached_property
    def jitter(self) -> FloatArray:
        """Relative half-width of the service rate's variation, [T]."""
        return _floats(self._measured.nf[nf.function].jitter for nf in self.nf)

    @cached_property
    def max_load(self) -> FloatArray:
        """Maximum load of one instance, erlangs, [T]."""
        return _floats(self.capacity_pps * self.processing_ns * 1e-9)

    @cached_property
    def high_load(self) -> FloatArray:
        """High watermark H, erlangs, [T]."""
        return _floats(
            nf.high_watermark * load for nf, load in zip(self.nf, self.max_load, strict=True)
        )

    @cached_property
    def low_load(self) -> FloatArray:
        """Low watermark L, erlangs, [T]."""
        return _floats(
            nf.low_watermark * load for nf, load in zip(self.nf, self.high_load, strict=True)
        )

    @cached_property
    def ring_slots(self) -> IntArray:
        """Packets that a receive ring holds (its size less one), [T]."""
        return _ints(nf.ring_size - 1 for nf in self.nf)

    @cached_property
    def ring_packets(self) -> FloatArray:
        """The chain's own packets that a receive ring takes up, [T].

        A dataplane that runs at a scale keeps its rings: each of their packets stands for
        1 / scale of the chain's own, so that at 1/20 a ring fills twenty times as slowly.
        """
        return _floats(slots / self._measured.scale for slots in self.ring_slots)

    @cached_property
    def limits(self) -> tuple[IntArray, IntArray]:
        """`min_instances` and `max_instances`, [T] each, as arrays that compiled code takes."""
        return self.min_instances.copy(), self.max_instances.copy()

    @cached_property
    def min_instances(self) -> IntArray:
        """Fewest wanted instances, [T]."""
        return _ints(self._first_only(nf.min_instances for nf in self.nf))

    @cached_property
    def max_instances(self) -> IntArray:
        """Most wanted instances, [T]."""
        return _ints(nf.max_instances for nf in self.nf)

    @cached_property
    def own_slots(self) -> IntArray:
        """Instance slots that each NF type can fill, [T]; run to completion, only the first."""
        return _ints(self._first_only(nf.max_instances for nf in self.nf))

    @cached_property
    def initial_instances(self) -> IntArray:
        """Instances running at reset, [T]."""
        return _ints(self._first_only(nf.initial_instances for nf in self.nf))

    @cached_property
    def cores_per_instance(self) -> IntArray:
        """Cores that one instance holds, [T]."""
        return _ints(nf.cores_per_instance for nf in self.nf)

    @cached_property
    def mapping_kinds(self) -> IntArray:
        """Each NF type's mapping as a `flexnfv.mapping.MappingKind`, [T]."""
        return _ints(MappingKind[(nf.mapping or self.mapping).upper()] for nf in self.nf)

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
            return _floats([1.0])
        return _floats(chain.share for chain in self.chains)

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


def _floats(values: Iterable[float]) -> FloatArray:
    array = np.array(list(values), dtype=np.float64)
    array.flags.writeable = False
    return array


def _ints(values: Iterable[int]) -> IntArray:
    array = np.array(list(values), dtype=np.int64)
    array.flags.writeable = False
    return array
