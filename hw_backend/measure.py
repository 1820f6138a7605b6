"""How fast this machine's dataplane is: one function per figure, each on a dataplane of its own.

All return samples, never a single number; rates are packets/s, latencies seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import Snapshot
from flexnfv.hw_backend.config import MEMIF_SOCKET, ManagerOptions
from flexnfv.hw_backend.manager_process import ManagerProcess, place
from flexnfv.hw_backend.pktgen import PktgenOptions, memif_client
from flexnfv.states import BLOCKED, RUNNING, STOPPED

FAST = ManagerOptions(ring_size=16_384, hold=True, law=False)
"""Nothing is lost for want of room: rates are those of the processors."""

_PATIENCE_S = 20.0
_POLL_S = 0.0005
_WARM_UP_S = 1.0
_TICK_US = 100.0
"""The generator's: a first packet comes no sooner than the next one is sent."""


@dataclass(frozen=True)
class Latencies:
    """Seconds from a command to the first packet that the instance has processed."""

    launch_s: list[float] = field(default_factory=list)
    rerun_s: list[float] = field(default_factory=list)
    spare: int = 0


def forwarding_pps(chain: ServiceChain, *, trials: int = 5, trial_s: float = 10.0) -> list[float]:
    """Packets/s through one instance of each NF type, from `net_null` and back, 64 bytes."""
    with ManagerProcess(chain, ports=("null",), options=FAST) as manager:
        time.sleep(_WARM_UP_S)
        return [_delivered_pps(manager, trial_s) for _ in range(trials)]


def lossless_pps(
    chain: ServiceChain,
    *,
    trials: int = 5,
    trial_s: float = 10.0,
    tolerance: float = 1e-5,
    max_pps: float = 8e6,
) -> list[float]:
    """Highest rate of a generator over memif at which at most `tolerance` is lost, per search.

    Where CPUs are few the generator shares the NFs': the manager has most to do.
    """
    found = []
    placement = place(sorted(os.sched_getaffinity(0)))
    if placement.generator == placement.manager:
        placement = replace(placement, generator=placement.nfs)
    with ManagerProcess(chain, options=FAST, placement=placement) as manager:
        for _ in range(trials):
            options = PktgenOptions(
                port=memif_client(
                    manager.folder / MEMIF_SOCKET, ring_size_log2=12, buffer_bytes=256
                ),
                flows=FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed),
                search=True,
                trial_s=trial_s,
                tolerance=tolerance,
                resolution=0.05,
                max_pps=max_pps,
                min_pps=max_pps / 64,
                poll=True,
            )
            with manager.generator(options) as generator:
                found.append(generator.wait().highest_pps)
    return found


def idle_cpu(
    chain: ServiceChain, *, trials: int = 5, trial_s: float = 2.0, port: str = "memif"
) -> list[float]:
    """Processor time of manager and NFs per second without traffic; 1.0 is one CPU."""
    with ManagerProcess(chain, ports=(port,), options=ManagerOptions(law=False)) as manager:
        pids = [manager.pid, *manager.client.read().pids]
        time.sleep(_WARM_UP_S)
        used = []
        for _ in range(trials):
            before, start = _cpu_s(pids), time.monotonic()
            time.sleep(trial_s)
            used.append((_cpu_s(pids) - before) / (time.monotonic() - start))
    return used


def latencies(
    chain: ServiceChain,
    *,
    samples: int = 200,
    spares: int = 0,
    scale: float = 1 / 20,
    share: float = 0.5,
    full_load: bool = False,
) -> Latencies:
    """Launches and reruns of a second instance of the chain's first NF type, under traffic.

    Args:
        chain: the chain.
        samples: launches, and reruns.
        spares: NF processes kept parked, so that a launch is a wake-up.
        scale: of the paced chain.
        share: offered traffic as a share of one paced instance's rate.
        full_load: unpaced instead, with as much traffic as the processors can take.
    """
    options = (
        ManagerOptions(spares=spares, law=False, hold=True, ring_size=16_384)
        if full_load
        else ManagerOptions(scale=scale, pacing=True, spares=spares, law=False)
    )
    found = Latencies()
    with ManagerProcess(chain, options=options) as manager:
        rate = float("inf") if full_load else share * scale * float(chain.capacity_pps[0])
        with _traffic(manager, chain, rate):
            time.sleep(_WARM_UP_S)
            kinds = [_one_launch_and_rerun(manager, found) for _ in range(samples)]
    return Latencies(found.launch_s, found.rerun_s, sum(kinds))


