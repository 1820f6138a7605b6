"""The picture of a result draws whatever was measured, without a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexnfv.evaluation import Result, overview
from flexnfv.traces import Trace

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("rate_pps", [0.0, 1e6, 60e6], ids=["silence", "no drops", "drops"])
def test_a_constant_rate_is_drawn(
    bench: Callable[..., Result], tmp_path: Path, rate_pps: float
) -> None:
    trace = Trace("constant", np.full(64, rate_pps), 1.0)
    result = bench(("static", "watermark"), traces=(trace,), sweep=False, peak="keep")
    overview.write(result, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 10_000
