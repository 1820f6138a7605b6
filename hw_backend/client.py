"""Reading and commanding a running manager: its statistics page and its control socket."""

from __future__ import annotations

import fcntl
import math
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.decision import KEEP, Decision
from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.abi import (
    ABI_VERSION,
    DECISION_FIELDS,
    ENTRIES,
    LIMITS,
    MAX_TYPES,
    REQUESTS,
    STATUSES,
    Page,
    Snapshot,
    ffi,
)
from flexnfv.mapping import MappingKind

PAGE_FILE = "page"
SOCKET_FILE = "control.sock"

_REPLY_S = 10
_REPLY_BYTES = ffi.sizeof("struct fx_reply")
_ARGS_BYTES = LIMITS["FX_ARGS_LENGTH"]


class Refused(BackendError):
    """The manager refused a command; the text is its reason."""


@dataclass(frozen=True)
class Reply:
    """The manager's answer to a command that it took.

    Attributes:
        time_ns: when it was taken, CLOCK_MONOTONIC.
        slot: slot of the instance that was meant or launched, -1 if none.
        instance: its index in the page, -1 if none.
        clipped: wanted instances that limits or budget refused, per NF type.
        reason: why a decision was taken in part, or empty.
    """

    time_ns: int
    slot: int
    instance: int
    clipped: tuple[int, ...]
    reason: str


