"""The nearest known name to one that was not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flexnfv.errors import InputError


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? ` if a known name is close, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


def known(name: str, names: Iterable[str], *, kind: str, where: str = "") -> str:
    """Return `name` if it is one of `names`.

    Args:
        name: what the user typed.
        names: what there is.
        kind: the word for one of them in the message, such as "policy".
        where: the file, key or command the name was found in.

    Raises:
        InputError: it is not; the message offers the nearest name, or all when none is near.
    """
    choices = sorted(names)
    if name in choices:
        return name
    fix = nearest(name, choices).strip() or f"known: {', '.join(choices) or 'none'}"
    raise InputError(f"unknown {kind} {name!r}", where=where, fix=fix)
