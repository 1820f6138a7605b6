"""Backends by name. Entry points of the group `flexnfv.backends`: ours and third parties'."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Set
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from flexnfv.backend import Backend, Description
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


def description_of(name: str) -> Description:
    """What a backend can do, before it is made: its class's description.

    Raises:
        InputError: an unknown name, or it cannot be imported here.
    """
    told = getattr(backend_class(name), "description", None)
    return told if isinstance(told, Description) else Description(name)


def options_of(name: str) -> Set[str]:
    """Names of the options that a backend takes.

    Raises:
        InputError: an unknown name, or it cannot be imported here.
    """
    return set(list(inspect.signature(backend_class(name)).parameters)[1:])


def carried_pps(name: str, options: Mapping[str, Any]) -> float:
    """Highest rate that a backend made with those options carries, in the chain's own packets/s.

    A backend's class may tell it by a static method `carried_pps(**options)`; else it is infinite.

    Raises:
        InputError: an unknown name, or it cannot be imported here.
    """
    tell = getattr(backend_class(name), "carried_pps", None)
    return math.inf if tell is None else float(tell(**options))


def make_backend(name: str, chain: ServiceChain, **options: Any) -> Backend:
    """The backend of that name for a chain.

    Raises:
        InputError: an unknown name (the nearest is given), an option it does not take, or a
            backend that cannot be imported here.
    """
    return _made(name, backend_class(name), chain, options)


def make_for_deployment(name: str, chain: ServiceChain, **options: Any) -> Backend:
    """The backend of that name for a policy that is deployed to it.

    A backend that has more to do then has a class method `for_deployment(chain, **options)` beside
    its constructor.

    Raises:
        InputError: see `make_backend`.
    """
    made_by = backend_class(name)
    return _made(name, getattr(made_by, "for_deployment", made_by), chain, options)


def _made(
    name: str, made_by: Callable[..., Backend], chain: ServiceChain, options: Mapping[str, Any]
) -> Backend:
    try:
        return made_by(chain, **options)
    except TypeError as error:
        raise InputError(str(error), where=f"backend {name!r}") from error
