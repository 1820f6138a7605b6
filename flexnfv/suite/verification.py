"""Doing a submission's episodes again: they must agree to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from flexnfv.errors import InputError
from flexnfv.spec import bundle_of, policy_spec, with_pairs
from flexnfv.suite.execution import Settings, available, bundle_digest, execute
from flexnfv.suite.scores import costs
from flexnfv.suite.submission import SUMS, Episode, Setting, Submission
from flexnfv.suite.traffic import Shelf


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        episodes: that were done again.
        differences: a sentence for each one that differs, and for costs that do not follow.
        unchecked: parts of the submission whose traces are not here, and why.
    """

    episodes: int
    differences: tuple[str, ...]
    unchecked: dict[str, str]


def verify(
    submission: Submission, shelf: Shelf, *, bundle: str | None = None, progress: bool = True
) -> Verdict:
    """Do again what a submission did, on the parts that are whole here.

    Args:
        submission: as read.
        shelf: where the traces come from.
        bundle: where the bundle lies, if not where its specs say.
        progress: show a progress bar on standard error.

    Raises:
        InputError: the policy is not installed, the bundle is not there or is another one, or no
            part can be checked here.
        BackendError: a worker died.
    """
    settings = submission.settings
    if bundle is not None:
        settings = tuple(_moved(one, bundle) for one in settings)
    _check_policy(submission, settings, shelf)
    traffic, unchecked = available(shelf, submission.parts)
    if not traffic:
        raise InputError(
            "none of its traces is on this machine",
            where=submission.name,
            fix="import them: `flexnfv suite list` names them",
        )
    again = execute(settings, traffic, shelf, progress=progress)
    claimed = {one.key: one for one in submission.episodes}
    differences = [
        f"part {one.part}, trace {one.trace}, {submission.settings[one.setting].spec}: {what}"
        for one in again
        if (what := difference(claimed[one.key], one))
    ]
    if _plain(costs(submission.settings, submission.episodes)) != _plain(submission.costs):
        differences.append("its costs do not follow from its episodes")
    return Verdict(len(again), tuple(differences), unchecked)


def difference(claimed: Episode, found: Episode) -> str:
    """What differs between an episode as claimed and as done again; "" if nothing."""
    if claimed.decisions != found.decisions:
        return "the decisions differ"
    pairs = zip(SUMS, claimed.sums, found.sums, strict=True)
    for name, before, now in pairs:
        if float.fromhex(before) != float.fromhex(now):
            return f"{name} is {float.fromhex(now)!r}, not {float.fromhex(before)!r}"
    return ""


def _check_policy(submission: Submission, settings: Iterable[Setting], shelf: Shelf) -> None:
    first, *_ = specs = [one.spec for one in settings]
    for spec in specs:
        digest = bundle_digest(bundle_of(spec))
        if digest != submission.bundle_sha256:
            raise InputError(
                "is not the bundle that was submitted (its SHA-256 differs)"
                if digest and submission.bundle_sha256
                else "is a bundle where the submission has none, or none where it has one",
                where=repr(first),
                fix="give the right one: --bundle PATH",
            )
        Settings.of(spec, shelf.definition)


def _moved(setting: Setting, bundle: str) -> Setting:
    pairs = dict(policy_spec(setting.spec).pairs)
    if pairs.pop("bundle", None) is None:
        raise InputError(
            f"{setting.spec!r} runs no bundle", where="--bundle", fix="leave the option out"
        )
    return Setting(spec=with_pairs(f"'{bundle}'", dict(pairs)), points=setting.points)


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True)
