"""The experiments' commands on the dataplane, short; `make reproduce` holds the claims.

What a live chain measures depends on who else uses the cores, so nothing is said of rates here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexnfv.chain import load_chain
from flexnfv.experiments import calibrate as calibration
from flexnfv.experiments import measure
from flexnfv.experiments.calibrate import calibrate
from flexnfv.experiments.fidelity import fidelity
from flexnfv.experiments.reproduce import reproduce
from flexnfv.traces import load_trace

pytestmark = pytest.mark.dataplane


def test_launch_and_rerun_are_measured_live(tmp_path: Path) -> None:
    result = reproduce(["launch"], ["dpdk"], tmp_path / "out", options={"scale": 1 / 20}, runs=1)
    (finding,) = result.findings["dpdk"]
    (row,) = finding.rows
    assert (
        0 <= float(row["launch_ms"]) < 20_000
    )  # 0: it began within the time that it takes to tell
    facts = json.loads((tmp_path / "out/result.json").read_text())["facts"]
    assert facts["dpdk"]["scale"] == pytest.approx(1 / 20)
    assert "token bucket" in facts["dpdk"]["pacing"]


def test_a_live_run_is_compared_with_the_model_second_by_second(tmp_path: Path) -> None:
    trace = load_trace("synthetic/flash_crowd?peak=4e6&end=8")
    (finding,) = fidelity(
        load_chain("paper"),
        trace,
        ["watermark"],
        tmp_path / "out",
        replay_targets=True,
        options={"scale": 1 / 20},
    )
    assert len(finding.claims) == 5
    assert 4 <= len(finding.rows) <= 8
    assert "dpdk: delivered_pps" in finding.rows[0]


def test_an_nf_is_calibrated_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PRECISION", 0.1)  # a short search
    for module in (measure, calibration):
        monkeypatch.setattr(module, "FACTORS", (1.2, 2.0))
    monkeypatch.setattr(calibration, "SPLITS", (2,))
    out = tmp_path / "here.toml"
    found, _ = calibrate(load_chain("single"), "dpdk", out, samples=1, scale=1 / 20)
    assert found.scale == pytest.approx(1 / 20)
    # Paced to the rate of the chain's calibration, 4.43 Mpps; the width is for busy cores.
    assert found.nf["monitor"].loss_free_pps == pytest.approx(4.43e6, rel=0.5)
    assert "inside process() it measures" in found.nf["monitor"].source
    assert load_chain("single", calibration=out).measured == found
