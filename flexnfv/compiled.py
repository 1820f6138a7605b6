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
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@cache
def compiled(function: F) -> F:
    """A plain function on numpy arrays, and what it calls of FlexNFV's, as machine code.

    It comes from numba's cache on disk where that is up to date.
    """
    machine_code: F = _compiled(function, {}, {"cache": True})
    return machine_code


def bound(function: Callable[..., Any], *tables: Any, plain: bool = False) -> Callable[..., Any]:
    """A function, compiled, whose first arguments are given once and for all.

    Args:
        function: as for `compiled`.
        tables: its first arguments: named tuples of arrays and numbers. Of arrays it keeps the
            memory, of numbers the value.
        plain: leave it plain Python.

    Returns:
        What takes the rest of the arguments. It cannot be pickled: bind anew.
    """
    if plain:
        return partial(function, *tables)
    import flexnfv.handles as handles

    return partial(compiled(function), *map(handles.Handle, tables))


def _compiled(function: Any, done: dict[Any, Any], options: dict[str, Any]) -> Any:
    """`function`, and what it calls of FlexNFV's, compiled; `done` holds those compiled before."""
    import numba

    if function in done:
        return done[function]
    namespace = dict(function.__globals__)
    for name in _called(function):
        # Nobody but `function`, whose code on the disk will hold theirs, calls these.
        namespace[name] = _compiled(namespace[name], done, {"no_cpython_wrapper": True})
    copy = FunctionType(function.__code__, namespace, function.__name__)
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
        and value.__module__.startswith("flexnfv.")
    ]


def _files(function: FunctionType, seen: set[FunctionType]) -> set[str]:
    """Source files of `function`, of all that it calls, and of the constants that they use."""
    seen.add(function)
    own = str(sys.modules[function.__module__].__file__)
    files = {own} | _constants(own, frozenset(function.__code__.co_names))
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
    # This file holds the options; handles are part of what is compiled.
    own = {__file__, str(Path(__file__).with_name("handles.py"))}
    for file in sorted(own | _files(function, set())):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:12]
