"""Readings from hand-made snapshots: the arithmetic, without a dataplane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexnfv.chain import load_chain
from flexnfv.hw_backend.abi import PAGE_BYTES, PAGE_DTYPE, Snapshot
from flexnfv.hw_backend.interval import Buffer, Watch, reading_between
from flexnfv.states import BLOCKED, RUNNING, STOPPED

CHAIN = load_chain("paper").replace(mapping="algorithm1")
SLOTS = 8
SCALE = 0.05
SECOND = 1_000_000_000


class Page:
    """A page of the paper's chain that a test fills by hand."""

    def __init__(self, time_s: float) -> None:
        self._bytes = np.zeros(PAGE_BYTES, np.uint8)
        self.record: Any = self._bytes.view(PAGE_DTYPE)[0]
        self.record["time_ns"] = int(time_s * SECOND)
        self.record["types"], self.record["ports"], self.record["chains"] = 3, 1, 1
        for t in range(3):
            self.record["type"][t]["first"] = t * SLOTS
            self.record["type"][t]["max_instances"] = SLOTS
            for slot in range(SLOTS):
                one = self.instance(t, slot)
                one["type"], one["slot"] = t, slot
            self.instance(t, 0)["state"] = RUNNING

    def instance(self, nf_type: int, slot: int) -> Any:
        return self.record["instance"][nf_type * SLOTS + slot]

    def snapshot(self) -> Snapshot:
        return Snapshot(self._bytes)


@pytest.fixture
def pages() -> tuple[Page, Page]:
    """Two pages, half a second apart."""
    return Page(10.0), Page(10.5)


def read(before: Page, after: Page, scale: float = SCALE, *between: Page) -> Any:
    watch = Watch(before.snapshot())
    for page in (*between, after):
        watch.add(page.snapshot())
    buffer = Buffer(CHAIN)
    for array in buffer.arrays.values():
        array[...] = 1  # of a reading before
    made = before.snapshot(), after.snapshot()
    return reading_between(CHAIN, scale, 9 * SECOND, *made, watch, buffer)[0]


def test_counts_become_the_chains_own_rates(pages: tuple[Page, Page]) -> None:
    before, after = pages
    before.record["offered"], after.record["offered"] = 1000, 6000
    after.record["delivered"] = 3000
    after.record["dropped"][:3] = 100, 20, 3
    after.record["chain"][0]["shed"] = 7
    after.record["port"][0]["missed"] = 50
    after.record["type"][1]["unmapped"] = 20
    after.instance(0, 0)["arrived"], after.instance(0, 0)["served"] = 5000, 4900
    after.instance(0, 0)["ring_dropped"], after.instance(0, 0)["lost"] = 60, 40
    reading = read(before, after)
    per = 1 / (0.5 * SCALE)
    assert float(reading.time_s) == pytest.approx(1.5)
    assert float(reading.interval_s) == pytest.approx(0.5)
    assert float(reading.offered_pps) == pytest.approx((5000 + 50) * per)
    assert float(reading.delivered_pps) == pytest.approx(3000 * per)
    assert float(reading.dropped_pps) == pytest.approx((123 + 50) * per)
    assert float(reading.shed_pps) == pytest.approx(7 * per)
    np.testing.assert_allclose(reading.unmapped_pps, [0, 20 * per, 0])
    assert reading.arrived_pps[0, 0] == pytest.approx(5000 * per)
    assert reading.served_pps[0, 0] == pytest.approx(4900 * per)
    assert reading.ring_dropped_pps[0, 0] == pytest.approx(100 * per)
    assert reading.arrived_pps.sum() == pytest.approx(5000 * per)


@pytest.mark.parametrize(
    ("declared", "page_ns", "expected_ns"), [(1, 1842.0, 92.1), (0, 70.0, 70.0), (0, 0.0, 92.1)]
)
def test_processing_time_is_declared_measured_or_calibrated(
    pages: tuple[Page, Page], declared: int, page_ns: float, expected_ns: float
) -> None:
    before, after = pages
    after.instance(0, 0)["declared"], after.instance(0, 0)["processing_ns"] = declared, page_ns
    reading = read(before, after)
    assert reading.processing_ns[0, 0] == pytest.approx(expected_ns)
    assert reading.processing_ns[1, 0] == pytest.approx(CHAIN.processing_ns[1])


