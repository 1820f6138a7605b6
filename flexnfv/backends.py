"""Backends by name. Entry points of the group `flexnfv.backends`: ours and third parties'."""

from __future__ import annotations

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


def make_backend(name: str, chain: ServiceChain, **options: Any) -> Backend:
    """The backend of that name for a chain.

    Raises:
        InputError: an unknown name (the nearest is given), or an option it does not take.
    """
    points = registered()
    known(name, points, kind="backend")
    try:
        backend: Backend = points[name].load()(chain, **options)
    except TypeError as error:
        raise InputError(str(error), where=f"backend {name!r}") from error
    return backend
