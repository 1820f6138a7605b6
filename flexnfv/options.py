"""Options of backends as the command line gives them: `--scale 1/20`, `--options KEY=VALUE`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from flexnfv.backend import parse_scale
from flexnfv.errors import InputError

_FRACTION = re.compile(r"[0-9.]+/[0-9.]+")


def backend_options(scale: str | None, pairs: Sequence[str] = ()) -> dict[str, Any]:
    """Keyword arguments for a backend.

    Args:
        scale: as `parse_scale` takes it; None if not given.
        pairs: of the form KEY=VALUE. Values are numbers, fractions, true, false, none, Python's
            literals, or else text.

    Raises:
        InputError: a pair without a value, a key given twice, or a scale that is none.
    """
    found: dict[str, Any] = {} if scale is None else {"scale": parse_scale(scale, where="--scale")}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise InputError(f"{pair!r} has no value", where="--options", fix="write KEY=VALUE")
        if key in found:
            raise InputError(f"{key!r} is given twice", where="--options", fix="drop one")
        found[key] = parse_scale(text, where="--options scale") if key == "scale" else _value(text)
    return found


def _value(text: str) -> Any:
    if _FRACTION.fullmatch(text):
        above, _, below = text.partition("/")
        try:
            return float(above) / float(below)
        except (ValueError, ZeroDivisionError):
            return text
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text
