"""The sdist and the wheel carry what the links point to, the C sources and the data files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = (
    "*.py",
    "*.toml",
    "*.html",
    "*.rules",
    "*.routes",
    "*.onnx",
    "*.c",
    "*.h",
    "*.inc",
    "meson.build",
    "meson_options.txt",
    "py.typed",
)


def build(source: Path, kind: str, out: Path) -> Path:
    """Build `kind` ("sdist" or "wheel") of the tree at `source` into `out`."""
    code = f"import setuptools.build_meta as b; print(b.build_{kind}({str(out)!r}))"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with the debris of a dataplane build, which must not be shipped."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("flexnfv", "envs", "policies", "hw_backend", "train"):
        shutil.copytree(
            ROOT / folder,
            copy / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "build"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    debris = copy / "hw_backend/dataplane/build/generated.c"
    debris.parent.mkdir(parents=True)
    debris.write_text("int generated;\n")
    return copy


def wanted(tree: Path) -> set[str]:
    """Every file under flexnfv/, links followed, that an installed FlexNFV needs."""
    files = set()
    for folder in ("", "envs", "policies", "hw_backend", "train"):
        base = tree / "flexnfv" / folder
        for pattern in SHIPPED:
            for path in base.resolve().rglob(pattern):
                inside = path.relative_to(base.resolve())
                if inside.parts[:2] != ("dataplane", "build"):
                    files.add(str(Path("flexnfv") / folder / inside))
    return files


def test_the_wheel_built_from_the_sdist_is_complete_and_imports(tree: Path, tmp_path: Path) -> None:
    sdist = build(tree, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    wheel = build(unpacked, "wheel", tmp_path / "wheel")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "flexnfv/hw_backend/__init__.py" in names
    assert wanted(tree) <= names
    assert not [name for name in names if "generated" in name or name.startswith("tests/")]

    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import flexnfv, flexnfv.envs, flexnfv.policies, flexnfv.hw_backend, flexnfv.train\n"
        "from flexnfv.chain import load_chain\n"
        "load_chain('paper')\n"
        "print(flexnfv.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(site / "flexnfv" / "__init__.py")
