"""A decision: targets and levers, described in one place."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.decision import FIELDS, KEEP, LEVERS, Decision, check_decision
from flexnfv.mapping import MappingKind

TARGETS = np.array([1, 2, 3])


def test_targets_come_first_and_every_field_is_described() -> None:
    assert ("targets", *LEVERS) == FIELDS
    assert {"mapping", "spares"} <= set(LEVERS)
    for name, note in Decision.describe().items():
        assert {"dtype", "dims", "unit", "doc", "lowest", "highest"} <= set(note), name
        assert note["doc"]


def test_a_plain_array_counts_as_targets_that_leave_the_levers_alone() -> None:
    made = check_decision([1, 2, 3], (3,))
    assert made.targets.tolist() == [1, 2, 3]
    assert all(getattr(made, name) is None for name in LEVERS)
    assert all((value == KEEP).all() for name, value in made.items() if name in LEVERS)


def test_a_row_of_a_batch_is_a_decision() -> None:
    batch = Decision(np.array([[1, 2], [3, 4]]), spares=np.array([[0, 1], [2, 3]]))
    row = batch[1]
    assert (row.targets.tolist(), row.mapping, row.spares.tolist()) == ([3, 4], None, [2, 3])
    assert batch[0][None].targets.shape == (1, 2)


@pytest.mark.parametrize(
    ("levers", "line"),
    [
        ({"mapping": [0, 0]}, "mapping have shape"),
        ({"mapping": [0, 0, max(MappingKind) + 1]}, "mapping must lie between -1 and"),
        ({"mapping": [0, 0, -2]}, "mapping must lie between -1 and"),
        ({"spares": [0, 0.5, 0]}, "spares must be whole numbers"),
        ({"spares": [0, -2, 0]}, "spares must lie between -1 and 1e9"),
        ({"spares": ["a", "b", "c"]}, "spares have dtype"),
    ],
)
def test_a_lever_that_makes_no_sense_is_named(levers: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        check_decision(Decision(TARGETS, **levers), (3,))


def test_what_is_checked_is_whole_numbers_of_its_own() -> None:
    given = Decision(TARGETS.astype(float), spares=np.zeros(3, np.int8))
    made = check_decision(given, (3,))
    assert made.targets.dtype == made.spares.dtype == np.int64
    given.targets[:] = 9
    assert made.targets.tolist() == [1, 2, 3]