def test_loads_and_their_prediction_mean_the_same_at_every_scale(
    pages: tuple[Page, Page],
) -> None:
    before, after = pages
    for slot, arrived in enumerate((50_000, 30_000, 10_000)):
        one = after.instance(0, slot)
        one["state"], one["arrived"], one["declared"] = RUNNING, arrived, 1
        one["processing_ns"] = 92.1 / SCALE
    reading = read(before, after)
    erlangs = np.array([50_000, 30_000, 10_000]) / 0.5 * 92.1e-9 / SCALE
    np.testing.assert_allclose(reading.load[0, :3], erlangs)
    # Algorithm 1: the first one's load would go to the second, the third's to the first.
    np.testing.assert_allclose(
        reading.load_if_blocked[0, :3],
        [
            erlangs[0] + erlangs[1],
            max(erlangs[0], erlangs[1] + erlangs[2]),
            erlangs[0] + erlangs[2],
        ],
    )
    assert np.isinf(reading.load_if_blocked[0, 3:]).all()


def test_commands_are_those_since_the_interval_began(pages: tuple[Page, Page]) -> None:
    before, after = pages
    names = ("launches", "reruns", "blocks", "stops", "deaths", "clipped")
    for number, name in enumerate(names):
        before.record["type"][2][name] = 5
        after.record["type"][2][name] = 6 + number
    before.record["type"][2]["flows_moved"], after.record["type"][2]["flows_moved"] = 0.25, 1.0
    reading = read(before, after)
    for number, name in enumerate(names):
        assert getattr(reading, name).tolist() == [0, 0, 1 + number]
    assert reading.flows_moved.tolist() == [0, 0, 0.75]


@pytest.mark.parametrize(("joined_s", "unsettled"), [(0.0, False), (9.9, False), (10.2, True)])
def test_a_type_is_unsettled_by_who_joined_within_the_interval(
    pages: tuple[Page, Page], joined_s: float, unsettled: bool
) -> None:
    before, after = pages
    after.record["type"][0]["joined_ns"] = int(joined_s * SECOND)
    assert read(before, after).unsettled.tolist() == [unsettled, False, False]


def test_peaks_between_the_ends_are_seen(pages: tuple[Page, Page]) -> None:
    before, after = pages
    between = Page(10.2)
    between.instance(0, 0)["queue_peak"] = 900
    after.instance(0, 0)["queue_peak"], after.instance(0, 0)["queue"] = 300, 200
    reading = read(before, after, SCALE, between)
    assert reading.queue_peak[0, 0] == 900
    assert reading.queue[0, 0] == 200


def test_latency_is_what_waits_over_what_passes(pages: tuple[Page, Page]) -> None:
    before, after = pages
    before.instance(0, 0)["queue"] = after.instance(0, 0)["queue"] = 100
    after.instance(0, 0)["served"] = 10_000
    reading = read(before, after)
    served_pps = 10_000 / 0.5 / SCALE
    assert float(reading.latency_s) == pytest.approx(100 / SCALE / served_pps + 92.1e-9)


def test_energy_is_that_of_the_core_states(pages: tuple[Page, Page]) -> None:
    before, after = pages
    for page in pages:
        page.instance(0, 1)["state"] = BLOCKED
        page.instance(0, 1)["state_since_ns"] = 8 * SECOND
    after.instance(0, 0)["served"] = 50_000
    reading = read(before, after)
    power = CHAIN.measured.power
    busy_s = 50_000 / SCALE * 92.1e-9
    joules = busy_s * power.busy_w + (3 * 0.5 - busy_s) * power.idle_poll_w + 0.5 * power.parked_w
    assert float(reading.energy_j) == pytest.approx(joules)
    assert reading.parked_s[0, 1] == pytest.approx(2.5)


def test_slots_that_are_stopped_show_nothing(pages: tuple[Page, Page]) -> None:
    before, after = pages
    after.instance(1, 3)["start_kind"] = 2  # how its last instance came to run
    reading = read(before, after)
    assert reading.state[1, 3] == STOPPED
    assert reading.start_kind[1, 3] == 0
    assert reading.parked_s.sum() == 0
