"""Compiles plain functions on numpy arrays, and the core functions that they call, with numba.

What is compiled stays free of numba: a compiled function is a copy of the plain one whose global
names of FlexNFV functions are replaced by their compiled copies.

A call from Python hands over every array that it is given, about 0.1 us for each, which is more
than a small problem takes to compute. `bound` hands over once what stays the same from call to
call: a call of the kernel for one chain then takes 1 us instead of 10.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])

HANDLES = str(Path(__file__).with_name("handles.py"))
"""The source file that shapes the machine code of whatever takes a table."""


@cache
def compiled(function: F, *, inline: bool = False) -> F:
    """A plain function on numpy arrays, and what it calls of FlexNFV's, as machine code.

    It comes from numba's cache on disk where that is up to date.

    Args:
        function: the plain function.
        inline: make what it calls part of it, so that loops over small functions become loops that
            a processor does for several rows at once; this takes longer to compile.
    """
    machine_code: F = _compiled(function, {}, {"cache": True}, inline=inline)
    return machine_code


def writer(
    module: str,
    entries: Sequence[tuple[str, Callable[[Any, int], float], float, float]],
    *,
    optional: bool = False,
) -> Callable[..., None]:
    """A plain function `write(rows, of, count)` that fills rows from a table, column by column.

    It is written out, since numba compiles no loop over functions.

    Args:
        module: that the table stands in.
        entries: of every column its name, a function of `of` and a row's number, and the bounds
            that its value is kept within.
        optional: it takes the columns' `weights`, too, and leaves out those of weight 0.
    """
    lines = [f"def write(rows, of, count{', weights' if optional else ''}):"]
    namespace: dict[str, Any] = {}
    for place, (name, function, low, high) in enumerate(entries):
        namespace[f"make_{name}"] = function
        lines.append(f"    if weights[{place}] != 0.0:" if optional else "    if True:")
        lines.append("        for r in range(count):")
        value = f"make_{name}(of, r)"
        value = value if low == -np.inf else f"max({value}, {low!r})"
        value = value if high == np.inf else f"min({value}, {high!r})"
        lines.append(f"            rows[r, {place}] = {value}")
        if function.__name__ == "<lambda>":
            function.__name__ = f"make_{name}"  # a name of its own in numba's cache
    write: Callable[..., None]
    write = _written("write", module, "\n".join(lines), namespace)
    return write


def _written(name: str, module: str, source: str, namespace: dict[str, Any]) -> Any:
    """The plain function of that source, as if it stood in the module."""
    namespace["__name__"] = module
    exec(compile(source, str(sys.modules[module].__file__), "exec"), namespace)
    return namespace[name]


def bound(
    function: Callable[..., Any], *tables: Any, plain: bool = False, inline: bool = False
) -> Callable[..., Any]:
    """A function, compiled, whose first arguments are given once and for all.

    Args:
        function: as for `compiled`.
        tables: its first arguments: named tuples of arrays and numbers. Of arrays it keeps the
            memory, of numbers the value.
        plain: leave it plain Python.
        inline: see `compiled`.

    Returns:
        What takes the rest of the arguments. It cannot be pickled: bind anew.
    """
    if plain:
        return partial(function, *tables)
    import flexnfv.handles as handles

    return partial(compiled(function, inline=inline), *map(handles.Handle, tables))


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block `tell` is called, once, if machine code has to be made: that takes seconds.

    What comes from numba's cache on disk is not told of.
    """
    from numba.core import event

    class Teller(event.Listener):  # type: ignore[misc]
        told = False

        def on_start(self, event: object) -> None:
            if not self.told:
                self.told = True
                tell()

        def on_end(self, event: object) -> None:
            pass

    with event.install_listener("numba:compile", Teller()):
        yield


def plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array as compiled functions are made for it: contiguous, and not read-only.

    Any other would make numba compile once more, which takes longer than an interval may.
    """
    found = np.ascontiguousarray(array)
    return found if found.flags.writeable else found.copy()


def _compiled(function: Any, done: dict[Any, Any], options: dict[str, Any], *, inline: bool) -> Any:
    """`function`, and what it calls of FlexNFV's, compiled; `done` holds those compiled before."""
    import numba

    if function in done:
        return done[function]
    namespace = dict(function.__globals__)
    for name in _called(function):
        # Nobody but `function`, whose code on the disk will hold theirs, calls these.
        own = {"no_cpython_wrapper": True, "forceinline": inline}
        namespace[name] = _compiled(namespace[name], done, own, inline=inline)
    copy = FunctionType(
        function.__code__, namespace, function.__name__, closure=function.__closure__
    )
    copy.__module__ = function.__module__
    # numba's cache looks at the function's own file alone: with the digest in its name, an edit
    # of any other file that goes into the machine code makes another function of it.
    copy.__qualname__ = f"{function.__name__}_{_digest(function)}"
    options = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True} | options
    try:
        done[function] = numba.njit(**options)(copy)
    except RuntimeError:  # no folder that numba could write its cache to
        done[function] = numba.njit(**options | {"cache": False})(copy)
    return done[function]


def _called(function: FunctionType) -> list[str]:
    """Global names of `function` that are plain FlexNFV functions."""
    return [
        name
        for name in function.__code__.co_names
        if isinstance(value := function.__globals__.get(name), FunctionType)
        and value is not function  # an attribute may have the function's own name
        and value.__module__.startswith("flexnfv.")
    ]


def _files(function: FunctionType, seen: set[FunctionType]) -> set[str]:
    """Source files of `function`, of all that it calls, and of the constants that they use."""
    seen.add(function)
    own = str(sys.modules[function.__module__].__file__)
    files = {own, HANDLES} | _constants(own, frozenset(function.__code__.co_names))
    for name in _called(function):
        callee = function.__globals__[name]
        if callee not in seen:
            files |= _files(callee, seen)
    return files


def _constants(file: str, names: frozenset[str]) -> set[str]:
    """Source files of the FlexNFV modules from which a source file imports any of the names."""
    return {
        str(sys.modules[node.module].__file__)
        for node in _imports(file)
        if node.module is not None
        and node.module in sys.modules
        and any((alias.asname or alias.name) in names for alias in node.names)
    }


@cache
def _imports(file: str) -> list[ast.ImportFrom]:
    """The lines `from flexnfv... import ...` of a source file."""
    nodes = ast.parse(Path(file).read_bytes()).body
    return [
        node
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flexnfv.")
    ]


def _digest(function: FunctionType) -> str:
    digest = hashlib.sha256()
    for file in sorted({__file__} | _files(function, set())):  # this file holds the options
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:12]
