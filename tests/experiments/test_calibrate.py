"""Calibrating the model recovers the calibration that it was built from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexnfv.chain import Calibration, ServiceChain, load_calibration, load_chain
from flexnfv.cli import main
from flexnfv.errors import BackendError, InputError
from flexnfv.experiments import latency
from flexnfv.experiments.calibrate import (
    INTERVAL_S,
    Measured,
    alone_chain,
    calibrate,
    compare,
    estimate,
    toml,
)
from flexnfv.experiments.measure import (
    FACTORS,
    Overload,
    fit_overload,
    half_width,
    look,
    loss_free_rate,
    middle_half_width,
    split,
    together,
)
from flexnfv.experiments.workbench import BackendBench
from flexnfv.model import ModelBackend
from flexnfv.reading import Reading
from flexnfv.states import RUNNING


def altered(penalty: float, span: float, jitter: float) -> ServiceChain:
    """The paper's chain on a machine with other habits."""
    chain = load_chain("paper")
    data = chain.measured.model_dump()
    for values in data["nf"].values():
        values |= {"overload_penalty": penalty, "overload_span": span, "jitter": jitter}
    data |= {"launch_s": 0.3, "launch_spread": 0.2, "rerun_s": 0.004, "rerun_spread": 0.5}
    return chain.with_calibration(Calibration.model_validate(data))


def bench(chain: ServiceChain, nf: int = 0) -> BackendBench:
    return BackendBench(ModelBackend(alone_chain(chain, chain.nf[nf]), substeps=1))


@pytest.mark.parametrize(("penalty", "span", "jitter"), [(0.2, 0.5, 0.03), (0.0, 0.35, 0.0)])
def test_what_was_measured_on_the_model_is_what_it_was_built_from(
    tmp_path: Path, penalty: float, span: float, jitter: float
) -> None:
    chain = altered(penalty, span, jitter)
    found, findings = calibrate(chain, "model", tmp_path / "again.toml", samples=4)
    assert all(finding.holds for finding in findings)
    for function, nf in chain.measured.nf.items():
        again = found.nf[function]
        assert again.processing_ns == nf.processing_ns
        # The ring carries over bursts, so that the rate found may lie by part of the jitter off.
        assert again.loss_free_pps == pytest.approx(nf.loss_free_pps, rel=0.004 + jitter / 2)
        assert again.overload_penalty == pytest.approx(penalty, abs=0.004 + jitter / 2)
        assert again.jitter == pytest.approx(jitter, rel=0.35, abs=0.002)
        if penalty:
            assert again.overload_span == pytest.approx(span, abs=0.15)
    assert found.launch_s == pytest.approx(0.3, rel=0.1)
    assert found.launch_spread == pytest.approx(0.2, abs=0.1)
    assert found.rerun_s == pytest.approx(0.004, rel=0.35)