class Client:
    """A connection to the manager whose page and socket lie in a folder.

    Commands may be given from several threads. Every command raises `Refused` with the manager's
    reason if it is refused, and `BackendError` if there is no manager.

    Args:
        folder: the manager's folder.

    Raises:
        BackendError: no manager runs there, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._sequence = 0
        self._held: IO[bytes] | None = None
        self._request = ffi.new("struct fx_request *")
        self._request_bytes = ffi.buffer(self._request)
        decision: Any = self._request.decision
        self._decision = np.frombuffer(ffi.buffer(ffi.addressof(decision)), np.int32).reshape(
            len(DECISION_FIELDS), MAX_TYPES
        )
        self._reply = ffi.new("struct fx_reply *")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The kernel limits the time that a call takes. Were Python to do it, each call would be a
        # wait and then the call itself, and another thread may take the interpreter in between.
        limit = struct.pack("@ll", _REPLY_S, 0)
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, direction, limit)
        try:
            self._socket.connect(str(folder / SOCKET_FILE))
            self.page = Page(folder / PAGE_FILE)
        except OSError as error:
            self._socket.close()
            raise BackendError(f"no manager in {folder} ({error.strerror or error})") from None
        except BackendError:
            self._socket.close()
            raise

    def close(self) -> None:
        """End the connection; the manager runs on. May be called twice."""
        self._socket.close()
        self.page.close()
        if self._held is not None:
            # Closing alone keeps the lock, if a process that was forked has the file open, too.
            fcntl.flock(self._held, fcntl.LOCK_UN)
            self._held.close()
            self._held = None

    def hold(self) -> None:
        """Be the one controller until closed, or until the process ends; may be called twice.

        Raises:
            InputError: somebody else is.
        """
        if self._held is not None:
            return
        page = self.page.path.open("rb")
        try:
            fcntl.flock(page, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            page.close()
            raise InputError(
                "somebody else decides for this manager",
                where=str(self.folder),
                fix="end that one first (flexnfv deploy, bench, train or an environment)",
            ) from None
        self._held = page

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- reading ----------------------------------------------------------------------------

    def read(self) -> Snapshot:
        """The newest snapshot of the page, at most a status period old."""
        return self.page.read()

    def snapshot(self) -> Snapshot:
        """A snapshot made now."""
        self._tell("SNAPSHOT")
        return self.page.read()

    # --- commands ---------------------------------------------------------------------------

    def heartbeat(self) -> Reply:
        """Say that a controller is there, so that the built-in law stays off."""
        return self._tell("HEARTBEAT")

    def decide(self, decision: Decision | npt.ArrayLike) -> Reply:
        """Have the chain run a decision, [T], or its targets; a heartbeat as well.

        Here the targets may be `KEEP`, too, for NF types that stay as they are.
        """
        return self._tell("DECISION", decision=Decision.of(decision))

    def mapping(self, nf_type: int, kind: MappingKind) -> Reply:
        """Change how an NF type's flows are mapped to its instances."""
        return self._tell("MAPPING", nf_type, value=int(kind))

    def launch(self, nf_type: int, slot: int = -1, args: str = "") -> Reply:
        """Launch an instance in a stopped slot (-1: the first), with its type's args if empty."""
        return self._tell("LAUNCH", nf_type, slot, text=args)

    def block(self, nf_type: int, slot: int) -> Reply:
        """Block a running instance: unmapped, drained, parked."""
        return self._tell("BLOCK", nf_type, slot)

    def rerun(self, nf_type: int, slot: int) -> Reply:
        """Run a blocked instance again."""
        return self._tell("RERUN", nf_type, slot)

    def stop(self, nf_type: int, slot: int) -> Reply:
        """Stop an instance; a running one is blocked and drained first."""
        return self._tell("STOP", nf_type, slot)

    def kill(self, nf_type: int, slot: int) -> Reply:
        """Let an instance die (SIGKILL), to see what becomes of it."""
        return self._tell("KILL", nf_type, slot)

    def pace(self, pps: float, nf_type: int = -1) -> Reply:
        """Limit every instance of an NF type (-1: of all) to a rate; 0: no limit."""
        return self._tell("PACE", nf_type, value=pps)

    def entry(self, mode: str) -> Reply:
        """What happens at the chain's entry while a ring is nearly full: open, shed, hold."""
        return self._tell("ENTRY", value=ENTRIES.get(mode, math.nan))

    def law(self, allowed: bool) -> Reply:
        """Whether the built-in law may take over when no controller is heard."""
        return self._tell("LAW", value=float(allowed))

    def rule(self, rule: str) -> Reply:
        """Add a rule that says which packets go to which chain; "" removes all rules."""
        return self._tell("RULE", text=rule)

    def shutdown(self) -> Reply:
        """End the manager and its NFs."""
        return self._tell("SHUTDOWN")

    def _tell(
        self,
        name: str,
        nf_type: int = -1,
        slot: int = -1,
        *,
        value: float = 0.0,
        decision: Decision | None = None,
        text: str = "",
    ) -> Reply:
        if len(text.encode()) >= _ARGS_BYTES:
            raise Refused(f"text has {len(text.encode())} bytes, at most {_ARGS_BYTES - 1} fit")
        with self._lock:
            self._sequence += 1
            request: Any = self._request
            ffi.memmove(request, bytes(len(self._request_bytes)), len(self._request_bytes))
            request.abi_version = ABI_VERSION
            request.kind = REQUESTS[f"FX_CMD_{name}"]
            request.sequence = self._sequence
            request.type, request.slot, request.value = nf_type, slot, value
            self._decision[:] = KEEP
            for row, field in enumerate(DECISION_FIELDS if decision else ()):
                values = getattr(decision, field)
                if values is not None:
                    self._decision[row, : len(values)] = values
            request.text = text.encode()
            return self._answer(name.lower())

    def _answer(self, command: str) -> Reply:
        """Send the request and return its reply; one that comes late for another is passed over."""
        reply: Any = self._reply
        try:
            self._socket.send(self._request_bytes)
            while True:
                data = self._socket.recv(_REPLY_BYTES + 1)
                if len(data) != _REPLY_BYTES:
                    raise BackendError(
                        f"the manager in {self.folder} "
                        + ("speaks another version" if data else "has ended")
                    )
                ffi.memmove(reply, data, _REPLY_BYTES)
                if reply.sequence == self._sequence:
                    break
        except BlockingIOError:
            raise BackendError(
                f"the manager in {self.folder} does not answer ({command})"
            ) from None
        except OSError as error:
            raise BackendError(
                f"the manager in {self.folder} has ended ({error.strerror or error})"
            ) from None
        reason = ffi.string(reply.reason).decode(errors="replace")
        if reply.status == STATUSES["FX_REFUSED"]:
            raise Refused(f"{command} is refused: {reason}")
        return Reply(
            int(reply.time_ns), int(reply.slot), int(reply.instance), tuple(reply.clipped), reason
        )
