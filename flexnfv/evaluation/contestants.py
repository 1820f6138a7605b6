"""Who takes part in a grid: policies by spec, bundles of several training seeds, swept settings."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.evaluation.fronts import settings
from flexnfv.policy import Policy, make_policy, registered
from flexnfv.suggest import known
from flexnfv.traces import Trace

BOUND: Final = "clairvoyant"
"""The policy that knows the trace: its front bounds what any policy could reach."""

_LABELLED = re.compile(r"^([^=:/\s]+)=(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Contestant:
    """One policy of the comparison.

    Attributes:
        name: how tables call it.
        members: one spec per training seed; a heuristic has one.
        heuristic: the registered policy whose front this is a point of; "" if it is none.
        setting: the swept parameters' values of such a point.
    """

    name: str
    members: tuple[str, ...]
    heuristic: str = ""
    setting: Mapping[str, Any] = field(default_factory=dict)


def contestant(text: str) -> Contestant:
    """The contestant that `[NAME=]SPEC` names.

    SPEC is a policy spec (`watermark`, `target_tracking:target=0.6`), the path of a bundle, or a
    pattern (`run/seed*/best.onnx`) whose bundles are the training seeds of one policy.

    Raises:
        InputError: an unknown policy (the nearest is given), no bundle there, or none that the
            pattern matches.
    """
    labelled = _LABELLED.match(text)
    name, spec = labelled.groups() if labelled else (text, text)
    if any(mark in spec for mark in "*?[") and not Path(spec).exists():
        # Path.glob takes no absolute pattern.
        members = tuple(sorted(glob.glob(spec, recursive=True)))  # noqa: PTH207
        if not members:
            raise InputError("no bundle matches", where=repr(spec), fix="check the pattern")
        return Contestant(name, members)
    if spec.endswith(".onnx") and not Path(spec).is_file():
        raise InputError("no such bundle", where=repr(spec), fix="check the path")
    return Contestant(name, (spec,))


def contestants(policies: Iterable[str] | Mapping[str, str | Sequence[str]]) -> list[Contestant]:
    """Contestants in the order given.

    Args:
        policies: `[NAME=]SPEC` texts, or a mapping from names to one spec or to the specs of
            several training seeds.

    Raises:
        InputError: see `contestant`; or none at all; or a name twice.
    """
    found = (
        [
            Contestant(name, (specs,) if isinstance(specs, str) else tuple(specs))
            for name, specs in policies.items()
        ]
        if isinstance(policies, Mapping)
        else [contestant(text) for text in policies]
    )
    if not found:
        raise InputError("no policy to evaluate", where="policies", fix="name at least one")
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                "two policies of that name",
                where=f"policies, {name!r}",
                fix="give one of them another name: NAME=SPEC",
            )
    return found


def with_baseline(found: Sequence[Contestant], baseline: str) -> list[Contestant]:
    """The contestants with the baseline among them, last if it was not named.

    Raises:
        InputError: the baseline is neither a contestant nor a policy.
    """
    names = [one.name for one in found]
    if baseline in names:
        return list(found)
    if baseline.partition(":")[0] not in registered() and not Path(baseline).is_file():
        known(baseline, [*names, *registered()], kind="baseline")
    return [*found, contestant(baseline)]


def sweeps(found: Sequence[Contestant]) -> list[Contestant]:
    """The settings of every heuristic among the contestants, and of the clairvoyant bound.

    A heuristic is a registered policy whose class declares `front`. Its settings start from its
    defaults, whatever parameters the contestant itself has.
    """
    points = registered()
    heuristics = dict.fromkeys(
        spec.partition(":")[0] for one in found for spec in one.members if "/" not in spec
    )
    if BOUND in points:
        heuristics[BOUND] = None
    swept: list[Contestant] = []
    for name in heuristics:
        front = getattr(points[name].load(), "front", None) if name in points else None
        if front:
            swept += [_setting(name, values) for values in settings(front)]
        elif name == BOUND:
            swept.append(Contestant(f"{BOUND} (bound)", (BOUND,), heuristic=BOUND))
    return swept


def _setting(heuristic: str, values: Mapping[str, Any]) -> Contestant:
    pairs = ",".join(f"{key}={value}" for key, value in values.items())
    return Contestant(f"{heuristic} [{pairs}]", (f"{heuristic}:{pairs}",), heuristic, dict(values))


def check(found: Iterable[Contestant], chain: ServiceChain, trace: Trace) -> None:
    """Make and reset every member once, so that a grid fails before it starts.

    Raises:
        InputError: an unknown policy or parameter, a bad value, a bundle that does not fit.
    """
    for one in found:
        for spec in one.members:
            start(make_policy(spec), chain, trace, seed=0)


def start(policy: Policy, chain: ServiceChain, trace: Trace, seed: int) -> None:
    """Reset a policy for an episode; only one that declares foresight is shown the trace."""
    if policy.foresight:
        policy.reset(chain, seed, trace=trace)
    else:
        policy.reset(chain, seed)


def fingerprint(spec: str) -> str:
    """What identifies a member: its spec, and its bundle's bytes if it is one (SHA-256, hex)."""
    digest = hashlib.sha256(spec.encode())
    path = Path(spec.partition("bundle=")[2].partition(",")[0] or spec)
    if path.is_file():
        digest.update(path.read_bytes())
    return digest.hexdigest()
