"""The manager's configuration as text."""

from __future__ import annotations

import re
from importlib import resources
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


def test_files_beside_the_chain_file_are_named_whole_and_others_as_they_are(tmp_path: Path) -> None:
    toml = (resources.files("flexnfv") / "chains" / "edge.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(toml.replace("default.routes", "elsewhere.routes"))
    (tmp_path / "open.rules").write_text("default allow\n")
    chain = load_chain(tmp_path / "mine.toml").replace(interval_s=0.1)
    firewall, router, encryptor = (line for line in lines(chain) if line.startswith("type "))
    assert firewall.endswith(f" args=rules={tmp_path / 'open.rules'}")
    assert router.endswith(" args=routes=elsewhere.routes")
    assert "args=" not in encryptor


def test_a_folder_with_a_blank_is_refused_where_a_file_must_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "my chains"
    folder.mkdir()
    for name in ("edge.toml", "open.rules"):
        data = (resources.files("flexnfv") / "chains" / name).read_text(encoding="utf-8")
        (folder / name).write_text(data)
    with pytest.raises(InputError, match="blank"):
        lines(load_chain(folder / "edge.toml"))


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
