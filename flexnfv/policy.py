"""The policy interface, and how a policy is found by its name.

A policy is a class registered under the entry-point group `flexnfv.policies`; FlexNFV's own use
the same door as everybody else's. A spec names one, with its parameters if need be:
`watermark`, `target_tracking:target=0.6,window=30`, or the path of a bundle (`best.onnx`,
`best.onnx:drop_cost=500`); `flexnfv.spec` tells the whole form.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.reading import Reading
from flexnfv.spec import UnfitValue, annotated, convert, policy_spec
from flexnfv.suggest import known, nearest
from flexnfv.traces import Trace

GROUP = "flexnfv.policies"
State = dict[str, npt.NDArray[Any]]
Foreseen = Trace | Sequence[Trace] | None
"""What a policy with foresight is shown: the trace to come, or one for each row of a batch."""


@runtime_checkable
class Policy(Protocol):
    """Decides, once per monitor interval, how many instances of each NF type should run.

    Attributes:
        foresight: whether the evaluation hands the trace to `reset` (only the clairvoyant).
        batched: whether `decide` takes a batch of readings and answers for each of them. With
            foresight too, `reset` is handed one trace for each row of the batch.
    """

    foresight: ClassVar[bool]
    batched: ClassVar[bool]

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Start an episode on `chain`; clears counters, windows and every other state."""
        ...

    def decide(self, reading: Reading) -> Decision | npt.NDArray[np.int64]:
        """What each NF type should run, deterministic given the seed.

        A decision of fields [..., T], or its targets alone (running plus launching instances).
        """
        ...

    def export_state(self) -> State:
        """Everything that `decide` depends on beside chain and reading, as arrays."""
        ...

    def restore_state(self, state: State) -> None:
        """Continue from an exported state."""
        ...


class BasePolicy:
    """What most policies share: no foresight, and state kept in named arrays.

    A subclass lists its state attributes in `state_names`; `export_state` and `restore_state`
    then follow. Attributes that are None (not yet sized by a reading) are left out.

    Attributes:
        vectorised: parameters that may be arrays with a number for each row of a batch; the
            evaluation then runs many settings of a policy as one.
        stochastic: whether decisions depend on the seed given to `reset`. Each row of a batch is
            then decided for by an instance of its own, under its own seed.
    """

    foresight: ClassVar[bool] = False
    batched: ClassVar[bool] = False
    vectorised: ClassVar[tuple[str, ...]] = ()
    stochastic: ClassVar[bool] = False
    state_names: ClassVar[tuple[str, ...]] = ()

    chain: ServiceChain

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Remember the chain and clear the state."""
        self.chain = chain
        for name in self.state_names:
            setattr(self, name, None)

    def export_state(self) -> State:
        """Copies of the state arrays."""
        values = {name: getattr(self, name) for name in self.state_names}
        return {name: np.array(value) for name, value in values.items() if value is not None}

    def restore_state(self, state: State) -> None:
        """Set the state arrays.

        Raises:
            ValueError: a name that this policy does not keep.
        """
        for name in self.state_names:
            setattr(self, name, None)
        for name, value in state.items():
            if name not in self.state_names:
                raise ValueError(f"{type(self).__name__} keeps no state {name!r}")
            setattr(self, name, np.array(value))


def registered() -> dict[str, EntryPoint]:
    """Every registered policy by name."""
    return dict(_registered(entry_points, tuple(sys.path)))


@cache
def _registered(find: Callable[..., EntryPoints], path: tuple[str, ...]) -> dict[str, EntryPoint]:
    # Looking through all that is installed takes ten milliseconds; a grid asks thousands of times.
    return {point.name: point for point in sorted(find(group=GROUP))}


def make_policy(spec: str, **parameters: Any) -> Policy:
    """The policy that a spec names.

    Args:
        spec: a name or the path of a bundle, with parameters or without (see `flexnfv.spec`).
        parameters: further parameters; they beat those of the spec.

    Raises:
        InputError: an unknown name (the nearest is given), an unknown parameter, a bad value.
    """
    factory, given = policy_class(spec, **parameters)
    return instance(factory, given, spec)


def policy_class(spec: str, **parameters: Any) -> tuple[Callable[..., Policy], dict[str, Any]]:
    """What makes the policy that a spec names, and the parameters that it is made with.

    Args, Raises: see `make_policy`; values are not checked yet.
    """
    parts = policy_spec(spec)
    name = parts.head
    points = registered()
    known(name, points, kind="policy")
    factory = points[name].load()
    accepted = annotated(factory)
    given: dict[str, Any] = {**parts.pairs, **parameters}
    for key, value in given.items():
        if key not in accepted:
            raise InputError(
                f"policy {name!r} has no parameter {key!r}",
                where=repr(spec),
                fix=f"{nearest(key, accepted)}it takes {', '.join(accepted) or 'none'}",
            )
        try:
            given[key] = convert(value, accepted[key]) if isinstance(value, str) else value
        except UnfitValue as error:
            raise InputError(
                f"{key} is {error.text!r}, it takes {error.words}", where=f"policy {name!r}"
            ) from None
    return factory, given


def instance(factory: Callable[..., Policy], parameters: Mapping[str, Any], spec: str) -> Policy:
    """The policy made with those parameters.

    Raises:
        InputError: a bad value; `spec` says of which policy.
    """
    try:
        return factory(**parameters)
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where=f"policy {spec!r}") from error


def parameters_of(name: str) -> Mapping[str, inspect.Parameter]:
    """The parameters that a registered policy takes."""
    return inspect.signature(registered()[name].load()).parameters
