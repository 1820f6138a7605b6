"""Nothing that a test of the dataplane has started outlives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dataplane.running_manager import ended_afterwards


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    with ended_afterwards():
        yield
