"""Compiled functions are never older than the source files they are made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import flexnfv

PROBE = """
import numpy as np
from flexnfv.compiled import compiled
from flexnfv.scaling import plan
from flexnfv.states import LAUNCH, RUNNING


def launches(targets, ones, state, load, command, clipped):
    plan(targets, -ones, state, load, load, ones, 8 * ones, ones, 99, 60.0, command, clipped)
    count = 0
    for slot in range(command.shape[1]):
        count += command[0, slot] == LAUNCH
    return count


ones, state = np.ones(1, np.int64), np.zeros((1, 8), np.int8)
state[0, 0] = RUNNING
command, clipped = np.zeros((1, 8), np.int8), np.zeros(1, np.int64)
print(compiled(launches)(3 * ones, ones, state, np.zeros((1, 8)), command, clipped))
"""


def _launches(package: Path, cache: Path, probe: Path, **more: str) -> str:
    """What the probe prints, with the package found in a folder."""
    probe.write_text(PROBE)
    environment = os.environ | {
        "PYTHONPATH": str(package),
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-P", probe],
        cwd=package,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_an_edit_of_the_scaling_code_reaches_what_calls_it(tmp_path: Path) -> None:
    source = Path(flexnfv.__file__).parent
    package = tmp_path / "site" / "flexnfv"
    shutil.copytree(source, package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    places = package.parent, tmp_path / "cache", tmp_path / "probe.py"
    assert _launches(*places) == "2"
    assert list((tmp_path / "cache").rglob("*.nbc"))
    scaling = package / "scaling.py"
    text = scaling.read_text()
    assert text.count("wanted = target\n") == 1
    scaling.write_text(text.replace("wanted = target\n", "wanted = target + 1\n"))
    assert _launches(*places) == "3"


def test_a_folder_that_cannot_be_written_costs_no_more_than_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    package = Path(flexnfv.__file__).parent.parent
    nowhere_else = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    places = package, blocked / "cache", tmp_path / "probe.py"
    assert _launches(*places, **nowhere_else) == "2"
