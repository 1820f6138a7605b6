"""Bundles: a trained policy as one ONNX file with its metadata inside.

A bundle may come from a stranger, so reading one executes nothing of it: the file is parsed as a
protocol buffer, never unpickled; its graph may hold only the plain operators of `OPERATORS` (no
control flow, no custom operator); weights lie inside it (external data would read other files); its
size is bounded; and its metadata must match a schema. The network maps one row per NF type to one
row of logits, so that it serves chains of any length:

    observation float32 [N, F]  ->  logits float32 [N, A]
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from flexnfv.action import OFFSETS
from flexnfv.chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.files import new_file
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC
from flexnfv.observation import ObservationEncoder
from flexnfv.policies.exceedance import Tuning
from flexnfv.provision import HORIZONS

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto
    from onnxruntime import InferenceSession

FORMAT: Final = 1
METADATA_KEY: Final = "flexnfv"
"""Key of the metadata in the ONNX model's `metadata_props`; the value is JSON."""
MAX_BYTES: Final = 16 << 20
"""Largest bundle that is read: a policy network of 2 x 128 units takes 0.1 MB."""
INPUT: Final = "observation"
OUTPUT: Final = "logits"
OPERATORS: Final = frozenset(
    {
        *(
            "Gemm",
            "MatMul",
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Neg",
            "Abs",
            "Sign",
            "Min",
            "Max",
            "Sum",
            "Mean",
            "Pow",
            "Sqrt",
            "Reciprocal",
            "Exp",
            "Log",
            "Erf",
            "Sin",
            "Cos",
        ),
        *("Clip", "Floor", "Round", "CumSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
        *(
            "Relu",
            "LeakyRelu",
            "PRelu",
            "Elu",
            "Selu",
            "Gelu",
            "Sigmoid",
            "HardSigmoid",
            "HardSwish",
            "Tanh",
            "Softplus",
            "Softsign",
            "Softmax",
            "LogSoftmax",
        ),
        *("BatchNormalization", "LayerNormalization", "Dropout"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Where"),
        *(
            "Constant",
            "Identity",
            "Cast",
            "Shape",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Transpose",
            "Concat",
            "Split",
            "Slice",
            "Gather",
        ),
    }
)
"""What a policy network may compute with."""

_ONNX_DOMAINS = ("", "ai.onnx")
_PROBE_ROWS = 3

Kind = Literal["actions", "exceedance"]
KNOBS: Final = ("drop_cost", "drop_target", "parked_weight")
"""What an operator may set of a policy of exceedances."""
Shape = tuple[int, ...]


def _ports(metadata: Metadata) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Inputs and outputs of a bundle's network by name, with their dimensions behind the rows."""
    if metadata.kind == "actions":
        return {INPUT: (len(metadata.observation),)}, {OUTPUT: (len(metadata.offsets),)}
    inputs = {"traffic": (len(TRAFFIC),), "level": (LEVELS, len(LEVEL))}
    return inputs, {OUTPUT: (LEVELS, 1 + len(metadata.horizons))}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ChainShape(_Model):
    """What of a chain a policy was trained for.

    Attributes:
        name: of the chain.
        digest: SHA-256 over everything in the chain and its calibration that bears on behaviour.
        calibration: its name.
        interval_s: monitor interval, seconds.
        functions: NF functions of each path, in order of passage.
        mappings: mapping of each NF type, in file order.
    """

    name: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    calibration: str
    interval_s: float
    functions: tuple[tuple[str, ...], ...]
    mappings: tuple[str, ...]

    @classmethod
    def of(cls, chain: ServiceChain) -> ChainShape:
        """The shape of `chain`."""
        return cls(
            name=chain.name,
            digest=digest(chain),
            calibration=chain.measured.name,
            interval_s=chain.interval_s,
            functions=tuple(tuple(chain.nf[t].function for t in path) for path in chain.paths),
            mappings=tuple(nf.mapping or chain.mapping for nf in chain.nf),
        )

    def difference(self, chain: ServiceChain) -> str:
        """The first way in which `chain` is not of this shape; empty if it is.

        Limits, rings, watermarks and calibration may differ: the observation holds ratios.
        """
        other = ChainShape.of(chain)
        if self.functions != other.functions:
            return (
                f"its NF types are {_paths(self.functions)}, the chain's {_paths(other.functions)}"
            )
        if self.interval_s != other.interval_s:
            return f"its interval is {self.interval_s:g} s, the chain's {other.interval_s:g} s"
        if self.mappings != other.mappings:
            return f"its mappings are {', '.join(self.mappings)}, the chain's " + ", ".join(
                other.mappings
            )
        return ""


class Metadata(_Model):
    """What a bundle says of itself.

    Attributes:
        format: version of this format.
        kind: of policy.
        name: of the policy.
        observation: names of the features of a row, in order (of a link's, then of a level's).
        offsets: of actions: what each logit stands for, instances beside the need.
        horizons: of exceedances: intervals that each logit behind the first looks ahead.
        tuning: of exceedances: numbers of the policy beside its network
            (`flexnfv.policies.exceedance.Tuning`).
        chains: the chains it was trained for; any NF chain of another shape is refused. Empty:
            it serves any chain.
        drop_cost: cost of losing one interval's mean traffic, in core intervals, that the policy
            acts on unless told otherwise.
        drop_costs: lowest and highest drop cost it was trained for.
        normalisation: how features are normalised beyond the encoder's own ratios; empty: not.
        seeds: of its training.
        traces: names of the traces by split (train, validation, test).
        git_revision: of the code that trained it.
        scores: measures of the kept policy by name.
        training: further facts of its training (library versions, arguments, steps).
    """

    format: Literal[1] = FORMAT
    kind: Kind = "actions"
    name: Annotated[str, Field(min_length=1, max_length=200)]
    observation: tuple[str, ...] = ObservationEncoder.names
    offsets: tuple[int, ...] = tuple(int(offset) for offset in OFFSETS)
    horizons: tuple[float, ...] = ()
    tuning: dict[str, float] = {}
    chains: tuple[ChainShape, ...] = ()
    drop_cost: Annotated[
        float, Field(gt=0, validation_alias=AliasChoices("drop_cost", "preference"))
    ] = 1000.0
    drop_costs: Annotated[
        tuple[float, float] | None,
        Field(validation_alias=AliasChoices("drop_costs", "preferences")),
    ] = None
    normalisation: dict[str, tuple[float, ...]] = {}
    seeds: tuple[int, ...] = ()
    traces: dict[str, tuple[str, ...]] = {}
    git_revision: str = ""
    scores: dict[str, float] = {}
    training: dict[str, Any] = {}

    @property
    def knobs(self) -> tuple[str, ...]:
        """What an operator may set of such a policy."""
        return ("drop_cost",) if self.kind == "actions" else KNOBS


def digest(chain: ServiceChain) -> str:
    """SHA-256 of what bears on a chain's behaviour: all but prose and what limits chain files."""
    prose = {"description", "source", "machine", "launch_source", "rerun_source"}
    permits = {"stateful", "files"}  # They tell what a chain may state, not how it behaves.

    def matter(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: matter(item) for key, item in value.items() if key not in prose | permits}
        if isinstance(value, list):
            return [matter(item) for item in value]
        return value

    facts = [matter(part.model_dump(mode="json")) for part in (chain, chain.measured)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def write_bundle(path: Path, network: bytes, metadata: Metadata) -> None:
    """Write a bundle, whole or not at all.

    Args:
        path: of the new file, ending in `.onnx`.
        network: a serialised ONNX model, `observation` [N, F] to `logits` [N, A].
        metadata: goes into the file; whatever prose the exporter left there goes out, since it
            tells of the machine that it ran on.

    Raises:
        InputError: `path` exists or does not end in .onnx, or the result would be refused by
            `read_bundle`.
    """
    if path.suffix != ".onnx":
        raise InputError("a bundle's name ends in .onnx", where=str(path))
    where = f"network for {path}"
    model = _parse(network, where)
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = metadata.model_dump_json()
    content = model.SerializeToString(deterministic=True)
    _open(content, where)
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def read_metadata(path: str | Path) -> Metadata:
    """What a bundle says of itself, after the checks of `read_bundle` (without a trial run).

    Raises:
        InputError: as `read_bundle`.
    """
    content = _read(Path(path))
    return _check(_parse(content, str(path)), str(path))


def read_bundle(path: str | Path) -> tuple[Metadata, InferenceSession]:
    """The metadata of a bundle, and a session of onnxruntime (one thread) that runs its network.

    Raises:
        InputError: no such file, larger than `MAX_BYTES`, not ONNX, weights outside the file, an
            operator that no policy network needs, an input or output of another name or shape,
            metadata missing or wrong, or a network that cannot be run.
    """
    return _open(_read(Path(path)), str(path))


def refuse_other_chain(metadata: Metadata, chain: ServiceChain, where: str) -> None:
    """Raise InputError if the bundle was trained for none of the shape of `chain`."""
    differences = [shape.difference(chain) for shape in metadata.chains]
    if differences and all(differences):
        trained = ", ".join(repr(shape.name) for shape in metadata.chains)
        raise InputError(
            f"the bundle was trained for {trained} and does not fit chain {chain.name!r}: "
            + differences[0],
            where=where,
            fix="train one for this chain, or pass transfer=true to run it all the same",
        )


def _read(path: Path) -> bytes:
    try:
        if not path.exists():
            raise InputError("no such bundle", where=str(path))
        if not path.is_file():
            raise InputError("is not a file", where=str(path), fix="give a bundle, one ONNX file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except PermissionError:
        raise InputError("cannot be read (permission denied)", where=str(path)) from None
    if len(content) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MB, no policy", where=str(path))
    return content


def _parse(content: bytes, where: str) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise InputError("is not an ONNX file", where=where) from None
    if not model.graph.node or not model.opset_import:
        raise InputError("is not an ONNX file (it holds no network)", where=where)
    return model


def _open(content: bytes, where: str) -> tuple[Metadata, InferenceSession]:
    """Check a bundle's bytes and start a session that has answered once."""
    import numpy as np
    import onnxruntime

    metadata = _check(_parse(content, where), where)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # Failures are raised, so onnxruntime need not log them too.
    inputs, outputs = _ports(metadata)
    probe = {name: np.zeros((_PROBE_ROWS, *shape), np.float32) for name, shape in inputs.items()}
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (logits,) = session.run([OUTPUT], probe)
    except Exception as error:  # onnxruntime's exceptions share no narrower base.
        raise InputError(f"onnxruntime cannot run it: {_first_line(error)}", where=where) from None
    if logits.shape != (_PROBE_ROWS, *outputs[OUTPUT]):
        raise InputError(
            f"answers {_PROBE_ROWS} rows with {OUTPUT} of shape {list(logits.shape)}, expected "
            f"{[_PROBE_ROWS, *outputs[OUTPUT]]}",
            where=where,
        )
    if not np.isfinite(logits).all():
        raise InputError(f"answers with {OUTPUT} that are not finite", where=where)
    return metadata, session


def _check(model: ModelProto, where: str) -> Metadata:
    """Refuse what no bundle may hold; return the metadata."""
    if len(model.functions):
        raise InputError(
            "holds functions of its own", where=where, fix="export it with functions inlined"
        )
    for node in model.graph.node:
        if node.domain not in _ONNX_DOMAINS:
            raise InputError(f"uses the custom operator {node.domain}.{node.op_type}", where=where)
        if node.op_type not in OPERATORS:
            raise InputError(
                f"uses the operator {node.op_type}, which no policy network needs", where=where
            )
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL or len(tensor.external_data):
            raise InputError(
                "keeps weights outside the file", where=where, fix="export with external_data=False"
            )
    if len(model.graph.sparse_initializer):
        raise InputError("holds sparse weights", where=where)
    metadata = _metadata(model, where)
    inputs, outputs = _ports(metadata)
    _check_ports(model.graph.input, inputs, where)
    _check_ports(model.graph.output, outputs, where)
    return metadata


def _tensors(model: ModelProto) -> list[Any]:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    return [
        *model.graph.initializer,
        *(attribute.t for attribute in attributes),
        *(tensor for attribute in attributes for tensor in attribute.tensors),
    ]


def _check_ports(ports: Any, wanted: dict[str, Shape], where: str) -> None:
    """The graph has these inputs (outputs): float32 [N, ...], N left open."""
    from onnx import TensorProto

    found: list[ValueInfoProto] = list(ports)
    names = [port.name for port in found]
    if sorted(names) != sorted(wanted):
        due = " and ".join(map(repr, wanted))
        raise InputError(
            f"its network has {', '.join(map(repr, names)) or 'nothing'} where "
            f"{'one ' if len(wanted) == 1 else ''}{due} is due",
            where=where,
        )
    for port in found:
        kind = port.type.tensor_type
        shape = [size.dim_value or size.dim_param or "?" for size in kind.shape.dim]
        if (
            kind.elem_type != TensorProto.FLOAT
            or not shape
            or isinstance(shape[0], int)
            or tuple(shape[1:]) != wanted[port.name]
        ):
            inner = ", ".join(map(str, ("N", *wanted[port.name])))
            raise InputError(
                f"{port.name} has element type {kind.elem_type} and shape {shape}, expected "
                f"float32 (1) and [{inner}] with N left open",
                where=where,
            )


def _metadata(model: ModelProto, where: str) -> Metadata:
    texts = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(texts) != 1:
        raise InputError(
            f"is ONNX, but no bundle: it holds {len(texts)} entries {METADATA_KEY!r} of metadata",
            where=where,
            fix="write it with flexnfv.policies.bundle.write_bundle",
        )
    try:
        metadata = Metadata.model_validate_json(texts[0])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "metadata"
        raise InputError(f"metadata, {key}: {first['msg']}", where=where) from None
    ours = ObservationEncoder.names if metadata.kind == "actions" else (*TRAFFIC, *LEVEL)
    if metadata.observation != ours:
        raise InputError(
            "its observation is not this version's: "
            + _feature_difference(metadata.observation, ours),
            where=where,
            fix="train it anew, or use the version of FlexNFV that it was trained with",
        )
    if metadata.kind == "actions" and not metadata.chains:
        raise InputError("metadata, chains: it was trained for none", where=where)
    if metadata.kind == "exceedance" and metadata.horizons != HORIZONS:
        raise InputError(
            f"it looks ahead {list(metadata.horizons)} intervals, this version {list(HORIZONS)}",
            where=where,
        )
    if unknown := sorted(set(metadata.tuning) - set(Tuning._fields)):
        raise InputError(f"metadata, tuning: no number {unknown[0]!r} is known", where=where)
    if metadata.offsets != tuple(OFFSETS):
        raise InputError(
            f"its actions are offsets {list(metadata.offsets)}, this version's {OFFSETS.tolist()}",
            where=where,
        )
    if metadata.normalisation:
        raise InputError(
            f"asks for normalisation of {', '.join(sorted(metadata.normalisation))}, which format "
            f"{FORMAT} does not know",
            where=where,
        )
    return metadata


def _feature_difference(names: tuple[str, ...], ours: tuple[str, ...]) -> str:
    for index, (theirs, mine) in enumerate(zip(names, ours, strict=False)):
        if theirs != mine:
            return f"feature {index} is {theirs!r}, here {mine!r}"
    return f"{len(names)} features, here {len(ours)}"


def _paths(functions: tuple[tuple[str, ...], ...]) -> str:
    return " and ".join(" → ".join(path) for path in functions)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
