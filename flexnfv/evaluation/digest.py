"""What the policies of a batch decided, as one digest for each row's episode."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from flexnfv.decision import Decision

IntArray = npt.NDArray[np.int64]

_KEPT: Final = 256
"""Intervals whose decisions are kept until they are digested: a digest of little data is slow."""


class Digests:
    """SHA-256 of every row's decisions, all fields as little-endian int64 in order of interval.

    Args:
        rows: of the batch.
    """

    def __init__(self, rows: int) -> None:
        self._digests = [hashlib.sha256() for _ in range(rows)]
        self._kept: list[IntArray] = []
        self._count = np.zeros(rows, np.int64)

    def add(self, decision: Decision, alive: IntArray) -> None:
        """Add one interval's decisions, [B, T], of the rows whose episodes go on, [n]."""
        self._kept.append(decision.array())
        self._count[alive] += 1
        if len(self._kept) == _KEPT:
            self._digest()

    def hex(self) -> list[str]:
        """The digests, [B], in hexadecimal."""
        self._digest()
        return [digest.hexdigest() for digest in self._digests]

    def _digest(self) -> None:
        if not self._kept:
            return
        # [B, intervals, fields, T]: the bytes of a row lie in one piece.
        kept = np.ascontiguousarray(np.stack(self._kept).transpose(2, 0, 1, 3).astype("<i8"))
        for digest, row, count in zip(self._digests, kept, self._count.tolist(), strict=True):
            # An episode that has ended does not begin anew: its rows come first.
            digest.update(row[:count].tobytes())
        self._kept.clear()
        self._count[:] = 0
