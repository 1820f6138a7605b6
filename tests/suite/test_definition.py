"""The definition of the suite and its traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.suite import Shelf, definition, pin
from flexnfv.suite.sources import SOURCES
from flexnfv.suite.traffic import Missing, digest, make, user_folder
from flexnfv.traces import datacenter

V1 = definition.load("v1")


@pytest.mark.parametrize("part", ["families", "prior", "six", "measured"])
def test_traces_are_still_those_that_were_pinned(part: str, tmp_path: Path) -> None:
    if part == "measured" and not datacenter.installed():
        pytest.skip("needs the extra traces")
    shelf = Shelf(V1, tmp_path)
    for item in V1.of_part(part):
        trace = shelf.trace(item)
        assert len(trace) == item.intervals
        assert trace.peak_pps <= shelf.chains[item.chain].peak_pps
        assert (trace.rate_pps == trace.rate_pps.round()).all()


def test_a_digest_survives_what_two_machines_round_differently(tmp_path: Path) -> None:
    chain = V1.chain("edge")
    trace = make("prior", "draw-00", chain, tmp_path)
    nudged = trace.rate_pps * (1 + 1e-15)
    assert digest(nudged.round()) == digest(trace.rate_pps)
    assert digest(nudged) != digest(trace.rate_pps)


def test_the_definition_lists_what_its_maker_makes() -> None:
    listed = [(item.part, item.chain, item.trace) for item in V1.items]
    assert listed == list(pin.names())
    assert {item.trace for item in V1.of_part("public")} == set(SOURCES)
    assert V1.points[0] == (30.0, 0.3)
    assert len(V1.points) == 10


def test_another_chain_of_that_name_is_refused() -> None:
    other = definition.Definition("v1", (30.0,), (0.3,), (0,), {"edge": "0" * 64}, ())
    with pytest.raises(InputError, match="is not the chain of suite v1"):
        other.chain("edge")


def test_imported_series_lie_where_the_xdg_rules_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLEXNFV_TRACES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "flexnfv" / "traces"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_folder() == Path("/home/somebody/.local/share/flexnfv/traces")
    monkeypatch.setenv("FLEXNFV_TRACES", "/elsewhere")
    assert user_folder() == Path("/elsewhere")


def test_a_trace_that_is_not_here_and_one_that_is_another(tmp_path: Path) -> None:
    (item,) = (one for one in V1.of_part("public") if one.trace == "eu_isp")
    with pytest.raises(Missing, match="flexnfv suite import eu_isp FILE"):
        Shelf(V1, tmp_path).trace(item)
    (tmp_path / SOURCES["eu_isp"].file).write_text("t_s,pps\n0,1\n300,2\n600,4\n")
    with pytest.raises(InputError, match="another SHA-256"):
        Shelf(V1, tmp_path).trace(item)


@pytest.mark.usefixtures("only_small")
def test_list_says_what_is_here_and_where_the_rest_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["suite", "list", "--traces", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    (here,) = (line for line in out.splitlines() if line.startswith("step-0"))
    assert here.split() == ["step-0", "600", "yes"]
    assert "no: is not imported" in out
    assert "dumfug/mmis2" in out
