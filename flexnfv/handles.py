"""How compiled code gets at tables of arrays: by one address that stands for a whole table.

The only module that talks to numba's compiler; `flexnfv.compiled.bound` imports it when it binds a
function. Plain Python code reads `table.field[...]` of a named tuple of arrays and numbers. A
`Handle` of it is the same to compiled code, which may rely on more than numba's own arrays promise:

- The words of a handle, each array's address and shape and each number, never change: they are
  read whenever it suits. The arrays belong to the handle, so that no references are counted.
- No two fields share memory: what is written to one is not read from another.
- No index is negative: none is counted from the end.
"""

from __future__ import annotations

import operator
import struct
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_getattr_generic
from numba.core.types.containers import BaseTuple
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    models,
    register_model,
    unbox,
)
from numba.np.arrayobj import basic_indexing, make_array, make_view, populate_array


class FieldType(types.Array):
    """Numba's type of an array that is a table's field."""

    def __init__(self, array: Any, field: str) -> None:
        self.field = field
        super().__init__(array.dtype, array.ndim, array.layout, name=f"{field}: {array.name}")

    @property
    def key(self) -> Any:
        """What tells types apart."""
        return (*super().key, self.field)


class HandleType(types.Type):
    """Numba's type of a handle: the names and types of the table's fields, in order."""

    def __init__(self, fields: tuple[tuple[str, Any], ...]) -> None:
        self.fields = fields
        super().__init__(name=f"Handle{fields}")

    @property
    def key(self) -> Any:
        """What tells types apart."""
        return self.fields

    def find(self, name: str) -> tuple[int, Any]:
        """Number of a field's first word, and the field's type."""
        place = 0
        for field, kind in self.fields:
            if field == name:
                return place, kind
            place += 1 + kind.ndim if isinstance(kind, types.Array) else 1
        raise AttributeError(name)


class Handle:
    """A named tuple of C-contiguous arrays and numbers as compiled code takes it."""

    def __init__(self, table: Any) -> None:
        self._table = table  # keeps the arrays' memory
        fields = []
        words: list[int] = []
        for name, value in zip(table._fields, table, strict=True):
            kind = numba.typeof(value)
            if isinstance(value, np.ndarray):
                kind = FieldType(kind, f"{type(table).__name__}.{name}")
                words += [value.ctypes.data, *value.shape]
            elif isinstance(value, float):
                words += struct.unpack("<Q", struct.pack("<d", value))
            else:
                words.append(int(value))
            fields.append((name, kind))
        self._words = np.array(words, np.uint64)
        self.address = self._words.ctypes.data
        self._numba_type_ = HandleType(tuple(fields))


@register_model(HandleType)
class _HandleModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: HandleType) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


register_model(FieldType)(models.ArrayModel)


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
        strides.insert(0, builder.mul(strides[0], length, flags=("nuw", "nsw")))
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


@lower_builtin(operator.getitem, FieldType, types.Integer)  # type: ignore[untyped-decorator]
@lower_builtin(operator.getitem, FieldType, BaseTuple)  # type: ignore[untyped-decorator]
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, index_type = sig.args
    array, address, shape, strides = _look_up(context, builder, kind, index_type, *args)
    if shape:
        view = make_view(context, builder, kind, array, sig.return_type, address, shape, strides)
        return view._getvalue()
    data = builder.load(address)
    _mark(builder, data, kind)
    return context.data_model_manager[kind.dtype].from_data(builder, data)


@lower_builtin(operator.setitem, FieldType, types.Integer, types.Any)  # type: ignore[untyped-decorator]
@lower_builtin(operator.setitem, FieldType, BaseTuple, types.Any)  # type: ignore[untyped-decorator]
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> None:
    kind, index_type, value_type = sig.args
    _, address, shape, _ = _look_up(context, builder, kind, index_type, *args[:2])
    if shape:
        raise NotImplementedError("only single items of a table's arrays can be set")
    value = context.cast(builder, args[2], value_type, kind.dtype)
    data = context.data_model_manager[kind.dtype].as_data(builder, value)
    _mark(builder, builder.store(data, address), kind)


def _look_up(
    context: Any, builder: Any, kind: Any, index_type: Any, value: Any, index: Any
) -> tuple[Any, Any, Any, Any]:
    """The array, and address, shape and strides of what an index names of it."""
    array = make_array(kind)(context, builder, value)
    indices, index_types = [index], [index_type]
    if isinstance(index_type, BaseTuple):
        indices = cgutils.unpack_tuple(builder, index, count=len(index_type))
        index_types = list(index_type)
    # Numba counts no unsigned index from the end.
    unsigned = [
        context.cast(builder, one, is_of, types.uintp)
        for one, is_of in zip(indices, index_types, strict=True)
    ]
    places = tuple(types.uintp for _ in unsigned)
    return array, *basic_indexing(
        context, builder, kind, array, places, unsigned, boundscheck=False
    )


def _mark(builder: Any, access: Any, kind: FieldType) -> None:
    """Tell the optimiser which field a load or store touches ("type-based alias analysis")."""
    module = builder.module
    root = module.add_metadata(["flexnfv"])
    zero = ir.Constant(ir.IntType(64), 0)
    field = module.add_metadata([kind.field, root, zero])
    access.set_metadata("tbaa", module.add_metadata([field, field, zero]))
