"""Rules that forecast: the recursion, the window of errors, the newsvendor's choice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexnfv.chain import load_chain
from flexnfv.policies import forecasting
from flexnfv.policies.conformal import Conformal, upper
from flexnfv.policies.forecast import Forecast
from flexnfv.policies.forecasting import OFFSET, START, Method, Track, cheapest, shape_of
from flexnfv.policies.receding_horizon import RecedingHorizon
from flexnfv.reading import Reading
from tests.policies.readings import reading

EDGE, SINGLE = load_chain("edge"), load_chain("single")
Any_ = Forecast | Conformal | RecedingHorizon
ALL = (Forecast, Conformal, RecedingHorizon)


def method(**given: Any) -> Method:
    defaults = {"smoothing": 0.5, "trend": 0.2, "damping": 0.9, "order": 0, "window": 16}
    return Method(*(np.array([value]) for value in (defaults | given).values()))


def followed(needs: Sequence[float], **given: Any) -> tuple[Track, list[float]]:
    """The track after these needs, and what was forecast of the log need after each."""
    track = forecasting.new_track(1, 16, int(given.get("order", 0)))
    ahead = []
    for need in needs:
        forecasting.observe(0, need, method(**given), track)
        ahead.append(float(track.ahead[0]))
    return track, ahead


def test_smoothing_follows_holts_recursion() -> None:
    needs = [1.0, 2.0, 4.0, 3.0]
    level, slope = math.log(1.0 + OFFSET), 0.0
    expected = [level]
    for need in needs[1:]:
        value, before = math.log(need + OFFSET), level
        level = 0.5 * value + 0.5 * (level + 0.9 * slope)
        slope = 0.2 * (level - before) + 0.8 * 0.9 * slope
        expected.append(level + 0.9 * slope)
    assert followed(needs)[1] == pytest.approx(expected)


def test_the_autoregression_learns_a_period_that_smoothing_cannot() -> None:
    needs = [4.0, 1.0, 1.0] * 200
    _, smooth = followed(needs)
    _, fitted = followed(needs, order=4)
    values = np.log(np.array(needs) + OFFSET)
    last = slice(-30, -1)
    errors = [np.abs(np.array(ahead[last]) - values[-29:]).max() for ahead in (smooth, fitted)]
    assert errors[0] > 0.3
    assert errors[1] < 0.05


def test_the_autoregression_is_the_least_squares_fit_that_forgets() -> None:
    rng = np.random.default_rng(3)
    needs = np.exp(0.2 * np.cumsum(rng.normal(size=120)) * 0.3)
    values = np.log(needs + OFFSET)
    track, _ = followed(list(needs), order=2)
    # The same estimate in one piece: weighted errors, and the start "as the last one" as a prior.
    keep, count = forecasting.FORGET, len(values)
    rows = np.array(
        [[1.0, values[i - 1], values[max(i - 2, 0)]] for i in range(1, count)], np.float64
    )
    weight = keep ** np.arange(count - 2, -1, -1.0)
    start = np.array([0.0, 1.0, 0.0])
    prior = np.eye(3) * keep ** (count - 1) / forecasting.SPREAD
    normal = rows.T @ (rows * weight[:, None]) + prior
    fit = np.linalg.solve(normal, rows.T @ (values[1:] * weight) + prior @ start)
    assert track.weights[0] == pytest.approx(fit, rel=1e-6, abs=1e-8)


@given(st.lists(st.floats(0.0, 20.0), min_size=2, max_size=60))
def test_the_window_holds_the_newest_errors_in_order(needs: list[float]) -> None:
    track, ahead = followed(needs)
    values = np.log(np.array(needs) + OFFSET)
    made = [*START, *np.exp(values[1:] - np.array(ahead[:-1]))][-16:]
    known = forecasting.errors(0, 16, track)
    assert track.ordered[0, :known] == pytest.approx(sorted(made))


@pytest.mark.parametrize("loss_cost", [0.5, 3.0, 10.0, 300.0])
def test_the_cheapest_choice_is_that_of_trying_all(loss_cost: float) -> None:
    rng = np.random.default_rng(7)
    chain = EDGE.replace(nf=[nf.model_dump() | {"max_instances": 5} for nf in EDGE.nf])
    shape = shape_of(chain)
    for _ in range(20):
        ratios = np.sort(np.exp(rng.normal(0.0, 0.4, 12)))
        ahead = float(rng.uniform(0.2, 4.0))
        needs = np.maximum(ahead * ratios - OFFSET, 0.0)

        def costs(
            counts: tuple[int, ...], needs: np.ndarray[Any, Any] = needs, use: float = 0.9
        ) -> float:
            carried = min(n * use / part for n, part in zip(counts, shape.part, strict=True))
            return sum(counts) + loss_cost * float(np.maximum(needs - carried, 0.0).mean())

        chosen = np.empty(3, np.int64)
        cheapest(ratios, np.ones(12), ahead, loss_cost, 0.9, shape, chosen)
        best = min(map(costs, itertools.product(range(1, 6), repeat=3)))
        assert costs(tuple(chosen)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("rate", "wanted", "why"),
    [
        (0.5, 5.0, "the median of nine"),
        (0.1, 9.0, "the largest of nine is passed once in ten"),
        (0.15, 8.5, "between two of them"),
    ],
)
def test_the_upper_error_is_read_off_the_window(rate: float, wanted: float, why: str) -> None:
    assert upper(np.arange(1.0, 10.0), rate) == pytest.approx(wanted), why


def test_beyond_the_window_the_tail_goes_on() -> None:
    known = (1.0 - (np.arange(400) + 0.5) / 400) ** (-1 / 3)  # a Pareto tail with exponent 3
    rare = [upper(known, rate) for rate in (1e-2, 1e-3, 1e-4)]
    assert rare == pytest.approx([100 ** (1 / 3), 1000 ** (1 / 3), 10_000 ** (1 / 3)], rel=0.3)
    assert rare[0] < rare[1] < rare[2]


def run(policy: Any_, needs: Sequence[float]) -> list[list[int]]:
    """Targets at these needs of the edge chain's most needed type, as many running as needed."""
    decided = []
    for need in needs:
        pps = need * float(EDGE.capacity_pps.min())
        running = np.ceil(pps / EDGE.capacity_pps).clip(1).astype(int)
        rows = [[pps / 1e6 / n] * n for n in running]
        seen = reading(EDGE, ["R" * n for n in running], rows, offered_pps=pps)
        wanted = policy.decide(seen)
        decided.append(np.asarray(getattr(wanted, "targets", wanted)).tolist())
    return decided


