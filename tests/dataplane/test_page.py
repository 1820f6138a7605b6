"""Reading the statistics page while its writer is held up in the middle."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from flexnfv.errors import BackendError
from flexnfv.hw_backend import abi

pytestmark = pytest.mark.dataplane


@pytest.fixture
def written(tmp_path: Path) -> np.ndarray:
    """A page whose writer is in the middle, as a record that is the file."""
    page = np.memmap(tmp_path / "page", abi.PAGE_DTYPE, "w+", shape=1)
    page["magic"], page["abi_version"] = abi.LIMITS["FX_PAGE_MAGIC"], abi.ABI_VERSION
    page["size"], page["sequence"], page["time_ns"] = abi.PAGE_BYTES, 1, 1
    return page


def test_a_reader_waits_for_a_writer_that_does_not_get_the_core(
    written: np.ndarray, tmp_path: Path
) -> None:
    def ends() -> None:
        written["time_ns"] = 7
        written["sequence"] = 2

    timer = threading.Timer(0.2, ends)
    timer.start()
    assert abi.Page(tmp_path / "page").read().time_ns == 7
    timer.join()


def test_a_writer_that_died_in_the_middle_is_told(written: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="died in the middle"):
        abi.Page(tmp_path / "page").read()
