"""The comparison as a user meets it: candidates, tables, JSON, report, command line."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.evaluation import Result, overview, report
from flexnfv.evaluation.candidates import candidate, candidates, sweeps, with_baseline
from flexnfv.evaluation.tables import tables
from flexnfv.evaluation.traffic import resolve
from flexnfv.traces import Trace, files
from tests.policies.networks import write_random_bundle

Bench = Callable[..., Result]


def test_a_pattern_groups_bundles_as_the_training_seeds_of_one_policy(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "best.onnx").touch()
    found = candidate(f"ppo={tmp_path}/seed*/best.onnx")
    assert found.name == "ppo"
    assert [Path(spec).parent.name for spec in found.specs] == ["seed0", "seed1", "seed2"]


def test_a_label_is_told_from_a_parameter_and_from_a_path() -> None:
    assert candidate("mine=watermark:high=0.6").specs == ("watermark:high=0.6",)
    assert candidate("watermark:high=0.6").name == "watermark:high=0.6"
    with pytest.raises(InputError, match="no such bundle"):
        candidate("run/lr=1/best.onnx")


def test_two_policies_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two policies of that name"):
        candidates(["watermark", "watermark"])


def test_the_baseline_takes_part_even_if_it_is_not_named() -> None:
    assert [one.name for one in with_baseline([candidate("static")], "watermark")] == [
        "static",
        "watermark",
    ]


def test_a_heuristic_is_swept_over_its_own_parameter(kit: Path) -> None:
    swept = [one for one in sweeps([candidate("ample:spare=1.3")]) if one.front == "ample"]
    assert [one.setting["spare"] for one in swept] == [0.8, 1.0, 1.2, 1.5]
    assert swept[0].specs == ("ample:spare=0.8",)


def test_a_sweep_gives_a_front_and_places_every_policy(bench: Bench) -> None:
    result = bench(["ample:spare=1.0"], backend="toy", sweep=True)
    front = result.fronts["ample"]
    assert len(front.points) == 4
    cores = [front.points[index].core_usage for index in front.best]
    assert cores == sorted(cores)
    own = result.placements["ample:spare=1.0"]["ample"]
    assert own.saved.estimate == pytest.approx(0.0)


def test_figures_are_those_of_the_records(bench: Bench) -> None:
    result = bench(seeds=1)
    episodes = [result.episode("ample", trace) for trace in (0, 1)]
    drops = [e.chain["dropped_pps"].sum() / e.chain["offered_pps"].sum() for e in episodes]
    cores = np.mean([e.chain["cores"].mean() for e in episodes])
    assert result.intervals["ample"]["drop_rate"].estimate == pytest.approx(np.mean(drops))
    assert result.intervals["ample"]["core_usage"].estimate == pytest.approx(cores)


def test_the_table_compares_with_the_baseline_and_warns_of_few_seeds(bench: Bench) -> None:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(tables(bench()))
    text = capture.get()
    assert "cores vs static" in text
    assert "baseline" in text
    assert "fewer than 5" in text


def test_json_holds_the_figures_and_nothing_that_json_lacks(bench: Bench) -> None:
    found = json.loads(bench().to_json())
    ample, static = found["policies"]
    assert static["to_baseline"] is None
    assert ample["figures"]["core_usage"]["low"] <= ample["figures"]["core_usage"]["estimate"]
    assert found["grid"]["seeds"] == [0, 1]
    assert set(ample["per_trace"]) == {"wave", "stairs"}


class Loads(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "data")]


def test_the_report_is_one_file_that_fetches_nothing(
    bench: Bench, tmp_path: Path, waves: tuple[Trace, ...]
) -> None:
    odd = waves[0].renamed("</script><img src='https://example.org/x'>")
    result = bench(["ample", "static"], traces=(odd, waves[1]), sweep=True)
    report.write(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Loads()
    page.feed(text)
    assert page.found == []
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert text.count("Plotly.newPlot(") >= 3  # the fronts and two time lines
    for section in ("Comparison", "Core usage against drops", "By trace", "What was run"):
        assert f"<h2>{section}</h2>" in text
    with pytest.raises(InputError, match="already exists"):
        report.write(result, tmp_path / "report.html")


def test_the_overview_is_a_png(bench: Bench, tmp_path: Path) -> None:
    overview.write(bench(sweep=True), tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_traffic_is_compressed_cut_and_scaled_in_this_order() -> None:
    from flexnfv.chain import load_chain

    trace = Trace("t", np.arange(1.0, 121.0), 60.0)
    (found,) = resolve(trace, load_chain("paper"), peak=6e6, compress=60, segment=(0, 60))
    assert (len(found), found.step_s, found.peak_pps) == (60, 1.0, 6e6)
    assert found.rate_pps[0] == pytest.approx(1e5)
    (kept,) = resolve(trace, load_chain("paper"), peak="keep", compress=60)
    assert kept.peak_pps == 120.0


def test_traces_without_options_peak_where_the_chain_says() -> None:
    from flexnfv.chain import load_chain

    chain = load_chain("edge")
    peaks = {trace.peak_pps for trace in resolve("test", chain) if trace.family != "constant"}
    assert list(peaks) == pytest.approx([chain.peak_pps] * len(peaks))


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def command(kit: Path, tmp_path: Path, waves: tuple[Trace, ...]) -> list[str]:
    """A small benchmark on the toy backend, without `--out`."""
    for trace in waves:
        files.write(trace, tmp_path / f"{trace.name}.csv")
    paths = [str(tmp_path / f"{trace.name}.csv") for trace in waves]
    return ["bench", "--chain", "paper", "--backend", "toy", "--seeds", "1", "--traces", *paths]


def test_json_on_standard_output_is_all_there_is(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--policies", "ample", "--baseline", "static", "--no-sweep", "--json"]
    assert main([*command, *given, "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["grid"]["baseline"] == "static"
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        "overview.png",
        "records",
        "report.html",
        "result.json",
    }
    # The same command again finds everything done.
    assert main([*command, *given, "--out", str(out)]) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--policies", "watermrk"], "did you mean 'watermark'"),
        (["--policies", "ample:sparse=1"], "did you mean 'spare'"),
        (["--policies", "ample:spare=-1"], "must be positive"),
        (["--policies", "none/best.onnx"], "no such bundle"),
        (["--policies", "x=none/*/best.onnx"], "no bundle matches"),
        (["--baseline", "watermrk"], "did you mean 'watermark'"),
        (["--backend", "modle"], "did you mean 'model'"),
        (["--traces", "tset"], "tset"),
        (["--seeds", "0"], "seeds"),
        (["--rules", "watermrk"], "did you mean 'watermark'"),
        (["--drop-costs", "0"], "give positive numbers"),
        (["--parked-weight", "3"], "parked_weight"),
        (["--chain", "papr"], "did you mean 'paper'"),
        (["--segment", "5"], "START:END"),
        (["--segment", "5:x"], "no number"),
        (["--peak", "high"], "no number"),
        (["--compress", "0"], "positive"),
        (["--ray", "one", "two"], "one address"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_exit_code_2(
    command: list[str],
    given: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = given[0]
    if option in command:
        start = command.index(option)
        end = next((i for i in range(start + 1, len(command)) if command[i][:2] == "--"), None)
        command = command[:start] + ([] if end is None else command[end:])
    if option != "--policies":
        given = [*given, "--policies", "ample"]
    assert main([*command, *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_is_none_or_of_another_chain_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flexnfv.chain import load_chain

    (tmp_path / "junk.onnx").write_bytes(b"not a network")
    write_random_bundle(tmp_path / "other.onnx", load_chain("single"))
    for name in ("junk.onnx", "other.onnx"):
        given = ["--policies", str(tmp_path / name), "--out", str(tmp_path / "out")]
        assert main([*command, *given]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert error.count("\n") == 1


def test_bundles_of_several_training_seeds_are_one_policy(bench: Bench, tmp_path: Path) -> None:
    from flexnfv.chain import load_chain

    for seed in (0, 1):
        write_random_bundle(tmp_path / f"{seed}.onnx", load_chain("paper"))
    result = bench([f"ppo={tmp_path}/*.onnx", "static"], backend="model")
    assert result.samples["ppo"].sums.shape[:2] == (2, 2)
    assert "ppo was trained with 2 seeds: fewer than 5" in result.warnings


def test_an_existing_directory_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    assert main([*command, "--policies", "ample", "--out", str(tmp_path / "notes")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_no_half_record(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyarrow import parquet

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    assert main([*command, "--policies", "ample", "--out", str(tmp_path / "out")]) == 2
    assert "no disk space left" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.parquet"))
