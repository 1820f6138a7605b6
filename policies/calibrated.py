"""Rule: the best calibrated rule for a drop cost or a drop target, or one rule's best setting.

`flexnfv tune` calibrates rules and writes the settings that it found to a file; the one beside this
module holds those of all rules that FlexNFV ships, for the chain `edge`, calibrated on the wide
prior of traffic alone.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.decision import Decision
from flexnfv.errors import InputError
from flexnfv.parameters import check
from flexnfv.policy import Foreseen, Policy, State, make_policy
from flexnfv.reading import Reading
from flexnfv.suggest import known

SHIPPED: Final = Path(__file__).with_suffix(".toml")
Knob = Literal["drop_cost", "drop_target"]


@dataclass(frozen=True)
class Setting:
    """What a calibration found for one rule.

    Attributes:
        policy: the rule's name.
        knob, value: what it was calibrated for.
        parked_weight: cost of a parked core that it was calibrated for.
        chain: that it was calibrated on.
        cost: mean over the traces of what it costs relative to the proven bound.
        trials: settings that were tried for this one.
        parameters: of the policy.
    """

    policy: str
    knob: Knob
    value: float
    parked_weight: float
    chain: str
    cost: float
    trials: int
    parameters: Mapping[str, float]

    @property
    def spec(self) -> str:
        """The policy's spec."""
        pairs = ",".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return f"{self.policy}:{pairs}" if pairs else self.policy

    @property
    def key(self) -> tuple[str, str, float, float, str]:
        """What there is one setting for in a file."""
        return self.policy, self.knob, self.value, self.parked_weight, self.chain


@cache
def load_settings(path: Path) -> tuple[Setting, ...]:
    """The settings that a file holds.

    Raises:
        InputError: no such file, or it is none of `flexnfv tune`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(_setting(entry) for entry in content["setting"])
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), fix="check the path"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "holds no calibrated settings", where=str(path), fix="make it with `flexnfv tune`"
        ) from None


def _setting(entry: Mapping[str, Any]) -> Setting:
    (knob,) = {"drop_cost", "drop_target"} & set(entry)
    return Setting(
        policy=str(entry["policy"]),
        knob="drop_cost" if knob == "drop_cost" else "drop_target",
        value=float(entry[knob]),
        parked_weight=float(entry["parked_weight"]),
        chain=str(entry["chain"]),
        cost=float(entry["cost"]),
        trials=int(entry["trials"]),
        parameters={str(key): value + 0 for key, value in entry["parameters"].items()},
    )


def written(settings: Sequence[Setting]) -> str:
    """Settings as TOML."""
    blocks = ["# Settings that `flexnfv tune` found; used as rule:drop_cost=300,settings=FILE.\n"]
    for one in sorted(settings, key=lambda setting: setting.key):
        parameters = "\n".join(f"{key} = {value!r}" for key, value in one.parameters.items())
        blocks.append(
            f'[[setting]]\npolicy = "{one.policy}"\n{one.knob} = {one.value!r}\n'
            f'parked_weight = {one.parked_weight!r}\nchain = "{one.chain}"\n'
            f"cost = {one.cost!r}\ntrials = {one.trials}\n[setting.parameters]\n{parameters}\n"
        )
    return "\n".join(blocks)


def nearest(settings: Sequence[Setting], knob: Knob, value: float, weight: float) -> list[Setting]:
    """The settings whose knob and weight are nearest (the knob by ratio), the cheapest first.

    Raises:
        InputError: none is calibrated for such a knob.
    """
    fit = [one for one in settings if one.knob == knob]
    if not fit:
        raise InputError(
            f"no setting is calibrated for a {knob.replace('_', ' ')}",
            where="policy 'rule'",
            fix=f"make some with `flexnfv tune --{knob.replace('_', '-')}`, give settings=FILE",
        )
    closest = min(abs(one.parked_weight - weight) for one in fit)
    fit = [one for one in fit if abs(one.parked_weight - weight) == closest]
    ratio = min(abs(math.log(one.value / value)) for one in fit)
    fit = [one for one in fit if abs(math.log(one.value / value)) == ratio]
    return sorted(fit, key=lambda one: one.cost)


class Rule:
    """The best calibrated rule: whichever of the field's rules cost least where it was calibrated.

    Args:
        drop_cost: what losing one interval's mean traffic costs, core intervals; the nearest one
            that was calibrated for is taken.
        drop_target: instead of that, the share that may be lost.
        parked_weight: what a parked core costs; the chain's own if none.
        policy: only this rule, at its own best setting.
        settings: file of `flexnfv tune`; the shipped one if none.

    Raises:
        ValueError: a number out of its range.
        InputError: the file cannot be used, or holds no setting for this.
    """

    foresight: ClassVar[bool] = False
    batched: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False

    def __init__(
        self,
        drop_cost: float = 300.0,
        drop_target: float | None = None,
        parked_weight: float | None = None,
        policy: str | None = None,
        settings: str | None = None,
    ) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be a number above 0")
        if drop_target is not None:
            check("drop_target", drop_target, lambda v: (v > 0) & (v < 1), "lie in (0, 1)")
        if parked_weight is not None:
            check("parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        self._knob: Knob = "drop_cost" if drop_target is None else "drop_target"
        self._value = float(drop_cost if drop_target is None else drop_target)
        self._weight = parked_weight
        self._settings = load_settings(SHIPPED if settings is None else Path(settings))
        if policy is not None:
            known(policy, {one.policy for one in self._settings}, kind="calibrated rule")
            self._settings = tuple(one for one in self._settings if one.policy == policy)
        nearest(self._settings, self._knob, self._value, 0.0)
        self._policy: Policy | None = None

    def setting(self, chain: ServiceChain) -> Setting:
        """The setting that is used on a chain."""
        weight = chain.parked_weight if self._weight is None else self._weight
        return nearest(self._settings, self._knob, self._value, weight)[0]

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Make the rule for this chain."""
        self._policy = make_policy(self.setting(chain).spec)
        self._policy.reset(chain, seed)

    def decide(self, reading: Reading) -> Decision | npt.NDArray[np.int64]:
        """What the rule decides, [..., T]."""
        return self._made.decide(reading)

    def export_state(self) -> State:
        """The rule's own state."""
        return self._made.export_state()

    def restore_state(self, state: State) -> None:
        """Continue from such a state.

        Raises:
            ValueError: it is not of this rule.
        """
        self._made.restore_state(state)

    @property
    def _made(self) -> Policy:
        if self._policy is None:
            raise RuntimeError("reset comes first")
        return self._policy
