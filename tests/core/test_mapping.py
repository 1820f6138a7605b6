"""The three mappings, each against an independent account of what it should do."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.flows import FlowSet
from flexnfv.mapping import (
    ALGORITHM1,
    BUCKETS,
    EVEN,
    NO_INSTANCE,
    RENDEZVOUS,
    algorithm1_row,
    bucket_weights,
    empty_table,
    imbalance,
    instances_of,
    load_if_blocked,
    modulus_weights,
    shares,
    update_table,
)
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, RUNNING, STOPPED

STATES = st.sampled_from([STOPPED, LAUNCHING, RUNNING, RUNNING, DRAINING, BLOCKED])
ROWS = st.lists(STATES, min_size=1, max_size=8)
FLOWS = FlowSet(count=300, zipf=0.8, seed=4)
TABLED = [RENDEZVOUS, EVEN]


def as_states(row: list[int]) -> npt.NDArray[np.int8]:
    return np.array(row, dtype=np.int8)


def to_the_letter(flow_hash: int, row: list[int]) -> int:
    """Algorithm 1 as the paper writes it, with `id++` confined to the type's own row."""
    existing = [i for i, state in enumerate(row) if state in (RUNNING, DRAINING, BLOCKED)]
    if not existing:
        return NO_INSTANCE
    index = flow_hash % len(existing)
    for _ in range(len(existing)):
        if row[existing[index]] == RUNNING:
            return existing[index]
        index += 1
        if index == len(existing):
            index = 0
    return NO_INSTANCE


@given(ROWS, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_algorithm_1_to_the_letter(row: list[int], hashes: list[int]) -> None:
    given = instances_of(
        ALGORITHM1, as_states(row), empty_table(), np.array(hashes, dtype=np.uint32)
    )
    assert given.tolist() == [to_the_letter(one, row) for one in hashes]


@given(ROWS)
def test_the_resolved_row_answers_for_every_index(row: list[int]) -> None:
    resolved = np.zeros(len(row), dtype=np.int64)
    count = algorithm1_row(as_states(row), resolved)
    assert count == sum(state in (RUNNING, DRAINING, BLOCKED) for state in row)
    assert resolved[:count].tolist() == [to_the_letter(index, row) for index in range(count)]


def test_a_launching_instance_is_no_entry_of_the_row() -> None:
    row = [RUNNING, LAUNCHING, RUNNING]
    assert [to_the_letter(h, row) for h in range(4)] == [0, 2, 0, 2]
    hashes = np.arange(4, dtype=np.uint32)
    assert instances_of(ALGORITHM1, as_states(row), empty_table(), hashes).tolist() == [0, 2, 0, 2]


@pytest.mark.parametrize("kind", TABLED)
@settings(deadline=None, max_examples=40)
@given(rows=st.lists(ROWS.filter(lambda row: len(row) > 1), min_size=1, max_size=4))
def test_a_table_sends_every_bucket_to_a_running_instance_or_nowhere(
    kind: int, rows: list[list[int]]
) -> None:
    width = max(map(len, rows))
    table = empty_table()
    for row in rows:
        row = row + [STOPPED] * (width - len(row))
        before = table.copy()
        moved = update_table(kind, as_states(row), table)
        assert moved == (before != table).sum()
        running = [slot for slot, state in enumerate(row) if state == RUNNING]
        assert set(table.tolist()) <= set(running or [NO_INSTANCE])
        assert update_table(kind, as_states(row), table) == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=2, max_size=10), st.data())
def test_under_rendezvous_flows_move_to_the_newcomer_only_and_back(
    runs: list[bool], data: st.DataObject
) -> None:
    newcomer = data.draw(st.integers(0, len(runs) - 1))
    runs[newcomer] = False
    if not any(runs):
        return
    states = as_states([RUNNING if one else BLOCKED for one in runs])
    table = empty_table()
    update_table(RENDEZVOUS, states, table)
    before = table.copy()
    states[newcomer] = RUNNING
    update_table(RENDEZVOUS, states, table)
    assert (table[table != before] == newcomer).all()
    assert (table == newcomer).any()
    states[newcomer] = BLOCKED
    update_table(RENDEZVOUS, states, table)
    assert (table == before).all()


def test_rendezvous_depends_on_who_runs_and_on_nothing_before() -> None:
    states = as_states([RUNNING, BLOCKED, RUNNING, RUNNING])
    direct, by_way = empty_table(), empty_table()
    update_table(RENDEZVOUS, states, direct)
    for first in ([RUNNING] * 4, [BLOCKED, RUNNING, BLOCKED, BLOCKED], list(states)):
        update_table(RENDEZVOUS, as_states(first), by_way)
    assert (direct == by_way).all()


def test_rendezvous_spreads_buckets_as_random_weights_would() -> None:
    table = empty_table()
    update_table(RENDEZVOUS, as_states([RUNNING] * 8), table)
    counts = np.bincount(table, minlength=8)
    assert (np.abs(counts - 64) < 4 * np.sqrt(64)).all()


