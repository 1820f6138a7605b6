"""Chain files: the shipped ones load, and every bad one is refused by file, key and range."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexnfv.chain import load_calibration, load_chain, shipped
from flexnfv.errors import InputError
from flexnfv.mapping import MappingKind

GOOD = """
name = "mine"
calibration = "paper"
core_budget = 8

[[nf]]
name = "first"
function = "monitor"
max_instances = 4

[[nf]]
name = "second"
function = "forwarder"
"""
CALIBRATION = """
name = "measured"
launch_s = 0.5
rerun_s = 0.001
[nf.monitor]
processing_ns = 100.0
loss_free_pps = 4e6
"""


def written(tmp_path: Path, text: str, name: str = "chain.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", list(shipped("chains")))
def test_every_shipped_chain_loads_and_is_consistent(name: str) -> None:
    chain = load_chain(name)
    assert chain.name == name
    assert (chain.low_load < chain.high_load).all()
    assert (chain.high_load < chain.max_load).all()
    assert chain.path_shares.sum() == pytest.approx(1.0)
    assert (chain.initial_instances * chain.cores_per_instance).sum() <= chain.core_budget


@pytest.mark.parametrize("name", list(shipped("calibration")))
def test_every_shipped_calibration_loads(name: str) -> None:
    assert load_calibration(name).name == name


def test_the_papers_loads_and_watermarks() -> None:
    chain = load_chain("paper")
    assert chain.max_load == pytest.approx([0.408, 0.660, 0.802], abs=0.001)
    high_pps = chain.high_load / chain.processing_ns * 1e9
    assert high_pps / 1e6 == pytest.approx([3.02, 4.16, 5.39], abs=0.01)
    assert chain.low_load == pytest.approx(chain.high_load / 2)
    assert chain.ring_slots.tolist() == [4095] * 3
    assert chain.measured.launch_s == 0.998
    assert chain.interval_s == 1.0


def test_a_good_file_loads_with_its_defaults(tmp_path: Path) -> None:
    chain = load_chain(written(tmp_path, GOOD))
    assert chain.nf_names == ("first", "second")
    assert chain.paths == ((0, 1),)
    assert chain.slots == 8
    assert chain.max_instances.tolist() == [4, 8]
    assert chain.mapping_kinds.tolist() == [MappingKind.ALGORITHM1] * 2
    assert chain.park_timeout_s is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[nf]]", "[[nf", "not valid TOML"),
        ('name = "mine"', 'name = "mine"\nname = "twice"', "not valid TOML"),
        ('name = "mine"\n', "", "name: Field required"),
        ("core_budget = 8\n", "", "core_budget: Field required"),
        ('name = "mine"', 'name = ""', "name: .*at least 1 character"),
        ('name = "mine"', 'name = "a b"', "name: .*pattern"),
        ("core_budget = 8", "core_budget = 0", "core_budget: .*greater than or equal to 1.*got 0"),
        ("core_budget = 8", "core_budget = 2.5", "core_budget: .*got 2.5"),
        ("core_budget = 8", 'core_budget = "many"', "core_budget: .*got 'many'"),
        ("core_budget = 8", "core_budget = 1", "core_budget: 1 cores cannot hold the 2 cores"),
        ("core_budget = 8", "core_budget = 8\nbudget = 9", "budget: Extra inputs"),
        ("core_budget = 8", "core_budget = 8\ninterval_s = 0.0", "interval_s: .*0.01"),
        ("core_budget = 8", "core_budget = 8\ninterval_s = -1", "interval_s"),
        ("core_budget = 8", "core_budget = 8\ninterval_s = nan", "interval_s: .*finite"),
        ("core_budget = 8", "core_budget = 8\ninterval_s = inf", "interval_s: .*finite"),
        ("core_budget = 8", 'core_budget = 8\nmapping = "maglev"', "mapping: .*'algorithm1'"),
        ("core_budget = 8", 'core_budget = 8\nmode = "magic"', "mode: .*'pipeline'"),
        ("core_budget = 8", "core_budget = 8\nparked_weight = 2", "parked_weight: .*less than"),
        ("core_budget = 8", "core_budget = 8\npark_timeout_s = 0", "park_timeout_s"),
        ("core_budget = 8", "core_budget = 8\npeak_pps = -1", "peak_pps"),
        ("core_budget = 8", "core_budget = 8\npacket_bytes = 20", "packet_bytes"),
        ("core_budget = 8", "core_budget = 8\nflows = {count = 0}", "flows.count"),
        ("core_budget = 8", "core_budget = 8\nflows = {zipf = -1}", "flows.zipf"),
        ("core_budget = 8", "core_budget = 8\nflows = {sed = 1}", "flows.sed"),
        ('"second"', '"first"', "nf: the name 'first' is used 2 times"),
        ("max_instances = 4", "max_instances = 0", r"nf\.0\.max_instances"),
        ("max_instances = 4", "max_instances = 65", r"nf\.0\.max_instances: .*64"),
        ("max_instances = 4", "max_instances = 4\nmin_instances = 5", "min_instances: 5 is above"),
        (
            "max_instances = 4",
            "max_instances = 4\ninitial_instances = 5",
            "initial_instances: 5 is outside 1..4",
        ),
        ("max_instances = 4", "max_instances = 4\nring_size = 1000", "not a power of two"),
        ("max_instances = 4", "max_instances = 4\nring_size = 32", r"nf\.0\.ring_size"),
        ("max_instances = 4", "max_instances = 4\nhigh_watermark = 0", r"nf\.0\.high_watermark"),
        ("max_instances = 4", "max_instances = 4\nlow_watermark = 1.0", r"nf\.0\.low_watermark"),
        ("max_instances = 4", "max_instances = 4\ncores_per_instance = 0", "cores_per_instance"),
        ("max_instances = 4", "max_instances = 4\nprocessing_ns = 9", r"nf\.0\.processing_ns"),
        ('function = "monitor"', 'function = "montor"', "runs 'montor', which calibration 'paper'"),
        ('function = "monitor"\n', "", r"nf\.0\.function: Field required"),
        ('calibration = "paper"', 'calibration = "papr"', "did you mean 'paper'"),
        ('calibration = "paper"', 'calibration = "none.toml"', "none.toml: no such file"),
    ],
)
def test_a_bad_chain_is_refused_with_file_key_and_range(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        load_chain(path)
    assert "\n" not in str(caught.value)
    if "calibration = " not in old:
        assert str(path) in str(caught.value)


PATHS = """
[[path]]
name = "one"
nfs = ["first", "second"]
share = 0.25
[[path]]
name = "two"
nfs = ["second"]
share = 0.75
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share = 0.75", "share = 0.5", "the shares must add up to 1"),
        ("share = 0.75", "share = 0", r"path\.1\.share"),
        ('nfs = ["second"]', 'nfs = ["third"]', r"path\.two: unknown NF type 'third'"),
        ('nfs = ["second"]', 'nfs = ["second", "second"]', "appears twice"),
        ('nfs = ["second"]', "nfs = []", r"path\.1\.nfs"),
        ('nfs = ["first", "second"]', 'nfs = ["second"]', "'first' is on no path"),
    ],
)
def test_bad_paths_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    good = load_chain(written(tmp_path, GOOD + PATHS, "good.toml"))
    assert good.paths == ((0, 1), (1,))
    assert good.path_shares.tolist() == [0.25, 0.75]
    with pytest.raises(InputError, match=message):
        load_chain(written(tmp_path, GOOD + PATHS.replace(old, new, 1)))


