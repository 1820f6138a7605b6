"""What every backend must do with a decision's levers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flexnfv.backend import Backend
from flexnfv.decision import KEEP, Decision
from flexnfv.errors import InputError
from flexnfv.mapping import MappingKind
from tests.conformance.conftest import PATIENCE, Run, steady

Make = Callable[..., Backend]

CALM = 1.5e6
"""Packets/s that one instance of each type carries with ease."""


def decided(run: Run, targets: tuple[int, ...], **levers: tuple[int, ...]) -> None:
    """One step with levers."""
    decision = Decision(np.array(targets), **{name: np.array(v) for name, v in levers.items()})
    run.readings.append(run.backend.step(decision).copy())


def test_spares_keep_so_many_parked_instances_and_give_the_other_cores_back(make: Make) -> None:
    run = Run(make(), steady(CALM, 3 * PATIENCE))
    run.until(lambda r: r.running.tolist() == [4, 1, 1], 4, 1, 1)
    run.until(lambda r: r.blocked.tolist() == [3, 0, 0], 1, 1, 1)
    begun = len(run.readings)
    for _ in range(PATIENCE):
        decided(run, (1, 1, 1), spares=(1, KEEP, 0))
        if run.last.blocked[0] == 1:
            break
    assert run.last.blocked.tolist() == [1, 0, 0]
    assert sum(r.stops for r in run.readings[begun:]).tolist() == [2, 0, 0]
    run.step(1, 1, 1)
    assert run.last.blocked.tolist() == [1, 0, 0]


def test_a_mapping_stays_in_force_until_another_is_decided(make: Make) -> None:
    run = Run(make(), steady(CALM, 10))
    first = run.last.mapping.tolist()
    kinds = (MappingKind.RENDEZVOUS, KEEP, MappingKind.EVEN)
    decided(run, (1, 1, 1), mapping=kinds)
    assert run.last.mapping.tolist() == [kinds[0], first[1], kinds[2]]
    run.step(1, 1, 1)
    assert run.last.mapping.tolist() == [kinds[0], first[1], kinds[2]]


@pytest.mark.parametrize("lever", ["mapping", "spares"])
def test_a_lever_out_of_its_range_is_refused(make: Make, lever: str) -> None:
    run = Run(make(), steady(CALM, 10))
    with pytest.raises(InputError, match=lever):
        decided(run, (1, 1, 1), **{lever: (KEEP - 1, KEEP, KEEP)})
    decided(run, (1, 1, 1), **{lever: (KEEP, KEEP, KEEP)})
