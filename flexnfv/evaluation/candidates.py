"""What a grid compares: policies by spec, bundles of several training seeds, swept settings."""

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
from flexnfv.policy import make_policy, registered
from flexnfv.policy_batch import PolicyBatch
from flexnfv.spec import bundle_of, is_bundle, policy_spec
from flexnfv.suggest import known
from flexnfv.traces import Trace

BOUND: Final = "clairvoyant"
"""The policy that knows the trace: its front bounds what any policy could reach."""

_LABELLED = re.compile(r"^([^=:/\s]+)=(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Candidate:
    """One policy of the comparison, with all of its training seeds.

    Attributes:
        name: how tables call it.
        specs: one per training seed; a heuristic has one.
        heuristic: the registered policy whose sweep this is a setting of; "" if it is none.
        setting: the swept parameters' values of such a point.
    """

    name: str
    specs: tuple[str, ...]
    heuristic: str = ""
    setting: Mapping[str, Any] = field(default_factory=dict)


def candidate(text: str) -> Candidate:
    """The candidate that `[NAME=]SPEC` names.

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
        specs = tuple(sorted(glob.glob(spec, recursive=True)))  # noqa: PTH207
        if not specs:
            raise InputError("no bundle matches", where=repr(spec), fix="check the pattern")
        return Candidate(name, specs)
    if (bundle := bundle_of(spec)) is not None and not bundle.is_file():
        raise InputError("no such bundle", where=repr(spec), fix="check the path")
    return Candidate(name, (spec,))


def candidates(policies: Iterable[str] | Mapping[str, str | Sequence[str]]) -> list[Candidate]:
    """Candidates in the order given.

    Args:
        policies: `[NAME=]SPEC` texts, or a mapping from names to one spec or to the specs of
            several training seeds.

    Raises:
        InputError: see `candidate`; or none at all; or a name twice.
    """
    found = (
        [
            Candidate(name, (specs,) if isinstance(specs, str) else tuple(specs))
            for name, specs in policies.items()
        ]
        if isinstance(policies, Mapping)
        else [candidate(text) for text in policies]
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


def with_baseline(found: Sequence[Candidate], baseline: str) -> list[Candidate]:
    """The candidates with the baseline among them, last if it was not named.

    Raises:
        InputError: the baseline is neither a candidate nor a policy.
    """
    names = [one.name for one in found]
    if baseline in names:
        return list(found)
    if policy_spec(baseline).head not in registered():
        known(baseline, [*names, *registered()], kind="baseline")
    return [*found, candidate(baseline)]


def sweeps(found: Sequence[Candidate]) -> list[Candidate]:
    """The settings of every heuristic among the candidates, and of the clairvoyant bound.

    A heuristic is a registered policy whose class declares `sweep`. Its settings start from its
    defaults, whatever parameters the candidate itself has.
    """
    points = registered()
    heuristics = dict.fromkeys(
        policy_spec(spec).head for one in found for spec in one.specs if not is_bundle(spec)
    )
    if BOUND in points:
        heuristics[BOUND] = None
    swept: list[Candidate] = []
    for name in heuristics:
        sweep = getattr(points[name].load(), "sweep", None) if name in points else None
        if sweep:
            swept += [_setting(name, values) for values in settings(sweep)]
        elif name == BOUND:
            swept.append(Candidate(f"{BOUND} (bound)", (BOUND,), heuristic=BOUND))
    return swept


def _setting(heuristic: str, values: Mapping[str, Any]) -> Candidate:
    pairs = ",".join(f"{key}={value}" for key, value in values.items())
    return Candidate(f"{heuristic} [{pairs}]", (f"{heuristic}:{pairs}",), heuristic, dict(values))


def check(found: Iterable[Candidate], chain: ServiceChain, trace: Trace) -> None:
    """Make and reset every policy once, so that a grid fails before it starts.

    Raises:
        InputError: an unknown policy or parameter, a bad value, a bundle that does not fit.
    """
    for one in found:
        for spec in one.specs:
            PolicyBatch.of(make_policy(spec)).reset(chain, [0], [trace])


def fingerprint(spec: str) -> str:
    """What identifies a policy: its spec, and its bundle's bytes if it is one (SHA-256, hex)."""
    digest = hashlib.sha256(spec.encode())
    bundle = bundle_of(spec)
    if bundle is not None and bundle.is_file():
        digest.update(bundle.read_bytes())
    return digest.hexdigest()