@pytest.mark.parametrize("kind", ALL)
def test_on_steady_traffic_it_comes_to_what_is_needed(kind: type[Any_]) -> None:
    policy = kind()
    policy.reset(EDGE)
    # A need of 3.5 encryptors is 2.7 routers and 2.1 firewalls.
    assert run(policy, [3.5] * 300)[-1] == [3, 3, 4]


@pytest.mark.parametrize("kind", ALL)
def test_a_link_that_jumps_is_given_more(kind: type[Any_]) -> None:
    calm, wild = kind(), kind()
    for policy in (calm, wild):
        policy.reset(EDGE)
    steady = run(calm, [3.5] * 200)[-1]
    jumping = run(wild, ([3.5] * 4 + [7.0, 3.5] * 2) * 25)[-1]
    assert sum(jumping) > sum(steady)


@pytest.mark.parametrize("kind", ALL)
def test_a_batch_is_decided_as_its_rows_one_by_one(kind: type[Any_]) -> None:
    rng = np.random.default_rng(5)
    windows = [32, 64, 48]
    together = kind(window=np.array(windows))  # type: ignore[arg-type]
    alone = [kind(window=window) for window in windows]
    for policy in (together, *alone):
        policy.reset(EDGE)
    for _ in range(80):
        rows = [
            reading(EDGE, ["RRB", "RR", "RRR"], [list(rng.uniform(0, 6, 2))] * 3, offered_pps=5e6)
            for _ in alone
        ]
        batch = Reading.stack(rows)
        wanted = together.decide(batch)
        for place, (policy, row) in enumerate(zip(alone, rows, strict=True)):
            own = policy.decide(row)
            for name in ("targets", "spares"):
                one, other = (getattr(found, name, None) for found in (wanted, own))
                if other is not None:
                    assert one is not None
                    assert one[place].tolist() == other.tolist()
            if not hasattr(own, "targets"):
                assert np.asarray(wanted)[place].tolist() == np.asarray(own).tolist()


@pytest.mark.parametrize("kind", ALL)
def test_an_exported_state_continues_as_if_nothing_had_happened(kind: type[Any_]) -> None:
    one, other = kind(window=32), kind(window=32)
    one.reset(EDGE)
    other.reset(EDGE)
    needs = list(np.random.default_rng(2).uniform(0.0, 9.0, 90))
    run(one, needs[:50])
    other.restore_state(one.export_state())
    assert run(one, needs[50:]) == run(other, needs[50:])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "parameters",
    [{"smoothing": 0.0}, {"trend": 2.0}, {"damping": -1.0}, {"window": 3}, {"order": 2.5}],
)
def test_parameters_out_of_range_are_refused(kind: type[Any_], parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        kind(**parameters)


@pytest.mark.parametrize("kind", ALL)
def test_silence_and_a_first_packet_are_nothing_special(kind: type[Any_]) -> None:
    policy = kind()
    policy.reset(SINGLE)
    for mpps in (0.0, 0.0, 5.0, 0.0):
        wanted = policy.decide(reading(SINGLE, ["R"], [[mpps]], offered_pps=mpps * 1e6))
        assert np.asarray(getattr(wanted, "targets", wanted)).min() >= 1
