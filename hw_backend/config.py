"""From a service chain to the manager's configuration (see `dataplane/manager/config.h`)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.abi import LIMITS
from flexnfv.mapping import MappingKind

MEMIF_SOCKET = "memif.sock"
"""Socket of the port `memif`, in the manager's folder."""

MAX_THREADS = 4
"""RX threads, and TX threads, that a manager may have."""
RING_SIZES = (64, 1 << 20)
"""Smallest and largest receive ring."""

_PCI = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](,.*)?", re.IGNORECASE)
_SPLIT_BITS = 8
"""Paths share the generator's source addresses in blocks of 2**8, so that few rules suffice."""


@dataclass(frozen=True, kw_only=True)
class ManagerOptions:
    """How a chain is run.

    Attributes:
        scale: packet rates relative to the chain's own.
        pacing: limit each instance to `loss_free_pps` x `scale`, as if it had a slower core of its
            own; its processing time is then declared as `processing_ns` / `scale`, so that a load
            means the same at every scale.
        spares: NF processes kept parked, so that a launch is a wake-up.
        law: whether the built-in law takes over when no controller is heard.
        status_s: time between two snapshots of the statistics page.
        busy_polling: nobody sleeps: for machines with a core for every instance.
        hold: leave packets in the port while a ring downstream is half full: for rate tests.
        ring_size: of every receive ring, instead of the chain's.
        rx_threads, tx_threads: of the manager; no `tx_threads`: RX and TX share threads.
    """

    scale: float = 1.0
    pacing: bool = False
    spares: int = 0
    law: bool = True
    status_s: float = 0.1
    busy_polling: bool = False
    hold: bool = False
    ring_size: int | None = None
    rx_threads: int = 1
    tx_threads: int = 0


def configuration(
    chain: ServiceChain, ports: Sequence[str], folder: Path, options: ManagerOptions
) -> str:
    """The manager's configuration file for a chain.

    Args:
        chain: the chain.
        ports: each `memif` (the other side connects to `MEMIF_SOCKET`), `null`,
            `pcap:IN:OUT` (two files), `af_packet:INTERFACE`, `tap:INTERFACE`, or DPDK's own words
            for a device (a PCI address, `net_memif1,role=client,...`). Packets of port 0 leave by
            port 1 and the other way round; those of a last odd port where they came from.
        folder: the manager's folder.
        options: how it is run.

    Raises:
        InputError: the manager cannot run such a chain or port.
    """
    _check_options(options)
    _check_chain(chain, options)
    rules = [*_rules(chain)]
    _within(len(rules), 0, LIMITS["FX_MAX_RULES"], _key(chain, "path"), "rules that share flows")
    _within(len(ports), 1, LIMITS["FX_MAX_PORTS"], "port", "ports")
    return "\n".join(
        [
            f"# chain {chain.name}, calibration {chain.calibration!r}",
            _settings(chain, options),
            *(_type(chain, t, options) for t in range(chain.types)),
            *(f"chain {one.name} types={','.join(one.nfs)}" for one in chain.chains),
            *(f"port {device(port, number, folder)}" for number, port in enumerate(ports)),
            *rules,
            "",
        ]
    )


def device(port: str, number: int, folder: Path) -> str:
    """A port as DPDK is told of it.

    Raises:
        InputError: a word for a port that is not known, or without its argument, or one that
            makes no single word of the configuration.
    """
    name = _device(port, number, folder)
    most = LIMITS["FX_ARGS_LENGTH"] - 1
    if not _one_word(name) or len(name.encode()) > most:
        raise InputError(
            f"the device is {name!r}",
            where=f"port {port!r}",
            fix=f"folders and files of ports have no white space, and devices {most} bytes at most",
        )
    return name


def _device(port: str, number: int, folder: Path) -> str:
    kind, _, argument = port.partition(":")
    if is_nic(port) or port.startswith("net_"):
        return port
    if kind == "memif" and not argument:
        return (
            f"net_memif{number},role=server,socket={folder / MEMIF_SOCKET}"
            + (f".{number}" if number else "")
            + ",socket-abstract=no"
        )
    if kind == "null" and not argument:
        return f"net_null{number}"
    if kind == "pcap" and argument.count(":") == 1:
        source, sink = argument.split(":")
        return f"net_pcap{number},rx_pcap={source},tx_pcap={sink}"
    if kind in ("af_packet", "tap") and argument:
        return f"net_{kind}{number},iface={argument}"
    raise InputError(
        f"unknown port {port!r}",
        fix="use memif, null, pcap:IN:OUT, af_packet:INTERFACE, tap:INTERFACE, a PCI address or "
        "DPDK's own words (net_...)",
    )


def is_nic(port: str) -> bool:
    """Whether a port is a PCI device."""
    return _PCI.fullmatch(port) is not None


# --- what the manager takes (`dataplane/manager/config.c`) ------------------------------------


def _check_options(options: ManagerOptions) -> None:
    _within(options.scale, 1e-6, 1000, "scale")
    _within(options.spares, 0, LIMITS["FX_MAX_SPARES"], "spares")
    _within(options.status_s, 1e-3, 3600, "status_s")
    _within(options.rx_threads, 1, MAX_THREADS, "rx_threads")
    _within(options.tx_threads, 0, MAX_THREADS, "tx_threads")
    if options.ring_size is not None:
        low, high = RING_SIZES
        _within(options.ring_size, low, high, "ring_size")
        if options.ring_size & (options.ring_size - 1):
            raise InputError(
                f"{options.ring_size} is not a power of two",
                where="ring_size",
                fix=f"give one from {low} to {high}",
            )