def fewest_moves(before: npt.NDArray[np.int16], running: list[int]) -> int:
    """By trying every choice of who gets one bucket more."""
    held = [int((before == slot).sum()) for slot in running]
    base, odd = divmod(BUCKETS, len(running))
    kept = max(
        sum(min(count, base + (index in larger)) for index, count in enumerate(held))
        for larger in itertools.combinations(range(len(running)), odd)
    )
    return BUCKETS - kept


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7).filter(any), max_size=6))
def test_an_even_spread_differs_by_one_at_most_and_moves_the_fewest(
    changes: list[list[bool]],
) -> None:
    table = empty_table()
    for runs in changes:
        running = [slot for slot, one in enumerate(runs) if one]
        before = table.copy()
        moved = update_table(EVEN, as_states([RUNNING if r else BLOCKED for r in runs]), table)
        counts = [int((table == slot).sum()) for slot in running]
        assert sum(counts) == BUCKETS
        assert max(counts) - min(counts) <= 1
        assert moved == fewest_moves(before, running)


def test_algorithm_1_keeps_no_table() -> None:
    table = empty_table()
    assert update_table(ALGORITHM1, as_states([RUNNING]), table) == 0
    assert (table == NO_INSTANCE).all()


@pytest.mark.parametrize("kind", [ALGORITHM1, RENDEZVOUS, EVEN])
@settings(deadline=None, max_examples=50)
@given(row=ROWS)
def test_shares_are_the_popularity_of_the_flows_that_go_there(kind: int, row: list[int]) -> None:
    states, slots = as_states(row), len(row)
    table = empty_table()
    update_table(kind, states, table)
    share = np.empty(slots)
    unmapped = shares(
        kind,
        states,
        table,
        bucket_weights(FLOWS.hashes, FLOWS.weights),
        modulus_weights(FLOWS.hashes, FLOWS.weights, slots),
        np.empty(slots, dtype=np.int64),
        share,
    )
    chosen = instances_of(kind, states, table, FLOWS.hashes)
    expected = [FLOWS.weights[chosen == slot].sum() for slot in range(slots)]
    np.testing.assert_allclose(share, expected, atol=1e-12)
    assert share.sum() + unmapped == pytest.approx(1.0)
    assert unmapped == (RUNNING not in row)


@pytest.mark.parametrize("kind", [ALGORITHM1, RENDEZVOUS, EVEN])
@given(row=ROWS, data=st.data())
def test_load_if_blocked_is_the_highest_load_left(
    kind: int, row: list[int], data: st.DataObject
) -> None:
    load = np.array(data.draw(st.lists(st.floats(0, 2), min_size=len(row), max_size=len(row))))
    prediction = np.empty(len(row))
    load_if_blocked(kind, as_states(row), load, prediction)
    running = [slot for slot, state in enumerate(row) if state == RUNNING]
    for slot in range(len(row)):
        others = [other for other in running if other != slot]
        if slot not in running or not others:
            assert prediction[slot] == np.inf
            continue
        after = {other: load[other] for other in others}
        if kind == ALGORITHM1:
            following = [other for other in others if other > slot] or others
            after[following[0]] += load[slot]
        else:
            for other in others:
                after[other] += load[slot] / len(others)
        assert prediction[slot] == pytest.approx(max(after.values()))


def test_the_successor_is_who_really_takes_the_blocked_ones_flows() -> None:
    """The prediction under Algorithm 1 against the mapping itself."""
    hashes = FLOWS.hashes
    states = as_states([RUNNING, BLOCKED, RUNNING, RUNNING, BLOCKED])
    load = np.bincount(
        instances_of(ALGORITHM1, states, empty_table(), hashes), FLOWS.weights, minlength=5
    )
    prediction = np.empty(5)
    load_if_blocked(ALGORITHM1, states, load, prediction)
    for slot in (0, 2, 3):
        after = states.copy()
        after[slot] = BLOCKED
        chosen = instances_of(ALGORITHM1, after, empty_table(), hashes)
        assert prediction[slot] == pytest.approx(np.bincount(chosen, FLOWS.weights).max())


def test_modulus_weights_fill_the_indices_below_j() -> None:
    weights = modulus_weights(FLOWS.hashes, FLOWS.weights, 6)
    assert weights.shape == (7, 6)
    for j in range(1, 7):
        assert weights[j, :j].sum() == pytest.approx(1.0)
        assert (weights[j, j:] == 0).all()
    assert (weights[0] == 0).all()


def test_imbalance_is_one_for_equal_shares_and_ignores_who_has_none() -> None:
    assert imbalance(np.array([0.5, 0.0, 0.5])) == 1.0
    assert imbalance(np.array([0.75, 0.25])) == 1.5
    assert np.isnan(imbalance(np.zeros(3)))
