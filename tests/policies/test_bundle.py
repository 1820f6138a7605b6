"""Bundles: what is written can be read, and what a stranger forged is refused with the reason."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC
from flexnfv.policies import bundle as bundles
from flexnfv.policies.bundle import (
    INPUT,
    METADATA_KEY,
    OUTPUT,
    ChainShape,
    Metadata,
    digest,
    read_bundle,
    read_metadata,
    refuse_other_chain,
    write_bundle,
)
from flexnfv.policy import make_policy
from flexnfv.provision import HORIZONS
from tests.policies.networks import (
    ACTIONS,
    FEATURES,
    exceedance_metadata,
    exceedance_network,
    metadata,
    model,
    network,
    write_exceedance_bundle,
    write_random_bundle,
)

CHAIN = load_chain("paper")


def forge(path: Path, made: onnx.ModelProto, text: str | None = None) -> Path:
    """Write what `write_bundle` would refuse to write."""
    entry = made.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = metadata(CHAIN).model_dump_json() if text is None else text
    path.write_bytes(made.SerializeToString())
    return path


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = metadata(
        CHAIN,
        name="best",
        drop_cost=300.0,
        drop_costs=(10.0, 1000.0),
        seeds=(7, 8),
        traces={"train": ("a", "b")},
        git_revision="0123abc",
        scores={"drop_rate": 0.001},
        training={"steps": 10, "arguments": {"gamma": 0.9}},
    )
    path = tmp_path / "best.onnx"
    write_bundle(path, network().SerializeToString(), told)
    read, session = read_bundle(path)
    assert read == told == read_metadata(path)
    rows = np.random.default_rng(0).normal(size=(5, FEATURES)).astype(np.float32)
    (logits,) = session.run([OUTPUT], {INPUT: rows})
    (one,) = session.run([OUTPUT], {INPUT: rows[2:3]})
    assert logits.shape == (5, ACTIONS)
    np.testing.assert_allclose(one[0], logits[2], rtol=1e-5)


def test_the_same_network_and_metadata_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_random_bundle(tmp_path / "one.onnx", CHAIN)
    other = write_random_bundle(tmp_path / "other.onnx", CHAIN)
    assert one.read_bytes() == other.read_bytes()


def test_prose_of_the_exporter_stays_out(tmp_path: Path) -> None:
    made = network()
    made.doc_string = "SECRET-PATH"
    made.graph.node[0].doc_string = "SECRET-PATH"
    entry = made.graph.node[0].metadata_props.add()
    entry.key, entry.value = "stack_trace", "SECRET-PATH"
    entry = made.metadata_props.add()
    entry.key, entry.value = "host", "SECRET-PATH"
    path = tmp_path / "clean.onnx"
    write_bundle(path, made.SerializeToString(), metadata(CHAIN))
    assert b"SECRET-PATH" not in path.read_bytes()
    read_bundle(path)


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    path = write_random_bundle(tmp_path / "best.onnx", CHAIN)
    before = path.read_bytes()
    with pytest.raises(InputError, match="already exists"):
        write_bundle(path, network(seed=1).SerializeToString(), metadata(CHAIN))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.onnx"]


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    wrong = network((FEATURES, 8, ACTIONS + 1))
    with pytest.raises(InputError, match="logits"):
        write_bundle(tmp_path / "wrong.onnx", wrong.SerializeToString(), metadata(CHAIN))
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        write_bundle(tmp_path / "best.bin", network().SerializeToString(), metadata(CHAIN))
    assert not list(tmp_path.iterdir())


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    path = write_random_bundle(tmp_path / "best.onnx", CHAIN)
    code = (
        "import sys; from flexnfv.policies.bundle import read_bundle;"
        f"read_bundle({str(path)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- files that are no bundles ------------------------------------------------------------------


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an ONNX file"),
        (b"\x00" * 100, "not an ONNX file"),
        (b"PK\x03\x04" + b"zip" * 30, "not an ONNX file"),
        (b"not a model at all", "not an ONNX file"),
        (network().SerializeToString()[:2000], "not an ONNX file"),
        (network().SerializeToString(), "no bundle"),
    ],
    ids=["empty", "zeros", "zip", "text", "truncated", "without metadata"],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "forged.onnx"
    path.write_bytes(content)
    for read in (read_bundle, read_metadata):
        with pytest.raises(InputError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "evil.onnx"
    for protocol in range(6):
        path.write_bytes(pickle.dumps(Bomb(tmp_path / "touched"), protocol))
        with pytest.raises(InputError):
            read_bundle(path)
    assert not (tmp_path / "touched").exists()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle"):
        read_bundle(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="not a file"):
        read_bundle(tmp_path)


def test_an_oversized_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(bundles.MAX_BYTES + 1)
    with pytest.raises(InputError, match="larger than 16 MB"):
        read_bundle(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_bundle_is_refused_or_still_a_bundle(tmp_path: Path, data: Any) -> None:
    """Whatever the damage: an InputError or a working session, never another exception."""
    made = network((FEATURES, 4, ACTIONS))
    content = bytearray(forge(tmp_path / "whole.onnx", made).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    try:
        read, session = read_bundle(path)
    except InputError:
        return
    assert read.offsets
    assert session is not None


# --- graphs that no policy needs ------------------------------------------------------------------


def external() -> onnx.ModelProto:
    made = network()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return made


def hidden_external() -> onnx.ModelProto:
    """External data in a Constant's attribute instead of an initializer."""
    tensor = numpy_helper.from_array(np.zeros((FEATURES, ACTIONS), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    return model([constant, helper.make_node("MatMul", [INPUT, "w"], [OUTPUT])])


def custom() -> onnx.ModelProto:
    node = helper.make_node("Run", [INPUT], [OUTPUT], domain="com.evil")
    return model([node], domains=("com.evil",))


def function() -> onnx.ModelProto:
    made = network()
    body = [helper.make_node("Identity", ["x"], ["y"])]
    made.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], body, [helper.make_opsetid("", 18)])
    )
    return made


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    forever = helper.make_node("Loop", ["", "", INPUT], [OUTPUT], body=body)
    return model([forever])


