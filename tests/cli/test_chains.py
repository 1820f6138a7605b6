"""`flexnfv chains`."""

from __future__ import annotations

import json

import pytest

from flexnfv.chain import shipped
from flexnfv.cli import main


def test_list_names_every_shipped_chain(capsys) -> None:
    assert main(["chains", "list", "--json"]) == 0
    listed = {chain["name"] for chain in json.loads(capsys.readouterr().out)}
    assert listed == set(shipped("chains"))
    assert main(["chains", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in listed)


def test_show_derives_the_paper_s_loads(capsys) -> None:
    """Paper, Sec. V-B: maximum loads 0.408, 0.660 and 0.802 erlangs, NF1 the bottleneck."""
    assert main(["chains", "show", "paper", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["nf"]
    assert [row["max_load"] for row in rows] == pytest.approx([0.408, 0.660, 0.802], abs=5e-4)
    assert [row["H"] / row["max_load"] for row in rows] == pytest.approx([0.682] * 3)
    assert main(["chains", "show", "paper"]) == 0
    out = capsys.readouterr().out
    assert "NF1 → NF2 → NF3" in out
    assert "launch 998 ms" in out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = [", "not valid TOML"),
        ('name = "x"\ncalibration = "paper"\ncore_budget = 3\n', "nf: Field required"),
        (
            'name = "x"\ncalibration = "paper"\ncore_budget = 3\nnf = [{ name = "a", '
            'function = "monitor", min_instances = 3, max_instances = 2 }]\n',
            "min_instances: 3 is above max_instances 2",
        ),
    ],
)
def test_a_bad_chain_file_is_one_line_with_file_and_key(tmp_path, capsys, text, complaint) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    assert main(["chains", "show", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert complaint in line
