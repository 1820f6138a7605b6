"""Decisions: what a policy wants for the next interval, as a described struct of arrays.

`targets` stands first and is always given. Behind it stand the levers, each optional: where a lever
is not given, or says `KEEP` for an NF type, that NF type stays as it is. The fields' descriptions
are the one place that knows them: the wire of a deployment, the columns of records, the
environment's action spaces and the check below follow from them.

Leading dimensions are a batch, as in a `Reading`; `T` is the number of NF types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.mapping import MappingKind

IntArray = npt.NDArray[np.int64]

KEEP = -1
"""What a lever says for an NF type that it leaves as it is."""
HIGHEST = 10**9
"""No count of a decision may be above it."""


def _spec(lowest: int, highest: int, doc: str, values: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a field holds; `values` names them from 0 on where they are kinds, not counts."""
    return {
        "dtype": np.dtype(np.int64),
        "dims": "T",
        "unit": "",
        "doc": doc,
        "lowest": lowest,
        "highest": highest,
        "values": values,
    }


@dataclass(frozen=True, eq=False, slots=True)
class Decision:
    """What a chain (or each chain of a batch) should run in the next interval.

    Dtype, dimensions, unit, range and meaning of each field stand in its metadata (`describe()`).
    A plain array that stands where a decision is asked for counts as its targets.
    """

    targets: IntArray = field(
        metadata=_spec(0, HIGHEST, "wanted instances, running plus launching")
    )
    mapping: IntArray | None = field(
        default=None,
        metadata=_spec(
            KEEP,
            max(MappingKind),
            "MappingKind that the type's flows are spread by from now on; -1: as it is",
            tuple(kind.name.lower() for kind in MappingKind),
        ),
    )
    spares: IntArray | None = field(
        default=None,
        metadata=_spec(
            KEEP,
            HIGHEST,
            "parked instances to keep; the longest-parked beyond them are stopped; -1: all",
        ),
    )

    @classmethod
    def of(cls, wanted: Decision | npt.ArrayLike) -> Decision:
        """The decision itself, or the one whose targets a plain array is (unchecked)."""
        return wanted if isinstance(wanted, Decision) else cls(np.asarray(wanted))

    @classmethod
    def describe(cls) -> dict[str, dict[str, str]]:
        """Dtype, dimensions, unit, range, names of values and meaning of every field."""
        return {
            item.name: {key: str(value) for key, value in item.metadata.items()}
            for item in fields(cls)
        }

    @property
    def levers(self) -> tuple[str, ...]:
        """Names of the levers that it uses."""
        given = ((name, getattr(self, name)) for name in LEVERS)
        return tuple(name for name, value in given if value is not None and (value != KEEP).any())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        pairs = zip(self.items(), other.items(), strict=True)
        return all(np.array_equal(mine, theirs) for (_, mine), (_, theirs) in pairs)

    def array(self) -> IntArray:
        """All fields, those of levers that are not given filled with `KEEP`, [fields, ..., T]."""
        return np.stack([value for _, value in self.items()])

    @classmethod
    def of_array(cls, fields: IntArray) -> Self:
        """The decision of such an array; a lever that keeps all is not given."""
        targets, *levers = fields
        return cls(targets, *(lever if (lever != KEEP).any() else None for lever in levers))

    def items(self) -> Iterator[tuple[str, IntArray]]:
        """Field names and their arrays, those of levers that are not given filled with `KEEP`."""
        for name in FIELDS:
            value = getattr(self, name)
            yield name, np.full(np.shape(self.targets), KEEP) if value is None else value

    def __getitem__(self, index: Any) -> Self:
        """The decision of one or some chains of a batch (views)."""
        levers = [getattr(self, name) for name in LEVERS]
        return type(self)(
            self.targets[index], *(None if lever is None else lever[index] for lever in levers)
        )


FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Decision))
"""Names of a decision's fields, `targets` first."""
LEVERS: tuple[str, ...] = FIELDS[1:]
"""Names of the levers."""
_METADATA = {item.name: item.metadata for item in fields(Decision)}
_RANGES = {name: (note["lowest"], note["highest"]) for name, note in _METADATA.items()}


def choices(lever: str, slots: int) -> tuple[int, ...]:
    """The values that a lever may take where a type has that many instance slots, `KEEP` first."""
    highest = _METADATA[lever]["highest"]
    return tuple(range(KEEP, (highest if _METADATA[lever]["values"] else slots) + 1))


def shown(lever: str, value: int) -> str:
    """A lever's value for people: the name of a kind, a count, or "-" where it keeps."""
    names = _METADATA[lever]["values"]
    return "-" if value == KEEP else names[value] if names else str(value)


def check_decision(wanted: Decision | npt.ArrayLike, shape: tuple[int, ...]) -> Decision:
    """A decision whose fields are int64 arrays of that shape, with values in their ranges.

    Args:
        wanted: a decision, or its targets.
        shape: of the fields, [..., T].

    Raises:
        ValueError: a field of another shape, not whole numbers, not finite, or out of its range.
    """
    given = Decision.of(wanted)
    levers = (
        None if values is None else _checked(name, values, shape)
        for name, values in ((name, getattr(given, name)) for name in LEVERS)
    )
    return Decision(_checked("targets", given.targets, shape), *levers)


def _checked(name: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> IntArray:
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(f"{name} have shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            raise ValueError(f"{name} must be whole numbers")
        if (np.abs(array) > HIGHEST).any():
            raise ValueError(f"{name} must be below 1e9")
    elif array.dtype.kind not in "iu":
        raise ValueError(f"{name} have dtype {array.dtype}, expected whole numbers")
    lowest, highest = _RANGES[name]
    few = array.size <= 64  # for so few Python's own functions are quicker than the array's
    listed = array.ravel().tolist() if few else (int(array.min()), int(array.max()))
    if min(listed) < lowest or max(listed) > highest:
        most = "1e9" if highest == HIGHEST else highest
        raise ValueError(f"{name} must lie between {lowest} and {most}")
    return array.astype(np.int64)
