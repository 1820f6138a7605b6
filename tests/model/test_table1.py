"""The paper's static chain (OpenNetVM) loses in the model what Table I says."""

from __future__ import annotations

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import load_chain
from flexnfv.model import ModelBackend
from flexnfv.traces import Trace, gbps_to_pps


@pytest.mark.parametrize(
    ("gbps", "dropped_mpps"), [(2, 0.0), (3, 0.03), (4, 1.59), (5, 3.21), (6, 4.63)]
)
def test_a_chain_that_never_scales_drops_what_the_paper_measured(
    gbps: float, dropped_mpps: float
) -> None:
    chain = load_chain("paper")
    backend = Single(ModelBackend(chain))
    backend.reset(Trace("constant", np.full(12, gbps_to_pps(gbps)), 1.0), seed=1)
    readings = [backend.step(np.ones(3, np.int64)).copy() for _ in range(11)]
    mean = np.mean([reading.ring_dropped_pps[0].sum() for reading in readings])
    assert mean / 1e6 == pytest.approx(dropped_mpps, abs=0.15)
