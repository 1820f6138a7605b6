"""The queueing rule: the fewest instances that a negative binomial number seldom exceeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import gamma, nbinom, norm

from flexnfv.chain import load_chain
from flexnfv.policies.queueing import Queueing, exceeded
from flexnfv.reading import Reading
from tests.policies.readings import reading

SINGLE = load_chain("single")
ROOM = float(SINGLE.capacity_pps[0] * SINGLE.interval_s + SINGLE.ring_packets[0])


def queueing(**parameters: Any) -> Queueing:
    made = Queueing(**parameters)
    made.reset(SINGLE)
    return made


def brings(packets: float) -> Reading:
    return reading(SINGLE, ["R"], [[packets / SINGLE.interval_s / 1e6]])


def after(policy: Queueing, numbers: Sequence[float]) -> int:
    wanted = 0
    for number in numbers:
        wanted = int(np.asarray(policy.decide(brings(number)))[0])
    return wanted


@pytest.mark.parametrize("overflow", [0.3, 0.03, 1e-3, 1e-5])
@pytest.mark.parametrize("shape", [0.5, 2.0, 30.0])
def test_quantiles_are_those_of_the_negative_binomial(overflow: float, shape: float) -> None:
    mean = np.array([1e6])
    dispersion = mean / shape
    found = float(exceeded(mean, dispersion, float(norm.isf(overflow)))[0])
    exact = nbinom.isf(overflow, shape, shape / (shape + mean[0]))
    assert found == pytest.approx(exact, rel=0.12)
    assert exact == pytest.approx(gamma.isf(overflow, shape, scale=dispersion[0]), rel=1e-3)


def test_poisson_traffic_gets_square_root_staffing() -> None:
    mean = np.array([400.0, 10_000.0])
    found = exceeded(mean, np.ones(2), 2.0)
    np.testing.assert_allclose(found, mean + 2.0 * np.sqrt(mean), rtol=3e-3)


def test_steady_traffic_gets_what_it_needs() -> None:
    assert after(queueing(overflow=1e-3), [2.5 * ROOM] * 20) == 3
    assert after(queueing(overflow=1e-3), [0.0] * 20) == 1


def test_instances_exceed_the_quantile_of_the_window_s_moments() -> None:
    rng = np.random.default_rng(2)
    numbers = rng.gamma(4.0, 0.5 * ROOM, 40)
    for overflow in (0.1, 0.01, 1e-4):
        last = numbers[-16:]
        wanted = exceeded(
            last.mean()[None], (last.var() / last.mean())[None], float(norm.isf(overflow))
        )
        most = SINGLE.max_instances[0]
        expected = min(int(np.ceil(wanted[0] / ROOM)), most)
        assert after(queueing(overflow=overflow, window=16), numbers.tolist()) == expected


def test_burstier_traffic_of_the_same_mean_gets_more() -> None:
    calm, bursty = [1.4 * ROOM, 1.6 * ROOM] * 8, [0.5 * ROOM, 2.5 * ROOM] * 8
    assert after(queueing(), bursty) > after(queueing(), calm)


def test_a_window_forgets() -> None:
    policy = queueing(window=4)
    assert after(policy, [4 * ROOM, 0.5 * ROOM, 0.5 * ROOM]) > 1
    assert after(policy, [0.5 * ROOM] * 3) == 1


def test_an_exported_state_continues_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(1)
    one, other = queueing(window=5), queueing(window=5)
    after(one, (rng.uniform(0, 4, 13) * ROOM).tolist())
    other.restore_state(one.export_state())
    for number in rng.uniform(0, 4, 20) * ROOM:
        assert after(one, [number]) == after(other, [number])


def test_a_batch_is_decided_as_its_readings_one_by_one() -> None:
    rng = np.random.default_rng(3)
    rows = [(0.3, 2), (0.01, 7), (1e-5, 30)]
    together = queueing(
        overflow=np.array([row[0] for row in rows]), window=np.array([row[1] for row in rows])
    )
    alone = [queueing(overflow=overflow, window=window) for overflow, window in rows]
    for _ in range(50):
        seen = [brings(rng.gamma(2.0, ROOM)) for _ in rows]
        expected = [policy.decide(one) for policy, one in zip(alone, seen, strict=True)]
        np.testing.assert_array_equal(together.decide(Reading.stack(seen)), expected)


@pytest.mark.parametrize(
    "parameters", [{"overflow": 0.0}, {"overflow": 1.0}, {"window": 0}, {"window": 2.5}]
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Queueing(**parameters)
