"""Writes down what the deployment does, beside its loop, so that no disk delays a decision."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any, Final

from flexnfv.chain import ServiceChain
from flexnfv.deploy.punctual import punctual
from flexnfv.deploy.record import FOLDER, Row, join_parts, load_writer, write_part
from flexnfv.deploy.status import Tally, write_status

log = logging.getLogger("flexnfv.deploy")

Show = Callable[[dict[str, Any]], None]

_SAVE_S: Final = 5.0
"""What a kill costs at most, seconds of records."""
_PART_S: Final = 15.0
"""A part begun so long ago is full: a longer one takes more than an interval to write again."""
_MOST_ROWS: Final = 1000
"""Rows of a part, where the chain's time runs faster than the clock."""
_STATUS_S: Final = 0.05
"""Shortest time between two status files."""
_PATIENCE_S: Final = 10.0
_WAITING: Final = 4 * _MOST_ROWS
"""Rows that may wait to be written."""


class Scribe:
    """A thread that takes rows: counts them, writes their parts, the status, and shows it.

    What cannot be written (a full disk) is counted, logged and given up: the chain comes first.

    Args:
        directory: of the deployment; exists.
        chain: of the readings.
        shadows: their names.
        facts: what the record says of the deployment.
        tally: that counts the rows.
        show: shown every status.
        patient: wait when rows come faster than they can be written; else they are lost.
    """

    def __init__(
        self,
        directory: Path,
        chain: ServiceChain,
        shadows: Sequence[str],
        facts: Mapping[str, Any],
        tally: Tally,
        show: Show,
        *,
        patient: bool,
    ) -> None:
        self._directory = directory
        self._chain = chain
        self._shadows = shadows
        self._facts = facts
        self._tally = tally
        self._show = show
        self._patient = patient
        self._queue: Queue[Row | None] = Queue(_WAITING)
        self._rows: list[Row] = []
        self._save_due = monotonic() + _SAVE_S
        self._part_due = monotonic() + _PART_S
        self._status_due = 0.0
        self._troubled = False
        self.lost_rows = 0
        (directory / FOLDER).mkdir()
        self._guarded(load_writer)
        self._tell("running")
        self._thread = threading.Thread(target=self._run, name="flexnfv scribe", daemon=True)
        self._thread.start()

    def add(self, row: Row) -> None:
        """Take a row; its reading must be a copy."""
        try:
            self._queue.put(row, block=self._patient, timeout=_PATIENCE_S)
        except Full:
            self.lost_rows += 1

    def close(self, state: str, reason: str = "") -> dict[str, Any]:
        """Write what is left, join the parts, and tell how it ended: the last status."""
        self._queue.put(None)
        self._thread.join()
        self._save(last=True)
        self._guarded(lambda: join_parts(self._directory))
        return self._tell(state, reason=reason)

    def _run(self) -> None:
        # This thread needs the loop's priority: if the system suspended it while it holds the
        # interpreter's lock, the loop would have to wait for that lock.
        with nullcontext() if self._patient else punctual():
            self._take_rows()

    def _take_rows(self) -> None:
        while True:
            # Rows arrive just after the loop has decided, so saving right behind a row disturbs
            # no decision; a timer would fire while the loop decides. The timeout serves only
            # a chain from which no rows come any more.
            overdue = self._save_due + 2 * self._chain.interval_s
            try:
                row = self._queue.get(timeout=max(overdue - monotonic(), 0.01))
            except Empty:
                self._save()
                continue
            if row is None:
                return
            self._tally.add(row)
            self._rows.append(row)
            now = monotonic()
            if len(self._rows) >= _MOST_ROWS or now >= self._save_due:
                self._save()
            if now >= self._status_due:
                self._tell("running")
                self._status_due = monotonic() + _STATUS_S

    def _save(self, *, last: bool = False) -> None:
        """Write the part under way as it is, and begin another one if it is full."""
        now = monotonic()
        self._save_due = now + _SAVE_S
        full = last or len(self._rows) >= _MOST_ROWS or now >= self._part_due
        saved = not self._rows or self._guarded(self._write_part)
        if full:
            self.lost_rows += 0 if saved else len(self._rows)
            self._rows = []
            self._part_due = now + _PART_S

    def _write_part(self) -> None:
        folder = self._directory / FOLDER
        write_part(self._rows, folder, self._chain, self._shadows, self._facts)

    def _tell(self, state: str, **more: Any) -> dict[str, Any]:
        status = self._tally.status(state, os.getpid(), lost_rows=self.lost_rows, **more)
        self._guarded(lambda: write_status(status, self._directory))
        self._guarded(lambda: self._show(status))
        return status

    def _guarded(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except Exception as error:
            if not self._troubled:
                log.error("cannot write to %s: %s", self._directory, error)
            self._troubled = True
            return False
        self._troubled = False
        return True
