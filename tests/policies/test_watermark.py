"""The paper's law, case by case: readings in, targets out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.chain import load_chain
from flexnfv.policies.watermark import Memory, Watermark, decide
from flexnfv.reading import Reading
from flexnfv.scaling import victim
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, NONE, RUNNING, STOPPED
from tests.policies.readings import reading

SINGLE = load_chain("single")  # H at 3.021 Mpps, L at 1.511 Mpps, half a ring is 2047.5 packets
PAPER = load_chain("paper")
LONG, SHORT = 3000.0, 10.0
HALF = 0.5 * 4095


def law(**parameters: Any) -> Watermark:
    policy = Watermark(**parameters)
    policy.reset(SINGLE)
    return policy


def target(
    states: str,
    mpps: list[float],
    queue: float | list[float] = HALF,
    policy: Watermark | None = None,
    **fields: Any,
) -> int:
    """The law's target for one NF type; queues stand at the threshold unless told."""
    queues = queue if isinstance(queue, list) else [queue] * len(states)
    policy = policy or law()
    return int(policy.decide(reading(SINGLE, [states], [mpps], [queues], **fields))[0])


@pytest.mark.parametrize(
    ("states", "mpps", "wanted", "why"),
    [
        ("R", [2.0], 1, "between L and H: normal"),
        ("R", [3.0], 1, "just below H: normal"),
        ("R", [3.1], 2, "above H: floor(load / H) = 1 more"),
        ("R", [6.0], 2, "floor(1.99) = 1 more"),
        ("R", [6.1], 3, "floor(2.02) = 2 more"),
        ("R", [9.1], 4, "floor(3.01) = 3 more"),
        ("RR", [3.1, 6.1], 4, "the most loaded instance decides"),
        ("RR", [3.1, 1.0], 3, "overload beats underload"),
        ("RL", [3.1, 0.0], 2, "a launch under way answers the overload"),
        ("RL", [6.1, 0.0], 3, "one of two wanted is under way"),
        ("RLL", [3.1, 0, 0], 3, "launches under way are not taken back"),
        ("RB", [3.1, 0.0], 2, "a blocked instance is no running one"),
        ("RD", [3.1, 9.0], 2, "what a draining one is offered does not count"),
        ("R", [1.0], 1, "the last one running is never blocked"),
        ("R", [0.0], 1, "not even without any traffic"),
        ("RB", [0.0, 0.0], 1, "nor beside a blocked one"),
        ("RR", [1.0, 1.0], 1, "below L, and the other can carry it"),
        ("RR", [1.5, 1.6], 2, "below L, but the sum is above H"),
        ("RR", [1.6, 1.6], 2, "both normal"),
        ("RRR", [1.0, 1.0, 1.0], 2, "one at a time"),
        ("RRL", [1.0, 1.0, 0.0], 3, "none is blocked while another is launching"),
        ("RRR", [1.0, 2.5, 1.2], 3, "the successor, not the mean, must carry the victim"),
        ("RRR", [2.5, 1.0, 1.2], 2, "the successor can"),
        ("L", [0.0], 1, "launching counts"),
        ("-", [0.0], 1, "never less than one"),
    ],
)
def test_loads_against_the_watermarks(
    states: str, mpps: list[float], wanted: int, why: str
) -> None:
    assert target(states, mpps) == wanted, why


def test_a_load_of_exactly_h_is_normal_and_of_exactly_l_too() -> None:
    policy = law()
    at = reading(SINGLE, ["RR"], [[1.0, 1.0]], [[HALF, HALF]])
    load = at.load[0, 0]
    policy.thresholds = policy.thresholds._replace(high=np.array([load]), low=np.array([0.0]))
    assert policy.decide(at)[0] == 2
    policy.reset(SINGLE)
    policy.thresholds = policy.thresholds._replace(low=np.array([load]))
    assert policy.decide(at)[0] == 2
    policy.thresholds = policy.thresholds._replace(low=np.array([np.nextafter(load, 1)]))
    assert policy.decide(at)[0] == 1


def test_the_fifth_long_queue_in_a_row_asks_for_one_extra() -> None:
    policy = law()
    given = [target("RR", [2.0, 2.0], [LONG, SHORT], policy) for _ in range(10)]
    assert given == [2, 2, 2, 2, 3, 2, 2, 2, 2, 3], "and the count starts anew after an action"


def test_a_flip_ends_the_row_of_long_queues() -> None:
    for between in (SHORT, HALF):
        policy = law()
        queues = [LONG] * 4 + [between] + [LONG] * 5
        given = [target("RR", [2.5, 2.5], queue, policy) for queue in queues]
        assert given == [2] * 9 + [3]


