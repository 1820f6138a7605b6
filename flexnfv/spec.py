"""Specs: what users type for a policy, a trace or a backend's options, through one parser.

A spec is a head and, behind a mark, pairs of a key and a value:

=====================  ======================================  =================================
what                   form                                    head
=====================  ======================================  =================================
a policy               `NAME:key=value,key=value`              a registered policy
a bundle               `PATH:key=value,key=value`              a file that exists or ends in
                                                               `.onnx`; it is short for
                                                               `learned:bundle=PATH,key=value`
a pretrained bundle    `pretrained/NAME:key=value,key=value`   `pretrained/` and the name of one
                                                               that FlexNFV ships
a trace                `NAME?key=value&key=value`              a path or a name (`load_trace`)
options of a backend   `key=value`, any number of times        none
=====================  ======================================  =================================

Where the head ends: at the first mark, unless more of the text is a path. The longest part before
a mark that names a file is the head, so that `runs/12:30,a=b/best.onnx:drop_cost=500` is read as it
is meant. A head or a value in quotes, single or double, may hold anything but that quote:
`'/data/why?.csv'?peak=2e7`, `learned:bundle='a,b.onnx',drop_cost=500`.

A value is text until it is known what takes it: `arguments` converts it to the type that the
signature or the model states, by pydantic; `plain` guesses where nothing is stated.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from urllib.parse import unquote

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from flexnfv.errors import InputError
from flexnfv.suggest import known

BUNDLE_SUFFIX: Final = ".onnx"
PRETRAINED: Final = "pretrained/"
"""How the name of a bundle that FlexNFV ships begins."""
_SHIPPED: Final = Path(__file__).with_name("policies") / "pretrained"
LEARNED: Final = "learned"
"""The registered policy that runs a bundle."""

Whole = Annotated[int, Field(ge=0, description="a whole number that is not negative")]
"""An annotation for seeds and counts; the description is what a wrong value is answered with."""

_QUOTED = r"'([^']*)'|\"([^\"]*)\""
_HEAD = re.compile(_QUOTED)
_NAME = re.compile(r"[\w-]*")
_FRACTION = re.compile(r"([0-9.]+)/([0-9.]+)")
_WORDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


@dataclass(frozen=True)
class Spec:
    """A spec in its parts.

    Attributes:
        text: as it was typed.
        head: a name or a path.
        pairs: values by key, in the order they were typed, as text.
    """

    text: str
    head: str
    pairs: Mapping[str, str]


def policy_spec(text: str) -> Spec:
    """The parts of a policy's spec; one that names a bundle has the head `learned`.

    Raises:
        InputError: a key without a value, or twice; an unknown pretrained bundle.
    """
    quoted, head, tail = _split(text, ":")
    pairs = parse_pairs(tail, ",", where=repr(text))
    if not (quoted or _is_bundle(head)):
        if head == LEARNED and "bundle" in pairs:
            pairs["bundle"] = located(pairs["bundle"])
        return Spec(text, head, pairs)
    if "bundle" in pairs:
        raise InputError(
            "names two bundles", where=repr(text), fix="give the path once, as PATH:key=value"
        )
    return Spec(text, LEARNED, {"bundle": located(head), **pairs})


def with_pairs(text: str, changes: Mapping[str, str | None]) -> str:
    """A policy's spec with other parameters; None takes one out.

    Raises:
        InputError: see `policy_spec`.
    """
    tail = _split(text, ":")[2]
    pairs: dict[str, str | None] = {**parse_pairs(tail, ",", where=text), **changes}
    written = ",".join(
        f"{key}={_quote(value)}" for key, value in pairs.items() if value is not None
    )
    front = text[: len(text) - len(tail)].removesuffix(":")
    return f"{front}:{written}" if written else front


def _quote(value: str) -> str:
    return value if "," not in value else f"'{value}'" if "'" not in value else f'"{value}"'


def trace_spec(text: str) -> Spec:
    """The parts of a trace's spec; its values may be percent-encoded, as in a URL.

    Raises:
        InputError: a key without a value, or twice.
    """
    _, head, tail = _split(text, "?")
    pairs = parse_pairs(tail, "&", where=text)
    return Spec(text, head, {key: unquote(value) for key, value in pairs.items()})


def is_bundle(text: str) -> bool:
    """Whether a policy's spec names a bundle (however wrong the rest of it is)."""
    quoted, head, _ = _split(text, ":")
    return quoted or head == LEARNED or _is_bundle(head)


def bundle_of(text: str) -> Path | None:
    """The path of the bundle that a policy's spec names; None if it names none.

    Raises:
        InputError: see `policy_spec`.
    """
    spec = policy_spec(text)
    named = spec.pairs.get("bundle") if spec.head == LEARNED else None
    return None if named is None else Path(named)


def pretrained() -> dict[str, Path]:
    """The bundles that FlexNFV ships: their paths by name, such as `pretrained/any-chain`."""
    found = sorted(_SHIPPED.glob(f"*{BUNDLE_SUFFIX}"))
    return {f"{PRETRAINED}{path.stem}": path for path in found}


def located(bundle: str) -> str:
    """The path of the bundle of that name; a path that names none that is shipped stays as it is.

    Raises:
        InputError: an unknown pretrained bundle (the nearest is given).
    """
    if not _is_pretrained(bundle):
        return bundle
    shipped = pretrained()
    return str(shipped[known(bundle, shipped, kind="pretrained bundle")])


