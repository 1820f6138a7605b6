"""The manager's configuration as text."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from flexnfv.chain import ServiceChain, load_chain
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


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        *(("scale", scale, "1e-06 to 1000") for scale in (0.0, -1.0, 1001.0, float("nan"))),
        ("spares", -1, "0 to 32"),
        ("spares", 33, "0 to 32"),
        ("rx_threads", 0, "1 to 4"),
        ("rx_threads", 9, "1 to 4"),
        ("tx_threads", -1, "0 to 4"),
        ("tx_threads", 5, "0 to 4"),
        ("status_s", 0.0, "0.001 to 3600"),
        ("status_s", float("inf"), "0.001 to 3600"),
        ("ring_size", 0, "64 to 1048576"),
        ("ring_size", 32, "64 to 1048576"),
        ("ring_size", 100, "64 to 1048576"),
        ("ring_size", 1 << 21, "64 to 1048576"),
    ],
)
def test_options_out_of_range_are_refused_with_the_key_and_the_range(
    key: str, value: float, allowed: str
) -> None:
    with pytest.raises(InputError) as refused:
        lines(**{key: value})
    assert str(refused.value).startswith(f"{key}: ")
    assert str(refused.value).endswith(allowed)


def changed(**values: object) -> ServiceChain:
    """The paper's chain with another last NF type."""
    types = [nf.model_dump() for nf in PAPER.nf]
    types[2] |= values
    return PAPER.replace(nf=types)


@pytest.mark.parametrize("args", ["key=00\nset law=0", "a\rb", "tab\there", "nul\0", "a\u2028b"])
def test_args_cannot_smuggle_in_a_statement(args: str) -> None:
    with pytest.raises(InputError, match=r"chain 'paper': nf\.NF3\.args: .* one line"):
        lines(changed(args=args))


def test_args_longer_than_the_manager_takes_are_refused() -> None:
    assert lines(changed(args="é" * 127 + "x"))
    with pytest.raises(InputError, match=r"nf\.NF3\.args: it is 256 bytes; .* 0 to 255"):
        lines(changed(args="é" * 128))


@pytest.mark.parametrize(
    ("port", "folder"),
    [
        ("memif", "/run/with space"),
        ("memif", "/run/with\nport net_null7"),
        ("memif", "/run/" + "long/" * 50),
        ("pcap:my in.pcap:out.pcap", "/run/x"),
        ("af_packet:veth0 peer=0", "/run/x"),
        ("net_null0\nset law=0", "/run/x"),
        ("memif", "/run/tab\there"),
    ],
)
def test_a_device_that_is_no_single_word_is_refused(port: str, folder: str) -> None:
    with pytest.raises(InputError, match=r"no white space, and devices 255 bytes at most"):
        device(port, 0, Path(folder))


def test_more_ports_or_none_are_refused() -> None:
    assert lines(ports=("null",) * 16)
    for count in (0, 17):
        with pytest.raises(InputError, match=f"port: it is {count} ports; .* 1 to 16"):
            lines(ports=("null",) * count)


def paths(shares: list[float], name: str = "p{}") -> ServiceChain:
    """A chain of paths that share its NF types."""
    path = [
        {"name": name.format(number), "nfs": ["NF1", "NF2", "NF3"], "share": share}
        for number, share in enumerate(shares)
    ]
    return PAPER.replace(path=path)


def test_more_paths_than_the_dataplane_has_chains_are_refused() -> None:
    with pytest.raises(InputError, match=r"path: it is 17 paths; .* 0 to 16"):
        lines(paths([1 / 17] * 17))


def test_more_rules_than_the_dataplane_has_are_refused() -> None:
    first, second = [73, 67, 75, 46, 65, 83, 68, 39], [56, 66, 66, 42, 76, 65, 64, 49]
    chain = paths([share / 1000 for share in first + second])  # cut where blocks are small
    with pytest.raises(InputError, match=r"path: it is \d+ rules .*; .* 0 to 64"):
        lines(chain)


def test_paths_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"path\.same: the name is used 2 times"):
        lines(paths([0.5, 0.5], "same"))


def test_more_slots_than_the_page_has_are_refused() -> None:
    types = [nf.model_dump() | {"max_instances": 64} for nf in PAPER.nf]
    with pytest.raises(InputError, match=r"nf: it is 192 instances.* 1 to 128"):
        lines(PAPER.replace(nf=types))
    assert lines(PAPER.replace(nf=types, mode="run_to_completion"))  # 64 replicas


def test_more_processes_at_the_start_than_there_are_seats_are_refused() -> None:
    types = [nf.model_dump() | {"max_instances": 40, "initial_instances": 30} for nf in PAPER.nf]
    chain = PAPER.replace(nf=types, core_budget=1024)
    assert lines(chain, spares=22)
    with pytest.raises(InputError, match=r"it is 113 processes at the start.* 1 to 112"):
        lines(chain, spares=23)


def test_a_calibration_cannot_smuggle_in_a_statement() -> None:
    assert lines()[0] == "# chain paper, calibration 'paper'"
