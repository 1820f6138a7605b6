"""Policies that misbehave, and traffic and a chain to run them on."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.traces import Trace
from flexnfv.traces.files import write

ENTRY_POINTS = """\
[flexnfv.policies]
fickle = wild:Fickle
counting = wild:Counting
stillborn = wild:Stillborn
sleepy = wild:Sleepy
levers = wild:Levers
"""


@pytest.fixture(scope="session")
def wild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the package is installed in, on the path of this process."""
    root = tmp_path_factory.mktemp("wild")
    shutil.copy(Path(__file__).with_name("wild.py"), root)
    info = root / "wild-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    yield root
    sys.path.remove(str(root))


@pytest.fixture(scope="session")
def chain() -> ServiceChain:
    return load_chain("paper")


@pytest.fixture(scope="session")
def waves() -> Trace:
    """An hour that asks the paper's chain for one to four instances of each type."""
    time = np.arange(3600)
    return Trace("waves", 6e6 + 5e6 * np.sin(time / 6), 1.0, family="wave")


@pytest.fixture(scope="session")
def waves_file(waves: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "waves.parquet"
    write(waves, path)
    return path
