"""Chains of one instance each between peers, and what must be true of them whatever came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.dataplane.pcap_files import read_pcap, write_pcap
from tests.dataplane.running_manager import RUNNING, Manager, dropped, need_dataplane


def types(names: Sequence[str], functions: Mapping[str, str] | None = None, /, **args: str) -> str:
    """Configuration of a chain; a type's function is its name, unless `functions` says otherwise.

    Entry `hold`: what the chain cannot take yet waits in the port, so nothing is lost to a burst.
    """
    lines = ["set law=0 entry=hold core_budget=16 status_ms=20"]
    for name in names:
        function = (functions or {}).get(name, name)
        lines.append(f"type {name} function={function} max=1 ring=4096 args={args.get(name, '')}")
    return "\n".join([*lines, f"chain main types={','.join(names)}", ""])


def settled(manager: Manager) -> Any:
    """A page when nothing is in flight."""

    def quiet() -> Any:
        page = manager.page()
        return page if page.in_flight == 0 else None

    return manager.until(quiet, "an empty chain")


def whole(manager: Manager) -> None:
    """Every packet is accounted for, and every instance is the one that was launched first."""
    page = settled(manager)
    assert page.offered == page.delivered + dropped(page)
    assert sum(page.class_count) == page.offered
    for number in range(page.types):
        assert (page.type[number].launches, page.type[number].deaths) == (1, 0)
        assert manager.states(number) == [RUNNING]


def between_captures(
    folder: Path, configuration: str, frames: Sequence[bytes]
) -> tuple[list[bytes], Any]:
    """The frames that a chain makes of a capture, and the page when it had seen them all."""
    need_dataplane()
    source = write_pcap(folder / "in.pcap", frames)
    target = folder / "out.pcap"
    port = f"port net_pcap0,rx_pcap={source},tx_pcap={target} peer=0\n"
    with Manager(folder, configuration + port) as manager:
        manager.until(lambda: manager.page().offered >= len(frames), "all packets")
        whole(manager)
        page = manager.page()
        assert manager.end() == 0
    assert page.offered == len(frames)
    return read_pcap(target), page
