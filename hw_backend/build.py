"""Where the built dataplane is, and how it comes to be built.

The C sources lie beside this file, in a checkout as in an installed wheel. A checkout builds into
its own `dataplane/build`; an installed package into a cache folder of the user's, one per version
of the sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flexnfv.errors import InputError

SOURCES = Path(__file__).resolve().parent / "dataplane"
"""The C sources."""

BUILD_VARIABLE = "FLEXNFV_DATAPLANE_BUILD"
"""Environment variable that names another build folder."""

MANAGER = Path("manager") / "flexnfv-manager"
NF = Path("scalib") / "flexnfv-nf"
PKTGEN = Path("pktgen") / "flexnfv-pktgen"
PAGE_LIBRARY = Path("shared") / "libflexnfv_page.so"

TOOLS = {"meson": "meson", "ninja": "ninja-build", "pkg-config": "pkg-config", "cc": "gcc"}
"""Programs that a build needs, and the Debian packages that hold them."""
PACKAGES = (
    "dpdk",
    "libdpdk-dev",
    "libipsec-mb-dev",
    "libnuma-dev",
    "libpcap-dev",
    "libsystemd-dev",
)
"""Debian packages that hold the libraries."""

_SOURCE_SUFFIXES = {".c", ".h", ".inc", ".build"}


def build_folder() -> Path:
    """Where the dataplane is built, or will be."""
    named = os.environ.get(BUILD_VARIABLE)
    if named:
        return Path(named)
    if (SOURCES.parent.parent / "pyproject.toml").is_file() and os.access(SOURCES, os.W_OK):
        return SOURCES / "build"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flexnfv" / f"dataplane-{_digest()}"


def built(program: Path) -> Path:
    """The path of one of the built programs.

    Raises:
        InputError: it is not built.
    """
    path = build_folder() / program
    if not path.is_file():
        raise InputError(
            "is missing", where=str(path), fix="build it with `flexnfv dataplane build`"
        )
    return path


def missing_packages() -> list[str]:
    """Debian packages without which the dataplane cannot be built."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if "pkg-config" in missing or not _has_library("libdpdk", "22.11"):
        missing += ["dpdk", "libdpdk-dev"]
    missing += [
        package
        for header, package in (
            ("intel-ipsec-mb.h", "libipsec-mb-dev"),
            ("numa.h", "libnuma-dev"),
            ("pcap.h", "libpcap-dev"),
        )
        if not (Path("/usr/include") / header).exists()
    ]
    return missing


def build(*, jobs: int | None = None, quiet: bool = False) -> Path:
    """Build the dataplane; returns the build folder.

    Args:
        jobs: compilers at a time, ninja's choice if None.
        quiet: show the compilers' words only where they fail.

    Raises:
        InputError: a tool or a library is missing, or something does not compile.
    """
    missing = missing_packages()
    if missing:
        raise InputError(
            f"{missing[0]} is not installed",
            where="flexnfv dataplane build",
            fix=f"run: apt-get install {' '.join(missing)}",
        )
    folder = build_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / "build.ninja").is_file():
        _run(["meson", "setup", str(folder), str(SOURCES)], quiet)
    _run(["ninja", "-C", str(folder), *(["-j", str(jobs)] if jobs else [])], quiet)
    return folder


def _run(command: list[str], quiet: bool) -> None:
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
    if result.returncode:
        words = (result.stdout or "").strip().splitlines()
        raise InputError(
            f"`{' '.join(command)}` ended with exit code {result.returncode}"
            + (f": {words[-1]}" if words else ""),
            where="flexnfv dataplane build",
            fix="see its words above" if not quiet else "run `flexnfv dataplane build`",
        )


def _has_library(name: str, version: str) -> bool:
    found = subprocess.run(
        ["pkg-config", f"--atleast-version={version}", name], check=False, capture_output=True
    )
    return found.returncode == 0


def _digest() -> str:
    """Names the version of the sources, so that an upgrade is built anew."""
    digest = hashlib.sha256()
    for path in sorted(_source_files()):
        digest.update(path.relative_to(SOURCES).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _source_files() -> Iterator[Path]:
    for path in SOURCES.rglob("*"):
        if path.suffix in _SOURCE_SUFFIXES and "build" not in path.relative_to(SOURCES).parts[:1]:
            yield path
