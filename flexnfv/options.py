"""Options of backends as the command line gives them: `--scale 1/20`, `--options KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flexnfv.backend import parse_scale
from flexnfv.errors import InputError
from flexnfv.spec import parse_pairs, plain


def backend_options(scale: str | None, pairs: Sequence[str] = ()) -> dict[str, Any]:
    """Keyword arguments for a backend.

    Args:
        scale: as `parse_scale` takes it; None if not given.
        pairs: of the form KEY=VALUE. Values are what `flexnfv.spec.plain` takes them for: numbers,
            fractions, true, false, none, Python's literals, or else text.

    Raises:
        InputError: a pair without a value, a key given twice, or a scale that is none.
    """
    found: dict[str, Any] = {} if scale is None else {"scale": parse_scale(scale, where="--scale")}
    for pair in pairs:
        for key, text in parse_pairs(pair, "", where="--options").items():
            if key in found:
                raise InputError(f"{key!r} is given twice", where="--options", fix="drop one")
            found[key] = (
                parse_scale(text, where="--options scale") if key == "scale" else plain(text)
            )
    return found
