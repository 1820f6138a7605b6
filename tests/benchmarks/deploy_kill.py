"""What a deployment that is killed (-9) under load costs, and how soon the manager's law has it.

    python -m tests.benchmarks.deploy_kill [--kills N] [--policy SPEC] [--rate PPS]

A paced chain at an interval of 100 ms carries a steady load that takes several instances. A
deployment attaches to it, settles, and is killed; the next one is the restart that takes over. One
row per kill: intervals until the built-in law is in control, and until it has decided; packets lost
by cause from the kill until then, and in three intervals before the kill. The exit code is 1 if a
claim does not hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flexnfv.chain import load_chain
from flexnfv.errors import BackendError, InputError
from flexnfv.experiments.findings import Claim
from flexnfv.failures import run_program
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import CONTROLS, Snapshot
from flexnfv.hw_backend.config import ManagerOptions
from flexnfv.hw_backend.machine import machine
from flexnfv.hw_backend.manager_process import ManagerProcess
from flexnfv.hw_backend.pktgen import PktgenOptions

INTERVAL_S = 0.1
SCALE = 1 / 20
WITHIN = 3.0
"""Intervals from the kill until the law is in control, at most."""
PATIENCE_S = 60.0
SETTLED_S = 1.0
"""A deployment is killed when nothing was lost and no instance changed for so long."""
_POLL_S = 0.005


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        intervals: from the kill until the law was in control.
        decided: the same until it had decided.
        lost: packets by cause from the kill until then; causes without any are left out.
        lost_before: packets in three intervals before the kill.
        instances: of every NF type when it was killed.
    """

    intervals: float
    decided: float
    lost: dict[str, int]
    lost_before: int
    instances: tuple[int, ...]


def control(snapshot: Snapshot) -> str:
    """Who decides."""
    return CONTROLS[int(snapshot.header["control"])]