def paced_pps(
    chain: ServiceChain, instances: int, pps: float, share: float, *, seconds: float = 5.0
) -> dict[str, float]:
    """What `instances` instances of every NF type, paced at `pps`, serve when offered a `share`.

    Flows are many and spread evenly, so that every instance is offered the same.

    Returns:
        Of the first NF type: `nominal_pps` of all its instances together, `offered_pps` and
        `served_pps`; and of the whole chain `lost`, a share of the offered packets.
    """
    every = chain.replace(
        mapping="even",
        core_budget=1024,
        flows={"count": 1 << 16},
        nf=tuple(
            nf.model_dump() | {"initial_instances": instances, "max_instances": max(8, instances)}
            for nf in chain.nf
        ),
    )
    nominal = instances * pps
    with ManagerProcess(every, options=ManagerOptions(law=False)) as manager:
        manager.client.pace(pps)
        with _traffic(manager, every, share * nominal):
            time.sleep(_WARM_UP_S)
            before = manager.client.snapshot()
            time.sleep(seconds)
            after = manager.client.snapshot()
    span = (after.time_ns - before.time_ns) * 1e-9
    offered = int(after.header["offered"]) - int(before.header["offered"])
    dropped = int(after.header["dropped"].sum()) - int(before.header["dropped"].sum())
    served = int(after.of_type(0)["served"].sum()) - int(before.of_type(0)["served"].sum())
    return {
        "nominal_pps": nominal,
        "offered_pps": offered / span,
        "served_pps": served / span,
        "lost": dropped / max(offered, 1),
    }


def page_read_s(chain: ServiceChain, *, reads: int = 10_000) -> list[float]:
    """Time of reading the statistics page, while packets pass."""
    with ManagerProcess(chain, ports=("null",), options=FAST) as manager:
        time.sleep(_WARM_UP_S)
        taken = []
        for _ in range(reads):
            start = time.perf_counter_ns()
            manager.client.read()
            taken.append((time.perf_counter_ns() - start) * 1e-9)
    return taken


def quantiles(samples: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum."""
    values = np.asarray(samples)
    return {
        "p50": float(np.quantile(values, 0.5)),
        "p99": float(np.quantile(values, 0.99)),
        "max": float(values.max()),
    }


def _delivered_pps(manager: ManagerProcess, seconds: float) -> float:
    before = manager.client.snapshot()
    time.sleep(seconds)
    after = manager.client.snapshot()
    sent = int(after.header["delivered"]) - int(before.header["delivered"])
    return sent / ((after.time_ns - before.time_ns) * 1e-9)


def _cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _traffic(manager: ManagerProcess, chain: ServiceChain, pps: float) -> Iterator[None]:
    options = PktgenOptions(
        port=manager.peer,
        flows=FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed),
        rate_pps=pps,
        control=True,
        backlog_ms=1000.0,
        tick_us=_TICK_US,
    )
    with manager.generator(options) as generator:
        generator.begin()
        yield


def _one_launch_and_rerun(manager: ManagerProcess, found: Latencies) -> bool:
    """Whether the launch woke a spare."""
    client = manager.client
    _until(lambda s: s.header["spares_ready"] >= s.header["spares"], manager, "a spare")
    slot = client.launch(0).slot
    served = _until(lambda s: _served(s, slot), manager, "the launched instance's first packet")
    instance = served.of_type(0)[slot]
    found.launch_s.append((int(instance["first_packet_ns"]) - int(instance["command_ns"])) * 1e-9)
    spare = int(instance["start_kind"]) == 2
    client.block(0, slot)
    _until(lambda s: s.of_type(0)["state"][slot] == BLOCKED, manager, "the block")
    client.rerun(0, slot)
    served = _until(lambda s: _served(s, slot), manager, "the first packet after the rerun")
    instance = served.of_type(0)[slot]
    found.rerun_s.append((int(instance["first_packet_ns"]) - int(instance["command_ns"])) * 1e-9)
    client.stop(0, slot)
    _until(lambda s: s.of_type(0)["state"][slot] == STOPPED, manager, "the stop")
    return spare


def _served(snapshot: Snapshot, slot: int) -> bool:
    """Whether the instance has processed a packet since its last launch or rerun."""
    instance = snapshot.of_type(0)[slot]
    return bool(
        instance["state"] == RUNNING and instance["first_packet_ns"] > instance["command_ns"]
    )


def _until(condition: Callable[[Snapshot], bool], manager: ManagerProcess, what: str) -> Snapshot:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition(snapshot := manager.client.snapshot()):
        if time.monotonic() > deadline:
            raise BackendError(f"{what} did not come within {_PATIENCE_S:g} s")
        time.sleep(_POLL_S)
    return snapshot
