"""From a trained network to files: the bundle, and the weights for fine-tuning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from flexnfv.chain import ServiceChain
from flexnfv.evaluation.machine import revision
from flexnfv.observation import ObservationEncoder
from flexnfv.policies.bundle import INPUT, OUTPUT, ChainShape, Metadata, write_bundle
from flexnfv.train.ordinal import Actor, OrdinalPolicy


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


def export(
    policy: OrdinalPolicy,
    folder: Path,
    *,
    name: str,
    chain: ServiceChain,
    drop_cost: float,
    drop_costs: tuple[float, float],
    seed: int,
    traces: dict[str, Sequence[str]],
    scores: dict[str, float],
    training: dict[str, Any],
) -> Path:
    """Write `best.onnx` and `best.safetensors` into `folder`, replacing those of the same run.

    Returns:
        Path of the bundle.
    """
    from safetensors.torch import save_file

    bundle, weights = folder / "best.onnx", folder / "best.safetensors"
    fresh = folder / ".best.new.onnx"
    fresh.unlink(missing_ok=True)
    write_bundle(
        fresh,
        onnx_bytes(policy),
        Metadata(
            name=name,
            chains=(ChainShape.of(chain),),
            drop_cost=drop_cost,
            drop_costs=drop_costs,
            seeds=(seed,),
            traces={split: tuple(names) for split, names in traces.items()},
            git_revision=revision(),
            scores=scores,
            training=training,
        ),
    )
    fresh_weights = folder / ".best.new.safetensors"
    save_file(
        {key: value.contiguous() for key, value in policy.state_dict().items()}, fresh_weights
    )
    fresh_weights.chmod(0o644)
    fresh_weights.replace(weights)
    fresh.replace(bundle)
    return bundle


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

    candidates = [run.with_suffix(".safetensors"), run / "best.safetensors"]
    candidates += sorted(run.glob("seed-*/best.safetensors")) if run.is_dir() else []
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(
            "holds no best.safetensors", where=str(run), fix="name a run, a seed of it or a bundle"
        )
    try:
        policy.load_state_dict(load_file(found))
    except (RuntimeError, SafetensorError) as error:
        raise InputError(
            f"does not fit this network: {str(error).splitlines()[0]}", where=str(found)
        ) from None
