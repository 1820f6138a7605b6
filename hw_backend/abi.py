"""The structs that the manager shares with Python, read from their only definition in C.

`shared/flexnfv_abi.inc` holds them; cffi parses it as it stands. The statistics page comes out as
numpy structured arrays that look at one consistent copy, so that reading it costs one call into C.
"""

from __future__ import annotations

import mmap
import os
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import numpy.typing as npt

from flexnfv.errors import BackendError
from flexnfv.hw_backend.build import PAGE_LIBRARY, SOURCES, built

ffi = cffi.FFI()
ffi.cdef((SOURCES / "shared" / "flexnfv_abi.inc").read_text(encoding="utf-8"))
ffi.cdef("int fx_page_read(const struct fx_page *page, struct fx_page *copy);")

Records = npt.NDArray[Any]
"""A structured array whose fields are those of a C struct."""


def _constants(enum: str) -> dict[str, int]:
    return dict(ffi.typeof(f"enum {enum}").relements)


LIMITS = _constants("fx_limit")
ABI_VERSION = LIMITS["FX_ABI_VERSION"]
MAX_TYPES = LIMITS["FX_MAX_TYPES"]
DECISION_FIELDS = tuple(name for name, _ in ffi.typeof("struct fx_decision").fields)
"""Rows of a request's decision: the fields of `flexnfv.decision.Decision`."""
REQUESTS = _constants("fx_request_kind")
STATUSES = _constants("fx_status")

CONTROLS = {
    number: name.removeprefix("FX_CONTROL_").lower()
    for name, number in _constants("fx_control").items()
}
"""Who decides the targets: `none`, `controller` or `law`."""
ENTRIES = {
    name.removeprefix("FX_ENTRY_").lower(): number
    for name, number in _constants("fx_entry").items()
}
"""What RX does while a ring downstream is above its high mark: `open`, `shed` or `hold`."""
CAUSES = tuple(
    name.removeprefix("FX_CAUSE_").lower()
    for name, _ in sorted(_constants("fx_cause").items(), key=lambda item: item[1])
    if name != "FX_CAUSES"
)
"""Why packets were lost, in the order of `Snapshot.dropped`."""

_PRIMITIVES = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    **{
        f"{kind}{bits}_t": np.dtype(f"{kind}{bits}")
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
}


def _dtype(ctype: Any) -> Any:
    """The numpy dtype with the layout of a C type."""
    if ctype.kind == "primitive":
        return _PRIMITIVES[ctype.cname]
    if ctype.kind == "array":
        if ctype.item.cname == "char":
            return np.dtype(f"S{ctype.length}")
        return np.dtype((_dtype(ctype.item), (ctype.length,)))
    members = ctype.fields
    return np.dtype(
        {
            "names": [name for name, _ in members],
            "formats": [_dtype(member.type) for _, member in members],
            "offsets": [member.offset for _, member in members],
            "itemsize": ffi.sizeof(ctype),
        }
    )


PAGE_BYTES = ffi.sizeof("struct fx_page")
PAGE_DTYPE: np.dtype[Any] = _dtype(ffi.typeof("struct fx_page"))

_WHY_NO_PAGE = {
    -1: "is no statistics page",
    -2: "is of another version: build manager and package together",
    -3: "is never left alone by its writer, which must have died in the middle",
}


@cache
def _library() -> Any:
    return ffi.dlopen(str(built(PAGE_LIBRARY)))


class Snapshot:
    """One consistent copy of the statistics page.

    Counters are cumulative since the manager's start, times are CLOCK_MONOTONIC nanoseconds; the
    fields are described in `shared/flexnfv_abi.inc`.
    """

    __slots__ = ("__dict__", "_bytes")

    def __init__(self, content: npt.NDArray[np.uint8]) -> None:
        self._bytes = content

    @cached_property
    def page(self) -> Records:
        """The page as an array of one record, [1]; of types, chains, ports and instances only those
        that there are mean something."""
        return np.frombuffer(self._bytes, PAGE_DTYPE)  # in a tenth of `view`'s time

    @cached_property
    def header(self) -> Any:
        """The page as one record; `header["offered"]`."""
        return self.page[0]

    @cached_property
    def time_ns(self) -> int:
        """When the snapshot was made."""
        return int(self.page["time_ns"][0])

    @cached_property
    def types(self) -> Records:
        """The NF types, [T]."""
        return np.asarray(self.header["type"][: self.header["types"]])

    @cached_property
    def chains(self) -> Records:
        """The chains, [P]."""
        return np.asarray(self.header["chain"][: self.header["chains"]])

    @cached_property
    def ports(self) -> Records:
        """The ports."""
        return np.asarray(self.header["port"][: self.header["ports"]])

    @cached_property
    def instances(self) -> Records:
        """All instance slots, those of type 0 first."""
        last = self.types[-1]
        return np.asarray(self.header["instance"][: last["first"] + last["max_instances"]])

    def of_type(self, nf_type: int) -> Records:
        """The instance slots of one type."""
        first = int(self.types[nf_type]["first"])
        return self.instances[first : first + int(self.types[nf_type]["max_instances"])]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the NF types."""
        return tuple(name.decode() for name in self.types["name"])

    @cached_property
    def dropped(self) -> dict[str, int]:
        """Packets lost, by cause."""
        counts = self.header["dropped"]
        return {cause: int(counts[number]) for number, cause in enumerate(CAUSES)}

    @cached_property
    def pids(self) -> list[int]:
        """Processes of the instances."""
        return [int(pid) for pid in self.instances["pid"] if pid]


class Page:
    """The statistics page of a manager, a file in shared memory.

    Raises:
        BackendError: there is no such file, it is no page, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BackendError(f"{path}: {error.strerror}: is the manager running?") from None
        try:
            if os.fstat(descriptor).st_size != PAGE_BYTES:
                raise BackendError(f"{path} {_WHY_NO_PAGE[-2]}")
            self._map = mmap.mmap(descriptor, PAGE_BYTES, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self._read = _library().fx_page_read
        self._page = ffi.from_buffer("struct fx_page *", self._map)

    def read(self) -> Snapshot:
        """The newest snapshot.

        Raises:
            BackendError: the page is damaged, or closed.
        """
        if self._page is None:
            raise BackendError(f"{self.path} was closed")
        content = np.empty(PAGE_BYTES, np.uint8)
        result = self._read(self._page, ffi.from_buffer("struct fx_page *", content))
        if result:
            raise BackendError(f"{self.path} {_WHY_NO_PAGE[result]}")
        return Snapshot(content)

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._page is not None:
            ffi.release(self._page)
            self._page = None
            self._map.close()
