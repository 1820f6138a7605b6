"""Service chains: list the shipped ones, show any chain file with its calibration."""

from __future__ import annotations

import json

import tyro

from flexnfv.chain import ServiceChain, load_chain, shipped
from flexnfv.mapping import MappingKind
from flexnfv.terminal import Listing, console


def list_chains(*, json: bool = False) -> None:
    """List the shipped chains.

    Args:
        json: print JSON instead of a table.
    """
    chains = [load_chain(path) for path in shipped("chains").values()]
    if json:
        _print_json([_summary(chain) for chain in chains])
        return
    heading = ("name", "NF types", "cores", "description")
    rows = [
        (chain.name, _order(chain), str(chain.core_budget), chain.description) for chain in chains
    ]
    console().print(Listing(heading, rows, prose=("NF types", "description")))


def show(
    chain: tyro.conf.Positional[str],
    *,
    calibration: str | None = None,
    json: bool = False,
) -> None:
    """Show one chain: what it intends, and what its calibration makes of it.

    Args:
        chain: name of a shipped chain, or the path of a chain file (TOML).
        calibration: use this calibration (shipped name or path) instead of the one it names.
        json: print JSON instead of tables.
    """
    loaded = load_chain(chain, calibration=calibration)
    if json:
        _print_json(_summary(loaded) | {"nf": _types(loaded)})
        return
    measured = loaded.measured
    out = console()
    out.print(f"[bold]{loaded.name}[/bold]: {loaded.description}")
    out.print(f"  order        {_order(loaded)}")
    out.print(f"  calibration  {measured.name}: {measured.description or measured.machine}")
    out.print(
        f"  latencies    launch {measured.launch_s * 1e3:g} ms, rerun {measured.rerun_s * 1e3:g} ms"
    )
    out.print(
        f"  scaling      every {loaded.interval_s:g} s, {loaded.core_budget} cores, "
        f"a parked core counts {loaded.parked_weight:g}"
    )
    out.print(
        f"  traffic      peak {loaded.peak_pps / 1e6:g} Mpps of {loaded.packet_bytes} bytes, "
        f"{loaded.flows.count} flows (Zipf {loaded.flows.zipf:g}), mode {loaded.mode}"
    )
    rows = [
        {key: f"{v:.3g}" if isinstance(v, float) else str(v) for key, v in row.items()}
        for row in _types(loaded)
    ]
    heading = [key.replace("_", " ") for key in rows[0]]
    out.print(Listing(heading, [list(row.values()) for row in rows]))


def _summary(chain: ServiceChain) -> dict[str, object]:
    return {
        "name": chain.name,
        "description": chain.description,
        "calibration": chain.calibration,
        "interval_s": chain.interval_s,
        "mapping": chain.mapping,
        "mode": chain.mode,
        "core_budget": chain.core_budget,
        "paths": [list(one.nfs) for one in chain.chains],
    }


def _types(chain: ServiceChain) -> list[dict[str, str | int | float]]:
    """One row per NF type: limits from the chain, rates and loads from its calibration."""
    return [
        {
            "name": nf.name,
            "function": nf.function,
            "instances": f"{nf.min_instances}..{nf.max_instances}",
            "cores": nf.cores_per_instance,
            "ring": nf.ring_size,
            "mapping": MappingKind(int(chain.mapping_kinds[index])).name.lower(),
            "processing_ns": float(chain.processing_ns[index]),
            "loss_free_Mpps": float(chain.capacity_pps[index]) / 1e6,
            "max_load": float(chain.max_load[index]),
            "H": float(chain.high_load[index]),
            "L": float(chain.low_load[index]),
        }
        for index, nf in enumerate(chain.nf)
    ]


def _order(chain: ServiceChain) -> str:
    return ", ".join(" → ".join(one.nfs) for one in chain.chains)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


COMMAND = {"list": list_chains, "show": show}
