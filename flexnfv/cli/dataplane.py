"""The DPDK dataplane: build it, bring a chain up, watch it, take it down, measure it."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import re
import signal
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from flexnfv import terminal
from flexnfv.errors import BackendError, InputError
from flexnfv.terminal import Listing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flexnfv.hw_backend.client import Client
    from flexnfv.hw_backend.manager_process import Placement

Bench = Literal["all", "forwarding", "memif", "idle", "latency", "pacing", "page"]


def build(*, jobs: int | None = None) -> None:
    """Build manager, NFs and generator from their C sources.

    A checkout builds into hw_backend/dataplane/build, an installed package into the user's cache.

    Args:
        jobs: compilers at a time.
    """
    from flexnfv.hw_backend.build import build as build_dataplane

    print(build_dataplane(jobs=jobs))


def up(
    chain: tyro.conf.Positional[str] = "paper",
    *,
    calibration: str | None = None,
    port: tuple[str, ...] = ("memif",),
    scale: str = "1",
    pacing: bool = False,
    spares: int = 0,
    law: bool = True,
    interval_s: float | None = None,
    ring_size: int | None = None,
    rx_threads: int = 1,
    tx_threads: int = 0,
    cores: str | None = None,
    nf_cores: str | None = None,
    busy_polling: bool = False,
    huge_dir: Path | None = None,
    name: str | None = None,
    background: bool = False,
) -> None:
    """Run a chain until Ctrl-C, or in the background until `down`.

    Without a controller (`flexnfv deploy --attach FOLDER`) the manager scales it by the built-in
    watermark law.

    Args:
        chain: name of a shipped chain, or the path of a chain file (TOML).
        calibration: use this calibration instead of the one that the chain names.
        port: memif, null, pcap:IN:OUT, af_packet:INTERFACE, tap:INTERFACE, a PCI address or
            DPDK's own words for a device; what comes in at port 0 leaves by port 1.
        scale: packet rates relative to the chain's own, as 0.05 or 1/20.
        pacing: limit each instance to its calibrated rate x scale.
        spares: NF processes kept parked, so that a launch is a wake-up.
        law: scale by the built-in law while no controller is heard.
        interval_s: monitor interval, instead of the chain's.
        ring_size: of every receive ring, a power of two, instead of the chain's.
        rx_threads: threads that receive, 1 to 4.
        tx_threads: threads that send, 0 to 4; with none the receiving ones do both.
        cores: CPUs of these threads, as 0 or 0,2-3.
        nf_cores: CPUs of the NFs.
        busy_polling: nobody sleeps: for machines with a CPU for every thread and instance.
        huge_dir: a hugetlbfs mount, where there are several.
        name: what it is called in `status`, `top` and `down`; the chain's name if not given.
        background: return once it runs.
    """
    from flexnfv.chain import load_chain
    from flexnfv.hw_backend.config import ManagerOptions
    from flexnfv.hw_backend.manager_process import LOG_FILE, ManagerProcess
    from flexnfv.hw_backend.running import runtime_folder

    loaded = load_chain(chain, calibration=calibration)
    if interval_s is not None:
        loaded = loaded.replace(interval_s=interval_s)
    label = name or loaded.name
    if "/" in label or label in ("", ".", ".."):
        raise InputError(f"{label!r} is no name", where="--name", fix="use letters and digits")
    manager = ManagerProcess(
        loaded,
        ports=port,
        options=ManagerOptions(
            scale=_scale(scale),
            pacing=pacing,
            spares=spares,
            law=law,
            status_s=min(0.1, loaded.interval_s / 5),
            busy_polling=busy_polling,
            ring_size=ring_size,
            rx_threads=rx_threads,
            tx_threads=tx_threads,
        ),
        folder=runtime_folder() / label,
        placement=_placement(cores, nf_cores, rx_threads + tx_threads),
        huge_dir=huge_dir,
        keep=background,
    )
    manager.start()
    stopped = threading.Event()
    if not background:  # The handlers stand before the line that says that it runs.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
    print(f"{label} runs in {manager.folder} (process {manager.pid}): {manager.placement}")
    print(f"log: {manager.folder / LOG_FILE}", flush=True)
    if background:
        return
    try:
        _follow(manager.folder / LOG_FILE, stopped, manager.check)
    finally:
        manager.close()


def status(name: tyro.conf.Positional[str | None] = None, *, json: bool = False) -> None:
    """Say what a running chain does.

    Args:
        name: of the chain, or the manager's folder; needed if several run.
        json: print JSON instead of tables.
    """
    from flexnfv.hw_backend.client import Client
    from flexnfv.hw_backend.running import find
    from flexnfv.hw_backend.status import figures

    folder = find(name)
    with Client(folder) as client:
        before = client.snapshot()
        time.sleep(0.5)
        state = {"name": folder.name, "folder": str(folder)} | figures(before, client.snapshot())
    if json:
        print(jsonlib.dumps(state, indent=2))
        return
    terminal.console().print(_view(state))


def top(name: tyro.conf.Positional[str | None] = None, *, period_s: float = 0.5) -> None:
    """Watch a running chain, until Ctrl-C.

    Args:
        name: of the chain, or the manager's folder; needed if several run.
        period_s: time between two views.
    """
    from rich.live import Live

    from flexnfv.hw_backend.client import Client
    from flexnfv.hw_backend.running import find

    if period_s <= 0:
        raise InputError(f"--period-s is {period_s:g}", fix="it must be positive")
    folder = find(name)
    with Client(folder) as client, contextlib.suppress(KeyboardInterrupt):
        views = _views(client, folder, period_s)
        with Live(next(views), auto_refresh=False, screen=True) as live:
            for view in views:
                live.update(view, refresh=True)


def down(name: tyro.conf.Positional[str | None] = None) -> None:
    """End a running chain.

    Args:
        name: of the chain, or the manager's folder; needed if several run.
    """
    from flexnfv.hw_backend.running import end, find

    folder = find(name)
    ended = end(folder)
    print(f"{folder.name} has ended" if ended else f"{folder.name} had died: its files are removed")


def bench(
    what: tyro.conf.Positional[Bench] = "all",
    *,
    chain: str = "paper",
    trials: int = 5,
    trial_s: float = 10.0,
    samples: int = 200,
) -> None:
    """Measure this machine's dataplane.

    Args:
        what: forwarding (through net_null), memif (highest rate without loss), idle (processor
            time without traffic), latency (of launch and rerun), pacing, page (reading it), or all.
        chain: name of a shipped chain, or the path of a chain file (TOML).
        trials: trials of each rate.
        trial_s: length of a trial, seconds.
        samples: launches and reruns.
    """
    from flexnfv.chain import load_chain
    from flexnfv.hw_backend.benchmarks import run

    for line in run(load_chain(chain), what, trials=trials, trial_s=trial_s, samples=samples):
        print(line, flush=True)


def _scale(text: str) -> float:
    try:
        scale = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{text!r} is no number", where="--scale", fix="0.05 or 1/20") from None
    if not 0 < scale <= 1000:
        raise InputError(f"it is {text}", where="--scale", fix="give more than 0, 1000 at most")
    return scale


def _placement(cores: str | None, nf_cores: str | None, threads: int) -> Placement | None:
    """Who runs where, as far as it is said; what is not takes the CPUs that are left."""
    from flexnfv.hw_backend.manager_process import place

    if cores is None and nf_cores is None:
        return None
    allowed = sorted(os.sched_getaffinity(0))
    given = {
        option: _cpus(option, text)
        for option, text in (("--cores", cores), ("--nf-cores", nf_cores))
        if text is not None
    }
    taken = {cpu for cpus in given.values() for cpu in cpus}
    left = [cpu for cpu in allowed if cpu not in taken] or allowed
    return replace(
        place(allowed),
        manager=given.get("--cores") or tuple(left[:threads]),
        nfs=given.get("--nf-cores") or tuple(left),
    )


def _cpus(option: str, text: str) -> tuple[int, ...]:
    """The CPUs of a list like 0,2-3, in order and once each."""
    allowed = os.sched_getaffinity(0)
    found: set[int] = set()
    for part in text.split(","):
        bounds = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
        if bounds is None:
            raise InputError(f"{text!r} is no list of CPUs", where=option, fix="give 0 or 0,2-3")
        low, high = int(bounds[1]), int(bounds[2] or bounds[1])
        cpus = range(low, high + 1)
        if not cpus or not allowed.issuperset(cpus):
            raise InputError(
                f"{part.strip()} names a CPU that is not there or not allowed",
                where=option,
                fix=f"allowed: {', '.join(map(str, sorted(allowed)))}",
            )
        found.update(cpus)
    return tuple(sorted(found))


def _follow(log: Path, stopped: threading.Event, check: Any) -> None:
    """Show the log's lines as they come, until told to stop or the manager has died."""
    with log.open(errors="replace") as lines:
        while not stopped.wait(0.2):
            print(lines.read(), end="", flush=True)
            check()
        print(lines.read(), end="", flush=True)


