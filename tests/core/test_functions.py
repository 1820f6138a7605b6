"""What is known of an NF function by its code: state per flow, and arguments that name files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flexnfv.chain import Calibration, load_chain
from flexnfv.chain.functions import OWN, facts
from flexnfv.errors import InputError
from flexnfv.experiments.calibrate import toml

NFS = Path(__file__).parents[2] / "hw_backend/dataplane/nfs"


def test_the_table_tells_what_the_c_sources_do() -> None:
    sources = {path.stem: path.read_text() for path in NFS.glob("*.c")}
    functions = {name: text for name, text in sources.items() if "FLEXNFV_NF(" in text}
    assert set(functions) == set(OWN)
    for name, text in functions.items():
        stateful = re.search(r"\.stateful = true", text) is not None
        files = [argument for argument in ("rules", "routes") if f'"{argument}"' in text]
        assert (facts(name).stateful, list(facts(name).files)) == (stateful, files), name


def _calibration(**of_forwarder: Any) -> Calibration:
    data = load_chain("paper").measured.model_dump()
    data["nf"]["forwarder"] |= of_forwarder
    return Calibration.model_validate(data)


def test_a_calibration_may_state_that_an_nf_keeps_state_per_flow() -> None:
    paper = load_chain("paper")
    stateful = _calibration(stateful=True)
    with pytest.raises(InputError, match=r"'forwarder' keeps state per flow: give it mapping"):
        paper.with_calibration(stateful)
    paper.replace(mapping="rendezvous").with_calibration(stateful)


def test_a_calibration_may_state_which_arguments_name_files(tmp_path: Path) -> None:
    chain, calibration = tmp_path / "mine.toml", tmp_path / "own.toml"
    (tmp_path / "list").write_text("")
    chain.write_text(
        'name = "mine"\ncalibration = "own.toml"\ncore_budget = 2\n'
        '[[nf]]\nname = "a"\nfunction = "forwarder"\nargs = "table=list rules=list"\n'
    )
    calibration.write_text(toml(_calibration(files=("table",))))
    assert load_chain(chain).nf_args == (f"table={tmp_path}/list rules=list",)


def test_an_nf_of_which_nothing_is_stated_may_name_rules_and_routes() -> None:
    assert facts("theirs").files == ("rules", "routes")
    assert not facts("theirs").stateful
    assert facts("nat", stateful=False).stateful is False
