"""How compiled code gets at tables of arrays: by one address that stands for a whole table.

The only module that talks to numba's compiler; `flexnfv.compiled.bound` imports it when it binds a
function. Plain Python code reads `table.field[...]` of a named tuple of arrays and numbers. A
`Handle` of it is the same to compiled code: its words hold each array's address and shape, and each
number. As they never change, the compiler reads them when it likes, and as the arrays belong to the
handle, compiled code counts no references.
"""

from __future__ import annotations

import struct
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, models, register_model, unbox
from numba.np.arrayobj import make_array, populate_array


class HandleType(types.Type):
    """Numba's type of a handle: the names and types of the table's fields, in order."""

    def __init__(self, fields: tuple[tuple[str, Any], ...]) -> None:
        self.fields = fields
        super().__init__(name=f"Handle{fields}")

    def find(self, name: str) -> tuple[int, Any]:
        """Number of a field's first word, and the field's type."""
        place = 0
        for field, kind in self.fields:
            if field == name:
                return place, kind
            place += _words(kind)
        raise AttributeError(name)


def _words(kind: Any) -> int:
    """Words that a field takes: an array's address and shape, or a number."""
    return 1 + kind.ndim if isinstance(kind, types.Array) else 1


class Handle:
    """A named tuple of C-contiguous arrays and numbers as compiled code takes it."""

    def __init__(self, table: Any) -> None:
        self._table = table  # keeps the arrays' memory
        fields = []
        words: list[int] = []
        for name, value in zip(table._fields, table, strict=True):
            fields.append((name, numba.typeof(value)))
            if isinstance(value, np.ndarray):
                words += [value.ctypes.data, *value.shape]
            elif isinstance(value, float):
                words += struct.unpack("<Q", struct.pack("<d", value))
            else:
                words.append(int(value))
        self._words = np.array(words, np.uint64)
        self.address = self._words.ctypes.data
        self._numba_type_ = HandleType(tuple(fields))


@register_model(HandleType)
class _HandleModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: HandleType) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


@unbox(HandleType)  # type: ignore[untyped-decorator]
def _unbox(kind: HandleType, handle: Any, c: Any) -> Any:
    address = c.pyapi.object_getattr_string(handle, "address")
    words = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.bitcast(words, ir.IntType(64).as_pointer()))


@infer_getattr
class _HandleFields(AttributeTemplate):  # type: ignore[misc]
    key = HandleType

    def generic_resolve(self, kind: HandleType, name: str) -> Any:
        return kind.find(name)[1]


@lower_getattr_generic(HandleType)  # type: ignore[untyped-decorator]
def _read_field(context: Any, builder: Any, kind: HandleType, words: Any, name: str) -> Any:
    place, field = kind.find(name)
    first = _read_word(builder, words, place)
    if isinstance(field, types.Array):
        return _read_array(context, builder, field, words, place)
    if isinstance(field, types.Float):
        return builder.bitcast(first, ir.DoubleType())
    if isinstance(field, types.Boolean):
        return builder.trunc(first, ir.IntType(1))
    return first


def _read_array(context: Any, builder: Any, kind: Any, words: Any, place: int) -> Any:
    array = make_array(kind)(context, builder)
    item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    shape = [_read_word(builder, words, place + 1 + d) for d in range(kind.ndim)]
    strides = [context.get_constant(types.intp, item)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    address = _read_word(builder, words, place)
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=context.get_constant(types.intp, item),
        meminfo=None,
    )
    return array._getvalue()


def _read_word(builder: Any, words: Any, place: int) -> Any:
    word = builder.load(builder.gep(words, [ir.Constant(ir.IntType(64), place)]))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word