def _views(client: Client, folder: Path, period_s: float) -> Any:
    from flexnfv.hw_backend.status import figures

    before = client.snapshot()
    time.sleep(min(period_s, 0.2))
    while True:
        try:
            after = client.snapshot()
        except BackendError:
            return
        yield _view({"name": folder.name, "folder": str(folder)} | figures(before, after))
        before = after
        time.sleep(period_s)


def _view(state: dict[str, Any]) -> RenderableType:
    """The figures of `flexnfv.hw_backend.status` as tables."""
    from rich.console import Group
    from rich.text import Text

    rate = "paced, " if state["paced"] else ""
    if state["run_to_completion"]:
        rate = f"run to completion, {rate}"
    totals = Text(
        f"{state['name']}: up {state['up_s']:.0f} s, {rate}scale {state['scale']:g}, "
        f"targets by {state['control']}, cores {state['cores_held']} of {state['core_budget']}, "
        f"{state['spares_ready']} spares\n"
        f"offered {_kpps(state['offered_pps'])}, delivered {_kpps(state['delivered_pps'])}, "
        f"lost {_kpps(state['dropped_pps'])} kpps; {state['in_flight']} packets in flight"
    )
    causes = {cause: count for cause, count in state["dropped"].items() if count}
    if causes:
        totals.append("\nlost so far: " + ", ".join(f"{c} {n:,}" for c, n in causes.items()))
    tables = [_types(state), _instances(state), _ports(state)]
    note = [Text("* declared, since the instance is paced")] if state["paced"] else []
    return Group(totals, *(part for table in tables for part in (Text(), table)), *note)


