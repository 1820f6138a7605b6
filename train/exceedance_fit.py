"""The network of exceedances, and its fit, which can be interrupted between two batches."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from flexnfv.errors import InputError
from flexnfv.memory import LEVEL, LEVELS, TRAFFIC
from flexnfv.provision import HORIZONS
from flexnfv.train.examples import Examples

MINIBATCH: Final = 2048
"""Intervals of a gradient step, each with its levels."""
NEXT: Final = 3.0
"""Weight of the next interval's loss beside that of each horizon."""
RISE: Final = 0.05
"""Share of the steps in which the learning rate rises; then it falls with a cosine."""
CHECKPOINT: Final = "checkpoint.pt"


class ExceedanceNetwork(nn.Module):
    """Two layers on the features of a link and of a level; a logit for each horizon.

    What the first layer makes of a link is computed once for all of its levels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_traffic = nn.Linear(len(TRAFFIC), width)
        self.of_level = nn.Linear(len(LEVEL), width, bias=False)
        self.middle = nn.Linear(width, width)
        self.out = nn.Linear(width, 1 + len(HORIZONS))

    def forward(self, traffic: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Logits [N, L, 1 + H] of traffic [N, F] and levels [N, L, G]."""
        first = torch.relu(self.of_traffic(traffic).unsqueeze(1) + self.of_level(level))
        logits: torch.Tensor = self.out(torch.relu(self.middle(first)))
        return logits


class Fit:
    """Fits a network by its cross-entropy, batch of examples by batch.

    Args:
        width: units of each layer.
        learning_rate: highest, of Adam.
        total: batches of examples that the fit will see.
        seed: of the first weights and of the order of examples.

    Attributes:
        network: what is fitted.
        done: batches seen.
    """

    def __init__(self, width: int, learning_rate: float, total: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = ExceedanceNetwork(width)
        self.done = 0
        self._total, self._seed, self._rate = total, seed, learning_rate
        self._optimiser = torch.optim.Adam(self.network.parameters(), learning_rate)
        self._weights = torch.tensor([NEXT] + [1.0] * len(HORIZONS))

    def learn(self, examples: Examples) -> list[float]:
        """One pass over a batch of examples.

        Returns:
            Its mean cross-entropy of the next interval and of each horizon, [1 + H].
        """
        count = len(examples.traffic)
        order = np.random.default_rng([self._seed, self.done]).permutation(count)
        parts = max(count // MINIBATCH, 1)
        sums = torch.zeros(1 + len(HORIZONS))
        for place, rows in enumerate(np.array_split(order, parts)):
            self._set_rate((self.done + place / parts) / self._total)
            traffic, level, exceeded = (torch.from_numpy(array[rows]) for array in examples)
            losses = nn.functional.binary_cross_entropy_with_logits(
                self.network(traffic, level), exceeded.float(), reduction="none"
            ).mean((0, 1))
            self._optimiser.zero_grad()
            (losses * self._weights).sum().backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            sums += losses.detach()
        self.done += 1
        return [float(value) for value in sums / parts]

    def _set_rate(self, passed: float) -> None:
        falling = 0.5 * (1.0 + math.cos(math.pi * (passed - RISE) / (1.0 - RISE)))
        share = 0.04 + 0.96 * passed / RISE if passed < RISE else max(falling, 1e-3)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * share

    def save(self, folder: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        fresh = folder / f".{CHECKPOINT}.new"
        state = {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "done": self.done,
        }
        torch.save(state, fresh)
        fresh.replace(folder / CHECKPOINT)

    def load(self, folder: Path) -> None:
        """Go on from the checkpoint in a folder, if there is one.

        Raises:
            InputError: it is of another network, or none of ours.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.done = int(state["done"])
        except Exception:  # whatever a file that is not ours makes torch raise
            raise InputError(
                "is no checkpoint of this run's network", where=str(path), fix="begin a new run"
            ) from None


def onnx_bytes(network: ExceedanceNetwork) -> bytes:
    """The network as a serialised ONNX model."""
    inputs = torch.zeros((2, len(TRAFFIC))), torch.zeros((2, LEVELS, len(LEVEL)))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    links = torch.export.Dim("links")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            inputs,
            input_names=["traffic", "level"],
            output_names=["logits"],
            dynamic_shapes=({0: links}, {0: links}),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
