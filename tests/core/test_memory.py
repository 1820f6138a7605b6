"""What is remembered of a link: the same compiled and plain, free of scale, bounded for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv.chain import load_chain
from flexnfv.compiled import compiled
from flexnfv.memory import (
    FLOOR,
    LEVEL,
    LEVELS,
    ORDER,
    QUIET,
    TRAFFIC,
    Levels,
    Memory,
    cell_of,
    describe_levels,
    describe_traffic,
    entry_capacity,
    remember,
    rhythm,
    row_of,
    share_above,
    sums_above,
)

FloatArray = npt.NDArray[np.float64]
FloatRows = npt.NDArray[np.float32]
ACROSS = Levels.between(1e5, 2e7)


def series_of(seed: int, count: int) -> FloatArray:
    """Demand that jumps, falls silent and grows again, packets/s."""
    rng = np.random.default_rng(seed)
    demand = 2e6 * np.exp(np.cumsum(rng.normal(0.0, 0.3, count)) % 3.0)
    demand[rng.random(count) < 0.1] = 0.0
    return np.asarray(demand)


def read_plainly(memory: Memory, demand: FloatArray, levels: Levels) -> None:
    for rate in demand:
        remember(memory, 0, float(rate), levels)


def read_compiled(memory: Memory, demand: FloatArray, levels: Levels) -> None:
    take_in = compiled(remember)
    for rate in demand:
        take_in(memory, 0, float(rate), levels)


def described(
    memory: Memory, levels: Levels, *, plain: bool = False
) -> tuple[FloatRows, FloatRows]:
    """Features of the link and of all levels."""
    of_traffic, of_levels = (
        function if plain else compiled(function)
        for function in (describe_traffic, describe_levels)
    )
    traffic = np.full(len(TRAFFIC), np.nan, np.float32)
    level = np.full((LEVELS, len(LEVEL)), np.nan, np.float32)
    of_traffic(memory, 0, levels, traffic)
    of_levels(memory, 0, np.arange(LEVELS), levels, level)
    return traffic, level


def traffic_feature(memory: Memory, name: str) -> float:
    return float(described(memory, ACROSS)[0][TRAFFIC.index(name)])


def test_the_features_are_those_that_bundles_were_trained_with() -> None:
    """A change of a name, of the order or of a meaning makes every shipped bundle useless."""
    names = " ".join((*TRAFFIC, *LEVEL))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "f6ca489213ef3570"
    assert len(set(TRAFFIC)) == len(TRAFFIC)
    assert len(set(LEVEL)) == len(LEVEL)


def test_compiled_and_plain_remember_the_same() -> None:
    demand = series_of(1, 150)
    one, other = Memory.of(1), Memory.of(1)
    read_compiled(one, demand, ACROSS)
    read_plainly(other, demand, ACROSS)
    for name, fast, slow in zip(Memory._fields, one, other, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-9, err_msg=name)
    for fast, slow in zip(
        described(one, ACROSS), described(other, ACROSS, plain=True), strict=True
    ):
        np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "demand",
    [
        np.zeros(300),
        np.full(300, 3e6),
        np.full(300, 1e12),
        np.full(300, 1e-300),
        np.resize([0.0, 1e12], 300),
        np.resize([1e-9, 1e-9, 1e12], 300),
        np.append(np.zeros(299), 1e12),
        np.append(np.full(299, 1e12), 0.0),
        10.0 ** np.random.default_rng(2).uniform(-12.0, 12.0, 300),
    ],
    ids=["silent", "constant", "huge", "tiny", "on-off", "bursts", "start", "stop", "any"],
)
def test_features_are_finite_and_moderate_whatever_comes(demand: FloatArray) -> None:
    memory = Memory.of(1)
    for rate in demand:
        compiled(remember)(memory, 0, float(rate), ACROSS)
        for features in described(memory, ACROSS):
            assert np.isfinite(features).all()
            assert np.abs(features).max() < 100.0
    for name, array in zip(Memory._fields, memory, strict=True):
        assert np.isfinite(array).all(), name


@pytest.mark.parametrize("factor", [1e3, 1e-2])
def test_a_link_of_another_rate_with_levels_as_much_higher_looks_the_same(factor: float) -> None:
    demand = series_of(3, 600)
    found = []
    for scale in (1.0, factor):
        levels, memory = Levels.between(1e5 * scale, 2e7 * scale), Memory.of(1)
        read_compiled(memory, demand * scale, levels)
        found.append(described(memory, levels))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


def test_levels_are_between_what_a_chain_carries_least_and_most() -> None:
    for name in ("edge", "paper", "single"):
        chain = load_chain(name)
        levels = Levels.of(chain)
        entry = entry_capacity(chain)
        assert levels.rate[0] == pytest.approx((entry * chain.min_instances).min())
        assert levels.rate[-1] == pytest.approx((entry * chain.max_instances).min())
        np.testing.assert_allclose(np.diff(levels.log_rate), np.diff(levels.log_rate)[0])
    assert Levels.between(3.0, 3.0).rate[-1] == pytest.approx(6.0)


def test_a_demand_is_in_the_cell_above_the_levels_that_it_reaches() -> None:
    for j, rate in enumerate(ACROSS.log_rate):
        assert cell_of(float(rate), ACROSS) == j + 1
        assert cell_of(float(rate) - 1e-3, ACROSS) == j
    assert cell_of(100.0, ACROSS) == LEVELS
    rows = [row_of(float(rate), ACROSS) for rate in np.linspace(-20.0, 30.0, 500)]
    assert rows == sorted(rows)
    assert rows[0] == 0
    assert len(set(rows)) == LEVELS + QUIET


def test_running_means_are_plain_means_first_and_forget_later() -> None:
    memory, demand = Memory.of(1), np.exp(np.random.default_rng(4).normal(14.0, 0.5, 2000))
    read_compiled(memory, demand[:8], ACROSS)
    np.testing.assert_allclose(memory.means[0], np.log(demand[:8]).mean())
    np.testing.assert_allclose(memory.changes[0], np.abs(np.diff(np.log(demand[:8]))).sum() / 8.0)
    read_compiled(memory, demand[8:], ACROSS)
    assert memory.total[0] == pytest.approx(demand.sum())
    for i, span in enumerate((8, 32, 128)):
        weights = (1.0 - 1.0 / span) ** np.arange(1999, -1, -1) / span
        assert memory.means[0, i] == pytest.approx((weights * np.log(demand)).sum(), rel=1e-4)


def test_histograms_are_shares_and_tell_how_often_a_change_is_exceeded() -> None:
    rng, memory = np.random.default_rng(5), Memory.of(1)
    steps = rng.choice([-0.5, 0.5], 4000)
    read_compiled(memory, 2e6 * np.exp(np.where(np.arange(4000) % 2 == 0, 0.0, steps)), ACROSS)
    for shares in (memory.change_shares, memory.level_shares, memory.error_shares):
        np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-6)
    place = lambda change: (change + 4.5) / 0.125 + 0.5  # noqa: E731
    sums = sums_above(memory.change_shares[0, 2])
    assert share_above(sums, place(0.3)) == pytest.approx(0.5, abs=0.1)
    assert share_above(sums, place(0.8)) < 0.02
    assert share_above(sums, place(-0.8)) > 0.98


@pytest.mark.parametrize(
    ("position", "share"),
    [(-3.0, 1.0), (0.0, 1.0), (1.5, 0.7), (2.0, 0.5), (3.0, 0.0), (9.0, 0.0)],
)
def test_the_share_above_a_position_is_linear_within_a_bin(position: float, share: float) -> None:
    assert share_above(sums_above(np.array([0.1, 0.4, 0.5])), position) == pytest.approx(share)


@pytest.mark.parametrize("period", [5, 24, 60])
def test_the_rhythm_of_a_periodic_series_is_found(period: int) -> None:
    rng, memory = np.random.default_rng(6), Memory.of(1)
    beat = np.where(np.arange(900) % period < max(period // 4, 1), 8e6, 1e6)
    read_compiled(memory, beat * np.exp(rng.normal(0.0, 0.05, 900)), ACROSS)
    found, strength = rhythm(memory, 0)
    assert found % period == 0
    assert found < 128
    assert strength > 0.7


def test_noise_and_a_constant_have_no_strong_rhythm() -> None:
    rng = np.random.default_rng(7)
    for demand in (2e6 * np.exp(rng.normal(0.0, 0.5, 1500)), np.full(1500, 2e6)):
        memory = Memory.of(1)
        read_compiled(memory, demand, ACROSS)
        assert rhythm(memory, 0)[1] < 0.3


def test_the_autoregression_learns_a_first_order_process() -> None:
    rng, count = np.random.default_rng(8), 6000
    off = np.zeros(count)
    for at in range(1, count):
        off[at] = 0.7 * off[at - 1] + rng.normal(0.0, 0.2)
    memory = Memory.of(1)
    read_compiled(memory, 2e6 * np.exp(off), ACROSS)
    coefficients = memory.coefficients[0]
    assert coefficients[1] == pytest.approx(0.7, abs=0.12)
    assert np.abs(coefficients[2 : ORDER + 1]).max() < 0.2
    assert np.sqrt(memory.error[0]) == pytest.approx(0.2, abs=0.04)
    bias = memory.forecast[0] - np.log(2e6) - 0.7 * off[-1]
    assert abs(bias) < 0.15


@pytest.mark.parametrize(
    "demand",
    [
        np.zeros(20_000),
        np.full(20_000, 3e6),
        np.append(np.zeros(19_990), np.full(10, 1e7)),
        np.resize(np.append(np.zeros(999), 1e7), 20_000),
    ],
    ids=["silent", "constant", "silent-then-busy", "rare bursts"],
)
def test_the_autoregression_stays_bounded_on_links_that_teach_nothing(demand: FloatArray) -> None:
    memory = Memory.of(1)
    sizes = [array.shape for array in memory]
    read_compiled(memory, demand, ACROSS)
    assert [array.shape for array in memory] == sizes
    for array in memory:
        assert np.isfinite(array).all()
    assert np.abs(memory.coefficients).max() < 100.0
    assert np.trace(memory.covariance[0]) <= 1.001e3
    lowest = np.log(FLOOR * ACROSS.rate[0])
    assert lowest - 1.0 <= memory.forecast[0] <= np.log(1e7) + 1.0


def test_what_a_level_has_seen_is_told() -> None:
    memory = Memory.of(1)
    read_compiled(memory, np.resize([1e6, 1e6, 1e6, 8e6], 400), ACROSS)
    _, level = described(memory, ACROSS)
    low, mid, high = (int(np.searchsorted(ACROSS.rate, rate)) for rate in (5e5, 4e6, 1e7))
    assert memory.above[0, [low, mid, high]].tolist() == [1.0, 1.0, 0.0]
    assert memory.stay[0, mid] == 1.0
    assert memory.stay[0, high] == 400.0
    np.testing.assert_allclose(memory.crossings[0, :, mid], 0.25, atol=0.03)
    assert memory.crossings[0, :, high].max() == 0.0
    above = level[:, LEVEL.index("level_above_512")]
    assert above[low] > above[mid] > above[high]
    assert (np.diff(level[:, LEVEL.index("distance")]) > 0).all()


def test_a_level_is_described_alike_alone_and_among_others() -> None:
    memory = Memory.of(1)
    read_compiled(memory, series_of(10, 300), ACROSS)
    _, every = described(memory, ACROSS)
    some = np.array([37, 2, 2, 20])
    rows = np.full((len(some), len(LEVEL)), np.nan, np.float32)
    compiled(describe_levels)(memory, 0, some, ACROSS, rows)
    assert (rows == every[some]).all()


def test_silence_jumps_and_times_since_are_counted() -> None:
    memory = Memory.of(1)
    read_compiled(memory, np.append(np.resize([1e6, 8e6], 100), np.zeros(30)), ACROSS)
    assert memory.silent_for[0] == 30.0
    assert memory.since[0].tolist() == [30.0, 30.0]
    assert memory.silence[0, 1] == pytest.approx(30 / 130, abs=0.01)
    assert traffic_feature(memory, "silent_for") == pytest.approx(np.log(31.0) / 2.0)
    assert memory.highest[0, 2] == pytest.approx(np.log(8e6))
    quiet = Memory.of(1)
    read_compiled(quiet, np.full(130, 1e6), ACROSS)
    name = "jumps_0.5_4096"
    assert traffic_feature(memory, name) > traffic_feature(quiet, name)


def test_links_are_apart() -> None:
    memory, take_in = Memory.of(3), compiled(remember)
    for rate in series_of(9, 50):
        take_in(memory, 1, rate, ACROSS)
    for array, before in zip(memory, Memory.of(3), strict=True):
        assert (array[[0, 2]] == before[[0, 2]]).all()
    alone = Memory.of(1)
    read_compiled(alone, series_of(9, 50), ACROSS)
    for array, one in zip(memory, alone, strict=True):
        assert (array[1] == one[0]).all()