def test_an_nf_with_state_needs_a_mapping_that_keeps_its_flows(tmp_path: Path) -> None:
    stateful = GOOD.replace('"monitor"', '"nat"')
    with pytest.raises(InputError, match="keeps state per flow"):
        load_chain(written(tmp_path, stateful))


@pytest.mark.parametrize("name", ["no.toml", ".", "nonsense"])
def test_what_is_no_chain_file_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load_chain(name)
    with pytest.raises(InputError, match="did you mean 'paper'"):
        load_chain("papre")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid TOML"):
        load_chain("binary.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("launch_s = 0.5", "launch_s = -1", "launch_s"),
        ("launch_s = 0.5\n", "", "launch_s: Field required"),
        ("processing_ns = 100.0", "processing_ns = 0", "processing_ns"),
        ("loss_free_pps = 4e6", "loss_free_pps = nan", "loss_free_pps"),
        ("loss_free_pps = 4e6", "loss_free_pps = 4e6\njitter = 1.0", "jitter"),
        ("loss_free_pps = 4e6", "loss_free_pps = 4e6\nspeed = 1", "speed"),
        ("[nf.monitor]\nprocessing_ns = 100.0\nloss_free_pps = 4e6", "nf = {}", "at least one NF"),
    ],
)
def test_a_bad_calibration_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CALIBRATION
    path = written(tmp_path, CALIBRATION.replace(old, new, 1), "measured.toml")
    with pytest.raises(InputError, match=message) as caught:
        load_calibration(path)
    assert str(path) in str(caught.value)


def test_a_chain_finds_the_calibration_beside_it(tmp_path: Path) -> None:
    written(tmp_path, CALIBRATION, "measured.toml")
    alone = GOOD.split('[[nf]]\nname = "second"')[0].replace('"paper"', '"measured"')
    chain = load_chain(written(tmp_path, alone))
    assert chain.capacity_pps.tolist() == [4e6]
    assert chain.max_load.tolist() == pytest.approx([0.4])


def test_another_calibration_changes_figures_and_nothing_else() -> None:
    chain = load_chain("paper")
    _ = chain.max_load
    slower = chain.measured.model_copy(
        update={
            "nf": {
                key: nf.model_copy(update={"loss_free_pps": nf.loss_free_pps / 2})
                for key, nf in chain.measured.nf.items()
            }
        }
    )
    bound = chain.with_calibration(slower)
    assert bound.max_load == pytest.approx(chain.max_load / 2)
    assert bound.nf == chain.nf


def test_replace_checks_what_it_is_given() -> None:
    chain = load_chain("paper")
    assert chain.replace(interval_s=0.1).interval_s == 0.1
    assert chain.replace(interval_s=0.1).measured is chain.measured
    for change in ({"interval_s": -1}, {"surprise": 1}, {"core_budget": 2}):
        with pytest.raises(InputError, match=next(iter(change))):
            chain.replace(**change)


def test_the_numeric_view_cannot_be_changed_and_survives_a_copy() -> None:
    chain = load_chain("paper")
    views: list[Any] = [chain.high_load, chain.max_instances]
    for array in views:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    for twin in (pickle.loads(pickle.dumps(chain)), copy.deepcopy(chain)):
        assert twin == chain
        assert hash(twin) == hash(chain)
        assert np.array_equal(twin.high_load, chain.high_load)


def test_chains_are_equal_if_their_files_and_calibrations_are() -> None:
    chain = load_chain("paper")
    assert chain == load_chain("paper")
    assert chain != chain.replace(interval_s=0.5)
    slower = chain.measured.model_copy(update={"launch_s": 2.0})
    assert chain != chain.with_calibration(slower)
