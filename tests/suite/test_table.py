"""The ranked tables, against figures worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from flexnfv.cli import main
from flexnfv.errors import InputError
from flexnfv.suite import Definition, Submission
from flexnfv.suite.bound import Bound
from flexnfv.suite.definition import Item
from flexnfv.suite.submission import Setting
from flexnfv.suite.table import between_markers, markdown, rank

ITEMS = tuple(Item(part, "edge", name, 600, "0" * 64) for part, name in (
    ("public", "calm"), ("public", "wild"), ("measured", "centre"),
))  # fmt: skip
DEFINITION = Definition("v1", (30.0, 300.0), (0.3,), (0,), {"edge": "0" * 64}, ITEMS)
BOUND = Bound(
    definition=DEFINITION.sha256,
    how="by hand",
    costs={
        "public": {"calm": {"30/0.3": 2.0, "300/0.3": 4.0}, "wild": {"30/0.3": 1.0, "300/0.3": 2.0}}
    },
)


def submission(name: str, *costs: float, bundle: bool = False) -> Submission:
    """One with costs on calm at 30 and 300, and on wild likewise."""
    keys = ("30/0.3", "300/0.3")
    public = {
        trace: dict(zip(keys, costs[first : first + 2], strict=True))
        for trace, first in (("calm", 0), ("wild", 2))
        if costs
    }
    return Submission.model_construct(
        suite="v1",
        definition=DEFINITION.sha256,
        name=name,
        spec=name,
        bundle_sha256="1" * 64 if bundle else None,
        trained_on="the prior" if bundle else "",
        made_with={},
        missing={} if costs else {"public": "2 traces: is not imported (calm, wild)"},
        settings=(Setting(spec=name, points=DEFINITION.points),),
        costs={"public": public} if costs else {},
        episodes=(),
    )


# J / bound:           calm 30, 300; wild 30, 300
SLOW = submission("slow", 4.0, 8.0, 3.0, 8.0)  # 2, 2; 3, 4
QUICK = submission("quick", 6.0, 6.0, 3.0, 4.0)  # 3, 1.5; 3, 2
LEARNED = submission("learned", 3.0, 5.0, 4.0, 3.0, bundle=True)  # 1.5, 1.25; 4, 1.5
ABSENT = submission("absent")


def test_the_rule_is_the_best_of_the_rules_at_each_drop_cost() -> None:
    ranking = rank([SLOW, QUICK, LEARNED, ABSENT], BOUND, DEFINITION, ["public"], 0.3)
    assert ranking.rules == {30.0: "slow", 300.0: "quick"}  # 2.5 against 3; 3 against 1.75
    assert [name for name, _ in ranking.rows] == ["learned", "quick", "slow"]
    assert ranking.missing == {"absent": "2 traces: is not imported (calm, wild)"}


def test_gaps_and_the_worst_trace() -> None:
    ranking = rank([SLOW, QUICK, LEARNED], BOUND, DEFINITION, ["public"], 0.3)
    figures = dict(ranking.rows)["learned"]
    assert figures.relative == {30.0: (1.5 + 4) / 2, 300.0: (1.25 + 1.5) / 2}
    assert figures.mean == (2.75 + 1.375) / 2
    calm = ((4 - 3) / (4 - 2), (6 - 5) / (6 - 4))
    wild = ((3 - 4) / (3 - 1), (4 - 3) / (4 - 2))
    assert figures.gap == {30.0: (calm[0] + wild[0]) / 2, 300.0: (calm[1] + wild[1]) / 2}
    assert (figures.worst_trace, figures.worst) == ("wild", (wild[0] + wild[1]) / 2)


def test_a_rule_at_the_bound_leaves_no_gap() -> None:
    at_bound = submission("at bound", 2.0, 4.0, 1.0, 2.0)
    figures = dict(rank([at_bound, LEARNED], BOUND, DEFINITION, ["public"], 0.3).rows)
    assert math.isnan(figures["learned"].gap[30.0])
    assert figures["learned"].worst_trace == ""


def test_missing_parts_are_shown_as_missing() -> None:
    text = markdown([QUICK, LEARNED, ABSENT], BOUND, DEFINITION)
    public, measured = text.partition("### Measured")[::2]
    assert "| 1 | learned | 2.75 (+0.12) |" in public
    assert "| – | absent | missing | missing | missing |" in public
    assert "The rule: quick at 30, quick at 300." in public
    assert measured.split("###")[0].strip().endswith("Missing: no bound is known.")
    assert "- learned: the prior" in text


def test_a_page_keeps_all_but_its_table() -> None:
    page = "before\n<!-- suite v1: begin -->\nold\n<!-- suite v1: end -->\nafter\n"
    assert between_markers(page, "v1", "new\n", "page") == page.replace("\nold\n", "\n\nnew\n\n")
    again = between_markers(page, "v1", "new\n", "page")
    assert between_markers(again, "v1", "new\n", "page") == again
    with pytest.raises(InputError, match="has no markers of suite v1"):
        between_markers("nothing", "v1", "new", "page")


@pytest.mark.usefixtures("only_small")
def test_the_table_follows_from_the_files_and_check_says_when_it_does_not(
    small: Definition, made: Submission, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "suite.md"
    page.write_text("<!-- suite v1: begin -->\n<!-- suite v1: end -->\n")
    (tmp_path / "suite" / "v1").mkdir(parents=True)
    made.write(tmp_path / "suite" / "v1" / "tracking.json")
    bound = ["suite", "bound", "--out", str(tmp_path / "suite" / "v1-bound.json")]
    assert main([*bound, "--traces", str(tmp_path)]) == 0
    table = ["suite", "table", "--page", str(page)]
    assert main([*table, "--check"]) == 1
    assert "run `flexnfv suite table`" in capsys.readouterr().out
    assert main(table) == 0
    assert "| 1 | tracking |" not in page.read_text()  # `prior` is no part of the small suite
    assert main([*table, "--check"]) == 0
    page.write_text(page.read_text().replace("### Chain six", "### Chain seven"))
    assert main([*table, "--check"]) == 1
    assert small.sha256 == Bound.read(tmp_path / "suite" / "v1-bound.json", small).definition


def test_the_table_in_the_docs_is_up_to_date() -> None:
    root = Path(__file__).parents[2]
    page = root / "docs" / "suite.md"
    assert main(["suite", "table", "--page", str(page), "--check"]) == 0
