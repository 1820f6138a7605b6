"""Policy networks made by hand, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flexnfv.action import OFFSETS
from flexnfv.chain import ServiceChain
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC
from flexnfv.observation import ObservationEncoder
from flexnfv.policies.bundle import INPUT, OUTPUT, ChainShape, Metadata, write_bundle
from flexnfv.provision import HORIZONS

FEATURES = len(ObservationEncoder.names)
ACTIONS = len(OFFSETS)


def network(
    sizes: Sequence[int] = (FEATURES, 128, 128, ACTIONS), seed: int = 0, bias: Any = None
) -> onnx.ModelProto:
    """A tanh multilayer perceptron with random weights; `bias` replaces the last layer's."""
    rng = np.random.default_rng(seed)
    nodes, weights, value = [], [], INPUT
    for layer, (wide, narrow) in enumerate(pairwise(sizes)):
        last = layer == len(sizes) - 2
        matrix = rng.normal(0, wide**-0.5, (wide, narrow))
        vector = np.zeros(narrow) if not last or bias is None else np.asarray(bias)
        for name, array in ((f"w{layer}", matrix), (f"b{layer}", vector)):
            weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        out = OUTPUT if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [out]))
        if not last:
            nodes.append(helper.make_node("Tanh", [out], [f"a{layer}"]))
            value = f"a{layer}"
    return model(nodes, weights, width=sizes[0], answers=sizes[-1])


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    width: Any = FEATURES,
    answers: Any = ACTIONS,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """An ONNX model around `nodes`, from `observation` [N, width] to `logits` [N, answers]."""
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", answers])],
        weights,
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def metadata(chain: ServiceChain, **changes: Any) -> Metadata:
    """Metadata of a network for `chain`."""
    return Metadata(**{"name": "hand-made", "chains": (ChainShape.of(chain),)} | changes)


def write_random_bundle(path: Path, chain: ServiceChain, **changes: Any) -> Path:
    """Write a bundle with random weights for `chain`; returns its path."""
    write_bundle(path, network().SerializeToString(), metadata(chain, **changes))
    return path


def exceedance_network(
    seed: int = 0, steep: float = 6.0, nodes: Sequence[onnx.NodeProto] = ()
) -> onnx.ModelProto:
    """A network that thinks a level the less likely exceeded the higher above the demand it is.

    Args:
        seed: of small weights on all features.
        steep: how fast its logits fall with the distance.
        nodes: further nodes, of which the last ones make `extra`, added to the logits.
    """
    rng, width = np.random.default_rng(seed), 1 + len(HORIZONS)
    of_level = rng.normal(0.0, 0.05, (len(LEVEL), width))
    of_level[0] = -steep
    weights = {
        "of_traffic": rng.normal(0.0, 0.05, (len(TRAFFIC), width)),
        "of_level": of_level,
        "bias": np.linspace(-0.5, 1.0, width),
    }
    first = [
        helper.make_node("MatMul", ["traffic", "of_traffic"], ["link"]),
        helper.make_node("Unsqueeze", ["link", "axis"], ["links"]),
        helper.make_node("MatMul", ["level", "of_level"], ["levels"]),
        helper.make_node("Add", ["links", "levels"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["sums" if nodes else OUTPUT]),
    ]
    last = [helper.make_node("Add", ["sums", "extra"], [OUTPUT])] if nodes else []
    graph = helper.make_graph(
        [*first, *nodes, *last],
        "policy",
        [
            helper.make_tensor_value_info("traffic", TensorProto.FLOAT, ["N", len(TRAFFIC)]),
            helper.make_tensor_value_info("level", TensorProto.FLOAT, ["N", LEVELS, len(LEVEL)]),
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", LEVELS, width])],
        [
            *(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def exceedance_metadata(**changes: Any) -> Metadata:
    """Metadata of a network that serves any chain."""
    fields = {
        "kind": "exceedance",
        "name": "hand-made",
        "observation": (*TRAFFIC, *LEVEL),
        "horizons": HORIZONS,
        "drop_cost": 300.0,
    }
    return Metadata(**(fields | changes))


def write_exceedance_bundle(
    path: Path, made: onnx.ModelProto | None = None, **changes: Any
) -> Path:
    """Write a bundle of exceedances; returns its path."""
    made = exceedance_network() if made is None else made
    write_bundle(path, made.SerializeToString(), exceedance_metadata(**changes))
    return path
