"""What a running manager does, as plain figures for people and programs (JSON).

Rates come from the difference of two snapshots and are those of the dataplane itself: divide by
`scale` for the chain's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flexnfv.hw_backend.abi import CONTROLS, ENTRIES, Snapshot
from flexnfv.mapping import MappingKind
from flexnfv.states import InstanceState, StartKind

_ENTRY_NAMES = {number: name for name, number in ENTRIES.items()}


def figures(before: Snapshot, after: Snapshot) -> dict[str, Any]:
    """Counts and states at `after`, rates over the time since `before`."""
    header = after.header
    seconds = max((after.time_ns - before.time_ns) * 1e-9, 1e-9)
    return {
        "manager_pid": int(header["manager_pid"]),
        "up_s": (after.time_ns - int(header["started_ns"])) * 1e-9,
        "scale": float(header["scale"]),
        "paced": bool(after.types["pace_pps"].any()),
        "control": CONTROLS[int(header["control"])],
        "law_enabled": bool(header["law_enabled"]),
        "run_to_completion": bool(header["replicas"]),
        "entry": _ENTRY_NAMES[int(header["entry"])],
        "power": bool(header["power"]),
        "cores_held": int(header["cores_held"]),
        "core_budget": int(header["core_budget"]),
        "spares_ready": int(header["spares_ready"]),
        "offered": int(header["offered"]),
        "delivered": int(header["delivered"]),
        "in_flight": int(header["in_flight"]),
        "dropped": after.dropped,
        **{
            f"{name}_pps": _rate(before.header[name], header[name], seconds)
            for name in ("offered", "delivered")
        },
        "dropped_pps": _rate(before.header["dropped"].sum(), header["dropped"].sum(), seconds),
        "mbufs_free": int(header["mbufs_free"]),
        "mbufs": int(header["mbufs"]),
        "types": [_type(before, after, t, seconds) for t in range(len(after.types))],
        "ports": [_port(before.ports[p], port, seconds) for p, port in enumerate(after.ports)],
    }


def _rate(before: Any, after: Any, seconds: float) -> float:
    return (int(after) - int(before)) / seconds


def _type(before: Snapshot, after: Snapshot, t: int, seconds: float) -> dict[str, Any]:
    nf = after.types[t]
    return {
        "name": nf["name"].decode(),
        "function": nf["function"].decode(),
        "target": int(nf["target"]),
        "max_instances": int(nf["max_instances"]),
        "mapping": MappingKind(int(nf["mapping"])).name.lower(),
        "spares": int(nf["spares"]),
        "high_load": float(nf["high_load"]),
        "low_load": float(nf["low_load"]),
        "pace_pps": float(nf["pace_pps"]),
        **{
            name: int(nf[name])
            for name in ("launches", "reruns", "blocks", "stops", "deaths", "failed_launches")
        },
        "last_failure": nf["last_failure"].decode(errors="replace"),
        "instances": [
            _instance(was, now, seconds)
            for was, now in zip(before.of_type(t), after.of_type(t), strict=True)
            if now["state"] != InstanceState.STOPPED
        ],
    }


def _instance(before: Any, after: Any, seconds: float) -> dict[str, Any]:
    arrived_pps = _rate(before["arrived"], after["arrived"], seconds)
    return {
        "slot": int(after["slot"]),
        "state": InstanceState(int(after["state"])).name.lower(),
        "start": StartKind(int(after["start_kind"])).name.lower(),
        "pid": int(after["pid"]),
        "core": int(after["core"]),
        "arrived_pps": arrived_pps,
        "served_pps": _rate(before["served"], after["served"], seconds),
        "ring_dropped_pps": _rate(before["ring_dropped"], after["ring_dropped"], seconds),
        "load": arrived_pps * float(after["processing_ns"]) * 1e-9,
        "processing_ns": float(after["processing_ns"]),
        "declared": bool(after["declared"]),
        "queue": int(after["queue"]),
        "ring_size": int(after["ring_size"]),
    }


def _port(before: Any, after: Any, seconds: float) -> dict[str, Any]:
    counts = {name: int(after[name]) for name in ("received", "sent", "dropped", "missed")}
    return {
        "name": after["name"].decode(),
        "link_up": bool(np.any(after["link_up"])),
        **counts,
        "received_pps": _rate(before["received"], after["received"], seconds),
        "sent_pps": _rate(before["sent"], after["sent"], seconds),
    }
