"""The dataplane as one thing to start and stop: manager, NFs, generator.

::

    options = ManagerOptions(scale=0.05, pacing=True)
    with ManagerProcess(load_chain("paper"), options=options) as manager:
        with manager.generator(PktgenOptions(port=manager.peer, rate_pps=1e5, duration_s=1)) as g:
            print(g.wait())
        print(manager.client.snapshot().header["delivered"])

Every manager has a DPDK file prefix, a folder and a control socket of its own, so that several may
run on one machine. Whatever happens, `close()` leaves no process, no huge page and no file behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError, InputError
from flexnfv.hw_backend.build import MANAGER, built
from flexnfv.hw_backend.client import SOCKET_FILE, Client
from flexnfv.hw_backend.config import MEMIF_SOCKET, ManagerOptions, configuration, is_nic
from flexnfv.hw_backend.folder import (
    for_a_new_manager,
    leave_in_order,
    read_prefix,
    write_prefix,
)
from flexnfv.hw_backend.leftovers import huge_mounts, remove_dpdk_files
from flexnfv.hw_backend.pktgen import Pktgen, PktgenOptions, memif_client
from flexnfv.hw_backend.power import note_governors
from flexnfv.hw_backend.processes import end_orphans

LOG_FILE = "manager.log"
NF_LOG_FILE = "nf.log"
CONFIGURATION_FILE = "manager.conf"

_START_S = 30.0
_END_S = 10.0
_POLL_S = 0.005

_number = count()


@dataclass(frozen=True)
class Placement:
    """CPUs of the manager's threads, of the NFs and of the generator."""

    manager: tuple[int, ...]
    nfs: tuple[int, ...]
    generator: tuple[int, ...]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} on {','.join(map(str, cpus))}"
            for name, cpus in (
                ("manager", self.manager),
                ("NFs", self.nfs),
                ("generator", self.generator),
            )
        )


def place(cpus: Sequence[int], threads: int = 1) -> Placement:
    """Who runs where: apart where CPUs are plenty, folded where they are few.

    Args:
        cpus: CPUs that may be used, at least one.
        threads: of the manager.

    Returns:
        With one CPU everything on it; with two the NFs on the second and the rest on the first;
        with more the generator on the last but one left over from the manager and the NFs.
    """
    cpus = sorted(cpus)
    if len(cpus) < 3:
        return Placement((cpus[0],), (cpus[-1],), (cpus[0],))
    managers = min(threads, len(cpus) - 2)
    return Placement(tuple(cpus[:managers]), tuple(cpus[managers:-1]), (cpus[-1],))


