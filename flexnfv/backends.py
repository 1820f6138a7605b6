"""Backends by name. Entry points of the group `flexnfv.backends`: ours and third parties'."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from flexnfv.backend import Backend
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.suggest import known

GROUP = "flexnfv.backends"


def registered() -> dict[str, EntryPoint]:
    """Every registered backend by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def backend_class(name: str) -> Callable[..., Backend]:
    """What makes the backend of that name: called with a chain and its options.

    Raises:
        InputError: an unknown name (the nearest is given), or it cannot be imported here.
    """
    points = registered()
    known(name, points, kind="backend")
    try:
        factory: Callable[..., Backend] = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"not available here ({error})",
            where=f"backend {name!r}",
            fix="install what it needs; `flexnfv dataplane build` builds the live one",
        ) from error
    return factory


def make_backend(name: str, chain: ServiceChain, **options: Any) -> Backend:
    """The backend of that name for a chain.

    Raises:
        InputError: an unknown name (the nearest is given), an option it does not take, or a
            backend that cannot be imported here.
    """
    try:
        backend: Backend = backend_class(name)(chain, **options)
    except TypeError as error:
        raise InputError(str(error), where=f"backend {name!r}") from error
    return backend
