"""The manager's C files build on one another without a circle."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import flexnfv.hw_backend

DATAPLANE = Path(flexnfv.hw_backend.__file__).resolve().parent / "dataplane"


def test_no_file_of_the_manager_needs_one_that_needs_it() -> None:
    needs: dict[str, set[str]] = {}
    for folder in ("manager", "dpdk_internals"):
        for source in DATAPLANE.joinpath(folder).glob("*.[ch]"):
            found = re.findall(r'^#include "(\w+/\w+)\.h"', source.read_text(), re.MULTILINE)
            name = f"{folder}/{source.stem}"
            needs.setdefault(name, set()).update(set(found) - {name})
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert order.index("manager/log") < order.index("manager/events")
    assert order[-1] == "manager/main"