class ManagerProcess:
    """A running manager with its NFs, and the generators that were started for it.

    Args:
        chain: the chain.
        ports: see `flexnfv.hw_backend.config.configuration`; by default one memif, which a
            generator connects to.
        options: how the chain is run.
        folder: where page, socket, configuration and logs lie, and stay (an existing or a new
            folder without a manager in it); by default a temporary one, removed in the end.
        placement: who runs where, `place` of all allowed CPUs if None.
        huge_dir: the hugetlbfs mount to use, DPDK's choice if None.
        keep: the manager outlives this process.

    Attributes:
        client: the connection to the manager, while it runs.
    """

    __test__ = False  # for pytest, which would take it for a test

    client: Client

    def __init__(
        self,
        chain: ServiceChain,
        *,
        ports: Sequence[str] = ("memif",),
        options: ManagerOptions | None = None,
        folder: Path | None = None,
        placement: Placement | None = None,
        huge_dir: Path | None = None,
        keep: bool = False,
    ) -> None:
        self.chain = chain
        self.ports = tuple(ports)
        self.options = options or ManagerOptions()
        self.placement = placement or place(
            sorted(os.sched_getaffinity(0)), self.options.rx_threads + self.options.tx_threads
        )
        self.prefix = f"flexnfv_{os.getpid()}_{next(_number)}"
        self.folder = folder.resolve() if folder is not None else Path()
        self._own_folder = folder is None
        self._huge_dir = huge_dir
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        self._generators: list[Pktgen] = []

    # --- start and end ----------------------------------------------------------------------

    def start(self) -> Self:
        """Start the manager; returns once all initial instances poll.

        Raises:
            InputError: the dataplane is not built, no huge pages, a port or an NF argument that
                does not work, a folder in which a manager runs already.
            BackendError: the manager died.
        """
        if self._process is not None:
            raise BackendError("this ManagerProcess was started before; make another one")
        program = built(MANAGER)
        check_huge_pages()
        if self._huge_dir is not None and self._huge_dir.resolve() not in huge_mounts():
            raise InputError(
                f"{self._huge_dir} is no mount of huge pages",
                where="huge_dir",
                fix=f"run: mount -t hugetlbfs nodev {self._huge_dir}",
            )
        if self._own_folder:
            self.folder = Path(tempfile.mkdtemp(prefix="flexnfv-"))
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        try:
            text = configuration(self.chain, self.ports, self.folder, self.options)
            with for_a_new_manager(self.folder):
                (self.folder / CONFIGURATION_FILE).write_text(text, encoding="utf-8")
                write_prefix(self.folder, self.prefix)
                note_governors(self.folder, self.placement.nfs)
                self._spawn(program)
            self._await_start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End generators and manager, if need be by force; may be called twice."""
        for generator in self._generators:
            generator.close()
        self._generators.clear()
        if hasattr(self, "client"):
            self.client.close()
        process = self._process
        if process is not None:
            clean = _end(process)
            if process.stdin is not None:
                process.stdin.close()
            if not clean:
                end_orphans(self.prefix)
                remove_dpdk_files(self.prefix)
            # The folder may be another manager's by now.
            if read_prefix(self.folder) == self.prefix:
                leave_in_order(self.folder)
        if self._own_folder and self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- what runs --------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The manager's process id."""
        if self._process is None:
            raise BackendError("the manager was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the manager was started, and not ended by `close`."""
        return self._process is not None and hasattr(self, "client")

    @property
    def peer(self) -> str:
        """The generator's port: the other side of the port `memif`."""
        return memif_client(self.folder / MEMIF_SOCKET)

    def generator(self, options: PktgenOptions) -> Pktgen:
        """A generator on the manager's CPUs, to be started; it ends with the manager."""
        if not options.cpus:
            options = replace(options, cpus=self.placement.generator)
        generator = Pktgen(options)
        self._generators.append(generator)
        return generator

    def check(self, patience_s: float = 0.0) -> None:
        """See to it that the manager still runs.

        Args:
            patience_s: how long its end may take to show.

        Raises:
            BackendError: it died; its last words are given.
        """
        process = self._process
        if process is None:
            raise BackendError("the manager was not started")
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(patience_s)
            raise BackendError(
                f"the manager (process {process.pid}) {_ended(code)}: {self.words()}"
            )

    def words(self) -> str:
        """The last line of the manager's log, and of the NFs' where it points there."""
        line = _last_line(self.folder / LOG_FILE)
        if NF_LOG_FILE in line:
            line = line.replace(f"see {NF_LOG_FILE}", _last_line(self.folder / NF_LOG_FILE))
        return line.removeprefix("flexnfv-manager: ").removeprefix("manager: ")

    def _spawn(self, program: Path) -> None:
        command = [
            str(program),
            *("--config", str(self.folder / CONFIGURATION_FILE)),
            *("--dir", str(self.folder)),
            *("--prefix", self.prefix),
            *("--cores", ",".join(map(str, self.placement.manager))),
            *("--nf-cores", ",".join(map(str, self.placement.nfs))),
        ]
        if any(is_nic(port) for port in self.ports):
            command.append("--pci")
        if self._huge_dir is not None:
            command += ["--huge-dir", str(self._huge_dir.resolve())]
        if not self._keep:
            command.append("--tethered")  # it ends with its standard input, hence with this process
        with (self.folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self._keep else subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops it
            )

    def _await_start(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + _START_S
        while not (self.folder / SOCKET_FILE).exists():
            if process.poll() is not None:
                raise self._failed_start(process.returncode)
            if time.monotonic() > deadline:
                raise BackendError(f"the manager did not start within {_START_S:g} s")
            time.sleep(_POLL_S)
        while True:
            try:
                self.client = Client(self.folder)
                break
            except BackendError:  # it has died, or needs a moment
                self.check()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _failed_start(self, code: int) -> Exception:
        words = self.words()
        if words.startswith("DPDK does not start"):
            return InputError(
                words.partition(":")[0],
                where="dataplane",
                fix="free huge pages: sysctl vm.nr_hugepages=1024 (see `flexnfv doctor`)",
            )
        if code == 2:
            return InputError(words, where="manager")
        return BackendError(f"the manager {_ended(code)}: {words}")


def check_huge_pages(pages: Path = Path("/proc/sys/vm/nr_hugepages")) -> None:
    """See to it that there are huge pages at all.

    Raises:
        InputError: there are none; the command that mends it is given.
    """
    if not pages.exists() or int(pages.read_text()) == 0:
        raise InputError(
            "there are no huge pages", where="dataplane", fix="run: sysctl vm.nr_hugepages=1024"
        )


def _last_line(log: Path) -> str:
    try:
        text = log.read_text(errors="replace").strip()
    except OSError:
        return "no log"
    return text.splitlines()[-1] if text else "it said nothing"


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _end(process: subprocess.Popen[bytes]) -> bool:
    """End the manager; False if it could not clean up behind itself."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode in (0, 2)
