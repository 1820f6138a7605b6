"""From a trained network to files: the bundle, and the weights for fine-tuning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from flexnfv.chain import ServiceChain
from flexnfv.evaluation.machine import revision
from flexnfv.observation import ObservationEncoder
from flexnfv.policies.bundle import INPUT, OUTPUT, ChainShape, Metadata, write_bundle
from flexnfv.train.ordinal import Actor, OrdinalPolicy

WEIGHTS: Final = "best.safetensors"
"""Name of the kept policy's weights in the folder of its training seed."""
BUNDLE: Final = "best.onnx"
"""Name of its bundle there."""


def onnx_bytes(policy: OrdinalPolicy) -> bytes:
    """The actor as a serialised ONNX model, `observation` [N, F] -> `logits` [N, A]."""
    rows = torch.zeros((2, len(ObservationEncoder.names)))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Actor(policy).eval(),
            (rows,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@dataclass(frozen=True)
class Kept:
    """What is noted of the kept policy, in the file of its weights.

    Attributes:
        cores: that it needs on the validation traces at the drop rate of the law.
        drop_cost: that its bundle will act on.
        rows: of experience that it was made of.
    """

    cores: float
    drop_cost: float
    rows: int


def keep(policy: OrdinalPolicy, folder: Path, kept: Kept) -> None:
    """Write the network's weights, and what is to be known of them, into `folder`."""
    from safetensors.torch import save_file

    fresh = folder / f".{WEIGHTS}.new"
    tensors = {key: value.contiguous() for key, value in policy.state_dict().items()}
    save_file(tensors, fresh, {key: repr(value) for key, value in asdict(kept).items()})
    fresh.chmod(0o644)
    fresh.replace(folder / WEIGHTS)


def read_kept(folder: Path) -> Kept | None:
    """What was noted of the policy kept in `folder`; None: none is."""
    from safetensors import safe_open

    path = folder / WEIGHTS
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        noted = file.metadata() or {}
    if "cores" not in noted:
        return None  # of an older version
    return Kept(float(noted["cores"]), float(noted["drop_cost"]), int(noted["rows"]))


def export(
    policy: OrdinalPolicy,
    folder: Path,
    *,
    name: str,
    chain: ServiceChain,
    drop_costs: tuple[float, float],
    seed: int,
    traces: dict[str, Sequence[str]],
    law: dict[str, float],
    training: dict[str, Any],
) -> None:
    """Write the policy that is kept in `folder` as a bundle there, replacing one of the same run.

    Args:
        policy: of the same shape; it takes the kept weights.
        folder: of the training seed.
        name, chain, drop_costs, seed, traces, training: what the bundle says of itself.
        law: scores of the law on the validation traces.
    """
    kept = read_kept(folder)
    assert kept is not None
    load_weights(policy, folder)
    fresh = folder / ".best.new.onnx"
    fresh.unlink(missing_ok=True)
    write_bundle(
        fresh,
        onnx_bytes(policy),
        Metadata(
            name=name,
            chains=(ChainShape.of(chain),),
            drop_cost=kept.drop_cost,
            drop_costs=drop_costs,
            seeds=(seed,),
            traces={split: tuple(names) for split, names in traces.items()},
            git_revision=revision(),
            scores={"validation_cores_at_law_drop_rate": kept.cores} | law,
            training=training | {"rows_done": kept.rows},
        ),
    )
    fresh.replace(folder / BUNDLE)


def load_weights(policy: OrdinalPolicy, run: Path) -> None:
    """Load the weights beside a bundle into `policy`.

    Args:
        policy: filled in place.
        run: a bundle, the safetensors file beside it, or the directory of a training seed or run.

    Raises:
        InputError: there are none, or they are of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from flexnfv.errors import InputError

    candidates = [run.with_suffix(".safetensors"), run / WEIGHTS]
    candidates += sorted(run.glob(f"seed-*/{WEIGHTS}")) if run.is_dir() else []
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(
            f"holds no {WEIGHTS}", where=str(run), fix="name a run, a seed of it or a bundle"
        )
    try:
        policy.load_state_dict(load_file(found))
    except (RuntimeError, SafetensorError) as error:
        raise InputError(
            f"does not fit this network: {str(error).splitlines()[0]}", where=str(found)
        ) from None
