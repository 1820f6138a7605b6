"""A suite of three short traces, so that running all of it takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flexnfv.suite import Definition, Shelf, Submission, definition, run

TRACES = ("step-0", "flash_crowd-0")
IMPORTED = "eu_isp"


@pytest.fixture(scope="package")
def small() -> Definition:
    """Two synthetic traces, and one that a user imports."""
    whole = definition.load("v1")
    items = [item for item in whole.of_part("families") if item.trace in TRACES]
    items += [item for item in whole.of_part("public") if item.trace == IMPORTED]
    return replace(
        whole, drop_costs=(30.0, 300.0), items=tuple(items), chains={"edge": whole.chains["edge"]}
    )


@pytest.fixture
def only_small(small: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small suite stands for v1 wherever files and commands name it, in this process.

    What `made` did in two processes must come out of one as well.
    """
    monkeypatch.setattr("flexnfv.suite.execution.PROCESSES", 1)
    for place in ("flexnfv.suite.submission.load", "flexnfv.suite.load"):
        monkeypatch.setattr(place, lambda version="v1": small)


@pytest.fixture(scope="package")
def made(small: Definition, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """Target tracking on the small suite, without the imported trace."""
    folder = tmp_path_factory.mktemp("traces")
    return run("target_tracking", Shelf(small, folder), name="tracking", progress=False)


@pytest.fixture
def file(made: Submission, tmp_path: Path) -> Path:
    """Its file."""
    path = tmp_path / "tracking.json"
    made.write(path)
    return path
