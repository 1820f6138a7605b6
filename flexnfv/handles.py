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
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_getattr, lower_getattr_generic
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
from numba.np.arrayobj import make_array, populate_array


class FieldType(types.Array):
    """Numba's type of an array that is a table's field; its value is the table's address.

    Args:
        array: numba's type of the array.
        field: its name.
        place: the word of the array's address.
        lengths: the words of the lengths of its dimensions.
    """

    def __init__(self, array: Any, field: str, place: int, lengths: tuple[int, ...]) -> None:
        self.field = field
        self.place = place
        self.lengths = lengths
        super().__init__(array.dtype, array.ndim, array.layout, name=f"{field}: {array.name}")

    @property
    def key(self) -> Any:
        """What tells types apart."""
        return (*super().key, self.field, self.place, self.lengths)


class HandleType(types.Type):
    """Numba's type of a handle: types and words of the table's fields."""

    def __init__(self, fields: dict[str, tuple[Any, int]]) -> None:
        self.fields = fields
        super().__init__(name=f"Handle({fields})")

    @property
    def key(self) -> Any:
        """What tells types apart."""
        return tuple(self.fields.items())


def _letters(table: Any) -> dict[str, tuple[str, ...]]:
    """What the dimensions of a table's arrays are called; those without letters by themselves."""
    hints = _hints(table.__class__)
    return {
        name: tuple(get_args(hints[name])[1])
        if get_origin(hints[name]) is Annotated
        else tuple(f" {name}{number}" for number in range(value.ndim))
        for name, value in table._asdict().items()
        if isinstance(value, np.ndarray)
    }


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


class Handle:
    """A named tuple of C-contiguous arrays and numbers as compiled code takes it.

    The table's class may name the dimensions of an array by letters, `Annotated[..., "BTI"]`: those
    of one letter are of one length, which makes code quicker. Its words are the lengths of the
    dimensions, then an address or a number for each field.

    Raises:
        ValueError: an array's shape is not what its letters say, or it is not contiguous.
    """

    def __init__(self, table: Any) -> None:
        self._table = table  # keeps the arrays' memory
        letters = _letters(table)
        places = {
            letter: place for place, letter in enumerate(dict.fromkeys(sum(letters.values(), ())))
        }
        lengths = [-1] * len(places)
        words = []
        fields = {}
        for place, (name, value) in enumerate(table._asdict().items(), len(places)):
            kind = numba.typeof(value)
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise ValueError(f"{name} {''.join(letters[name])} is not contiguous")
                own = tuple(places[letter] for letter in letters[name])
                for dimension, length in zip(own, value.shape, strict=True):
                    if lengths[dimension] not in (-1, length):
                        raise ValueError(f"{name} {''.join(letters[name])} has shape {value.shape}")
                    lengths[dimension] = length
                kind = FieldType(kind, f"{type(table).__name__}.{name}", place, own)
                words.append(value.ctypes.data)
            elif isinstance(value, float):
                words += struct.unpack("<Q", struct.pack("<d", value))
            else:
                words.append(int(value))
            fields[name] = kind, place
        self._words = np.array([*lengths, *words], np.uint64)
        self.address = self._words.ctypes.data
        self._numba_type_ = HandleType(fields)


@register_model(FieldType)
@register_model(HandleType)
class _AddressModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
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
        return kind.fields[name][0]


@lower_getattr_generic(HandleType)  # type: ignore[untyped-decorator]
def _read_field(context: Any, builder: Any, kind: HandleType, words: Any, name: str) -> Any:
    field, place = kind.fields[name]
    if isinstance(field, types.Array):
        return words
    word = _read_word(builder, words, place)
    if isinstance(field, types.Float):
        return builder.bitcast(word, ir.DoubleType())
    if isinstance(field, types.Boolean):
        return builder.trunc(word, ir.IntType(1))
    return word


@lower_getattr(FieldType, "shape")  # type: ignore[untyped-decorator]
def _read_shape(context: Any, builder: Any, kind: FieldType, words: Any) -> Any:
    return cgutils.pack_array(builder, [_read_word(builder, words, one) for one in kind.lengths])


@lower_builtin(len, FieldType)  # type: ignore[untyped-decorator]
def _read_length(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _read_word(builder, args[0], sig.args[0].lengths[0])


def _read_word(builder: Any, words: Any, place: int) -> Any:
    word = builder.load(builder.gep(words, [ir.Constant(ir.IntType(64), place)]))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


@lower_builtin(operator.getitem, FieldType, types.Integer)  # type: ignore[untyped-decorator]
@lower_builtin(operator.getitem, FieldType, BaseTuple)  # type: ignore[untyped-decorator]
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, index_type = sig.args
    indices = _indices(context, builder, index_type, args[1])
    address = _address(context, builder, kind, args[0], indices)
    if len(indices) < kind.ndim:
        return _view(context, builder, sig.return_type, kind, args[0], address)
    data = builder.load(address)
    _mark(builder, data, kind)
    return context.data_model_manager[kind.dtype].from_data(builder, data)


def _view(
    context: Any, builder: Any, view_type: Any, kind: FieldType, words: Any, address: Any
) -> Any:
    """An array of the field's last dimensions."""
    view = make_array(view_type)(context, builder)
    shape = [_read_word(builder, words, place) for place in kind.lengths[-view_type.ndim :]]
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [context.get_constant(types.intp, size)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(
        view,
        data=address,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=context.get_constant(types.intp, size),
        meminfo=None,
    )
    return view._getvalue()


@lower_builtin(operator.setitem, FieldType, types.Any, types.Any)  # type: ignore[untyped-decorator]
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> None:
    kind, index_type, value_type = sig.args
    indices = _indices(context, builder, index_type, args[1])
    if len(indices) < kind.ndim:
        raise NotImplementedError("only single items of a table's arrays can be set")
    value = context.cast(builder, args[2], value_type, kind.dtype)
    data = context.data_model_manager[kind.dtype].as_data(builder, value)
    address = _address(context, builder, kind, args[0], indices)
    _mark(builder, builder.store(data, address), kind)


def _indices(context: Any, builder: Any, index_type: Any, index: Any) -> list[Any]:
    """What stands in the brackets, as unsigned words: numba counts none of them from the end."""
    parts, kinds = [index], [index_type]
    if not isinstance(index_type, types.Integer):
        parts, kinds = cgutils.unpack_tuple(builder, index), list(index_type)
    return [
        context.cast(builder, part, kind, types.uintp)
        for part, kind in zip(parts, kinds, strict=True)
    ]


def _address(context: Any, builder: Any, kind: FieldType, words: Any, indices: list[Any]) -> Any:
    """Where an item lies: its place is the same expression for all arrays of equal dimensions."""
    place = indices[0]
    for number, dimension in enumerate(kind.lengths[1:], 1):
        place = builder.mul(place, _read_word(builder, words, dimension))
        if number < len(indices):
            place = builder.add(place, indices[number])
    data_type = context.get_data_type(kind.dtype).as_pointer()
    start = builder.inttoptr(_read_word(builder, words, kind.place), data_type)
    return builder.gep(start, [place])


def _mark(builder: Any, access: Any, kind: FieldType) -> None:
    """Tell the optimiser which field a load or store touches ("type-based alias analysis")."""
    module = builder.module
    root = module.add_metadata(["flexnfv"])
    zero = ir.Constant(ir.IntType(64), 0)
    field = module.add_metadata([kind.field, root, zero])
    access.set_metadata("tbaa", module.add_metadata([field, field, zero]))
