"""A submission: what one policy did on the suite, as a file that anybody can run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from flexnfv.errors import InputError
from flexnfv.files import new_file
from flexnfv.suite.definition import Definition, load

LARGEST: Final = 1_000_000
"""Most bytes of a file."""

SUMS: Final = (
    "time_s",
    "offered",
    "delivered",
    "lost",
    "core_s",
    "parked_core_s",
    "launches",
    "reruns",
    "blocks",
)
"""What is summed over an episode (names of `flexnfv.evaluation.sums.QUANTITIES`)."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[^\n|<>`]{1,60}$")]
Line = Annotated[str, Field(pattern=r"^[^\n<>`]{0,300}$")]
Point = tuple[float, float]
"""Drop cost and parked weight."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Part):
    """A setting of the policy, and the points that it counts for.

    Attributes:
        spec: of the policy.
        points: pairs of drop cost and parked weight.
    """

    spec: str
    points: tuple[Point, ...]


class Episode(_Part):
    """An episode.

    Attributes:
        setting: place of its setting in the submission's list.
        part, trace, seed: what was run.
        decisions: SHA-256 of its decisions.
        sums: in the order of `SUMS`, as hexadecimal floats: exact to the bit.
    """

    setting: int
    part: str
    trace: str
    seed: int
    decisions: Digest
    sums: tuple[str, ...]

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What tells it from the others."""
        return self.setting, self.part, self.trace, self.seed

    def amounts(self) -> dict[str, float]:
        """Its sums by name."""
        return dict(zip(SUMS, map(float.fromhex, self.sums), strict=True))


class Submission(_Part):
    """The file.

    Attributes:
        suite: version of the suite.
        definition: SHA-256 of the suite's definition.
        name: how tables call the policy.
        spec: what was submitted: a policy's spec, or a file of settings.
        bundle_sha256: of the bundle, where the policy is one.
        trained_on: the traffic that it was trained or calibrated on, in its author's words.
        made_with: versions of what made the file.
        missing: parts that were not run, and why.
        settings: of the policy.
        costs: J by part, trace and point (`"100/0.3"`): for readers, worked out from the episodes.
        episodes: every one.
    """

    suite: str
    definition: Digest
    name: Name
    spec: str
    bundle_sha256: Digest | None
    trained_on: Line
    made_with: dict[str, str]
    missing: dict[str, str]
    settings: tuple[Setting, ...]
    costs: dict[str, dict[str, dict[str, float]]]
    episodes: tuple[Episode, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if any(not 0 <= one.setting < len(self.settings) for one in self.episodes):
            raise ValueError("an episode names a setting that is not listed")
        if any(len(one.sums) != len(SUMS) for one in self.episodes):
            raise ValueError(f"an episode has other sums than {', '.join(SUMS)}")
        try:
            self.episodes and [one.amounts() for one in self.episodes]
        except (ValueError, OverflowError):
            raise ValueError("a sum is no hexadecimal float") from None
        if len({one.key for one in self.episodes}) < len(self.episodes):
            raise ValueError("an episode is listed twice")
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that were run."""
        return tuple(dict.fromkeys(one.part for one in self.episodes))

    @classmethod
    def read(cls, path: Path) -> Submission:
        """A file, checked against the definition of the suite that it names.

        Raises:
            InputError: no such file, too large, no submission, of another suite or definition, or
                a part of which episodes are missing.
        """
        where = str(path)
        try:
            if path.stat().st_size > LARGEST:
                raise InputError(
                    f"is larger than {LARGEST / 1e6:g} MB", where=where, fix="name a submission"
                )
            found = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(
                f"cannot be read ({error.strerror})", where=where, fix="check the path"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(
                f"is no submission ({place + ': ' if place else ''}{first['msg']})",
                where=where,
                fix="make it with `flexnfv suite run`",
            ) from error
        definition = load(found.suite)
        if found.definition != definition.sha256:
            raise InputError(
                f"was made with another definition of suite {found.suite}",
                where=where,
                fix="run it again with this version of FlexNFV",
            )
        found._check_complete(definition, where)
        return found

    def write(self, path: Path) -> None:
        """Write it, whole or not at all; an episode takes a line.

        Raises:
            InputError: the file exists, or it would be too large.
        """
        plain = self.model_dump(mode="json")
        episodes = ",\n  ".join(json.dumps(one) for one in plain.pop("episodes"))
        head = json.dumps(plain, indent=1, ensure_ascii=False).removesuffix("\n}")
        text = f'{head},\n "episodes": [\n  {episodes}\n ]\n}}\n'
        if len(text.encode()) > LARGEST:
            raise InputError(
                f"would be larger than {LARGEST / 1e6:g} MB", where=str(path), fix="shorten it"
            )
        with new_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _check_complete(self, definition: Definition, where: str) -> None:
        points = [point for setting in self.settings for point in setting.points]
        if sorted(points) != sorted(definition.points):
            raise InputError(
                "its settings do not cover every drop cost and parked weight once",
                where=where,
                fix="make it with `flexnfv suite run`",
            )
        for part in self.parts:
            wanted = {
                (setting, part, item.trace, seed)
                for setting in range(len(self.settings))
                for item in definition.of_part(part)
                for seed in definition.seeds
            }
            if {one.key for one in self.episodes if one.part == part} != wanted:
                raise InputError(
                    f"part {part!r} is not whole",
                    where=where,
                    fix="make it with `flexnfv suite run`",
                )


def check_line(what: str, text: str, kind: Any, words: str) -> None:
    """Refuse a text that the tables cannot hold.

    Args:
        what: the option, for the message.
        text: to check.
        kind: `Name` or `Line`.
        words: what would be right.

    Raises:
        InputError: it is of another form.
    """
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise InputError(f"is {text!r}", where=what, fix=f"give {words}") from None


def label(point: Point) -> str:
    """A point as a key of the file."""
    return f"{point[0]:g}/{point[1]:g}"
