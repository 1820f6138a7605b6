"""The compiled kernel and the plain one are the same function, and neither loses a packet."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flexnfv.decision import KEEP, Decision
from flexnfv.model import BatchModel
from flexnfv.model.arrays import new_scratch
from flexnfv.model.kernel import advance
from flexnfv.reading import Reading
from tests.model.chains import random_chain

INTERVALS = 12


def _targets(rng: np.random.Generator, batch: int, types: int) -> np.ndarray:
    return rng.integers(0, 7, (batch, types))


def _decision(rng: np.random.Generator, batch: int, types: int, *, levers: bool) -> Decision:
    targets = _targets(rng, batch, types)
    if not levers:
        return Decision(targets)
    mapping, spares = (rng.integers(KEEP, 3, targets.shape) for _ in range(2))
    return Decision(targets, mapping=mapping, spares=spares)


def _models(case: int, batch: int, plain: bool) -> BatchModel:
    chain = random_chain(np.random.default_rng(case))
    return BatchModel(
        chain,
        batch,
        substeps=4,
        count_flows=case % 4 < 2,
        death_rate_per_s=0.15 if case % 3 == 0 else 0.0,
        plain=plain,
    )


@pytest.mark.parametrize("case", range(24))
def test_compiled_and_plain_runs_agree_to_the_bit(case: int) -> None:
    compiled, plain = _models(case, 2, False), _models(case, 2, True)
    rng = np.random.default_rng(case)
    rates = rng.uniform(0, 4000, (2, INTERVALS * 2))
    readings = [
        model.reset_envs([0, 1], rates, [case, case + 1], rates_per_interval=2)
        for model in (compiled, plain)
    ]
    for _ in range(INTERVALS):
        for (name, one), (_, other) in zip(readings[0].items(), readings[1].items(), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        if compiled.remaining[0] == 0:
            break
        decision = _decision(rng, 2, compiled.chain.types, levers=case % 2 == 1)
        if rng.random() < 0.3:
            slot = int(np.flatnonzero(readings[0].state[0, 0])[0])
            compiled.kill(0, 0, slot)
            plain.kill(0, 0, slot)
        readings = [model.step(decision) for model in (compiled, plain)]


@pytest.mark.parametrize("case", range(60))
def test_every_packet_is_delivered_dropped_or_queued(case: int) -> None:
    model = _models(case, 5, False)
    interval_s = model.chain.interval_s
    rng = np.random.default_rng(case)
    reading = model.reset_envs(np.arange(5), rng.uniform(0, 4000, (5, INTERVALS)), np.arange(5))
    offered, gone = np.zeros(5), np.zeros(5)
    previous = np.zeros_like(reading.queue)
    while True:
        offered += reading.offered_pps * interval_s
        gone += (reading.delivered_pps + reading.dropped_pps) * interval_s
        queued = reading.queue.sum(axis=(1, 2)) + model.in_transit
        np.testing.assert_allclose(gone + queued, offered, rtol=1e-9)
        lost = reading.type_dropped_pps.sum(axis=1) + reading.shed_pps
        np.testing.assert_allclose(reading.dropped_pps, lost, rtol=1e-9, atol=1e-9)
        # and at every single ring
        balance = (reading.arrived_pps - reading.served_pps - reading.ring_dropped_pps) * interval_s
        np.testing.assert_allclose(balance, reading.queue - previous, rtol=1e-9, atol=1e-6)
        assert (reading.queue <= model.chain.ring_slots[:, None]).all()
        previous = reading.queue.copy()
        if model.remaining[0] == 0:
            break
        if rng.random() < 0.2:
            model.kill(1, 0, int(np.flatnonzero(reading.state[1, 0])[0]))
        reading = model.step(_targets(rng, 5, model.chain.types))


def test_environments_do_not_depend_on_their_neighbours() -> None:
    rng = np.random.default_rng(5)
    chain = random_chain(rng, core_budget=40)
    rates = rng.uniform(0, 4000, (3, 8))
    targets = rng.integers(1, 6, (8, 3, chain.types))
    together, alone = BatchModel(chain, 3), BatchModel(chain, 1)
    together.reset_envs([0, 1, 2], rates, [7, 8, 9])
    alone.reset_envs([0], rates[2:], [9])
    for k in range(7):
        together.step(targets[k, [1, 0]], envs=[1, 0])
        one = together.step(targets[k, 2:], envs=[2])
        other = alone.step(targets[k, 2:])
        for (name, a), (_, b) in zip(one.items(), other.items(), strict=True):
            np.testing.assert_array_equal(a[2], b[0], err_msg=name)


def _same(one: Reading, row: int, other: Reading, other_row: int) -> None:
    for (name, a), (_, b) in zip(one.items(), other.items(), strict=True):
        np.testing.assert_array_equal(a[row], b[other_row], err_msg=name)


def test_traces_of_any_grain_and_length_share_a_batch() -> None:
    rng = np.random.default_rng(11)
    chain = random_chain(rng, core_budget=40)
    per_interval, intervals = [1, 10, 5, 1], [7, 4, 6, 5]
    lengths = [a * b for a, b in zip(per_interval, intervals, strict=True)]
    rates = rng.uniform(0, 4000, (4, 40))
    together = BatchModel(chain, 4)
    one = together.reset_envs(
        np.arange(4), rates, [1, 2, 3, 4], rates_per_interval=per_interval, lengths=lengths
    )
    assert together.remaining.tolist() == [6, 3, 5, 4]
    alone = [BatchModel(chain, 1) for _ in range(4)]
    others = [
        model.reset_envs([0], rates[k : k + 1, : lengths[k]], [k + 1], rates_per_interval=grain)
        for k, (model, grain) in enumerate(zip(alone, per_interval, strict=True))
    ]
    while together.remaining.any():
        left = np.flatnonzero(together.remaining)
        targets = rng.integers(1, 6, (4, chain.types))
        one = together.step(targets[left], left)
        for k in left:
            others[k] = alone[k].step(targets[k : k + 1])
            _same(one, k, others[k], 0)
    with pytest.raises(ValueError, match="reset it first"):
        together.step(np.ones((4, chain.types), np.int64))


def test_many_environments_share_one_copy_of_a_trace() -> None:
    rng = np.random.default_rng(12)
    chain = random_chain(rng, core_budget=40)
    traces, series = rng.uniform(0, 4000, (2, 6)), np.array([1, 0, 1, 1, 0])
    sharing, copying = BatchModel(chain, 5), BatchModel(chain, 5)
    one = sharing.reset_envs(np.arange(5), traces, np.arange(5), series=series)
    other = copying.reset_envs(np.arange(5), traces[series], np.arange(5))
    for _ in range(5):
        for k in range(5):
            _same(one, k, other, k)
        targets = rng.integers(0, 7, (5, chain.types))
        one, other = sharing.step(targets), copying.step(targets)
    for wrong in ({"series": [0, 1, 2, 0, 0]}, {"series": [0, 1]}):
        with pytest.raises(ValueError, match="series"):
            sharing.reset_envs(np.arange(5), traces, **wrong)
    with pytest.raises(ValueError, match="reset of all"):
        sharing.reset_envs([0], traces[:1])
    with pytest.raises(ValueError, match="reset of all"):
        sharing.reset_envs([0], traces, series=[1])
    one = sharing.reset_envs(np.arange(5), traces[series], np.arange(5))
    other = copying.reset_envs(np.arange(5), traces, np.arange(5), series=series)
    _same(one, 2, other, 2)


def test_workers_share_a_batch() -> None:
    rng = np.random.default_rng(13)
    chain = random_chain(rng, core_budget=40)
    models = [BatchModel(chain, 5, plain=True) for _ in range(2)]
    rates = rng.uniform(0, 4000, (5, 4))
    for model in models:
        model.reset_envs(np.arange(5), rates, np.arange(5))
    targets = rng.integers(0, 7, (5, chain.types))
    one = models[0].step(targets)
    tables = new_scratch(chain, 2), np.arange(5), targets, *[np.full_like(targets, KEEP)] * 2, True
    with np.errstate(over="ignore"):
        for worker in (1, 0):
            fixed = models[1]._constants, models[1]._state, models[1]._outputs
            assert advance(*fixed, *tables, worker, 2)
    for k in range(5):
        _same(one, k, models[1].reading, k)


def test_a_reset_forgets_everything_before_it() -> None:
    rng = np.random.default_rng(8)
    chain = random_chain(rng, core_budget=40)
    rates = rng.uniform(0, 4000, (2, 6))
    model, fresh = BatchModel(chain, 2), BatchModel(chain, 2)
    model.reset_envs([0, 1], rates[::-1], [3, 4])
    for _ in range(5):
        model.step(rng.integers(0, 7, (2, chain.types)))
    readings = [one.reset_envs([0, 1], rates, [1, 2]) for one in (model, fresh)]
    for _ in range(5):
        for (name, a), (_, b) in zip(readings[0].items(), readings[1].items(), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        targets = rng.integers(0, 7, (2, chain.types))
        readings = [one.step(targets) for one in (model, fresh)]


def test_a_pickled_model_continues_where_it_was() -> None:
    rng = np.random.default_rng(2)
    chain = random_chain(rng)
    model = BatchModel(chain, 2)
    model.reset_envs([0, 1], rng.uniform(0, 4000, (2, 6)), [1, 2])
    model.step(np.full((2, chain.types), 2))
    twin = pickle.loads(pickle.dumps(model))
    for _ in range(4):
        targets = rng.integers(0, 7, (2, chain.types))
        for (name, a), (_, b) in zip(
            model.step(targets).items(), twin.step(targets).items(), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_wrong_calls_are_refused() -> None:
    chain = random_chain(np.random.default_rng(1))
    model = BatchModel(chain, 2)
    with pytest.raises(ValueError, match="reset it first"):
        model.step(np.ones((2, chain.types), np.int64))
    with pytest.raises(ValueError, match="finite"):
        model.reset_envs([0, 1], np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="expected"):
        model.reset_envs([0, 1], np.ones((3, 3)))
    with pytest.raises(ValueError, match="do not divide"):
        model.reset_envs([0, 1], np.ones((2, 6)), rates_per_interval=3)
    model.reset_envs([True, True], np.ones((2, 3)))
    with pytest.raises(ValueError, match="targets have shape"):
        model.step(np.ones((2, chain.types + 1), np.int64))
