"""Policies that misbehave on a live chain: no interval without valid targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from flexnfv.chain import load_chain
from flexnfv.decision import KEEP, Decision
from flexnfv.deploy import deploy
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.traces import Trace
from tests.policies.networks import write_exceedance_bundle

pytestmark = pytest.mark.dataplane

FAULTS = "spin+sleep+raise+not a number+shape+negative+huge"
INTERVALS = 250


def test_twenty_live_faults_leave_no_interval_without_valid_targets(
    wild: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = load_chain("paper").replace(interval_s=0.1)
    sent = []
    send = LiveBackend.send

    def watched(self: LiveBackend, decision: Decision) -> None:
        sent.append(np.array(decision.targets[0]))
        send(self, decision)

    monkeypatch.setattr(LiveBackend, "send", watched)
    status = deploy(
        f"fickle:share=0.6,faults={FAULTS}",
        chain,
        out=tmp_path / "run",
        trace=Trace("waves", 3e6 + 2e6 * np.sin(np.arange(600) / 9), 0.1),
        options={"folder": tmp_path / "manager"},
        intervals=INTERVALS,
    )
    assert status["state"] == "stopped"
    assert status["lost_rows"] == 0
    table = parquet.ParquetFile(tmp_path / "run" / "record.parquet").read()
    assert table.num_rows == INTERVALS
    faults = [str(fault or "") for fault in table["fault"].to_pylist()]
    struck = [f for f in faults if f.startswith(("raised", "invalid", "late: no answer", "died"))]
    assert len(struck) >= 20
    assert {fault.partition(":")[0] for fault in struck} >= {"raised", "invalid", "late"}
    by_law = np.array(table["decided_by"].to_pylist()[1:]) == "law"
    np.testing.assert_array_equal(by_law, [bool(fault) for fault in faults[1:]])
    recorded, law = (
        np.stack([table[f"{nf}.{name}"].to_numpy() for nf in chain.nf_names], axis=1)[1:]
        for name in ("targets", "law_targets")
    )
    assert (recorded >= 1).all()
    assert (recorded <= chain.max_instances).all()
    np.testing.assert_array_equal(recorded, np.array(sent))
    np.testing.assert_array_equal(recorded[by_law], law[by_law])


def test_a_bundle_stops_live_what_it_does_not_keep_parked(tmp_path: Path) -> None:
    chain = load_chain("paper").replace(interval_s=0.1)
    bundle = write_exceedance_bundle(tmp_path / "any.onnx")
    status = deploy(
        f"{bundle}:drop_target=0.01",
        chain,
        out=tmp_path / "run",
        trace=Trace("waves", 4e6 + 3.5e6 * np.sin(np.arange(300) / 9), 0.1),
        options={"folder": tmp_path / "manager"},
        intervals=150,
    )
    assert status["policy"]["decided"] >= 140
    table = parquet.ParquetFile(tmp_path / "run" / "record.parquet").read()
    spares, running, blocked, draining, targets = (
        np.stack([table[f"{nf}.{name}"].to_numpy() for nf in chain.nf_names], axis=1)
        for name in ("spares", "running", "blocked", "draining", "targets")
    )
    by_policy = np.array(table["decided_by"].to_pylist()[1:]) == "policy"
    assert (spares[1:][by_policy] != KEEP).all()
    here = running + blocked + draining
    assert len(np.unique(targets)) > 2
    stopped = (np.diff(here, axis=0) < 0) & (np.diff(running, axis=0) == 0)
    assert stopped.any(), "parked ones went while as many ran on"
