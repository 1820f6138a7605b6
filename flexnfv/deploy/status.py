"""What a deployment does, as one small JSON file that is rewritten whole, and as a page.

The deployment holds a lock on `DIR/lock` for as long as it lives, so that a file that says
`running` is not believed when its writer was killed.
"""

from __future__ import annotations

import fcntl
import json
from collections import Counter, deque
from pathlib import Path
from time import time
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from flexnfv.backend import Description
from flexnfv.chain import ServiceChain
from flexnfv.decision import shown
from flexnfv.deploy.answer import Answer
from flexnfv.deploy.host import Host
from flexnfv.deploy.record import Row
from flexnfv.errors import InputError
from flexnfv.terminal import Listing

if TYPE_CHECKING:
    from rich.console import RenderableType

FILE: Final = "status.json"
LOCK: Final = "lock"
LOG: Final = "deploy.log"
_LATEST: Final = 1000
"""Intervals that the percentiles of the latency are taken over."""


class Tally:
    """Counts what happened since the start.

    Args:
        chain: that is decided for.
        policy: its host.
        shadows: theirs.
        backend: what it runs on.
    """

    def __init__(
        self, chain: ServiceChain, policy: Host, shadows: tuple[Host, ...], backend: Description
    ) -> None:
        self._chain = chain
        self._hosts = (policy, *shadows)
        self._backend = backend
        self._started = time()
        self._intervals = 0
        self._by_law = 0
        self._offered = self._dropped = 0.0
        self._faults: tuple[Counter[str], ...] = tuple(Counter() for _ in self._hosts)
        self._last_fault = ""
        self._agreed = [0] * len(shadows)
        self._send_s: deque[float] = deque(maxlen=_LATEST)
        self._row: Row | None = None

    @property
    def intervals(self) -> int:
        """Intervals so far."""
        return self._intervals

    @property
    def by_law(self) -> int:
        """Intervals that the law decided in the policy's place."""
        return self._by_law

    @property
    def faults(self) -> dict[str, int]:
        """The policy's faults by kind."""
        return dict(self._faults[0])

    def add(self, row: Row) -> None:
        """Count one interval."""
        self._row = row
        self._intervals += 1
        packets = float(row.reading.interval_s)
        self._offered += float(row.reading.offered_pps) * packets
        self._dropped += float(row.reading.dropped_pps) * packets
        if row.decision is None:
            return
        self._send_s.append(row.send_s)
        self._by_law += row.decision.by_law
        self._count(0, row.decision.answer, row.number)
        for place, answer in enumerate(row.shadows):
            self._count(place + 1, answer, row.number)
            self._agreed[place] += answer.decision == row.under

    def _count(self, place: int, answer: Answer, number: int) -> None:
        if answer.fault is None:
            return
        self._faults[place][answer.fault.value] += 1
        if place == 0:
            self._last_fault = f"interval {number}: {answer.fault}, {answer.detail}"

    def status(self, state: str, pid: int, **more: Any) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        decided = self._intervals - 1
        told: dict[str, Any] = {
            "state": state,
            "pid": pid,
            "chain": self._chain.name,
            "backend": {
                "name": self._backend.name,
                "scale": self._backend.scale,
                "pacing": self._backend.pacing,
            },
            "interval_s": self._chain.interval_s,
            "started": self._started,
            "updated": time(),
            "intervals": self._intervals,
            "drop_rate": self._dropped / self._offered if self._offered else 0.0,
            "policy": {
                "name": self._hosts[0].name,
                "decided": max(decided - self._by_law, 0),
                "replaced_by_law": self._by_law,
                "faults": dict(self._faults[0]),
                "last_fault": self._last_fault,
                "restarts": self._hosts[0].restarts,
            },
            "shadows": [
                {
                    "name": host.name,
                    "agreed": agreed / decided if decided > 0 else 0.0,
                    "faults": dict(faults),
                    "restarts": host.restarts,
                }
                for host, faults, agreed in zip(
                    self._hosts[1:], self._faults[1:], self._agreed, strict=True
                )
            ],
        } | more
        if self._send_s:
            half, late = np.percentile(self._send_s, [50, 99])
            told["send_ms"] = {"p50": float(half) * 1e3, "p99": float(late) * 1e3}
        if self._row is not None:
            told["now"] = self._now(self._row)
        return told

    def _now(self, row: Row) -> dict[str, Any]:
        reading = row.reading
        return {
            "time_s": float(reading.time_s),
            "offered_pps": float(reading.offered_pps),
            "delivered_pps": float(reading.delivered_pps),
            "dropped_pps": float(reading.dropped_pps),
            "types": [
                {
                    "name": name,
                    "targets": int(row.targets[t]),
                    "levers": {
                        name: shown(name, int(getattr(row.under, name)[t]))
                        for name in row.under.levers
                    },
                    "running": int(reading.running[t]),
                    "launching": int(reading.launching[t]),
                    "draining": int(reading.draining[t]),
                    "parked": int(reading.blocked[t]),
                    "load": float(reading.load[t].max()),
                    "queue": float(reading.queue[t].max()),
                    "dropped_pps": float(reading.type_dropped_pps[t]),
                }
                for t, name in enumerate(self._chain.nf_names)
            ],
        }


