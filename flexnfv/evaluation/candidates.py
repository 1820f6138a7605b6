"""What a grid compares: policies by spec, bundles of several training seeds, swept settings."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.evaluation.cost import DROP_COSTS, DROP_TARGETS
from flexnfv.evaluation.fronts import axes, settings
from flexnfv.policy import make_policy, policy_class, registered
from flexnfv.policy_batch import PolicyBatch
from flexnfv.spec import LEARNED, annotated, bundle_of, is_bundle, policy_spec, with_pairs
from flexnfv.suggest import known
from flexnfv.traces import Trace

BOUND: Final = "clairvoyant"
"""The policy that knows the trace."""
KNOB: Final = "drop_cost"
"""The parameter by which a policy is told what a drop costs; a bundle's sweep is over it."""
TARGET_KNOB: Final = "drop_target"
"""The parameter by which a policy is told what share may be lost."""
PARK_TIMEOUT: Final = "park_timeout"
"""The parameter after how many intervals a policy stops a parked instance."""
PARK_TIMEOUTS: Final = (10.0, 60.0, 300.0, float("inf"))
"""What a rule is swept over where parked cores cost something, if its own sweep leaves it out."""

_LABELLED = re.compile(r"^([^=:/\s]+)=(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Candidate:
    """One policy of the comparison, with all of its training seeds.

    Attributes:
        name: how tables call it.
        specs: one per training seed; a heuristic has one.
        front: the registered policy or the bundle whose sweep this is a setting of; "" if none.
        setting: the swept parameters' values of such a point.
    """

    name: str
    specs: tuple[str, ...]
    front: str = ""
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


def sweeps(
    found: Sequence[Candidate],
    rules: Sequence[str] = (),
    drop_costs: Sequence[float] = DROP_COSTS,
    parked_weight: float = 0.0,
) -> list[Candidate]:
    """The settings of every rule and bundle among the candidates, and of the clairvoyant.

    A rule is a registered policy whose class declares `sweep`. Its settings start from its
    defaults, whatever parameters the candidate itself has (see `rule_settings`). A bundle is swept
    over its drop cost, and any policy that takes one is run at those that it is judged by; one that
    takes a drop target, at the usual ones. Values that a policy refuses are left out.

    Args:
        found: the candidates.
        rules: more registered policies to sweep.
        drop_costs: that policies are judged by.
        parked_weight: cost of a parked core relative to a running one.
    """
    heads = [policy_spec(spec).head for one in found for spec in one.specs if not is_bundle(spec)]
    swept: list[Candidate] = []
    for name in dict.fromkeys([*heads, *rules, BOUND]):
        if sweep_of(name) or name in rules:
            swept += [
                _setting(name, values) for values in rule_settings(name, drop_costs, parked_weight)
            ]
        elif name == BOUND and name in registered():
            swept.append(Candidate(f"{BOUND} (default)", (BOUND,), front=BOUND))
    told: set[tuple[str, ...]] = set()
    for one in found:
        specs = tuple(with_pairs(spec, {KNOB: None, TARGET_KNOB: None}) for spec in one.specs)
        if specs not in told:
            told.add(specs)
            swept += _knob_settings(replace(one, specs=specs), drop_costs)
    return swept


def rule_settings(
    name: str, drop_costs: Sequence[float], parked_weight: float
) -> list[dict[str, Any]]:
    """What a registered policy is run with: every combination of its sweep's values.

    A policy that takes a drop cost is also told each one that it is judged by. One that takes a
    park timeout and does not sweep it is given `PARK_TIMEOUTS`, where parked cores cost something.
    """
    sweep = sweep_of(name)
    swept = dict(axes(sweep)) if sweep else {}
    taken = _parameters(name)
    if KNOB in taken:
        swept[KNOB] = tuple(sorted({*map(float, swept.get(KNOB, ())), *drop_costs}))
    if PARK_TIMEOUT in taken and PARK_TIMEOUT not in swept and parked_weight > 0:
        swept[PARK_TIMEOUT] = PARK_TIMEOUTS
    return settings(tuple(swept.items()))


def rules_of(found: Sequence[Candidate], rules: Sequence[str] | None = None) -> tuple[str, ...]:
    """The fronts that the rule is the best setting of.

    Args:
        found: the candidates.
        rules: names of registered policies that have a sweep or can be told a drop cost; None: all
            with a sweep among the candidates.

    Raises:
        InputError: one of `rules` is no such policy (the nearest is given).
    """
    blind = [name for name in registered() if name != LEARNED and not _foresees(name)]
    if rules is not None:
        fit = [name for name in blind if sweep_of(name) or KNOB in _parameters(name)]
        for name in rules:
            known(name, fit, kind="rule")
        return tuple(dict.fromkeys(rules))
    heads = (policy_spec(spec).head for one in found for spec in one.specs if not is_bundle(spec))
    return tuple(name for name in dict.fromkeys(heads) if name in blind and sweep_of(name))


def sweep_of(name: str) -> Any:
    """What a registered policy's class declares as its `sweep`; nothing if it declares none."""
    points = registered()
    if name not in points or name == LEARNED:
        return ()
    return getattr(points[name].load(), "sweep", ())


def judged_by(one: Candidate) -> bool:
    """Whether the drop cost that a policy is judged by is also told to it."""
    return _takes(one, KNOB) and not any(
        {KNOB, TARGET_KNOB} & set(policy_spec(spec).pairs) for spec in one.specs
    )


def _knob_settings(one: Candidate, drop_costs: Sequence[float]) -> list[Candidate]:
    """A candidate at the drop costs and drop targets that it can be told."""
    tried: list[dict[str, float]] = []
    if _takes(one, KNOB):
        factory, _ = policy_class(one.specs[0])
        more = axes(factory.sweep)[0][1] if is_bundle(one.specs[0]) else ()  # type: ignore[attr-defined]
        tried += [{KNOB: value} for value in sorted({*map(float, more), *drop_costs})]
    if _takes(one, TARGET_KNOB):
        tried += [{TARGET_KNOB: value} for value in DROP_TARGETS]
    found = []
    for setting in tried:
        pairs = knob_pairs(setting)
        specs = tuple(with_pairs(spec, pairs) for spec in one.specs)
        if all(_accepted(spec) for spec in specs):
            listed = ",".join(f"{key}={value}" for key, value in pairs.items())
            found.append(Candidate(f"{one.name} [{listed}]", specs, one.name, setting))
    return found


def _takes(one: Candidate, parameter: str) -> bool:
    return all(parameter in annotated(policy_class(spec)[0]) for spec in one.specs)


def _accepted(spec: str) -> bool:
    try:
        make_policy(spec)
    except InputError:
        return False
    return True


def _parameters(name: str) -> Mapping[str, Any]:
    return annotated(registered()[name].load())


def _foresees(name: str) -> bool:
    return bool(getattr(registered()[name].load(), "foresight", False))


def _setting(front: str, values: Mapping[str, Any]) -> Candidate:
    pairs = ",".join(f"{key}={_text(value)}" for key, value in values.items())
    return Candidate(f"{front} [{pairs}]", (f"{front}:{pairs}",), front, dict(values))


def _text(value: Any) -> str:
    """A value as a spec holds it: short where nothing is lost by it."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def knob_pairs(setting: Mapping[str, float]) -> dict[str, str]:
    """What a policy is told, as pairs of its spec."""
    return {key: _text(float(value)) for key, value in setting.items()}


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