def second_input() -> onnx.ModelProto:
    made = network()
    made.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 1]))
    return made


def second_output() -> onnx.ModelProto:
    made = network()
    made.graph.output.append(helper.make_tensor_value_info("a0", TensorProto.FLOAT, ["N", 128]))
    return made


def fixed_rows() -> onnx.ModelProto:
    made = network()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    return made


def doubles() -> onnx.ModelProto:
    made = network()
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return made


def dangling() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["nowhere"], [OUTPUT])])


def not_finite() -> onnx.ModelProto:
    return network(bias=[np.nan] + [0.0] * (ACTIONS - 1))


def lying() -> onnx.ModelProto:
    """Declares the right width and answers with another."""
    made = network((FEATURES, 8, ACTIONS + 3))
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = ACTIONS
    return made


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (external, "outside the file"),
        (hidden_external, "outside the file"),
        (custom, "custom operator com.evil.Run"),
        (function, "functions of its own"),
        (loop, "operator Loop"),
        (second_input, "'more'"),
        (second_output, "'a0'"),
        (fixed_rows, "N left open"),
        (doubles, "element type"),
        (dangling, "onnxruntime cannot run it"),
        (not_finite, "not finite"),
        (lying, "onnxruntime cannot run it|shape"),
        (lambda: network((FEATURES + 1, 8, ACTIONS)), "observation"),
        (lambda: network((FEATURES, 8, ACTIONS - 1)), "logits"),
    ],
)
def test_a_graph_that_no_policy_needs_is_refused(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read_bundle(forge(tmp_path / "forged.onnx", make()))


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "metadata, format"),
        ({"name": 5}, "metadata, name"),
        ({"chains": []}, "metadata, chains"),
        ({"surprise": 1}, "metadata, surprise"),
        ({"drop_cost": -1}, "metadata, drop_cost"),
        ({"observation": ["load"]}, "feature 0 is 'load'"),
        (
            {"observation": list(Metadata.model_fields["observation"].default[:-1])},
            "features, here",
        ),
        ({"offsets": [0, 1]}, "actions are offsets"),
        ({"normalisation": {"mean": [0.0]}}, "normalisation of mean"),
    ],
)
def test_wrong_metadata_is_refused_with_its_key(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    text = json.dumps(metadata(CHAIN).model_dump(mode="json") | change)
    with pytest.raises(InputError, match=reason):
        read_bundle(forge(tmp_path / "forged.onnx", network(), text))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\x00", "[" * 100_000])
def test_metadata_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="metadata"):
        read_bundle(forge(tmp_path / "forged.onnx", network(), text))


def test_two_entries_of_metadata_are_refused(tmp_path: Path) -> None:
    made = network()
    forge(tmp_path / "once.onnx", made)
    with pytest.raises(InputError, match="2 entries"):
        read_bundle(forge(tmp_path / "twice.onnx", made))


# --- chains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (load_chain("single"), "its NF types are monitor → forwarder → encryptor, the chain's"),
        (load_chain("paper-reverse"), "the chain's encryptor → forwarder → monitor"),
        (CHAIN.replace(interval_s=0.1), "its interval is 1 s, the chain's 0.1 s"),
        (CHAIN.replace(mapping="even"), "its mappings are algorithm1, algorithm1, algorithm1"),
    ],
)
def test_a_chain_of_another_shape_is_refused_with_the_difference(
    other: Any, difference: str
) -> None:
    with pytest.raises(InputError, match=difference):
        refuse_other_chain(metadata(CHAIN), other, "best.onnx")
    both = metadata(CHAIN, chains=(ChainShape.of(CHAIN), ChainShape.of(other)))
    refuse_other_chain(both, other, "best.onnx")