def parse_pairs(text: str, mark: str, *, where: str) -> dict[str, str]:
    """`key=value` pairs between marks; a value in quotes may hold the mark.

    Args:
        text: may be empty; empty pairs are passed over.
        mark: one character, or none where the text is one pair.
        where: for the message.

    Raises:
        InputError: a key without a value, or twice.
    """
    rest = f"[^{mark}]*" if mark else ".*"
    end = f"{mark}|$" if mark else "$"
    pair = re.compile(rf"([^={mark}]*)=(?:(?:{_QUOTED})(?={end})|({rest}))", re.DOTALL)
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        if mark and text[at] == mark:
            at += 1
            continue
        found = pair.match(text, at)
        if found is None:
            alone = text[at:].partition(mark)[0] if mark else text[at:]
            raise InputError(
                f"parameter {alone!r} has no value, it is not of the form key=value",
                where=where,
                fix="write key=value",
            )
        key, *values = found.groups()
        if key in pairs:
            raise InputError("a key stands twice", where=where, fix=f"give {key!r} once")
        pairs[key] = next(value for value in values if value is not None)
        at = found.end()
    return pairs


def annotated(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of every parameter of a function or a class, `Any` where there is none."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters
    except NameError:  # An annotation is imported for type checkers only.
        parameters = inspect.signature(target).parameters
    return {
        name: Any
        if isinstance(found.annotation, str) or found.annotation is inspect.Parameter.empty
        else found.annotation
        for name, found in parameters.items()
    }


class UnfitValue(ValueError):
    """Text that is no value of the type asked for.

    Attributes:
        text: the part that does not fit.
        words: what would fit, such as "a whole number".
    """

    def __init__(self, text: str, words: str) -> None:
        self.text, self.words = text, words
        super().__init__(f"{text!r} is not {words}")


def convert(text: str, kind: Any) -> Any:
    """The value of type `kind` that a text stands for.

    Sequences are written with commas; numbers may be fractions such as 1/20.

    Raises:
        UnfitValue: the text stands for none.
    """
    adapter = _adapter(kind)
    if adapter is None:
        return plain(text)
    guess = plain(text)
    candidates: list[Any] = [text] if isinstance(guess, bool) else [text, guess]
    if _is_sequence(kind):
        candidates = [text.split(",")]
    refused: list[ValidationError] = []
    for candidate in candidates:
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            refused.append(error)
    part = refused[0].errors()[0]["input"]
    raise UnfitValue(part if isinstance(part, str) else text, words_for(kind))


def plain(text: str) -> Any:
    """The value that a text looks like where no type is stated.

    Numbers, fractions, true, false and none in any case, Python's literals, or else the text.
    """
    fraction = _FRACTION.fullmatch(text)
    word = text.capitalize() if text.lower() in ("true", "false", "none") else text
    try:
        return float(fraction[1]) / float(fraction[2]) if fraction else ast.literal_eval(word)
    except (ValueError, SyntaxError, ZeroDivisionError):
        pass
    try:
        return float(text)  # `nan` and `inf` are no literals.
    except ValueError:
        return text


def words_for(kind: Any) -> str:
    """What a value of type `kind` is called in a message."""
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        told = next((note.description for note in notes if getattr(note, "description", "")), None)
        return told or words_for(base)
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return " or ".join(dict.fromkeys(words_for(part) for part in parts))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if _is_sequence(kind):
        return " and ".join(dict.fromkeys(words_for(part) for part in _members(kind)))
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _members(kind: Any) -> tuple[Any, ...]:
    return tuple(part for part in get_args(kind) if part is not Ellipsis) or (Any,)


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


@cache
def _adapter(kind: Any) -> TypeAdapter[Any] | None:
    """What converts to `kind`; None where pydantic cannot tell how."""
    if kind is Any:
        return None
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        pass  # A pydantic model brings its own configuration.
    except PydanticSchemaGenerationError:
        return None
    return TypeAdapter(kind)


def _split(text: str, mark: str) -> tuple[bool, str, str]:
    """Whether the head was quoted, the head, and what stands behind its mark."""
    quoted = _HEAD.match(text)
    if quoted and text[quoted.end() :][:1] in ("", mark):
        return True, quoted[1] or quoted[2] or "", text[quoted.end() + 1 :]
    ends = [*(found.start() for found in re.finditer(re.escape(mark), text)), len(text)]
    parts = [text[:end] for end in ends]
    head = next(filter(_is_file, reversed(parts)), parts[0])
    if mark == ":" and not _is_file(head) and not _NAME.fullmatch(head):
        # The message about a missing bundle must name its whole path.
        head = next((part for part in parts if part.endswith(BUNDLE_SUFFIX)), head)
    return False, head, text[len(head) + 1 :]


def _is_bundle(head: str) -> bool:
    return head.endswith(BUNDLE_SUFFIX) or _is_file(head) or _is_pretrained(head)


def _is_pretrained(text: str) -> bool:
    return text.startswith(PRETRAINED) and not text.endswith(BUNDLE_SUFFIX) and not _is_file(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # The text is too long for a name, or holds a null byte.
        return False