def wait_for(manager: ManagerProcess, what: str, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot of which a condition holds.

    Raises:
        BackendError: it does not come to hold.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition(snapshot := manager.client.snapshot()):
        manager.check()
        if time.monotonic() > deadline:
            raise BackendError(f"{what} did not come within {PATIENCE_S:g} s")
        time.sleep(_POLL_S)
    return snapshot


def deployed(
    manager: ManagerProcess, chain: Path, policy: str, out: Path
) -> subprocess.Popen[bytes]:
    """A deployment that has taken over and decides."""
    before = int(manager.client.snapshot().header["heartbeats"])
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "flexnfv.cli", "deploy", "--chain", str(chain)),
            *("--policy", policy, "--backend", "dpdk", "--attach", str(manager.folder)),
            *("--out", str(out), "--json"),
        ],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(
            manager,
            "a deployment's control",
            lambda now: (
                process.poll() is not None
                or (control(now) == "controller" and int(now.header["heartbeats"]) >= before + 5)
            ),
        )
        if process.poll() is not None:
            raise BackendError(f"the deployment ended with exit code {process.returncode}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def settled(manager: ManagerProcess) -> Snapshot:
    """Wait until nothing is lost and no instance changes."""
    changed, before = time.monotonic(), manager.client.snapshot()

    def quiet(now: Snapshot) -> bool:
        nonlocal changed, before
        if now.dropped != before.dropped or running(now) != running(before):
            changed, before = time.monotonic(), now
        return time.monotonic() - changed >= SETTLED_S

    return wait_for(manager, "a settled chain", quiet)


def running(snapshot: Snapshot) -> tuple[int, ...]:
    """Wanted instances of every NF type."""
    return tuple(snapshot.types["target"].tolist())


def lost(before: Snapshot, after: Snapshot) -> dict[str, int]:
    """Packets by cause between two snapshots."""
    found = {cause: after.dropped[cause] - before.dropped[cause] for cause in after.dropped}
    return {cause: count for cause, count in found.items() if count}


def kill(manager: ManagerProcess, process: subprocess.Popen[bytes]) -> Kill:
    """Kill a deployment and wait until the law has decided."""
    settled(manager)
    earlier = manager.client.snapshot()
    time.sleep(WITHIN * INTERVAL_S)
    before = manager.client.snapshot()
    os.kill(process.pid, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    process.wait()
    decided = int(before.header["law_decisions"])
    taken = wait_for(manager, "the law", lambda now: control(now) == "law")
    after = wait_for(
        manager, "the law's decision", lambda now: int(now.header["law_decisions"]) > decided
    )
    return Kill(
        (taken.time_ns - killed_ns) * 1e-9 / INTERVAL_S,
        (after.time_ns - killed_ns) * 1e-9 / INTERVAL_S,
        lost(before, after),
        sum(lost(earlier, before).values()),
        running(before),
    )


def claims(kills: list[Kill], restarts: int, wanted: int) -> tuple[Claim, ...]:
    """What must hold of that many kills."""
    slowest = max(one.intervals for one in kills)
    decided = max(one.decided for one in kills)
    packets = sum(sum(one.lost.values()) for one in kills)
    return (
        Claim(
            "the chain is on the built-in law",
            f"after {slowest:.2f} intervals at most, its first decision after {decided:.2f}",
            f"within {WITHIN:g} in each of {wanted} kills",
            slowest <= WITHIN and len(kills) == wanted,
        ),
        Claim("packets lost from the kill until it has decided", f"{packets}", "0", packets == 0),
        Claim(
            "a restart takes over again",
            f"{restarts} times",
            f"{wanted}",
            restarts == wanted,
        ),
    )


def run(chain: Path, policy: str, rate_pps: float, count: int, folder: Path) -> tuple[Claim, ...]:
    """Kill a deployment so many times; prints a row each."""
    loaded = load_chain(chain)
    flows = FlowSet(loaded.flows.count, loaded.flows.zipf, loaded.flows.seed)
    options = ManagerOptions(scale=SCALE, pacing=True, law=True, status_s=0.02)
    kills: list[Kill] = []
    restarts = 0
    with ManagerProcess(loaded, options=options) as manager:
        generator = manager.generator(
            PktgenOptions(
                port=manager.peer,
                rate_pps=rate_pps * SCALE,
                flows=flows,
                control=True,
                backlog_ms=1000.0,
            )
        )
        with generator:
            generator.begin()
            print(f"placement: {manager.placement}")
            print(
                "kill  instances  law after  decided after  lost before  lost since, by cause",
                flush=True,
            )
            process = deployed(manager, chain, policy, folder / "0")
            try:
                for number in range(1, count + 1):
                    kills.append(one := kill(manager, process))
                    print(
                        f"{number:4}  {'/'.join(map(str, one.instances)):>9}  "
                        f"{one.intervals:9.2f}  {one.decided:13.2f}  {one.lost_before:11}  "
                        f"{one.lost or 'none'}",
                        flush=True,
                    )
                    process = deployed(manager, chain, policy, folder / str(number))
                    restarts += 1
            except BackendError as error:
                if not kills:
                    raise
                print(f"ended early: {error}", flush=True)  # and a claim fails
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    return claims(kills, restarts, wanted=count)


def main() -> None:
    """Print one row per kill and one line per claim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--policy", default="watermark")
    parser.add_argument(
        "--rate", type=float, default=4.464e6, help="packets/s at the chain's scale; 3 Gbps"
    )
    given = parser.parse_args()

    def program() -> int:
        if given.kills < 1:
            raise InputError(f"{given.kills} kills", where="--kills", fix="give 1 or more")
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {machine()}; scale {SCALE:g}, paced")
        with tempfile.TemporaryDirectory() as folder:
            shipped = (resources.files("flexnfv") / "chains" / "paper.toml").read_text("utf-8")
            chain = Path(folder) / "quick.toml"
            chain.write_text(
                shipped.replace("interval_s = 1.0", f"interval_s = {INTERVAL_S}"), encoding="utf-8"
            )
            found = run(chain, given.policy, given.rate, given.kills, Path(folder))
        for claim in found:
            print(claim.line(), flush=True)
        return 0 if all(claim.holds for claim in found) else 1

    raise SystemExit(run_program(parser.prog, program))


if __name__ == "__main__":
    main()
