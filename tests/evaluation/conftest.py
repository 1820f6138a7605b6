"""A third-party package with a backend and policies, and small grids to run on it."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from flexnfv.evaluation import Result, benchmark
from flexnfv.traces import Trace

ENTRY_POINTS = """\
[flexnfv.backends]
toy = toykit:ToyBackend
[flexnfv.policies]
ample = toykit:Ample
slow = toykit:Slow
told = toykit:Told
mortal = toykit:Mortal
oracle = toykit:Oracle
"""


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the package is installed in, on the path of this process."""
    root = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).with_name("toykit.py"), root)
    info = root / "toykit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toykit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    yield root
    sys.path.remove(str(root))


@pytest.fixture(scope="session")
def waves() -> tuple[Trace, ...]:
    """Two short traces that ask the paper's chain for one to four instances of each type."""
    time = np.arange(64)
    return (
        Trace("wave", 6e6 + 5e6 * np.sin(time / 6), 1.0, family="wave"),
        Trace("stairs", np.where(time % 16 < 8, 3e6, 10e6), 1.0, family="stairs"),
    )


@pytest.fixture
def bench(kit: Path, waves: tuple[Trace, ...]) -> Callable[..., Result]:
    """`benchmark` on the toy backend, two traces and two seeds unless told otherwise."""

    def run(policies: object = ("ample", "static"), **changes: object) -> Result:
        options = {
            "chain": "paper",
            "traces": waves,
            "seeds": 2,
            "baseline": "static",
            "sweep": False,
            "backend": "toy",
            "peak": "keep",
            "progress": False,
        }
        return benchmark(policies, **(options | changes))  # type: ignore[arg-type]

    return run
