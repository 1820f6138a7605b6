"""The dataplane's C decides exactly as the Python core does, on random cases."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import types
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv import mapping, scaling
from flexnfv.chain import load_chain
from flexnfv.flows import FlowSet, symmetric_hash
from flexnfv.mapping import BUCKETS, MappingKind
from flexnfv.policies.watermark import Thresholds, Watermark
from flexnfv.reading import Reading
from flexnfv.states import BLOCKED, DRAINING, LAUNCHING, NONE, RUNNING, STOPPED
from tests.dataplane.common_c import CommonC

KINDS = list(MappingKind)
STATES = np.array([STOPPED, LAUNCHING, RUNNING, DRAINING, BLOCKED], np.int8)
STOPPING = 5  # what the manager shows a plan beside them: holds slot and cores, counts as nothing


@pytest.fixture(scope="module")
def common_c(tmp_path_factory: pytest.TempPathFactory) -> CommonC:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (apt-get install gcc)")
    return CommonC(tmp_path_factory.mktemp("common_c"))


def compiled(module: types.ModuleType, *names: str) -> types.ModuleType:
    """A second copy of a core module in which the named functions are compiled.

    The same code as everybody calls, only fast enough for many cases.
    """
    numba = pytest.importorskip("numba")
    spec = importlib.util.find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    for name in names:
        setattr(copy, name, numba.njit(getattr(copy, name)))
    return copy


@pytest.fixture(scope="module")
def fast_mapping() -> types.ModuleType:
    return compiled(
        mapping,
        *("score", "exists", "algorithm1_row", "update_table", "_rebalance"),
        *("instances_of", "load_if_blocked"),
    )


@pytest.fixture(scope="module")
def fast_scaling() -> types.ModuleType:
    return compiled(scaling, *(name for name, _ in inspect.getmembers(scaling, inspect.isfunction)))


def random_states(rng: np.random.Generator, shape: int | tuple[int, ...]) -> npt.NDArray[np.int8]:
    weights = rng.dirichlet(np.ones(len(STATES)))
    return rng.choice(STATES, size=shape, p=weights).astype(np.int8)


def test_flow_hash_of_a_packet_is_the_cores(common_c: CommonC) -> None:
    flows = FlowSet(count=2000, seed=7)
    tuples = flows.tuples
    frame = np.zeros((2000, 64), np.uint8)
    frame[:, 12:15] = (0x08, 0x00, 0x45)
    frame[:, 17] = 46
    frame[:, 23] = 17
    frame[:, 39] = 26
    frame[:, 26:30] = tuples.source_ip.astype(">u4").view(np.uint8).reshape(-1, 4)
    frame[:, 30:34] = tuples.destination_ip.astype(">u4").view(np.uint8).reshape(-1, 4)
    frame[:, 34:36] = tuples.source_port.astype(">u2").view(np.uint8).reshape(-1, 2)
    frame[:, 36:38] = tuples.destination_port.astype(">u2").view(np.uint8).reshape(-1, 2)
    flow = common_c.ffi.new("struct fx_flow *")
    hashes = np.empty(2000, np.uint32)
    for k in range(2000):
        assert common_c.lib.fx_parse(common_c.array("uint8_t", frame[k]), 64, flow) == 0
        hashes[k] = flow.hash
    np.testing.assert_array_equal(hashes, flows.hashes)

    frame[:, 20] = 0x20  # fragments: addresses alone
    for k in range(2000):
        common_c.lib.fx_parse(common_c.array("uint8_t", frame[k]), 64, flow)
        hashes[k] = flow.hash
    np.testing.assert_array_equal(hashes, symmetric_hash(tuples.source_ip, tuples.destination_ip))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_mapping_agrees_along_random_state_changes(
    kind: MappingKind,
    common_c: CommonC,
    fast_mapping: types.ModuleType,
) -> None:
    rng = np.random.default_rng(11 + kind)
    cases = 0
    while cases < 12_000:
        slots = int(rng.integers(1, 65))
        c_map = common_c.ffi.new("struct fx_map *")
        common_c.lib.fx_map_init(c_map, int(kind))
        table = mapping.empty_table()
        state = random_states(rng, slots)
        for _ in range(20):
            changes = rng.integers(0, slots, size=rng.integers(0, 4))
            state[changes] = rng.choice(STATES, size=changes.size)
            moved = fast_mapping.update_table(int(kind), state, table)
            assert (
                common_c.lib.fx_map_update(c_map, common_c.array("int8_t", state), slots) == moved
            )
            hashes = rng.integers(0, 1 << 32, size=64, dtype=np.uint32)
            hashes[:3] = (0, 1, 0xFFFFFFFF)
            np.testing.assert_array_equal(
                common_c.map_all(c_map, hashes),
                fast_mapping.instances_of(int(kind), state, table, hashes),
            )
            if kind is not MappingKind.ALGORITHM1:
                np.testing.assert_array_equal(np.array(list(c_map.slot)), table)
            cases += 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_mapping_agrees_with_the_core_as_it_stands(
    kind: MappingKind,
    common_c: CommonC,
) -> None:
    rng = np.random.default_rng(23 + kind)
    for _ in range(100):
        slots = int(rng.integers(1, 9))
        c_map = common_c.ffi.new("struct fx_map *")
        common_c.lib.fx_map_init(c_map, int(kind))
        table = mapping.empty_table()
        state = random_states(rng, slots)
        moved = mapping.update_table(int(kind), state, table)
        assert common_c.lib.fx_map_update(c_map, common_c.array("int8_t", state), slots) == moved
        hashes = rng.integers(0, 1 << 32, size=64, dtype=np.uint32)
        np.testing.assert_array_equal(
            common_c.map_all(c_map, hashes), mapping.instances_of(int(kind), state, table, hashes)
        )


def test_share_of_moved_flows_is_that_of_all_hashes(common_c: CommonC) -> None:
    rng = np.random.default_rng(5)
    hashes = np.arange(8 * 7 * 6 * 5 * BUCKETS, dtype=np.uint32)
    for kind in KINDS:
        for _ in range(5):
            slots = int(rng.integers(2, 9))
            before, after = common_c.ffi.new("struct fx_map *"), common_c.ffi.new("struct fx_map *")
            common_c.lib.fx_map_init(before, int(kind))
            state = random_states(rng, slots)
            common_c.lib.fx_map_update(before, common_c.array("int8_t", state), slots)
            after[0] = before[0]
            state[rng.integers(0, slots)] = RUNNING
            common_c.lib.fx_map_update(after, common_c.array("int8_t", state), slots)
            differing = np.mean(common_c.map_all(before, hashes) != common_c.map_all(after, hashes))
            assert common_c.lib.fx_map_moved(before, after) == pytest.approx(differing, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_predicted_load_agrees(
    kind: MappingKind,
    common_c: CommonC,
    fast_mapping: types.ModuleType,
) -> None:
    rng = np.random.default_rng(31 + kind)
    for _ in range(12_000):
        slots = int(rng.integers(1, 17))
        state = random_states(rng, slots)
        load = random_loads(rng, slots)
        got, wanted = np.empty(slots), np.empty(slots)
        fast_mapping.load_if_blocked(int(kind), state, load, wanted)
        common_c.lib.fx_load_if_blocked(
            int(kind),
            common_c.array("int8_t", state),
            common_c.array("double", load),
            slots,
            common_c.array("double", got),
        )
        np.testing.assert_array_equal(got, wanted)


def random_loads(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Any:
    """Loads in erlangs, often equal, so that ties are met."""
    return rng.random(shape) if rng.random() < 0.5 else rng.integers(0, 4, shape) / 4


def test_commands_agree(common_c: CommonC, fast_scaling: types.ModuleType) -> None:
    rng = np.random.default_rng(47)
    ffi = common_c.ffi
    for case in range(12_000):
        shape = (int(rng.integers(1, 17)), int(rng.integers(1, 17)))
        state = random_states(rng, shape)
        state[rng.random(shape) < 0.1] = STOPPING
        load = random_loads(rng, shape)
        parked_s = np.where(state == BLOCKED, rng.integers(0, 6, shape) * 0.5, 0.0)
        low = rng.integers(1, 4, shape[0])
        high = low + rng.integers(0, 17, shape[0])
        cores = rng.integers(1, 4, shape[0])
        targets = rng.integers(0, 20, shape[0])
        spares = rng.integers(-1, 5, shape[0])
        budget = int(rng.integers(1, 2 * state.size + 2))
        timeout = float(rng.choice([np.inf, 1.0, 2.0]))
        plan = scaling.plan if case % 100 == 0 else fast_scaling.plan
        wanted, wanted_clipped = np.empty(shape, np.int8), np.empty(shape[0], np.int64)
        plan(
            *(targets, spares, state, load, parked_s, low, high, cores, budget, timeout),
            *(wanted, wanted_clipped),
        )
        limits = ffi.new(
            "struct fx_limits *",
            {
                "types": shape[0],
                "slots": shape[1],
                "min_instances": common_c.array("int64_t", low),
                "max_instances": common_c.array("int64_t", high),
                "cores_per_instance": common_c.array("int64_t", cores),
                "core_budget": budget,
                "park_timeout_s": timeout,
            },
        )
        got, clipped = np.empty(shape, np.int8), np.empty(shape[0], np.int64)
        common_c.lib.fx_plan(
            limits,
            common_c.array("int64_t", targets),
            common_c.array("int64_t", spares),
            common_c.array("int8_t", state),
            common_c.array("double", load),
            common_c.array("double", parked_s),
            common_c.array("int8_t", got),
            common_c.array("int64_t", clipped),
        )
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(clipped, wanted_clipped)


def test_victim_agrees(common_c: CommonC, fast_scaling: types.ModuleType) -> None:
    rng = np.random.default_rng(53)
    for _ in range(10_000):
        slots = int(rng.integers(1, 17))
        state = random_states(rng, slots)
        load = random_loads(rng, slots)
        command = rng.integers(NONE, 5, slots).astype(np.int8)
        assert common_c.lib.fx_victim(
            common_c.array("int8_t", state),
            common_c.array("double", load),
            common_c.array("int8_t", command),
            slots,
        ) == fast_scaling.victim(state, load, command)


def near(rng: np.random.Generator, threshold: Any, shape: tuple[int, ...]) -> Any:
    """Values around a threshold, some of them on it, and multiples of it."""
    factors = rng.choice([0.0, 0.3, 0.7, 1.0, 1.2, 2.0, 3.1], size=shape)
    return threshold * np.where(rng.random(shape) < 0.5, factors, rng.random(shape) * 1.6)


def random_readings(
    rng: np.random.Generator, thresholds: Thresholds, shape: tuple[int, int, int], length: int
) -> Any:
    """Sequences of readings in which most things persist, so that checks in a row add up."""
    batch, types_, slots = shape
    reading = Reading.zeros(types_, slots, (batch,))
    reading.state[:] = random_states(rng, shape)
    calm = rng.random((batch, 1, 1)) < 0.5
    persistent_queue = near(rng, thresholds.queue[:, None], shape)
    for _ in range(length):
        change = (rng.random(shape) < 0.05) & ~calm
        reading.state[change] = rng.choice(STATES, size=shape)[change]
        load = near(rng, thresholds.high[:, None], shape)
        load = np.where(calm, thresholds.high[:, None] * rng.choice([0.6, 1.0], shape), load)
        reading.processing_ns[:] = rng.choice([92.0, 1200.0], size=shape)
        reading.arrived_pps[:] = load * 1e9 / reading.processing_ns
        fresh = rng.random(shape) < 0.05
        reading.queue[:] = np.where(
            fresh, near(rng, thresholds.queue[:, None], shape), persistent_queue
        )
        reading.load_if_blocked[:] = near(rng, thresholds.high[:, None], shape)
        reading.load_if_blocked[rng.random(shape) < 0.1] = np.inf
        reading.unsettled[:] = (rng.random((batch, types_)) < 0.15) & ~calm[..., 0]
        reading.deaths[:] = rng.integers(0, 3, (batch, types_)) * reading.unsettled
        yield reading.copy()


def test_law_agrees_on_random_reading_sequences(common_c: CommonC) -> None:
    rng = np.random.default_rng(61)
    ffi = common_c.ffi
    chain = load_chain("paper")
    batch, length, sequences = 2500, 12, 0
    grown = shrunk = kept = 0
    while sequences < 100_000:
        types_, slots = int(rng.integers(1, 7)), int(rng.integers(1, 10))
        policy = Watermark()
        policy.reset(chain)
        if sequences % 10_000 == 0:
            types_ = chain.types
        else:
            high = rng.uniform(0.05, 0.9, types_)
            policy.thresholds = Thresholds(
                high, rng.uniform(0.1, 0.99, types_) * high, 0.5 * rng.integers(31, 4096, types_)
            )
        limits = [np.ascontiguousarray(threshold) for threshold in policy.thresholds]
        c_limits = ffi.new(
            "struct fx_law_thresholds *", [common_c.array("double", each) for each in limits]
        )
        memories = ffi.new("struct fx_law_memory[]", batch)
        for reading in random_readings(rng, policy.thresholds, (batch, types_, slots), length):
            wanted = policy.decide(reading)
            load = np.ascontiguousarray(reading.load)
            c_reading = ffi.new(
                "struct fx_law_reading *",
                [
                    common_c.array("int8_t", reading.state),
                    common_c.array("double", load),
                    common_c.array("double", reading.queue),
                    common_c.array("double", reading.load_if_blocked),
                    common_c.array("uint8_t", reading.unsettled),
                    common_c.array("int64_t", reading.deaths),
                ],
            )
            got = np.empty((batch, types_), np.int64)
            common_c.lib.law_batch(
                *(batch, types_, slots, c_limits, c_reading, memories),
                common_c.array("int64_t", got),
            )
            np.testing.assert_array_equal(got, wanted)
            here = reading.running + reading.launching
            grown += np.count_nonzero(got > here)
            shrunk += np.count_nonzero(got < here)
            kept += np.count_nonzero(got == here)
        sequences += batch
    assert min(grown, shrunk, kept) > 10_000  # the random readings reach every kind of decision


def test_load_is_the_readings_to_the_last_bit(common_c: CommonC) -> None:
    rng = np.random.default_rng(67)
    reading = Reading.zeros(1, 1000)
    reading.arrived_pps[:] = rng.uniform(0, 2e7, (1, 1000))
    reading.processing_ns[:] = rng.uniform(1, 1e5, (1, 1000))
    for slot in range(1000):
        got = common_c.lib.load(reading.arrived_pps[0, slot], reading.processing_ns[0, slot])
        assert got == reading.load[0, slot]