def test_the_file_written_is_one_that_a_chain_can_name(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    found, _ = calibrate(load_chain("single"), "model", out, samples=1)
    assert load_calibration(out) == found
    assert load_chain("single", calibration=out).measured.name == "mine"
    assert (tmp_path / "mine-report/report.html").exists()
    assert (tmp_path / "mine-report/model/monitor.csv").exists()
    samples = json.loads((tmp_path / "mine-report/samples.json").read_text())["monitor"]
    assert samples["loss_free_pps"] == [pytest.approx(found.nf["monitor"].loss_free_pps, rel=1e-4)]
    assert len(samples["launch_s"]) == len(samples["rerun_s"]) == 1
    # One instance at each of the rates, then two at once.
    assert samples["longest_ring_packets"] == [4095.0] * (len(FACTORS) + 2)
    assert samples["together"] == [pytest.approx(2.0, rel=0.06)]


def test_two_instances_serve_twice_what_one_does() -> None:
    chain = altered(0.2, 0.5, 0.0)
    served, rings = together(bench(chain), 2 * 4.43e6, 2)
    # Of 4,096 flows one gets a little more than the other, and is a little overloaded.
    assert served == pytest.approx(2 * 4.43e6, rel=0.03)
    assert rings.shape == (2,)
    assert rings.max() == 4095


def test_a_backends_own_stamps_tell_when_an_instance_began() -> None:
    class Stamped(ModelBackend):
        """Says that every second instance began 3 ms after the first reading."""

        @property
        def first_packet_s(self):
            return np.where(np.arange(self.chain.slots) == 1, self.since + 0.003, 0.0)[None]

        def step(self, decision, rows=None):
            reading = super().step(decision, rows)
            if decision[0, 0] == 1 or (reading.state[0, 0, 1] != RUNNING):
                self.since = float(reading.time_s[0])
            return reading

    chain = latency.for_latency(alone_chain(load_chain("paper"), load_chain("paper").nf[0]))
    quick = chain.with_calibration(chain.measured.model_copy(update={"launch_s": 0.01}))
    found = latency.measure(BackendBench(Stamped(quick, substeps=1)), 2e6)
    assert found.launch_s == pytest.approx(0.003, abs=1e-9)


def test_every_shipped_calibration_survives_being_written() -> None:
    import tomllib

    for name in ("paper", "edge", "ladder", "two-core"):
        shipped = load_calibration(name)
        assert Calibration.model_validate(tomllib.loads(toml(shipped))) == shipped


def test_a_hiccup_of_the_machine_is_not_taken_for_overload() -> None:
    class Stalls(BackendBench):
        """Loses half of everything at every third try."""

        tries = 0

        def set_rate(self, pps: float, *, flood: bool = False) -> None:
            self.tries += 1
            super().set_rate(pps, flood=flood)

        def read(self) -> Reading:
            reading = super().read()
            if self.tries % 3 == 0:
                reading.ring_dropped_pps[:] = reading.arrived_pps / 2
            return reading

    chain = load_chain("paper")
    stalls = Stalls(ModelBackend(alone_chain(chain, chain.nf[0]), substeps=1))
    assert loss_free_rate(stalls, 5e6) == pytest.approx(4.43e6, rel=0.005)


@pytest.mark.parametrize("guess", [1e3, 4.4e6, 1e8])
def test_the_loss_free_rate_is_found_from_any_guess(guess: float) -> None:
    assert loss_free_rate(bench(load_chain("paper")), guess) == pytest.approx(4.43e6, rel=0.005)


def test_what_ring_and_pacer_have_room_for_is_not_taken_for_what_is_carried() -> None:
    class Paced:
        """Serves 4.43 Mpps, and 20 ms of it more after a rest; its ring holds 80,000 packets."""

        nf_type = 0
        interval_s = INTERVAL_S
        rate, depth, ring = 4.43e6 * INTERVAL_S, 4.43e6 * 0.02, 80_000.0

        def set_rate(self, pps: float, *, flood: bool = False) -> None:
            self.offered = [1.2 * pps * INTERVAL_S] * 2 if flood else []
            self.usual, self.tokens, self.queue = pps * INTERVAL_S, self.depth, 0.0
            self.read()

        def set_instances(self, count: int) -> None:
            raise AssertionError(count)

        def wait(self, seconds: float) -> None:
            for _ in range(round(seconds / INTERVAL_S)):
                self.read()

        def read(self) -> Reading:
            offered = self.offered.pop() if self.offered else self.usual
            waiting = self.queue + offered
            served = min(waiting, self.rate + self.tokens)
            self.tokens = min(self.tokens + self.rate - served, self.depth)
            self.queue = min(waiting - served, self.ring)
            reading = Reading.zeros(1, 1)
            reading.state[:] = 2
            reading.arrived_pps[:] = offered / INTERVAL_S
            reading.served_pps[:] = served / INTERVAL_S
            reading.ring_dropped_pps[:] = (waiting - served - self.queue) / INTERVAL_S
            reading.queue[:] = self.queue / 20  # as on a dataplane at a scale of 1/20
            return reading

    assert loss_free_rate(Paced(), 7e6) == pytest.approx(4.43e6, rel=0.004)


def test_an_instance_that_loses_nothing_has_no_rate_to_be_found() -> None:
    class Endless:
        """Carries whatever comes."""

        nf_type = 0
        interval_s = INTERVAL_S

        def __init__(self) -> None:
            self.reading = Reading.zeros(1, 1)
            self.reading.state[:] = 2

        def set_rate(self, pps: float, *, flood: bool = False) -> None:
            self.reading = self.reading.copy()
            self.reading.arrived_pps[:] = pps
            self.reading.served_pps[:] = pps

        def set_instances(self, count: int) -> None:
            raise AssertionError(count)

        def wait(self, seconds: float) -> None:
            pass

        def read(self) -> Reading:
            return self.reading

    with pytest.raises(BackendError, match="lost nothing"):
        loss_free_rate(Endless(), 1e6)


def test_a_look_counts_what_was_offered_served_and_lost() -> None:
    seen = look(bench(altered(0.0, 0.35, 0.0)), 2 * 4.43e6)
    assert seen.offered_pps == pytest.approx(2 * 4.43e6)
    assert seen.served_pps == pytest.approx(4.43e6)
    assert seen.lost_share == pytest.approx(0.5, abs=1e-3)
    assert seen.queue == pytest.approx(4095)


def test_the_split_is_the_one_that_the_flows_hashes_give() -> None:
    chain = load_chain("paper")
    shares = split(bench(chain), 2e6, 2)
    assert shares.sum() == pytest.approx(1)
    assert 0.5 < shares[0] < 0.55
    even = split(bench(chain.replace(mapping="even")), 2e6, 4)
    np.testing.assert_allclose(even, 0.25, atol=0.015)  # buckets of flows, not single ones


@given(
    penalty=st.floats(0.01, 0.5),
    span=st.floats(0.1, 0.9).map(lambda value: round(value, 2)),
)
@settings(max_examples=30, deadline=None)
def test_the_overload_fit_returns_the_curve_it_was_given(penalty: float, span: float) -> None:
    offered = np.array([1.05, 1.1, 1.2, 1.35, 1.6, 2.0])
    served = 1 - penalty * np.minimum((offered - 1) / span, 1)
    found = fit_overload(Overload(offered, served))
    assert found[0] == pytest.approx(penalty, rel=1e-6)
    assert found[1] == pytest.approx(span)


def test_the_half_width_of_uniform_samples_is_theirs() -> None:
    samples = np.random.default_rng(1).uniform(0.9, 1.1, 100_000)
    assert half_width(samples) == pytest.approx(0.1, rel=0.01)
    assert middle_half_width(samples) == pytest.approx(0.1, rel=0.02)
    stalled = np.concatenate([samples, np.zeros(5_000)])
    assert middle_half_width(stalled) == pytest.approx(0.1, rel=0.1)
    assert half_width(stalled) > 0.3
    assert half_width([1.0]) == 0.0
    assert half_width([2.0, 2.0]) == 0.0


@pytest.mark.parametrize(("launch_s", "rerun_s"), [(0.998, 0.001), (0.015, 0.00001), (0.1, 0.05)])
def test_latencies_are_read_far_finer_than_the_interval(launch_s: float, rerun_s: float) -> None:
    chain = load_chain("paper")
    data = chain.measured.model_dump() | {"launch_s": launch_s, "rerun_s": rerun_s}
    chain = chain.with_calibration(Calibration.model_validate(data))
    backend = ModelBackend(latency.for_latency(chain))
    found = latency.measure(BackendBench(backend, nf_type=1), 2e6)
    assert found.launch_s == pytest.approx(launch_s, abs=2e-4)
    assert found.rerun_s == pytest.approx(rerun_s, abs=2e-4)


def test_an_existing_output_or_another_suffix_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept-report").mkdir()
    (tmp_path / "kept-report/page").write_text("mine")
    command = ["calibrate", "--backend", "model", "--chain", "single", "--samples", "1", "--out"]
    assert main([*command, str(tmp_path / "kept.toml")]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert not (tmp_path / "kept.toml").exists()
    with pytest.raises(InputError, match=r"\.toml"):
        calibrate(load_chain("single"), "model", tmp_path / "kept.json")


def test_the_loss_free_rate_is_found_though_rings_at_a_scale_fill_slowly() -> None:
    chain = altered(0.0, 0.35, 0.0)
    slow = chain.with_calibration(chain.measured.model_copy(update={"scale": 1 / 20}))
    # A ring of 4,095 places takes up 18 ms of the traffic: 2 % too much would fill it in a second.
    assert loss_free_rate(bench(slow), 5e6) == pytest.approx(4.43e6, rel=0.005)


def test_a_declared_processing_time_is_called_so_beside_what_was_measured() -> None:
    def found(*, declared: bool) -> Measured:
        return Measured(
            processing_ns=np.array([92.1, 92.1]),
            inside_ns=np.array([11.0, 13.0, 12.0]),
            declared=declared,
            loss_free_pps=np.array([4.4e6, 4.4e6]),
            overload=Overload(np.array(FACTORS), np.ones(len(FACTORS))),
            served=np.ones(4),
            rings=np.zeros(7),
            together=np.array([2.0]),
            latencies=[],
            imbalance=[],
        )

    paced, plain = estimate(found(declared=True)), estimate(found(declared=False))
    assert paced.processing_ns == plain.processing_ns == 92.1
    assert "declared, not measured" in paced.source
    assert "inside process() it measures 12.0 ns ±" in paced.source
    assert plain.source.startswith("processing time measured")
    rows = compare("monitor", found(declared=True), found(declared=True)).rows
    (row,) = [row for row in rows if row["figure"] == "time inside process(), ns"]
    assert (row["measured"], row["model"], row["samples"]) == (12.0, "", 3)