def write_status(status: dict[str, Any], directory: Path) -> None:
    """Replace the status file by another, whole."""
    temporary = directory / f".{FILE}.part"
    temporary.write_text(json.dumps(status), encoding="utf-8")
    temporary.replace(directory / FILE)


def hold_lock(directory: Path) -> IO[bytes]:
    """Lock the directory until the returned file is closed or the process ends."""
    file = (directory / LOCK).open("wb")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def read_status(directory: Path) -> dict[str, Any]:
    """The status of a deployment; its state is `died` if it was killed.

    Raises:
        InputError: not the directory of a deployment.
    """
    try:
        status: dict[str, Any] = json.loads((directory / FILE).read_text(encoding="utf-8"))
        with (directory / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
    except (OSError, ValueError) as error:
        raise InputError(
            "is not the directory of a deployment",
            where=str(directory),
            fix="name what `flexnfv deploy --out` made",
        ) from error
    if status["state"] == "running" and not alive:
        status["state"] = "died"
    return status


def page(status: dict[str, Any]) -> RenderableType:
    """A status as a page for the terminal."""
    from rich.console import Group
    from rich.markup import escape

    policy = status["policy"]
    colour = {"running": "green", "stopped": "cyan"}.get(status["state"], "red")
    backend = status["backend"]
    at = "" if backend["scale"] == 1 else f" at scale {backend['scale']:g}"
    at += "" if backend.get("pacing", "none") == "none" else f", paced ({backend['pacing']})"
    lines = [
        f"[bold]{escape(status['chain'])}[/bold] on {escape(backend['name'] + at)}, "
        f"[{colour}]{status['state']}[/{colour}]: {status['intervals']} intervals of "
        f"{status['interval_s']:g} s, drop rate {status['drop_rate']:.4%}",
        f"policy {escape(policy['name'])}: decided {policy['decided']}, "
        f"replaced by the law {policy['replaced_by_law']}{_faults(policy)}",
    ]
    if policy["last_fault"]:
        lines.append(f"  last fault: {escape(policy['last_fault'])}")
    lines += [
        f"shadow {escape(shadow['name'])}: the same targets in {shadow['agreed']:.1%}"
        f"{_faults(shadow)}"
        for shadow in status["shadows"]
    ]
    if "send_ms" in status:
        sent = status["send_ms"]
        lines.append(
            f"reading to decision: median {sent['p50']:.2f} ms, 99 % within {sent['p99']:.2f} ms"
        )
    if status.get("lost_rows"):
        lines.append(f"[red]{status['lost_rows']} intervals could not be recorded[/red]")
    if status.get("reason"):
        lines.append(f"[red]{escape(status['reason'])}[/red]")
    now = status.get("now")
    if now is None:
        return Group(*lines)
    lines.append(
        f"at {now['time_s']:.2f} s: offered {now['offered_pps'] / 1e6:.3f} Mpps, delivered "
        f"{now['delivered_pps'] / 1e6:.3f}, dropped {now['dropped_pps'] / 1e6:.3f}"
    )
    levers = now["types"][0].get("levers", {}) if now["types"] else {}
    counts = ("targets", "running", "launching", "draining", "parked")
    rows = [
        (
            row["name"],
            *(str(row[key]) for key in counts),
            *(row["levers"][name] for name in levers),
            f"{row['load']:.3f}",
            f"{row['queue']:.0f}",
            f"{row['dropped_pps'] / 1e6:.3f}",
        )
        for row in now["types"]
    ]
    heading = ("NF type", *counts, *levers, "erlangs", "queue", "lost Mpps")
    return Group(*lines, Listing(heading, rows))


def _faults(of: dict[str, Any]) -> str:
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(of["faults"].items()))
    restarts = f"; restarted {of['restarts']} times" if of["restarts"] else ""
    return (f" ({told})" if told else "") + restarts
