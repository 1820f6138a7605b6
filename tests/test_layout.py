"""The layout that imports, packaging and the floors rest on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("envs", "policies", "hw_backend", "train")
HEAVY = {"torch", "stable_baselines3", "ray", "numba", "matplotlib", "plotly", "pandas", "pyarrow"}


@pytest.mark.parametrize("folder", LINKED)
def test_the_package_reaches_the_top_level_folder_through_a_relative_link(folder: str) -> None:
    link = ROOT / "flexnfv" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == ROOT / folder
    assert (ROOT / folder / "__init__.py").is_file()


def test_no_file_of_ours_shadows_a_standard_module() -> None:
    """`python train/ppo.py` puts train/ first on sys.path, so its names hide the library's."""
    names = {
        (path.stem if path.suffix == ".py" else path.name): path
        for folder in LINKED
        for path in (ROOT / folder).iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    }
    shadowing = sorted(set(names) & set(sys.stdlib_module_names) - {"__init__", "__main__"})
    assert not shadowing, [str(names[name].relative_to(ROOT)) for name in shadowing]


def test_no_file_of_train_shadows_a_library_that_training_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = project["dependencies"] + project["optional-dependencies"]["train"]
    libraries = {
        requirement.split(">")[0].split("[")[0].replace("-", "_") for requirement in requirements
    } - {"flexnfv"}
    ours = {path.stem for path in (ROOT / "train").glob("*.py")}
    assert not ours & libraries


@pytest.mark.parametrize(
    "program",
    [
        "import flexnfv",
        "import flexnfv.cli; flexnfv.cli.main(['--help'])",
        "import flexnfv.cli; flexnfv.cli.main(['chains', 'list', '--json'])",
    ],
)
def test_starting_up_loads_no_heavy_library(program: str) -> None:
    code = f"import sys; {program}; print('LOADED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = set(done.stdout.rsplit("LOADED", 1)[1].split())
    assert "flexnfv" in loaded
    assert not loaded & HEAVY


def test_every_command_can_explain_itself() -> None:
    from flexnfv.cli import COMMANDS

    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "flexnfv.cli", command.name, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert f"flexnfv {command.name}" in done.stdout


def test_the_core_is_kept_from_every_floor_that_exists() -> None:
    """A floor added to the layers must be named in the contract that protects it, too."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers, protected, *_ = contracts["contracts"]
    floors = {
        "flexnfv." + name.strip(" ()") for layer in layers["layers"] for name in layer.split("|")
    }
    existing = {
        floor
        for floor in floors
        for path in [ROOT / floor.replace(".", "/")]
        if (path / "__init__.py").exists() or path.with_suffix(".py").exists()
    }
    assert set(protected["protected_modules"]) == existing
    assert set(protected["allowed_importers"]) == existing


def test_no_committed_file_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(
        [
            "git",
            "grep",
            "-lIE",
            r"(^|[^A-Za-z0-9_.])/(work|root)/",
            "--",
            ".",
            ":!tests/test_layout.py",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode > 1:
        pytest.skip("not a git checkout")
    assert listed.stdout == ""
