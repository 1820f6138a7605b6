"""What every test shares: the answer to Ctrl-C, the gate before tests that run the dataplane."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import default_sigint

BUILD = Path(__file__).parent.parent / "hw_backend" / "dataplane" / "build"


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Every test may count on Ctrl-C, also where the suite runs in the background."""
    with default_sigint():
        yield


@functools.cache
def why_no_dataplane() -> str:
    """Why the dataplane cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "not root"
    found = shutil.which("pkg-config") and subprocess.run(
        ["pkg-config", "--exists", "libdpdk"], check=False
    )
    if not found or found.returncode != 0:
        return "DPDK is not installed (make dataplane)"
    if int(Path("/proc/sys/vm/nr_hugepages").read_text()) == 0:
        return "no huge pages (make dataplane)"
    if not (BUILD / "build.ninja").exists():
        return "the dataplane is not built (make dataplane)"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `dataplane` is skipped without DPDK, but fails where DPDK is required."""
    if item.get_closest_marker("dataplane") is None or not (reason := why_no_dataplane()):
        return
    if os.environ.get("FLEXNFV_REQUIRE_DPDK"):
        pytest.fail(f"FLEXNFV_REQUIRE_DPDK is set, but: {reason}", pytrace=False)
    pytest.skip(f"needs the dataplane: {reason}")