def _check_chain(chain: ServiceChain, options: ManagerOptions) -> None:
    if chain.park_timeout_s is not None:
        _within(chain.park_timeout_s, 1e-3, 1e9, _key(chain, "park_timeout_s"))
    slots, most = int(chain.own_slots.sum()), LIMITS["FX_MAX_INSTANCE_SLOTS"]
    _within(slots, 1, most, _key(chain, "nf"), "instances, all max_instances")
    processes = int(chain.initial_instances.sum()) + options.spares
    what = "processes at the start, initial_instances and spares"
    _within(processes, 1, LIMITS["FX_MAX_PROCESSES"], _key(chain, "nf"), what)
    for nf, t in zip(chain.nf, range(chain.types), strict=True):
        key = _key(chain, f"nf.{nf.name}")
        _check_args(nf.args, f"{key}.args")
        _within(chain.high_load[t], 1e-9, 1e6, key, "erlangs of the high watermark")
        if options.pacing:
            _within(chain.capacity_pps[t] * options.scale, 0, 1e9, key, "packets/s of the pace")
    names = [path.name for path in chain.path]
    _within(len(names), 0, LIMITS["FX_MAX_CHAINS"], _key(chain, "path"), "paths")
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"the name is used {names.count(name)} times",
                where=_key(chain, f"path.{name}"),
                fix="give every path a name of its own",
            )


def _check_args(args: str, key: str) -> None:
    _within(len(args.encode()), 0, LIMITS["FX_ARGS_LENGTH"] - 1, key, "bytes")
    if not args.isprintable():
        raise InputError(
            f"{args!r} holds a line break or a control character",
            where=key,
            fix="write it in one line",
        )


def _within(value: float, low: float, high: float, key: str, unit: str = "") -> None:
    if not low <= value <= high:
        raise InputError(
            f"it is {value:.12g}{unit and f' {unit}'}",
            where=key,
            fix=f"the dataplane takes {low:.12g} to {high:.12g}",
        )


def _key(chain: ServiceChain, key: str) -> str:
    return f"chain {chain.name!r}: {key}"


def _one_word(text: str) -> bool:
    return text.isprintable() and len(text.split()) == 1 and text == text.strip()


# --- its statements ------------------------------------------------------------------------------


def _settings(chain: ServiceChain, options: ManagerOptions) -> str:
    entry = "hold" if options.hold else "shed" if chain.mode == "backpressure" else "open"
    mode = "run_to_completion" if chain.mode == "run_to_completion" else "pipeline"
    timeout = "inf" if chain.park_timeout_s is None else repr(chain.park_timeout_s)
    return (
        f"set core_budget={chain.core_budget} interval_ms={chain.interval_s * 1e3!r} "
        f"status_ms={options.status_s * 1e3!r} park_timeout_s={timeout} scale={options.scale!r} "
        f"spares={options.spares} law={int(options.law)} entry={entry} mode={mode} "
        f"busy_polling={int(options.busy_polling)} "
        f"rx_threads={options.rx_threads} tx_threads={options.tx_threads} "
        f"mbuf_bytes={max(2048, chain.packet_bytes)}"
    )


def _type(chain: ServiceChain, t: int, options: ManagerOptions) -> str:
    nf = chain.nf[t]
    pace = chain.capacity_pps[t] * options.scale if options.pacing else 0.0
    line = (
        f"type {nf.name} function={nf.function} min={nf.min_instances} max={nf.max_instances} "
        f"initial={nf.initial_instances} ring={options.ring_size or nf.ring_size} "
        f"cores={nf.cores_per_instance} "
        f"mapping={MappingKind(int(chain.mapping_kinds[t])).name.lower()} "
        f"high={float(chain.high_load[t])!r} low={float(chain.low_load[t])!r} "
        f"pace={float(pace)!r} cost_ns={float(chain.processing_ns[t])!r}"
    )
    return f"{line} args={chain.nf_args[t]}" if nf.args else line


def _rules(chain: ServiceChain) -> Iterator[str]:
    """Paths share the chain's flow set by source address, in blocks, as close as blocks allow."""
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    block = 1 << _SPLIT_BITS
    source = np.asarray(flows.tuples.source_ip, dtype=np.int64)
    base = 198 << 24 | 18 << 16
    weight = np.bincount((source - base) >> _SPLIT_BITS, flows.weights, (1 << 16) >> _SPLIT_BITS)
    below = np.concatenate([[0.0], np.cumsum(weight) / weight.sum()])
    shares = np.cumsum([one.share for one in chain.chains])
    edges = [int(np.abs(below - share).argmin()) for share in shares]
    # Packets that no rule names take the first chain.
    for number in range(1, len(chain.chains)):
        low, high = base + edges[number - 1] * block, base + edges[number] * block - 1
        if low > high:
            continue  # its share is less than half a block, so that no flow takes this path
        for network in ipaddress.summarize_address_range(
            ipaddress.IPv4Address(low), ipaddress.IPv4Address(high)
        ):
            yield f"rule {chain.chains[number].name} src={network}"
