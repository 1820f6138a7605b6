"""Submissions: made, read back, and done again to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flexnfv.chain import load_chain
from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.policy import BasePolicy
from flexnfv.suite import Definition, Settings, Shelf, Submission, run
from flexnfv.suite import execution as execution_module
from flexnfv.suite.scores import cost
from flexnfv.suite.submission import LARGEST, Setting
from tests.policies.networks import write_random_bundle

Change = Callable[[dict[str, Any]], None]


def changed(file: Path, change: Change) -> Path:
    """The file with something changed."""
    content = json.loads(file.read_text())
    change(content)
    other = file.with_name("changed.json")
    other.write_text(json.dumps(content))
    return other


# --- the file ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_small")
def test_a_file_reads_back_as_it_was(made: Submission, file: Path) -> None:
    assert Submission.read(file) == made
    assert made.parts == ("families",)
    assert made.missing == {"public": "1 traces: is not imported (eu_isp)"}
    assert len(made.episodes) == 2
    assert made.made_with["numpy"]
    assert "machine" not in made.made_with


def test_costs_follow_from_the_sums(made: Submission) -> None:
    amounts = made.episodes[0].amounts()
    by_hand = (
        amounts["core_s"] / amounts["time_s"]
        + 0.3 * (amounts["parked_core_s"] / amounts["time_s"])
        + 300 * (amounts["lost"] / amounts["offered"])
    )
    assert cost(amounts, (300.0, 0.3)) == by_hand
    assert made.costs["families"][made.episodes[0].trace]["300/0.3"] == by_hand
    assert cost(amounts | {"offered": 0.0, "lost": 0.0}, (300.0, 0.0)) == (
        amounts["core_s"] / amounts["time_s"]
    )


@pytest.mark.usefixtures("only_small")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.update(extra=1), "is no submission (extra:"),
        (lambda file: file.update(definition="0" * 64), "another definition of suite v1"),
        (lambda file: file["episodes"].pop(), "part 'families' is not whole"),
        (lambda file: file["episodes"].append(file["episodes"][0]), "an episode is listed twice"),
        (lambda file: file["settings"][0]["points"].pop(), "do not cover every drop cost"),
        (lambda file: file["episodes"][0].update(setting=7), "a setting that is not listed"),
        (lambda file: file["episodes"][0].update(sums=["0x1p0"]), "other sums than time_s"),
        (lambda file: file["episodes"][0]["sums"].__setitem__(0, "one"), "no hexadecimal float"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    change: Change, told: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "verify", str(changed(file, change))]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_large_file_is_not_even_read(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(InputError, match="larger than 1 MB"):
        Submission.read(large)
    with pytest.raises(InputError, match="cannot be read"):
        Submission.read(tmp_path / "no.json")


# --- verification -----------------------------------------------------------------------------


@pytest.mark.usefixtures("only_small")
def test_what_was_done_is_done_again_to_the_bit(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["suite", "verify", str(file), "--traces", str(tmp_path)]
    assert main(arguments) == 0
    assert "2 episodes agree to the bit" in capsys.readouterr().out


@pytest.mark.usefixtures("only_small")
def test_a_changed_bit_is_found(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def decide_otherwise(content: dict[str, Any]) -> None:
        content["episodes"][0]["decisions"] = "0" * 64

    def lose_less(content: dict[str, Any]) -> None:
        lost = float.fromhex(content["episodes"][1]["sums"][3])
        content["episodes"][1]["sums"][3] = (lost * (1 - 2**-52)).hex()

    def cost_less(content: dict[str, Any]) -> None:
        content["costs"]["families"]["step-0"]["30/0"] -= 1e-12

    traces = [one["trace"] for one in json.loads(file.read_text())["episodes"]]
    for change, told in (
        (decide_otherwise, f"trace {traces[0]}, target_tracking: the decisions differ"),
        (lose_less, f"trace {traces[1]}, target_tracking: lost is "),
        (cost_less, "its costs do not follow from its episodes"),
    ):
        other = changed(file, change)
        assert main(["suite", "verify", str(other), "--traces", str(tmp_path)]) == 1
        assert told in capsys.readouterr().out


@pytest.mark.usefixtures("only_small")
def test_a_policy_that_is_not_here_cannot_be_verified(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["settings"][0]["spec"] = "target_trakking"

    def gone(content: dict[str, Any]) -> None:
        content["settings"][0]["spec"] = str(tmp_path / "gone.onnx")
        content["bundle_sha256"] = "0" * 64

    def other(content: dict[str, Any]) -> None:
        (tmp_path / "other.onnx").write_bytes(b"another")
        content["settings"][0]["spec"] = str(tmp_path / "other.onnx") + ":drop_cost=30"
        content["bundle_sha256"] = "0" * 64

    for change, told in (
        (rename, "target_tracking"),
        (gone, "gone.onnx"),
        (other, "is not the bundle that was submitted"),
    ):
        assert main(["suite", "verify", str(changed(file, change))]) == 2
        assert told in capsys.readouterr().err
    moved = ["suite", "verify", str(changed(file, other)), "--bundle", str(tmp_path / "third.onnx")]
    assert main(moved) == 2
    assert "third.onnx" in capsys.readouterr().err


@pytest.mark.usefixtures("only_small")
def test_parts_that_cannot_be_checked_here_are_told(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def claims_more(content: dict[str, Any]) -> None:
        more = dict(content["episodes"][0], part="public", trace="eu_isp")
        content["episodes"].append(more)
        content["costs"]["public"] = {"eu_isp": content["costs"]["families"][more_of(content)]}

    def more_of(content: dict[str, Any]) -> str:
        return str(content["episodes"][0]["trace"])

    other = changed(file, claims_more)
    arguments = ["suite", "verify", str(other), "--traces", str(tmp_path)]
    assert main(arguments) == 0
    assert "not checked: part public, 1 traces" in capsys.readouterr().err
    assert main([*arguments, "--complete"]) == 2
    assert "part public cannot be checked here" in capsys.readouterr().err


@pytest.mark.usefixtures("only_small")
def test_a_bundle_is_known_by_its_bytes_wherever_it_lies(
    small: Definition, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a b").mkdir()
    bundle = write_random_bundle(tmp_path / "best.onnx", load_chain("edge"))
    out = tmp_path / "best.json"
    traces = ["--traces", str(tmp_path)]
    declared = ["--trained-on", "nothing: random weights", "--name", "random network"]
    assert main(["suite", "run", str(bundle), "--out", str(out), *declared, *traces]) == 0
    made = Submission.read(out)
    assert [one.spec for one in made.settings] == [f"{bundle}:drop_cost={x}" for x in (30, 300)]
    assert made.settings[1].points == ((300.0, 0.3), (300.0, 0.0))
    assert made.trained_on == "nothing: random weights"
    assert Settings.of(str(bundle), small).name == "best"
    moved = bundle.rename(tmp_path / "a b" / "moved.onnx")
    assert main(["suite", "verify", str(out), *traces]) == 2
    assert "best.onnx" in capsys.readouterr().err
    assert main(["suite", "verify", str(out), "--bundle", str(moved), *traces]) == 0
    moved.unlink()
    write_random_bundle(moved, load_chain("edge"), name="another")
    assert main(["suite", "verify", str(out), "--bundle", str(moved), *traces]) == 2
    assert "is not the bundle that was submitted" in capsys.readouterr().err


# --- settings ---------------------------------------------------------------------------------


class Told(BasePolicy):
    """Takes both knobs."""

    def __init__(
        self,
        drop_cost: float = 100,
        drop_target: float | None = None,
        parked_weight: float | None = None,
    ) -> None:
        pass


def test_a_policy_is_told_what_it_can_be_told(
    small: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_module, "policy_class", lambda spec: (Told, given(spec)))

    def given(spec: str) -> dict[str, str]:
        return dict(pair.split("=") for pair in spec.partition(":")[2].split(",") if pair)

    assert Settings.of("told", small).settings == (
        Setting(spec="told:drop_cost=30,parked_weight=0.3", points=((30.0, 0.3),)),
        Setting(spec="told:drop_cost=300,parked_weight=0.3", points=((300.0, 0.3),)),
        Setting(spec="told:drop_cost=30,parked_weight=0", points=((30.0, 0.0),)),
        Setting(spec="told:drop_cost=300,parked_weight=0", points=((300.0, 0.0),)),
    )
    fixed = Settings.of("told:drop_cost=7", small).settings
    assert [one.spec for one in fixed] == [
        "told:drop_cost=7,parked_weight=0.3",
        "told:drop_cost=7,parked_weight=0",
    ]
    assert fixed[0].points == ((30.0, 0.3), (300.0, 0.3))
    (aimed, _) = Settings.of("told:drop_target=0.01", small).settings
    assert aimed.spec == "told:drop_target=0.01,parked_weight=0.3"


def test_a_policy_without_knobs_runs_once(small: Definition) -> None:
    (setting,) = Settings.of("static", small).settings
    assert setting == Setting(spec="static", points=small.points)


def test_foresight_is_no_policy(small: Definition) -> None:
    with pytest.raises(InputError, match="has foresight"):
        Settings.of("clairvoyant", small)


def test_calibrated_settings_come_from_a_file(small: Definition, tmp_path: Path) -> None:
    file = tmp_path / "tracking.toml"
    table = '[[setting]]\nspec = "{}"\ndrop_cost = {}\nparked_weight = {}\n'
    specs = [
        ("target_tracking:target=0.7" if cost < 100 else "target_tracking:target=0.5", cost, weight)
        for cost, weight in small.points
    ]
    file.write_text("".join(table.format(*row) for row in specs))
    low, high = Settings.of(str(file), small).settings
    assert low == Setting(spec="target_tracking:target=0.7", points=((30.0, 0.3), (30.0, 0.0)))
    assert high.spec == "target_tracking:target=0.5"
    assert Settings.of(str(file), small).name == "tracking"
    with pytest.raises(InputError, match="does not say what traffic"):
        run(str(file), Shelf(small, tmp_path))
    file.write_text(table.format(*specs[0]))
    with pytest.raises(InputError, match="has no setting for drop_cost 30, parked_weight 0"):
        Settings.of(str(file), small)
    file.write_text("[[setting]]\nspec = 1\n")
    with pytest.raises(InputError, match="is no file of settings"):
        Settings.of(str(file), small)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": "a | b"}, "--name: is 'a | b'; give up to 60 characters"),
        ({"name": "x" * 61}, "--name: is"),
        ({"trained_on": "two\nlines"}, "--trained-on: is"),
    ],
)
def test_what_no_table_can_hold_is_refused(
    options: dict[str, str], told: str, small: Definition, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        run("static", Shelf(small, tmp_path), **options)  # type: ignore[arg-type]
    assert told in str(refused.value)


# --- the command ------------------------------------------------------------------------------


def test_an_output_that_exists_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    out.write_text("mine")

    def runs(*arguments: object, **keywords: object) -> None:
        raise AssertionError("must not get here")

    monkeypatch.setattr("flexnfv.suite.run", runs)
    assert main(["suite", "run", "static", "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("only_small")
def test_run_writes_what_it_did_and_says_what_it_did_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "static.json"
    arguments = ["suite", "run", "static", "--out", str(out), "--traces", str(tmp_path)]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "2 episodes of families" in said.out
    assert "not run: part public, 1 traces: is not imported (eu_isp)" in said.err
    assert Submission.read(out).name == "static"


def test_another_definition_runs_on_another_chain(small: Definition, tmp_path: Path) -> None:
    """What the chain's digest is for: results of two chains are never compared."""
    other = replace(small, chains={"edge": "0" * 64})
    with pytest.raises(InputError, match="is not the chain of suite v1"):
        run("static", Shelf(other, tmp_path), progress=False)


def test_submissions_of_the_repository_can_be_read() -> None:
    root = Path(__file__).parents[2]
    files = sorted((root / "docs" / "suite" / "v1").glob("*.json"))
    assert files
    assert len({Submission.read(file).name for file in files}) == len(files)
