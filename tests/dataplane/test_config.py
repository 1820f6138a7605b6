"""The manager's configuration as text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.flows import FlowSet
from flexnfv.hw_backend.config import ManagerOptions, configuration, device, is_nic

FOLDER = Path("/run/x")
PAPER = load_chain("paper")


def lines(chain=PAPER, ports=("memif",), **options: object) -> list[str]:  # type: ignore[no-untyped-def]
    text = configuration(chain, ports, FOLDER, ManagerOptions(**options))  # type: ignore[arg-type]
    return text.splitlines()


def values(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", line))


def test_a_type_says_what_the_chain_says() -> None:
    monitor = values(next(line for line in lines() if line.startswith("type NF1 ")))
    assert monitor["function"] == "monitor"
    assert (monitor["min"], monitor["max"], monitor["initial"]) == ("1", "8", "1")
    assert (monitor["ring"], monitor["cores"], monitor["mapping"]) == ("4096", "1", "algorithm1")
    assert float(monitor["high"]) == PAPER.high_load[0]
    assert float(monitor["low"]) == PAPER.low_load[0]
    assert float(monitor["pace"]) == 0
    assert float(monitor["cost_ns"]) == 92.1


def test_a_paced_type_is_slowed_down_by_the_scale_and_keeps_its_nominal_cost() -> None:
    text = lines(scale=0.05, pacing=True)
    assert values(text[1])["scale"] == "0.05"
    monitor = values(text[2])
    assert float(monitor["pace"]) == pytest.approx(4.43e6 / 20)
    assert float(monitor["cost_ns"]) == 92.1


def test_args_come_last_since_they_may_hold_spaces() -> None:
    types = [nf.model_dump() for nf in PAPER.nf]
    types[2]["args"] = "key=00 nonce=11"
    line = next(line for line in lines(PAPER.replace(nf=types)) if line.startswith("type NF3"))
    assert line.endswith(" args=key=00 nonce=11")


@pytest.mark.parametrize(
    ("changes", "options", "key", "value"),
    [
        ({}, {}, "entry", "open"),
        ({"mode": "backpressure"}, {}, "entry", "shed"),
        ({"mode": "backpressure"}, {}, "mode", "pipeline"),
        ({}, {"hold": True}, "entry", "hold"),
        ({}, {}, "park_timeout_s", "inf"),
        ({"park_timeout_s": 2.5}, {}, "park_timeout_s", "2.5"),
        ({"interval_s": 0.25}, {}, "interval_ms", "250.0"),
        ({}, {"status_s": 0.02}, "status_ms", "20.0"),
        ({"core_budget": 9}, {}, "core_budget", "9"),
        ({}, {"law": False}, "law", "0"),
        ({}, {"spares": 3}, "spares", "3"),
        ({"packet_bytes": 9000}, {}, "mbuf_bytes", "9000"),
    ],
)
def test_settings(
    changes: dict[str, object], options: dict[str, object], key: str, value: str
) -> None:
    assert values(lines(PAPER.replace(**changes), **options)[1])[key] == value


def test_paths_share_the_flow_set_by_source_address() -> None:
    chain = load_chain("two-paths")
    text = lines(chain)
    assert [line for line in text if line.startswith("chain")] == [
        "chain plain types=monitor,forwarder",
        "chain secret types=monitor,encryptor",
    ]
    rules = [line for line in text if line.startswith("rule")]
    assert rules
    assert all(line.startswith("rule secret src=198.18.") for line in rules)
    flows = FlowSet(chain.flows.count, chain.flows.zipf, chain.flows.seed)
    share = 0.0
    for line in rules:
        network, _, bits = line.partition("src=")[2].partition("/")
        a, b, c, d = map(int, network.split("."))
        mask = (0xFFFFFFFF << (32 - int(bits))) & 0xFFFFFFFF
        inside = (flows.tuples.source_ip & mask) == (a << 24 | b << 16 | c << 8 | d)
        share += float(flows.weights[inside].sum() / flows.weights.sum())
    assert share == pytest.approx(0.5, abs=0.01)


def test_run_to_completion_is_the_same_file_with_another_mode() -> None:
    chain = load_chain("two-paths")
    replicas = chain.replace(mode="run_to_completion")
    pipeline, together = lines(chain), lines(replicas)
    assert (values(pipeline[1])["mode"], values(together[1])["mode"]) == (
        "pipeline",
        "run_to_completion",
    )
    for kind in ("chain", "rule"):
        assert [x for x in together if x.startswith(kind)] == [
            x for x in pipeline if x.startswith(kind)
        ]


def test_a_replica_is_paced_by_its_own_rate_and_declares_the_cost_of_all_its_functions() -> None:
    chain = PAPER.replace(mode="run_to_completion")
    first = values(next(x for x in lines(chain, scale=0.05, pacing=True) if "type NF1" in x))
    assert float(first["pace"]) == pytest.approx(1e9 / (301.8 + 1e3 / 4.43 - 92.1) / 20)
    assert float(first["cost_ns"]) == pytest.approx(92.1 + 108.2 + 101.5)
    assert float(first["high"]) == chain.high_load[0]


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("memif", "net_memif0,role=server,socket=/run/x/memif.sock,socket-abstract=no"),
        ("null", "net_null0"),
        ("pcap:in.pcap:out.pcap", "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap"),
        ("af_packet:veth0", "net_af_packet0,iface=veth0"),
        ("tap:tap3", "net_tap0,iface=tap3"),
        ("0000:3b:00.1", "0000:3b:00.1"),
        ("net_memif9,role=client", "net_memif9,role=client"),
    ],
)
def test_ports(port: str, expected: str) -> None:
    assert device(port, 0, FOLDER) == expected
    assert is_nic(port) == (port == "0000:3b:00.1")


@pytest.mark.parametrize("port", ["", "nil", "memif:x", "null:2", "pcap:one", "af_packet:", "tap"])
def test_other_words_for_ports_are_refused(port: str) -> None:
    with pytest.raises(InputError, match="unknown port"):
        device(port, 0, FOLDER)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1001.0, float("nan")])
def test_scales_out_of_range_are_refused(scale: float) -> None:
    with pytest.raises(InputError, match="scale"):
        lines(scale=scale)


def test_more_slots_than_the_page_has_are_refused() -> None:
    types = [nf.model_dump() | {"max_instances": 64} for nf in PAPER.nf]
    with pytest.raises(InputError, match="192"):
        lines(PAPER.replace(nf=types))
    assert lines(PAPER.replace(nf=types, mode="run_to_completion"))  # 64 replicas
