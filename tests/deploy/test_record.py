"""What a deployment keeps, and what can be made of it."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from pyarrow import parquet

import flexnfv.deploy.scribe
from flexnfv.chain import ServiceChain
from flexnfv.cli import main
from flexnfv.deploy import Deployment, deploy
from flexnfv.deploy.record import join_parts, readings
from flexnfv.deploy.scribe import Scribe
from flexnfv.deploy.status import Tally, read_status
from flexnfv.errors import InputError
from flexnfv.evaluation.records import read_episode
from flexnfv.model import ModelBackend
from flexnfv.policy import make_policy
from flexnfv.traces import Trace, load_trace
from tests.policies.networks import write_random_bundle

COUNT = 120


@pytest.fixture(scope="module")
def bundle(chain: ServiceChain, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_bundle(tmp_path_factory.mktemp("bundle") / "some.onnx", chain))


@pytest.fixture(scope="module")
def run(chain: ServiceChain, waves: Trace, bundle: str, tmp_path_factory) -> Path:
    """A bundle with two shadows beside it, one of them a bundle, too."""
    out = tmp_path_factory.mktemp("runs") / "run"
    deploy(
        bundle,
        chain,
        out=out,
        shadows=("random", bundle, "watermark"),
        trace=waves,
        intervals=COUNT,
        seed=7,
        backend="model",
        deadline_s=1.0,
    )
    return out


def targets_of(table, prefix: str, chain: ServiceChain, suffix: str = "targets") -> np.ndarray:
    columns = [table[f"{prefix}{nf}.{suffix}"].to_numpy() for nf in chain.nf_names]
    return np.stack(columns, axis=-1)


def test_the_recorded_readings_lead_every_policy_to_the_recorded_targets(
    run: Path, chain: ServiceChain, bundle: str
) -> None:
    table = parquet.ParquetFile(run / "record.parquet").read()
    kept = list(readings(run / "record.parquet"))
    assert len(kept) == table.num_rows == COUNT
    for spec, prefix, suffix in (
        (bundle, "", "targets"),
        ("random", "shadow.random.", "targets"),
        ("watermark", "shadow.watermark.", "targets"),
    ):
        policy = make_policy(spec)
        policy.reset(chain, 7)
        decided = np.stack([policy.decide(reading) for reading in kept[:-1]])
        np.testing.assert_array_equal(decided, targets_of(table, prefix, chain, suffix)[1:])
    assert set(table["decided_by"].to_pylist()[1:]) == {"policy"}
    assert table["fault"].null_count == COUNT
    assert (np.diff(table["clock_s"].to_numpy()) > 0).all()
    assert (table["send_s"].to_numpy()[1:] > 0).all()


def test_shadows_are_recorded_and_never_applied(
    run: Path, chain: ServiceChain, waves: Trace, bundle: str, tmp_path: Path
) -> None:
    deploy(
        bundle,
        chain,
        out=tmp_path / "alone",
        trace=waves,
        intervals=COUNT,
        seed=7,
        backend="model",
        deadline_s=1.0,
    )
    alone = readings(tmp_path / "alone" / "record.parquet")
    beside = readings(run / "record.parquet")
    assert all(one == other for one, other in zip(alone, beside, strict=True))
    table = parquet.ParquetFile(run / "record.parquet").read()
    shadow = targets_of(table, "shadow.random.", chain)[1:]
    assert (shadow != targets_of(table, "", chain)[1:]).any()
    status = read_status(run)
    assert [one["name"] for one in status["shadows"]] == ["random", bundle, "watermark"]
    assert status["shadows"][1]["agreed"] == 1.0


def test_a_record_is_what_evaluations_read(run: Path, chain: ServiceChain) -> None:
    episode = read_episode(run / "record.parquet")
    assert episode.nf_names == chain.nf_names
    assert len(episode) == COUNT
    kept = list(readings(run / "record.parquet"))
    np.testing.assert_array_equal(episode.chain["offered_pps"], [r.offered_pps for r in kept])
    np.testing.assert_array_equal(episode.types["running"], [r.running for r in kept])
    assert episode.facts["seed"] == 7
    assert episode.facts["backend"]["name"] == "model"


def test_a_record_is_a_trace(run: Path, waves: Trace, tmp_path: Path) -> None:
    again = load_trace(run / "record.parquet")
    assert again.step_s == 1.0
    np.testing.assert_allclose(again.rate_pps, waves.rate_pps[:COUNT], rtol=1e-9)
    out = tmp_path / "imported.csv"
    assert main(["traces", "import", str(run / "record.parquet"), "--out", str(out)]) == 0
    np.testing.assert_array_equal(load_trace(out).rate_pps, again.rate_pps)


def test_parts_join_to_the_same_rows_and_leave_nothing_behind(
    run: Path, chain: ServiceChain, waves: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flexnfv.deploy.scribe, "_MOST_ROWS", 16)
    joined: list[Path] = []

    def later(directory: Path) -> None:
        joined.append(directory)

    monkeypatch.setattr(flexnfv.deploy.scribe, "join_parts", later)
    out = tmp_path / "parts"
    deploy(
        "watermark",
        chain,
        out=out,
        trace=waves,
        intervals=COUNT,
        seed=7,
        backend="model",
        deadline_s=1.0,
    )
    assert joined == [out]
    parts = sorted((out / "record").iterdir())
    assert len(parts) == -(-COUNT // 16)
    apart = [reading for part in parts for reading in readings(part)]
    (out / "record" / ".000000000999.parquet.part").write_bytes(b"half")
    file = join_parts(out)
    assert parquet.ParquetFile(file).num_row_groups == len(parts)
    assert all(one == two for one, two in zip(apart, readings(file), strict=True))
    assert len(apart) == COUNT
    assert not (out / "record").exists()
    with pytest.raises(InputError, match="joined already"):
        join_parts(out)


def test_a_full_disk_costs_records_but_not_the_chain(
    chain: ServiceChain, waves: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flexnfv.deploy.scribe, "write_part", full)
    status = deploy(
        "watermark",
        chain,
        out=tmp_path / "run",
        trace=waves,
        intervals=50,
        backend="model",
        deadline_s=1.0,
    )
    assert (status["state"], status["intervals"], status["lost_rows"]) == ("stopped", 50, 50)
    assert "No space left" in (tmp_path / "run" / "deploy.log").read_text()


def test_rows_are_saved_behind_one_that_comes_or_when_none_comes_for_long(
    chain: ServiceChain, waves: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save by the clock could fall into a decision; one behind a row comes after it."""
    with Deployment("watermark", ModelBackend(chain), trace=waves) as made:
        rows = list(made.rows(intervals=3))
    monkeypatch.setattr(flexnfv.deploy.scribe, "_SAVE_S", 1.0)
    tally = Tally(chain, made.policy, made.shadows, made.backend.description)
    scribe = Scribe(tmp_path, chain, (), {}, tally, lambda status: None, patient=True)

    def saved() -> int:
        parts = (tmp_path / "record").glob("[0-9]*.parquet")
        return sum(parquet.ParquetFile(part).metadata.num_rows for part in parts)

    def reaches(count: int) -> bool:
        until = monotonic() + 30.0
        while saved() < count and monotonic() < until:
            sleep(0.02)
        return saved() == count

    scribe.add(rows[0])
    sleep(1.5)  # the save is due, but a row may still come: they do every second
    assert saved() == 0
    scribe.add(rows[1])
    assert reaches(2)
    scribe.add(rows[2])
    assert reaches(3)
    scribe.close("stopped")


def test_a_file_of_somebody_else_holds_no_readings(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "some.parquet"
    parquet.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(InputError, match="no record of a deployment"):
        next(readings(path))


def test_faults_stand_in_the_record_with_their_reason(
    wild: Path, chain: ServiceChain, waves: Trace, tmp_path: Path
) -> None:
    status = deploy(
        "fickle:share=1,faults=write",
        chain,
        out=tmp_path / "run",
        trace=waves,
        intervals=20,
        backend="model",
        deadline_s=1.0,
    )
    table = parquet.ParquetFile(tmp_path / "run" / "record.parquet").read()
    assert table["fault"].to_pylist()[1:] == ["raised: ValueError: several lines"] * 19
    assert set(table["decided_by"].to_pylist()[1:]) == {"law"}
    law = targets_of(table, "", chain, "law_targets")[1:]
    np.testing.assert_array_equal(targets_of(table, "", chain)[1:], law)
    assert status["policy"]["faults"] == {"raised": 19}
    assert status["policy"]["replaced_by_law"] == 19
    log = (tmp_path / "run" / "deploy.log").read_text()
    assert "(1 in a row)" in log
    assert "(10 in a row)" in log
    assert json.loads((tmp_path / "run" / "status.json").read_text()) == status
