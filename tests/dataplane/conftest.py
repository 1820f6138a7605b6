"""Nothing that a test of the dataplane has started outlives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dataplane.running_manager import end_all


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()
