"""Finding things by name, with the nearest name when there is none such."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flexnfv.errors import InputError


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
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    fix = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(choices) or 'none'}"
    raise InputError(f"unknown {kind} {name!r}", where=where, fix=fix)
