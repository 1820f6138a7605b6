"""`flexnfv deploy`: run a policy on a chain until it is stopped."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

import tyro

from flexnfv import terminal
from flexnfv.errors import InputError
from flexnfv.failures import BACKEND_FAILED

if TYPE_CHECKING:
    from rich.console import Console


def run(
    *,
    chain: str,
    policy: str,
    shadow: tuple[str, ...] = (),
    backend: str = "dpdk",
    attach: Path | None = None,
    scale: str | None = None,
    options: tuple[str, ...] = (),
    trace: str | None = None,
    out: Path | None = None,
    intervals: int | None = None,
    deadline: float | None = None,
    realtime: bool = False,
    seed: int | None = None,
    json: bool = False,
) -> None:
    """Run a policy on a chain, with the watermark law behind it, until stopped (Ctrl-C, SIGTERM).

    Every interval: read, decide, send. Where the policy raises, answers nonsense or misses its
    deadline, the law decides that interval. Stopped in order, the exit code is 0.

    Args:
        chain: name of a shipped chain, or the path of a chain file (TOML).
        policy: path of a bundle, a registered name, or name:key=value,key=value.
        shadow: policies that are asked and recorded, too, but never obeyed.
        backend: dpdk, model, or the name of an installed one.
        attach: folder of a running manager to take over, for the backend dpdk; without it a
            manager is started in the runtime folder, under the chain's name.
        scale: packet rates of a live chain relative to the chain's own, such as 1/20.
        options: further options of the backend as KEY=VALUE (dpdk: spares=2 pacing=false).
        trace: traffic to play (see `flexnfv traces list`); a live chain takes what comes without.
        out: directory to make for record, status and log; runs/deploy-CHAIN-TIME if not given.
        intervals: end after so many.
        deadline: seconds from a reading to the policy's answer; half the interval if not given.
        realtime: let the model's intervals take as long as a live chain's.
        seed: of policies and backend.
        json: print the last status as JSON, and nothing else, on standard output.
    """
    from rich.live import Live

    from flexnfv.deploy import deploy
    from flexnfv.deploy.status import page
    from flexnfv.options import backend_options

    directory = (
        out or Path("runs") / f"deploy-{Path(chain).stem}-{strftime('%Y%m%dT%H%M%SZ', gmtime())}"
    )
    console = _console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not json else None

    def show(status: dict[str, Any]) -> None:
        if live is not None:
            live.update(page(status), refresh=True)

    with live or nullcontext():
        status = deploy(
            policy,
            chain,
            out=directory,
            shadows=shadow,
            backend=backend,
            options=backend_options(scale, options)
            | ({} if attach is None else {"attach": attach}),
            trace=trace,
            intervals=intervals,
            deadline_s=deadline,
            realtime=realtime,
            seed=seed,
            show=show,
        )
    if json:
        _print_json(status)
        return
    if live is None:
        console.print(page(status))
    console.print(f"recorded in {directory}", soft_wrap=True)


def status(directory: tyro.conf.Positional[Path], *, json: bool = False) -> int | None:
    """Show what a deployment does, or how it ended; exit code 1 if it failed or was killed.

    Args:
        directory: that `flexnfv deploy` made.
        json: print the status as JSON, and nothing else, on standard output.
    """
    from flexnfv.deploy.status import page, read_status

    found = read_status(directory)
    if json:
        _print_json(found)
    else:
        _console().print(page(found))
    return None if found["state"] in ("running", "stopped") else BACKEND_FAILED


def join(directory: tyro.conf.Positional[Path]) -> None:
    """Join the parts that a killed deployment left to one record, as one that ended in order has.

    Args:
        directory: that `flexnfv deploy` made.
    """
    from flexnfv.deploy.record import join_parts
    from flexnfv.deploy.status import read_status

    if read_status(directory)["state"] == "running":
        raise InputError("still runs", where=str(directory), fix="stop it first")
    print(join_parts(directory))


def _console() -> Console:
    return terminal.console()


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


COMMAND = {"run": run, "status": status, "join": join}
DEFAULT_VERB = "run"