def test_limits_and_calibration_may_differ() -> None:
    refuse_other_chain(metadata(CHAIN), CHAIN.replace(core_budget=12), "best.onnx")


def test_the_digest_tells_behaviour_from_prose() -> None:
    assert digest(CHAIN.replace(description="another word")) == digest(CHAIN)
    assert digest(CHAIN.replace(core_budget=23)) != digest(CHAIN)
    slower = CHAIN.measured.model_copy(update={"launch_s": 2.0})
    assert digest(CHAIN.with_calibration(slower)) != digest(CHAIN)


# --- kinds ----------------------------------------------------------------------------------------


def test_a_bundle_without_a_kind_is_one_of_actions(tmp_path: Path) -> None:
    """Bundles that were written before there were kinds are read as they were."""
    told = metadata(CHAIN).model_dump(mode="json")
    for newer in ("kind", "horizons", "tuning"):
        del told[newer]
    path = forge(tmp_path / "old.onnx", network(), json.dumps(told))
    read, _ = read_bundle(path)
    assert read.kind == "actions"
    assert read.knobs == ("drop_cost",)
    policy = make_policy(str(path))
    policy.reset(CHAIN)
    refuse_other_chain(read, CHAIN, str(path))


def test_a_bundle_of_exceedances_serves_any_chain(tmp_path: Path) -> None:
    path = write_exceedance_bundle(tmp_path / "any.onnx")
    read, session = read_bundle(path)
    assert read == exceedance_metadata() == read_metadata(path)
    assert "parked_weight" in read.knobs
    for name in ("paper", "single", "two-paths"):
        refuse_other_chain(read, load_chain(name), str(path))
    rng = np.random.default_rng(1)
    rows = {
        port.name: rng.normal(size=(5, *port.shape[1:])).astype(np.float32)
        for port in session.get_inputs()
    }
    (logits,) = session.run([OUTPUT], rows)
    assert logits.shape == (5, LEVELS, 1 + len(HORIZONS))


def renamed(port: str, other: str) -> onnx.ModelProto:
    made = exceedance_network()
    (found,) = (one for one in (*made.graph.input, *made.graph.output) if one.name == port)
    found.name = other
    return made


def resized(port: str, axis: int, size: int) -> onnx.ModelProto:
    made = exceedance_network()
    (found,) = (one for one in (*made.graph.input, *made.graph.output) if one.name == port)
    found.type.tensor_type.shape.dim[axis].dim_value = size
    return made


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (network, "'observation' where 'traffic' and 'level' is due"),
        (lambda: renamed("level", "levels"), "'levels'"),
        (lambda: renamed("logits", "answer"), "'answer' where one 'logits' is due"),
        (lambda: resized("traffic", 0, 1), "N left open"),
        (lambda: resized("traffic", 1, 3), "traffic has element type"),
        (lambda: resized("level", 1, LEVELS + 1), "level has element type"),
        (lambda: resized("logits", 2, 3), "logits has element type"),
    ],
)
def test_ports_of_another_kind_are_refused(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], reason: str
) -> None:
    text = exceedance_metadata().model_dump_json()
    with pytest.raises(InputError, match=reason):
        read_bundle(forge(tmp_path / "forged.onnx", make(), text))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "magic"}, "metadata, kind"),
        ({"kind": "actions"}, "its observation is not this version's"),
        ({"horizons": [2.0, 4.0]}, r"it looks ahead \[2.0, 4.0\] intervals"),
        ({"horizons": []}, r"it looks ahead \[\] intervals"),
        ({"observation": list(LEVEL)}, "feature 0 is 'distance', here 'ratio_1'"),
        ({"observation": [*TRAFFIC, *LEVEL[:-1]]}, "features, here"),
        ({"tuning": {"prior": "much"}}, "metadata, tuning"),
        ({"tuning": {"surprise": 1.0}}, "metadata, tuning: no number 'surprise'"),
    ],
)
def test_wrong_metadata_of_exceedances_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    text = json.dumps(exceedance_metadata().model_dump(mode="json") | change)
    with pytest.raises(InputError, match=reason):
        read_bundle(forge(tmp_path / "forged.onnx", exceedance_network(), text))