def _types(state: dict[str, Any]) -> Listing:
    counts = ("target", "launches", "reruns", "blocks", "deaths")
    rows = [
        (
            f"{nf['name']} ({nf['function']})",
            *(str(nf[key]) for key in counts),
            f"{nf['high_load']:.3f}",
            f"{nf['low_load']:.3f}",
        )
        for nf in state["types"]
    ]
    return Listing(("NF type", *counts, "H", "L"), rows)


def _instances(state: dict[str, Any]) -> Listing:
    rows = [
        (
            f"{nf['name']}.{one['slot']}",
            one["state"],
            str(one["core"]),
            *(_kpps(one[f"{key}_pps"]) for key in ("arrived", "served", "ring_dropped")),
            f"{one['load']:.3f}",
            f"{one['processing_ns']:.0f}{'*' if one['declared'] else ''}",
            f"{one['queue']}/{one['ring_size']}",
        )
        for nf in state["types"]
        for one in nf["instances"]
    ]
    heading = ("instance", "state", "core", "in kpps", "served", "lost", "load", "ns", "queue")
    return Listing(heading, rows)


def _ports(state: dict[str, Any]) -> Listing:
    rows = [
        (
            port["name"],
            "up" if port["link_up"] else "down",
            _kpps(port["received_pps"]),
            _kpps(port["sent_pps"]),
            str(port["dropped"]),
            str(port["missed"]),
        )
        for port in state["ports"]
    ]
    return Listing(("port", "link", "in kpps", "out kpps", "lost", "missed"), rows)


def _kpps(pps: float) -> str:
    return f"{pps / 1e3:.1f}"


COMMAND = {
    "build": build,
    "up": up,
    "status": status,
    "top": top,
    "down": down,
    "bench": bench,
}
