"""DPDK's own telemetry program, unchanged, on a manager that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import Any

import pytest

from flexnfv.chain import load_chain
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import PktgenOptions
from flexnfv.states import RUNNING

pytestmark = pytest.mark.dataplane

PROGRAM = "dpdk-telemetry.py"
PACKETS = 5_000


def ask(prefix: str, *questions: str) -> list[Any]:
    """What the program prints for each question, as people type them."""
    program = shutil.which(PROGRAM)
    if program is None and os.environ.get("FLEXNFV_REQUIRE_DPDK"):
        pytest.fail(f"FLEXNFV_REQUIRE_DPDK is set, but {PROGRAM} is not installed (package dpdk)")
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed (package dpdk)")
    result = subprocess.run(
        [program, "-f", prefix],
        input="\n".join([*questions, "quit", ""]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == len(questions), result.stdout + result.stderr
    return [
        answer[question.split(",")[0]] for answer, question in zip(answers, questions, strict=True)
    ]


def test_it_tells_what_the_page_tells() -> None:
    options = ManagerOptions(scale=1 / 20, pacing=True, law=False, status_s=0.01)
    with ManagerProcess(load_chain("paper"), options=options) as manager:
        manager.client.decide([2, 1, 1])
        traffic = PktgenOptions(
            port=manager.peer, rate_pps=20_000.0, count=PACKETS, backlog_ms=60_000.0
        )
        with manager.generator(traffic) as generator:
            generator.wait(60)
        deadline = time.monotonic() + 20
        while (
            manager.client.snapshot().header["in_flight"]
            or manager.client.read().of_type(0)["state"].tolist()[1] != RUNNING
        ):
            assert time.monotonic() < deadline, "the chain does not come to rest"
            time.sleep(0.01)
        page = manager.client.snapshot()  # nothing moves any more: figures must agree exactly
        running = [n for n, one in enumerate(page.instances) if one["state"] == RUNNING]
        totals, listed, *instances = ask(
            manager.prefix,
            "/flexnfv/totals",
            "/flexnfv/instances",
            *(f"/flexnfv/instance,{number}" for number in running),
        )
    assert totals["offered"] == page.header["offered"] == PACKETS
    for key in ("delivered", "in_flight", "cores_held"):
        assert totals[key] == page.header[key], key
    assert sum(totals[key] for key in totals if key.startswith("dropped")) == sum(
        page.dropped.values()
    )
    assert totals["dropped_ring_full"] == page.dropped["ring_full"]
    assert listed == running
    assert len(instances) == 4
    for number, told in zip(running, instances, strict=True):
        shown = page.instances[number]
        assert told["type"] == page.names[shown["type"]]
        for key in ("slot", "state", "pid", "arrived", "served", "ring_dropped", "lost", "queue"):
            assert told[key] == shown[key], key
        assert told["processing_ps"] == int(shown["processing_ns"] * 1e3)
    assert sum(told["served"] for told in instances if told["type"] == page.names[0]) == PACKETS
