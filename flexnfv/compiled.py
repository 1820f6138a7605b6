"""Compiles plain functions on numpy arrays, and the core functions that they call, with numba.

What is compiled stays free of numba: a compiled function is a copy of the plain one whose global
names of FlexNFV functions are replaced by their compiled copies.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])


@cache
def compiled(function: F) -> F:
    """A plain function on numpy arrays, and what it calls of FlexNFV's, as machine code.

    It comes from numba's cache on disk where that is up to date.
    """
    machine_code: F = _compiled(function, {})
    return machine_code


def naming(kind: type[Any]) -> Callable[[npt.NDArray[Any]], Any]:
    """A plain function that gives an array's first dimension the names of a `NamedTuple`."""
    values = ", ".join(f"array[{place}]" for place in range(len(kind._fields)))
    source = f"def named(array):\n    return {kind.__name__}({values})"
    named: Callable[[npt.NDArray[Any]], Any]
    named = _written("named", kind.__module__, source, {kind.__name__: kind})
    return named


def writer(
    module: str, entries: Sequence[tuple[str, Callable[[Any, int], float], float, float]]
) -> Callable[[npt.NDArray[Any], Any, int], None]:
    """A plain function `write(rows, of, count)` that fills rows from a table, column by column.

    It is written out, since numba compiles no loop over functions.

    Args:
        module: that the table stands in.
        entries: of every column its name, a function of `of` and a row's number, and the bounds
            that its value is kept within.
    """
    lines = ["def write(rows, of, count):"]
    namespace: dict[str, Any] = {}
    for place, (name, function, low, high) in enumerate(entries):
        function.__name__ = name
        namespace[name] = function
        lines.append("    for r in range(count):")
        lines.append(f"        rows[r, {place}] = min(max({name}(of, r), {low!r}), {high!r})")
    write: Callable[[npt.NDArray[Any], Any, int], None]
    write = _written("write", module, "\n".join(lines), namespace)
    return write


def _written(name: str, module: str, source: str, namespace: dict[str, Any]) -> Any:
    """The plain function of that source, as if it stood in the module."""
    namespace["__name__"] = module
    exec(compile(source, str(sys.modules[module].__file__), "exec"), namespace)
    return namespace[name]


def _compiled(function: Any, done: dict[Any, Any], inner: bool = False) -> Any:
    """`function`, and what it calls of FlexNFV's, compiled; `done` holds those compiled before."""
    import numba

    if function in done:
        return done[function]
    namespace = dict(function.__globals__)
    for name in _called(function):
        namespace[name] = _compiled(namespace[name], done, True)
    copy = FunctionType(
        function.__code__, namespace, function.__name__, closure=function.__closure__
    )
    copy.__module__ = function.__module__
    # numba's cache looks at the function's own file alone: with the digest in its name, an edit
    # of any other file that goes into the machine code makes another function of it.
    copy.__qualname__ = f"{function.__name__}_{_digest(function)}"
    # What a loop calls becomes part of the loop.
    options = {"error_model": "numpy", "nogil": True, "forceinline": inner}
    try:
        done[function] = numba.njit(cache=True, **options)(copy)
    except RuntimeError:  # no folder that numba could write its cache to
        done[function] = numba.njit(**options)(copy)
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
    """Source files of `function`, of all that it calls, and of the modules of their constants."""
    seen.add(function)
    modules = {function.__module__, "flexnfv.states"}
    files = {str(sys.modules[module].__file__) for module in modules}
    for name in _called(function):
        callee = function.__globals__[name]
        if callee not in seen:
            files |= _files(callee, seen)
    return files


def _digest(function: FunctionType) -> str:
    digest = hashlib.sha256()
    for file in sorted({__file__} | _files(function, set())):  # this file holds the options
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:12]
