"""Managers that run on this machine under a name: `flexnfv dataplane up` and its companions."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.client import SOCKET_FILE, Client
from flexnfv.hw_backend.folder import PREFIX_FILE, remove_stale
from flexnfv.hw_backend.processes import alive, manager_in

_END_S = 15.0
_POLL_S = 0.01
_SETTLED: Final = ("scale", "pacing", "ports", "spares", "folder", "placement")
"""Options of a live chain that a running manager was started with."""


def runtime_folder() -> Path:
    """Where running managers have their folders: root's in /run, a user's in their runtime."""
    if os.geteuid() == 0:
        return Path("/run/flexnfv")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/flexnfv-{os.getuid()}"
    return Path(runtime) / "flexnfv"


def running() -> dict[str, Path]:
    """Names and folders of the managers that were brought up, and not taken down."""
    return {path.name: path for path in runtime_folder().glob("*") if _in_use(path)}


def find(name: str | None) -> Path:
    """The folder of a running manager: of that name, that folder, or the only one there is.

    Raises:
        InputError: there is none, or several and no name.
    """
    known = running()
    if name is None:
        if len(known) == 1:
            return next(iter(known.values()))
        raise InputError(
            "several managers run" if known else "no manager runs",
            where="flexnfv dataplane",
            fix=f"name one of {', '.join(sorted(known))}"
            if known
            else "start one: flexnfv dataplane up CHAIN",
        )
    folder = known.get(name) or Path(name)
    if not _in_use(folder):
        raise InputError(
            f"no manager runs as {name!r}",
            where="flexnfv dataplane",
            fix=f"running: {', '.join(sorted(known)) or 'none'}",
        )
    return folder


def end(folder: Path) -> bool:
    """End the manager in a folder; False if it had died and only left its files.

    A signal does it whatever version the manager is of, and also while it starts.

    Raises:
        BackendError: it does not end in order.
    """
    pid = manager_in(folder)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            if not _gone(pid):
                os.kill(pid, signal.SIGKILL)
                if _gone(pid):
                    remove_stale(folder)
                raise BackendError(f"the manager (process {pid}) did not end and was killed")
    remove_stale(folder)
    return pid is not None


def _gone(pid: int) -> bool:
    """Whether a process ends in time."""
    deadline = time.monotonic() + _END_S
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _in_use(folder: Path) -> bool:
    """Whether a manager runs, starts or has died there."""
    return (folder / SOCKET_FILE).exists() or (folder / PREFIX_FILE).exists()


def check_takeover(folder: Path, chain: ServiceChain, options: Mapping[str, Any]) -> None:
    """See to it that a controller of `chain` may take over the manager in `folder`.

    Args:
        folder: the manager's.
        chain: as the controller knows it.
        options: that the controller was given; what the manager was started with stands.

    Raises:
        InputError: no manager runs there, or with another interval or other options.
    """
    with _connected(folder) as client:
        header = client.read().header
        scale, interval_s = float(header["scale"]), float(header["interval_ns"]) * 1e-9
        for name in _SETTLED:
            if name in options and not (
                name == "scale" and math.isclose(options[name], scale, rel_tol=1e-9)
            ):
                told = f" at scale {scale:g}" if name == "scale" else ""
                raise InputError(
                    f"the manager in {folder} was started{told} before",
                    where=f"option {name!r}",
                    fix="leave it out, or start a manager with it",
                )
        if not math.isclose(interval_s, chain.interval_s, rel_tol=1e-6):
            raise InputError(
                f"the manager's interval is {interval_s:g} s, that of chain {chain.name!r} "
                f"{chain.interval_s:g} s: its law would take over between two decisions",
                where=str(folder),
                fix=f"use a chain file with interval_s = {interval_s:g}, or start the manager with "
                f"--interval-s {chain.interval_s:g}",
            )


def allow_law(folder: Path, allowed: bool) -> None:
    """Whether the built-in law of the manager in `folder` may decide while nobody else does.

    Raises:
        BackendError: it died.
    """
    with Client(folder) as client:
        client.law(allowed)


def _connected(folder: Path) -> Client:
    try:
        return Client(folder)
    except BackendError as error:
        others = ", ".join(str(path) for path in running().values())
        raise InputError(
            str(error),
            where="--attach",
            fix=f"running: {others}" if others else "start one: flexnfv dataplane up CHAIN",
        ) from None
