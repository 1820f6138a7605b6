"""Comparing records."""

from __future__ import annotations

import numpy as np

from flexnfv.evaluation.records import Episode
from flexnfv.records import COLUMNS


def same_records(one: Episode, other: Episode) -> bool:
    """Whether two episodes agree in every column but the decision time."""
    return all(
        np.array_equal(
            (one.types if column.per_type else one.chain)[column.name],
            (other.types if column.per_type else other.chain)[column.name],
        )
        for column in COLUMNS
        if column.name != "decision_s"
    )
