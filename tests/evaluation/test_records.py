"""What is kept of every interval, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.evaluation import Result
from flexnfv.evaluation.episodes import run_episode
from flexnfv.evaluation.records import Recorder, read_episode, write_episode
from flexnfv.model import ModelBackend
from flexnfv.policy import make_policy
from flexnfv.reading import Reading
from flexnfv.records import COLUMNS, off_rate
from flexnfv.traces import Trace, load_trace


def test_a_file_has_a_row_per_interval_and_a_documented_column_per_figure_and_type(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    bench(out=tmp_path / "out")
    file = next((tmp_path / "out").glob("records/ample*/wave*.0.parquet"))
    schema = parquet.read_schema(file)
    chain = [column.name for column in COLUMNS if not column.per_type]
    types = [f"{nf}.{c.name}" for c in COLUMNS if c.per_type for nf in ("NF1", "NF2", "NF3")]
    assert schema.names == chain + types
    assert all(schema.field(name).metadata[b"doc"] for name in schema.names)
    assert schema.field("offered_pps").metadata[b"unit"] == b"1/s"
    assert parquet.read_metadata(file).num_rows == 64
    facts = read_episode(file).facts
    assert (facts["policy"], facts["trace"], facts["seed"]) == ("ample", "wave", 0)
    assert facts["backend"]["name"] == "toy"


def test_the_first_row_ran_under_the_initial_instances_and_the_next_under_a_decision(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    result = bench(out=tmp_path / "out")
    records = result.episode("ample", 0)
    assert records.types["targets"][0].tolist() == [1, 1, 1]
    assert np.isnan(records.chain["decision_s"][0])
    assert (records.chain["decision_s"][1:] > 0).all()
    # The toy backend grants every target at once.
    np.testing.assert_array_equal(records.types["running"], records.types["targets"])


def test_what_is_written_reads_back_to_the_bit(tmp_path: Path) -> None:
    chain = load_chain("two-paths")
    rng = np.random.default_rng(0)
    recorder = Recorder(chain)
    for _ in range(5):
        reading = Reading.zeros(chain.types, chain.slots)
        for _, array in reading.items():
            array[...] = rng.integers(0, 5, array.shape)
        recorder.add(reading, rng.integers(1, 8, chain.types), rng.random())
    written = recorder.episode({"trace": "t", "seed": 3}, None)
    write_episode(written, tmp_path / "one.parquet")
    read = read_episode(tmp_path / "one.parquet")
    assert read.nf_names == chain.nf_names
    assert read.facts == {"trace": "t", "seed": 3}
    for column in COLUMNS:
        group = ("types" if column.per_type else "chain", column.name)
        kept, found = (getattr(e, group[0])[group[1]] for e in (written, read))
        assert kept.dtype == found.dtype == column.dtype
        np.testing.assert_array_equal(kept, found)


def test_a_reading_may_be_reused_by_the_backend_after_it_was_kept() -> None:
    chain = load_chain("single")
    recorder = Recorder(chain)
    reading = Reading.zeros(1, chain.slots)
    for value in (1.0, 2.0):
        reading.offered_pps[...] = value
        recorder.add(reading, np.ones(1, np.int64), 0.0)
    assert recorder.episode({}, None).chain["offered_pps"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", b"x" * 4096])
def test_a_damaged_record_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"one\.parquet.*damaged"):
        read_episode(path)


def test_somebody_elses_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "one.parquet"
    parquet.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(InputError, match="not a record of ours"):
        read_episode(path)


def test_the_wanted_rate_stands_beside_the_offered_one_and_what_differs_is_marked() -> None:
    chain = load_chain("paper")
    trace = Trace("steps", np.array([1e6, 2e6, 3e6, 4e6, 5e6]), 1.0)
    recorder = Recorder(chain)
    # The third reading was late and covers two seconds; the last one was offered 2 % too much.
    for end_s, length_s, offered in ((1, 1, 1e6), (2, 1, 2.01e6), (4, 2, 3.5e6), (5, 1, 5.1e6)):
        reading = Reading.zeros(chain.types, chain.slots)
        reading.time_s[...], reading.interval_s[...] = end_s, length_s
        reading.offered_pps[...] = offered
        recorder.add(reading, np.ones(3, np.int64), 0.0)
    found = recorder.episode({}, trace)
    np.testing.assert_allclose(found.chain["wanted_pps"], [1e6, 2e6, 3.5e6, 5e6])
    assert found.chain["off_rate"].tolist() == [False, False, False, True]
    alone = recorder.episode({}, None)
    assert np.isnan(alone.chain["wanted_pps"]).all()
    assert not alone.chain["off_rate"].any()


def test_a_short_interval_may_be_off_by_part_of_a_seconds_packets() -> None:
    reading = Reading.zeros(3, 8, (3,))
    reading.interval_s[...] = 0.1
    reading.offered_pps[...] = [1e6, 1.09e6, 1.11e6]
    reading.time_s[...] = [0.1, 0.2, 1.1]
    assert off_rate(reading, np.full(3, 1e6)).tolist() == [False, False, True]


def test_a_second_that_is_off_marks_all_of_its_readings() -> None:
    reading = Reading.zeros(3, 8, (30, 2))
    reading.interval_s[...] = 0.1
    reading.time_s[...] = 0.1 * np.arange(1, 31)[:, None]
    reading.offered_pps[...] = 1e6
    reading.offered_pps[10:20, 0] *= 0.985  # 1.5 % in each of a second's intervals
    reading.offered_pps[10:20, 1] *= np.tile([1.05, 0.95], 5)  # in the sum it is right
    found = off_rate(reading, np.full((30, 2), 1e6))
    assert found[:, 0].tolist() == [False] * 10 + [True] * 10 + [False] * 10
    assert not found[:, 1].any()


def test_the_model_offers_what_the_trace_wants() -> None:
    chain = load_chain("paper").replace(interval_s=0.7)
    found = run_episode(
        make_policy("static"),
        ModelBackend(chain),
        load_trace("synthetic/self_similar").cut(0, 60),
        1,
    )
    np.testing.assert_allclose(found.chain["wanted_pps"], found.chain["offered_pps"], rtol=1e-9)
    assert not found.chain["off_rate"].any()
    assert "timing" not in found.facts
