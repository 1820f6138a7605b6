"""Parameters of policies that may be one number, or an array with a number for each row of a batch.

A policy lists in `vectorised` which of its parameters may be arrays over the batch that it decides
for; many settings of it are then decided for at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def check(
    name: str, value: npt.ArrayLike, right: Callable[[Any], npt.ArrayLike], wanted: str
) -> None:
    """See to it that a parameter is right, in every row if it is an array [B].

    Args:
        name: of the parameter.
        value: a number, or one for each row, [B].
        right: whether a number is, or for an array whether each of them is.
        wanted: what it must be, for the message.

    Raises:
        ValueError: it is not, or an array has no or more than one dimension.
    """
    values = np.asarray(value)
    if values.ndim > 1 or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}, it must be one number, or one for each")
    wrong = ~np.atleast_1d(np.asarray(right(values), np.bool_))
    if wrong.any():
        raise ValueError(f"{name} is {np.atleast_1d(values)[wrong][0]}, it must {wanted}")


def whole_from_one(value: Any) -> npt.NDArray[np.bool_]:
    """Whether numbers are whole and 1 or more."""
    return np.asarray((value >= 1) & (value == np.floor(value)))


def per_type(value: npt.ArrayLike) -> npt.NDArray[Any]:
    """A parameter that broadcasts against [..., T]: a number as it is, an array [B] as [B, 1]."""
    values = np.asarray(value)
    return values if values.ndim == 0 else values[:, None]
