"""Compiles plain functions on numpy arrays, and the core functions that they call, with numba.

What is compiled stays free of numba: a compiled function is a copy of the plain one whose global
names of FlexNFV functions are replaced by their compiled copies.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])


@cache
def compiled(function: F) -> F:
    """A plain function on numpy arrays, and what it calls of FlexNFV's, as machine code.

    It comes from numba's cache on disk where that is up to date.
    """
    machine_code: F = _compiled(function, {})
    return machine_code


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


def _compiled(function: Any, done: dict[Any, Any]) -> Any:
    """`function`, and what it calls of FlexNFV's, compiled; `done` holds those compiled before."""
    import numba

    if function in done:
        return done[function]
    namespace = dict(function.__globals__)
    for name in _called(function):
        namespace[name] = _compiled(namespace[name], done)
    copy = FunctionType(function.__code__, namespace, function.__name__)
    copy.__module__ = function.__module__
    # numba's cache looks at the function's own file alone: with the digest in its name, an edit
    # of any other file that goes into the machine code makes another function of it.
    copy.__qualname__ = f"{function.__name__}_{_digest(function)}"
    options = {"error_model": "numpy", "nogil": True}
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
