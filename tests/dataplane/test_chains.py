"""Every shipped chain runs live as it is shipped, and passes the generator's flows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexnfv.backend import Single
from flexnfv.chain import load_chain, shipped
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.traces import Trace

pytestmark = pytest.mark.dataplane

INTERVAL_S = 0.1


@pytest.mark.parametrize("name", shipped("chains"))
def test_a_shipped_chain_delivers_what_it_is_offered(name: str, tmp_path: Path) -> None:
    chain = load_chain(name).replace(interval_s=INTERVAL_S)
    backend = LiveBackend(chain, scale=0.01, folder=tmp_path)
    try:
        Single(backend).reset(Trace("gentle", np.full(100, 4e5), INTERVAL_S))
        delivered = dropped = 0.0
        while Single(backend).remaining and delivered < 1e5:
            reading = Single(backend).step(chain.initial_instances)
            delivered += float(reading.delivered_pps * reading.interval_s)
            dropped += float(reading.dropped_pps * reading.interval_s)
        assert delivered >= 1e5
        assert dropped == 0
    finally:
        backend.close()