def test_an_extra_for_a_long_queue_is_not_asked_for_twice_while_it_launches() -> None:
    policy = law()
    for _ in range(4):
        target("RL", [2.0, 0.0], [LONG, 0.0], policy)
    assert target("RL", [2.0, 0.0], [LONG, 0.0], policy) == 2


def test_counts_belong_to_an_instance_and_end_when_it_stops_running() -> None:
    policy = law()
    for _ in range(4):
        target("RR", [2.0, 2.0], [SHORT, LONG], policy)
    target("RD", [2.0, 0.0], [HALF, LONG], policy)
    assert [target("RR", [2.0, 2.0], [HALF, LONG], policy) for _ in range(5)] == [2] * 4 + [3]


def test_another_instance_does_not_carry_a_row_on() -> None:
    policy = law()
    for _ in range(4):
        target("RR", [2.0, 2.0], [LONG, HALF], policy)
    assert target("RR", [2.0, 2.0], [HALF, LONG], policy) == 2


def test_the_fifth_short_queue_of_the_victim_blocks_it() -> None:
    policy = law(low=0.2)  # L at 0.6 Mpps: load alone blocks nothing here
    given = [target("RRR", [1.4, 1.2, 1.2], [LONG / 2, HALF, SHORT], policy) for _ in range(6)]
    assert given == [3, 3, 3, 3, 2, 3]


def test_short_queues_of_others_than_the_victim_block_only_to_the_letter() -> None:
    for whose, wanted in (("victim", 3), ("any", 2), ("never", 3)):
        policy = law(low=0.2, block_on_queue=whose)
        given = [target("RRR", [1.4, 1.2, 1.2], [SHORT, HALF, HALF], policy) for _ in range(5)]
        assert given[-1] == wanted


def test_short_queues_block_nothing_when_told_so() -> None:
    policy = law(low=0.2, block_on_queue="never")
    assert {target("RR", [1.2, 1.2], SHORT, policy) for _ in range(12)} == {2}


def test_long_queues_ask_for_nothing_when_told_so() -> None:
    policy = law(extra_on_queue=False)
    assert {target("RR", [2.0, 2.0], LONG, policy) for _ in range(12)} == {2}


def test_a_type_is_not_judged_before_a_full_interval_has_passed() -> None:
    assert target("RR", [9.0, 1.0], unsettled=True) == 2
    assert target("RR", [1.0, 1.0], unsettled=True) == 2
    hasty = law(wait_for_full_interval=False)
    assert target("RR", [9.0, 1.0], policy=hasty, unsettled=True) == 4


def test_checks_of_a_type_not_judged_are_kept() -> None:
    policy = law()
    for _ in range(4):
        target("RR", [2.0, 2.0], LONG, policy)
    assert target("RR", [2.0, 2.0], LONG, policy, unsettled=True) == 2
    assert target("RR", [2.0, 2.0], LONG, policy) == 3


def test_without_the_guard_the_least_loaded_goes_whatever_the_rest_carries() -> None:
    assert target("RR", [1.4, 3.0]) == 2
    assert target("RR", [1.4, 3.0], policy=law(capacity_guard=False)) == 1


def test_a_total_asks_for_no_more_than_the_formula_says() -> None:
    assert target("RR", [6.1, 1.0], policy=law(request="total")) == 2
    assert target("R", [6.1], policy=law(request="total")) == 2


def test_a_type_level_load_is_the_sum_of_its_running_instances() -> None:
    policy = law(load_of="type")
    assert target("RRD", [2.0, 2.0, 9.0], policy=policy) == 3
    assert target("RR", [2.0, 2.0]) == 2


def test_watermarks_of_ones_own_replace_the_chains() -> None:
    assert target("R", [3.1], policy=law(high=0.9)) == 1
    assert target("R", [2.5], policy=law(high=0.5)) == 2
    assert target("RR", [1.45, 1.45], policy=law(low=0.1)) == 2
    assert target("RR", [0.2, 0.2], policy=law(low=0.1)) == 1


