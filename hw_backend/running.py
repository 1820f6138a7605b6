"""Managers that run on this machine under a name: `flexnfv dataplane up` and its companions."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.client import SOCKET_FILE, Client
from flexnfv.hw_backend.testbed import alive, remove_stale

_END_S = 15.0


def runtime_folder() -> Path:
    """Where running managers have their folders: root's in /run, a user's in their runtime."""
    if os.geteuid() == 0:
        return Path("/run/flexnfv")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/flexnfv-{os.getuid()}"
    return Path(runtime) / "flexnfv"


def running() -> dict[str, Path]:
    """Names and folders of the managers that were brought up."""
    return {path.parent.name: path.parent for path in runtime_folder().glob(f"*/{SOCKET_FILE}")}


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
    if not (folder / SOCKET_FILE).exists():
        raise InputError(
            f"no manager runs as {name!r}",
            where="flexnfv dataplane",
            fix=f"running: {', '.join(sorted(known)) or 'none'}",
        )
    return folder


def end(folder: Path) -> bool:
    """End the manager in a folder; False if it had died and only left its files.

    Raises:
        BackendError: it does not end.
    """
    try:
        with Client(folder) as client:
            pid = int(client.read().header["manager_pid"])
            client.shutdown()
    except BackendError:
        remove_stale(folder)
        return False
    deadline = time.monotonic() + _END_S
    while alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            remove_stale(folder)
            raise BackendError(f"the manager (process {pid}) did not end and was killed")
        time.sleep(0.01)
    remove_stale(folder)
    return True
