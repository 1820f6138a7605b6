"""One policy for a batch of chains whose rows may each have a policy of their own.

Settings of one policy whose class takes arrays (`vectorised`) are decided for by a single instance,
and so are the rows of a policy that takes batches. Any other policy, and one whose decisions depend
on its seed, has an instance for each row. A row's decisions are, to the bit, those that its policy
would take alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import FIELDS, KEEP, Decision, check_decision
from flexnfv.errors import InputError
from flexnfv.policy import Policy, instance, make_policy, policy_class
from flexnfv.reading import Reading
from flexnfv.traces import Trace

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass
class _Part:
    """Rows that one instance decides for.

    Attributes:
        policy: the instance.
        rows: indices of the rows, rising, [n].
        where: the rows as readings are indexed with: a slice where they follow one another, an
            array where they do not; one row's number where the policy takes readings one by one.
        name: for messages.
    """

    policy: Policy
    rows: IntArray
    where: Any
    name: str


class PolicyBatch:
    """The policies of a batch's rows.

    Args:
        specs: a policy's spec for each row, [B]. Rows of a `group` should follow one another.

    Attributes:
        decision_s: how long the last decision of each row took: its instance's time divided by
            the rows of it, seconds, [B].

    Raises:
        InputError: see `flexnfv.policy.make_policy`.
    """

    def __init__(self, specs: Sequence[str]) -> None:
        known = {spec: group(spec) for spec in dict.fromkeys(specs)}
        groups: dict[Hashable, list[int]] = {}
        for row, spec in enumerate(specs):
            groups.setdefault(known[spec] or (spec, row), []).append(row)
        self._parts: list[_Part] = []
        for rows in groups.values():
            policy, single = stacked([specs[row] for row in rows])
            self._parts.append(_part(policy, rows, specs[rows[0]], single=single))
        self.decision_s = np.zeros(len(specs))

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """A batch of one chain, which this policy decides for."""
        batch = cls([])
        batch._parts = [_part(policy, [0], type(policy).__name__, single=True)]
        batch.decision_s = np.zeros(1)
        return batch

    def reset(
        self, chain: ServiceChain, seeds: Sequence[int], traces: Sequence[Trace | None]
    ) -> None:
        """Start an episode in every row; only policies with foresight are shown the traces.

        Args:
            chain: that the policies decide for.
            seeds, traces: of each row, [B].
        """
        for part in self._parts:
            foreseen: Any = [traces[row] for row in part.rows]
            if isinstance(part.where, int):
                (foreseen,) = foreseen
            more = {"trace": foreseen} if part.policy.foresight else {}
            part.policy.reset(chain, seeds[part.rows[0]], **more)

    def decide(self, reading: Reading, alive: IntArray | None = None) -> Decision:
        """The decisions of all rows.

        Args:
            reading: the newest of all rows, [B].
            alive: rows whose decisions will be used; None: all.

        Returns:
            The decision, [B, T]; that of a row that is not alive means nothing.

        Raises:
            InputError: a policy's decision is of a wrong shape or kind.
        """
        shape = reading.unsettled.shape
        made: dict[str, Any] = dict.fromkeys(FIELDS)
        made["targets"] = np.zeros(shape, np.int64)
        used = np.ones(shape[0], np.bool_)
        if alive is not None:
            used[:] = False
            used[alive] = True
        for part in self._parts:
            if not used[part.rows].any():
                continue
            seen = (
                reading if len(part.rows) == shape[0] and part.where != 0 else reading[part.where]
            )
            begun = perf_counter()
            wanted = part.policy.decide(seen)
            self.decision_s[part.where] = (perf_counter() - begun) / len(part.rows)
            try:
                found = check_decision(wanted, seen.unsettled.shape)
            except ValueError as error:
                raise InputError(str(error), where=f"policy {part.name!r}") from error
            for name in FIELDS:
                values = getattr(found, name)
                if values is not None:
                    if made[name] is None:
                        made[name] = np.full(shape, KEEP)
                    made[name][part.where] = values
        return Decision(**made)


def group(spec: str) -> Hashable:
    """What rows that one instance can decide for have in common; None where each needs its own.

    Raises:
        InputError: see `flexnfv.policy.make_policy`.
    """
    factory, parameters = policy_class(spec)
    if not getattr(factory, "batched", False) or getattr(factory, "stochastic", True):
        return None
    if not getattr(factory, "vectorised", ()):
        return spec
    fixed = {
        name: value
        for name, value in _complete(factory, parameters).items()
        if not _may_differ(factory, name, value)
    }
    return factory, tuple(fixed.items())


def stacked(specs: Sequence[str]) -> tuple[Policy, bool]:
    """One instance for rows of one `group`, and whether it takes readings one at a time.

    Args:
        specs: of the rows, [n].
    """
    if len(set(specs)) == 1:
        return make_policy(specs[0]), group(specs[0]) is None
    factory, _ = policy_class(specs[0])
    known = {spec: _complete(factory, policy_class(spec)[1]) for spec in dict.fromkeys(specs)}
    parameters: dict[str, Any] = {}
    for name, value in known[specs[0]].items():
        values = [known[spec][name] for spec in specs]
        alike = all(other == value for other in values)
        parameters[name] = value if alike else np.array(values)
    return instance(factory, parameters, specs[0]), False


def _part(policy: Policy, rows: Sequence[int], name: str, *, single: bool) -> _Part:
    where: Any = np.array(rows)
    if single:
        where = rows[0]
    elif rows[-1] - rows[0] == len(rows) - 1:
        where = slice(rows[0], rows[-1] + 1)
    return _Part(policy, np.array(rows), where, name)


def _complete(factory: Callable[..., Policy], parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the defaults of those that are not given."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not parameter.empty
    }
    return defaults | parameters


def _may_differ(factory: Callable[..., Policy], name: str, value: Any) -> bool:
    """Whether rows of one instance may have different values of a parameter."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and name in getattr(factory, "vectorised", ())
