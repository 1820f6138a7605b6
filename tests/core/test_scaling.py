"""Targets to commands: launching avoidance, ids, order, limits and budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.decision import KEEP
from flexnfv.scaling import plan, victim
from flexnfv.states import (
    BLOCK,
    BLOCKED,
    DRAINING,
    LAUNCH,
    LAUNCHING,
    NONE,
    RERUN,
    RUNNING,
    STOP,
    STOPPED,
)

STATES = {"-": STOPPED, "L": LAUNCHING, "R": RUNNING, "D": DRAINING, "B": BLOCKED}
COMMANDS = {NONE: ".", LAUNCH: "l", BLOCK: "b", RERUN: "r", STOP: "s"}


def commands(
    states: list[str],
    targets: list[int],
    *,
    spares: list[int] | None = None,
    load: list[list[float]] | None = None,
    parked_s: list[list[float]] | None = None,
    least: int = 1,
    most: int = 8,
    cores: int = 1,
    budget: int = 1000,
    timeout_s: float = np.inf,
) -> tuple[list[str], list[int]]:
    """Commands of one decision as letters, and the clipped requests, per NF type."""
    state = np.array([[STATES[letter] for letter in row] for row in states], dtype=np.int8)
    types = len(states)
    given = np.empty(state.shape, dtype=np.int8)
    clipped = np.empty(types, dtype=np.int64)
    plan(
        np.array(targets),
        np.array([KEEP] * types if spares is None else spares),
        state,
        np.zeros(state.shape) if load is None else np.array(load, dtype=float),
        np.zeros(state.shape) if parked_s is None else np.array(parked_s, dtype=float),
        np.full(types, least),
        np.full(types, most),
        np.full(types, cores),
        budget,
        timeout_s,
        given,
        clipped,
    )
    return ["".join(COMMANDS[int(one)] for one in row) for row in given], clipped.tolist()


@pytest.mark.parametrize(
    ("state", "target", "wanted", "why"),
    [
        ("R---", 1, "....", "as wanted: nothing"),
        ("R---", 3, ".ll.", "nothing to wake: launch the lowest slots"),
        ("RBBB", 2, ".r..", "launch_req <= block_num: wake launch_req, the lowest first"),
        ("RBBB", 4, ".rrr", "wake all"),
        ("RB--", 4, ".rll", "wake all block_num, launch launch_req - block_num"),
        ("R-B-", 3, ".lr.", "a rerun comes first wherever it stands"),
        ("RDB-", 2, ".r..", "a draining instance counts as blocked, by slot"),
        ("RBD-", 2, ".r..", "by slot, whichever of both it is"),
        ("RL--", 2, "....", "a launch under way counts"),
        ("RL--", 3, "..l.", "beside it one more"),
        ("RLL-", 1, "....", "a launch under way is not taken back"),
        ("RRL-", 1, ".b..", "but running ones above the target are blocked"),
        ("RRRR", 2, "..bb", "as many as are too many, ties the highest slot"),
        ("RRRR", 0, ".bbb", "the limits hold: never below one"),
        ("----", 1, "l...", "none exists"),
        ("B---", 1, "r...", "none runs"),
    ],
)
def test_launching_avoidance(state: str, target: int, wanted: str, why: str) -> None:
    assert commands([state], [target])[0] == [wanted], why


def test_the_least_loaded_are_blocked_and_ties_by_the_highest_slot() -> None:
    assert commands(["RRRR"], [3], load=[[2, 1, 3, 4]])[0] == [".b.."]
    assert commands(["RRRR"], [2], load=[[2, 1, 1, 4]])[0] == [".bb."]
    assert commands(["RRRR"], [3], load=[[1, 1, 1, 4]])[0] == ["..b."]
    assert commands(["RBRR"], [2], load=[[2, 0, 1, 4]])[0] == ["..b."]


def test_limits_clip_and_say_so() -> None:
    assert commands(["R---"], [9], most=3) == ([".ll."], [6])
    assert commands(["RRR-"], [1], least=2) == (["..b."], [0])
    assert commands(["RB--"], [1], least=2) == ([".r.."], [0])


def test_a_full_budget_clips_in_chain_order_and_says_so() -> None:
    assert commands(["R---", "R---"], [3, 3], budget=5) == ([".ll.", ".l.."], [0, 1])
    assert commands(["R---", "R---"], [4, 3], budget=5) == ([".lll", "...."], [0, 2])
    assert commands(["R---"], [3], cores=2, budget=5) == ([".l.."], [1])


def test_a_full_budget_stops_the_longest_parked_of_another_type() -> None:
    parked = [[0, 0, 0, 0], [0, 5, 9, 0], [0, 7, 0, 0]]
    states = ["R---", "RBB-", "RB--"]
    assert commands(states, [2, 1, 1], parked_s=parked, budget=6)[0] == [".l..", "..s.", "...."]
    assert commands(states, [3, 1, 1], parked_s=parked, budget=6)[0] == [".ll.", "..s.", ".s.."]
    assert commands(states, [4, 1, 1], parked_s=parked, budget=6)[0] == [".lll", ".ss.", ".s.."]
    same = [[0] * 4, [0, 3, 3, 0], [0, 3, 0, 0]]
    assert commands(states, [2, 1, 1], parked_s=same, budget=6)[0] == [".l..", ".s..", "...."]


def test_a_parked_instance_that_is_rerun_is_not_stopped_for_another() -> None:
    assert commands(["R---", "RB--"], [2, 2], budget=3) == (["....", ".r.."], [1, 0])


def test_parked_too_long_is_stopped_and_its_core_is_free_at_once() -> None:
    parked = [[0.0] * 4, [0, 10.0, 3.0, 0]]
    assert commands(["R---", "RBB-"], [1, 1], parked_s=parked, timeout_s=10)[0][1] == ".s.."
    assert commands(["R---", "RBB-"], [1, 2], parked_s=parked, timeout_s=10)[0][1] == ".r.."
    assert commands(["R---", "RBB-"], [2, 1], parked_s=parked, timeout_s=10, budget=4) == (
        [".l..", ".s.."],
        [0, 0],
    )


@pytest.mark.parametrize(
    ("state", "target", "spares", "wanted", "why"),
    [
        ("RBBB", 1, -1, "....", "all are kept"),
        ("RBBB", 1, 3, "....", "no more than wanted"),
        ("RBBB", 1, 2, "..s.", "the longest parked goes first"),
        ("RBBB", 1, 1, ".ss.", "then the next one"),
        ("RBBB", 1, 0, ".sss", "none is kept"),
        ("RBBB", 2, 0, ".rss", "one that is rerun is no spare, and stays"),
        ("RBBB", 2, 1, ".rs.", "those beside it are"),
        ("RDBB", 1, 1, "..s.", "a draining one is not parked yet"),
        ("RRBB", 1, 1, ".bs.", "nor is one that is blocked just now"),
        ("RRBB", 1, 2, ".b..", "and it takes nobody's place"),
        ("BBBB", 1, 0, "rsss", "the limits hold before"),
    ],
)
def test_parked_instances_beyond_the_spares_are_stopped(
    state: str, target: int, spares: int, wanted: str, why: str
) -> None:
    parked = [[1.0, 4.0, 9.0, 2.0]]
    given = commands([state], [target], spares=[spares], parked_s=parked)
    assert given == ([wanted], [0]), why


def test_of_spares_parked_equally_long_the_lowest_slots_are_stopped() -> None:
    assert commands(["RBBB"], [1], spares=[1])[0] == [".ss."]


def test_the_park_timeout_stops_before_the_spares_do() -> None:
    parked = [[0, 10.0, 3.0, 5.0]]
    assert commands(["RBBB"], [1], spares=[2], parked_s=parked, timeout_s=10)[0] == [".s.."]
    assert commands(["RBBB"], [1], spares=[1], parked_s=parked, timeout_s=10)[0] == [".s.s"]


def test_the_cores_of_stopped_spares_are_free_for_launches_at_once() -> None:
    states, targets = ["R---", "RBB-"], [3, 1]
    assert commands(states, targets, budget=5) == ([".ll.", ".s.."], [0, 0])
    assert commands(states, targets, spares=[-1, 0], budget=4) == ([".ll.", ".ss."], [0, 0])
    assert commands(states, [2, 1], spares=[-1, 1], budget=4) == ([".l..", ".s.."], [0, 0])


def test_the_victim_is_never_the_last_one_running() -> None:
    command = np.zeros(3, dtype=np.int8)
    assert victim(np.array([RUNNING, BLOCKED, LAUNCHING], np.int8), np.zeros(3), command) == -1
    both = np.array([RUNNING, BLOCKED, RUNNING], np.int8)
    assert victim(both, np.zeros(3), command) == 2
    command[2] = BLOCK
    assert victim(both, np.zeros(3), command) == -1


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_decision_exceeds_limits_or_budget(data: st.DataObject) -> None:
    types, slots = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    per_type = {"min_size": types, "max_size": types}

    def draw_ints(low: int, high: int) -> np.ndarray:
        return np.array(data.draw(st.lists(st.integers(low, high), **per_type)), dtype=np.int64)

    most = draw_ints(1, slots)
    least = np.minimum(draw_ints(1, slots), most)
    cores = draw_ints(1, 3)
    state = np.full((types, slots), STOPPED, dtype=np.int8)
    for t in range(types):
        count = int(most[t])
        state[t, :count] = data.draw(
            st.lists(st.sampled_from(list(STATES.values())), min_size=count, max_size=count)
        )
    held = int(((state != STOPPED).sum(axis=1) * cores).sum())
    budget = data.draw(st.integers(held, held + 6))
    targets = draw_ints(0, 10)
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    parked_s = np.where(state == BLOCKED, rng.integers(0, 4, state.shape), 0) * 1.0
    timeout_s = data.draw(st.sampled_from([np.inf, 2.0]))
    command = np.empty(state.shape, dtype=np.int8)
    clipped = np.empty(types, dtype=np.int64)
    load = rng.integers(0, 3, state.shape) * 1.0
    spares = draw_ints(KEEP, slots)
    limits = least, most, cores, budget, timeout_s
    plan(targets, spares, state, load, parked_s, *limits, command, clipped)

    for kind, before in (
        (LAUNCH, [STOPPED]),
        (BLOCK, [RUNNING]),
        (RERUN, [DRAINING, BLOCKED]),
        (STOP, [BLOCKED]),
    ):
        assert np.isin(state[command == kind], before).all()

    launched = (command == LAUNCH).sum(axis=1)
    rerun = (command == RERUN).sum(axis=1)
    blocked = (command == BLOCK).sum(axis=1)
    stopped = (command == STOP).sum(axis=1)
    running = (state == RUNNING).sum(axis=1)
    under_way = running + (state == LAUNCHING).sum(axis=1)
    wanted = np.clip(targets, least, most)

    in_use = held + int(((launched - stopped) * cores).sum())
    assert in_use <= budget
    after = under_way + launched + rerun
    assert (after <= np.maximum(under_way, most)).all()
    assert (running - blocked >= np.minimum(running, 1)).all()
    assert ((running - blocked) >= np.minimum(running, wanted)).all()

    # Launching avoidance: nothing is launched while one that could be woken is not.
    idle = ((state == BLOCKED) | (state == DRAINING)) & (command != RERUN)
    assert (idle[launched > 0].sum() == 0) or (launched[idle.any(axis=1)] == 0).all()
    # Up by what is missing, or clipped, never both ways at once.
    missing = np.maximum(wanted - under_way, 0)
    assert (launched + rerun <= missing).all()
    assert (clipped == np.maximum(targets - most, 0) + missing - launched - rerun).all()
    assert (blocked[launched + rerun > 0] == 0).all()
    assert (blocked == np.maximum(running - np.maximum(wanted, 1), 0)).all()
