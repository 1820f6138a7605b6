"""The compiled kernel is never older than the source files it is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import flexnfv

RUN = """
import numpy as np
from flexnfv.chain import load_chain
from flexnfv.model import BatchModel
model = BatchModel(load_chain("paper"), 1)
model.reset_envs([0], np.full((1, 2), 1e6), [1])
print(int(model.step([[3, 1, 1]]).launches[0, 0]))
"""


def _launches(package: Path, cache: Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(package),
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-P", "-c", RUN],
        cwd=package,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_an_edit_of_the_scaling_code_reaches_the_compiled_kernel(tmp_path: Path) -> None:
    source = Path(flexnfv.__file__).parent
    package = tmp_path / "site" / "flexnfv"
    shutil.copytree(source, package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    assert _launches(package.parent, tmp_path / "cache") == "2"
    scaling = package / "scaling.py"
    text = scaling.read_text()
    assert text.count("missing = target - running - launching") == 1
    scaling.write_text(text.replace("wanted = target\n", "wanted = target + 1\n"))
    assert _launches(package.parent, tmp_path / "cache") == "3"


def test_a_folder_that_cannot_be_written_costs_no_more_than_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert _launches(Path(flexnfv.__file__).parent.parent, blocked / "cache") == "2"