def test_who_died_is_asked_for_again_but_never_more_than_were_wanted() -> None:
    policy = law()
    assert target("RRR", [2.0] * 3, policy=policy) == 3
    assert target("RR-", [2.0] * 2, policy=policy, deaths=1, unsettled=True) == 3
    policy = law()
    assert target("R", [2.0], policy=policy) == 1
    assert target("R", [2.0], policy=policy, deaths=1, unsettled=True) == 1, "relaunched at once"
    policy = law(replace_dead=False)
    assert target("RRR", [2.0] * 3, policy=policy) == 3
    assert target("RR-", [2.0] * 2, policy=policy, deaths=1, unsettled=True) == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"high": 0.0}, "high"),
        ({"high": float("nan")}, "high"),
        ({"low": 1.0}, "low"),
        ({"queue_threshold": 1.0}, "queue_threshold"),
        ({"queue_checks": 0}, "queue_checks"),
        ({"load_of": "chain"}, "load_of"),
        ({"block_on_queue": "all"}, "block_on_queue"),
        ({"request": "sum"}, "request"),
        ({"capacity_guard": "maybe"}, "capacity_guard"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Watermark(**parameters)


# --- properties ------------------------------------------------------------------------------


def random_reading(rng: np.random.Generator, batch: tuple[int, ...] = ()) -> Reading:
    made = Reading.zeros(PAPER.types, PAPER.slots, batch)
    states = [STOPPED, LAUNCHING, RUNNING, RUNNING, RUNNING, DRAINING, BLOCKED]
    made.state[...] = rng.choice(states, made.state.shape)
    made.processing_ns[...] = PAPER.processing_ns[:, None]
    # Coarse rates, so that ties of the least loaded are common.
    made.arrived_pps[...] = rng.integers(0, 13, made.state.shape) * 0.5e6
    made.queue[...] = rng.choice([0.0, HALF, 4095.0], made.state.shape, p=[0.4, 0.1, 0.5])
    made.load_if_blocked[...] = rng.uniform(0.1, 0.8, made.state.shape)
    made.unsettled[...] = rng.random((*batch, PAPER.types)) < 0.2
    made.deaths[...] = rng.random((*batch, PAPER.types)) < 0.1
    return made


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_batch_is_decided_as_its_readings_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    together = Watermark()
    together.reset(PAPER)
    alone = [Watermark() for _ in range(4)]
    for policy in alone:
        policy.reset(PAPER)
    for _ in range(8):
        batch = random_reading(rng, (4,))
        given = together.decide(batch)
        assert given.shape == (4, PAPER.types)
        for index, policy in enumerate(alone):
            assert (policy.decide(batch[index]) == given[index]).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_law_moves_by_one_action_and_never_below_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    policy = Watermark()
    policy.reset(PAPER)
    for _ in range(8):
        now = random_reading(rng)
        targets = policy.decide(now)
        here = now.running + now.launching
        assert (targets >= 1).all()
        assert (targets >= here - 1).all()
        assert (targets[now.unsettled & (here > 0)] >= here[now.unsettled & (here > 0)]).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1.0, 20.0))
def test_loads_that_all_grow_by_one_factor_never_get_fewer(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    before = random_reading(rng)
    before.deaths[...] = 0
    memory = Memory(
        rng.integers(0, 6, before.state.shape),
        rng.integers(0, 6, before.state.shape),
        rng.integers(1, 9, before.running.shape),
    )
    after = before.copy()
    after.arrived_pps[...] *= factor
    after.load_if_blocked[...] *= factor
    policy = Watermark()
    policy.reset(PAPER)
    less, _ = decide(before, memory, policy.thresholds, policy.rules)
    more, _ = decide(after, memory, policy.thresholds, policy.rules)
    assert (more >= less).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_law_blocks_the_instance_that_the_scaling_code_blocks(seed: int) -> None:
    """The guard looks at one victim; `scaling.plan` must block that very one."""
    rng = np.random.default_rng(seed)
    now = random_reading(rng)
    now.unsettled[...] = False
    now.queue[...] = HALF
    now.load_if_blocked[...] = np.inf
    for t in range(PAPER.types):
        chosen = victim(now.state[t], now.load[t], np.full(PAPER.slots, NONE, np.int8))
        if chosen >= 0:
            now.load_if_blocked[t, chosen] = 0.0
    policy = Watermark()
    policy.reset(PAPER)
    targets = policy.decide(now)
    idle = np.where(now.state == RUNNING, now.load, np.inf).min(axis=-1) < PAPER.low_load
    calm = (np.where(now.state == RUNNING, now.load, 0.0) <= PAPER.high_load[:, None]).all(axis=-1)
    free = idle & calm & (now.running > 1) & (now.launching == 0)
    assert (targets[free] == now.running[free] - 1).all()


def test_an_exported_state_continues_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(3)
    one, other = Watermark(), Watermark()
    one.reset(PAPER)
    other.reset(PAPER)
    for _ in range(7):
        one.decide(random_reading(rng))
    other.restore_state(one.export_state())
    for _ in range(20):
        now = random_reading(rng)
        assert (one.decide(now) == other.decide(now)).all()


def test_reset_clears_the_checks() -> None:
    policy = law()
    for _ in range(4):
        target("RR", [2.0, 2.0], LONG, policy)
    policy.reset(SINGLE)
    assert target("RR", [2.0, 2.0], LONG, policy) == 2
