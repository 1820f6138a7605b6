"""The network of exceedances, and its fit."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from flexnfv.memory import LEVEL, LEVELS, TRAFFIC
from flexnfv.provision import HORIZONS
from flexnfv.train.examples import EACH, Examples

HIDDEN = 128
"""Units of each of the two layers."""
BATCH = 2048
"""Intervals of a minibatch, `EACH` levels each."""
LEARNING_RATE = 2e-3
NEXT = 3.0
"""Weight of the next interval's loss beside that of each horizon."""


class ExceedanceNetwork(nn.Module):
    """Two layers on the features of a link and of a level; a logit for each horizon.

    What the first layer makes of a link is computed once for all levels.
    """

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.of_traffic = nn.Linear(len(TRAFFIC), hidden)
        self.of_level = nn.Linear(len(LEVEL), hidden, bias=False)
        self.middle = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1 + len(HORIZONS))

    def forward(self, traffic: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Logits [N, L, 1 + H] of traffic [N, F] and levels [N, L, G]."""
        first = torch.relu(self.of_traffic(traffic).unsqueeze(1) + self.of_level(level))
        logits: torch.Tensor = self.out(torch.relu(self.middle(first)))
        return logits


def fit(
    network: ExceedanceNetwork,
    examples: Examples,
    seed: int,
    epochs: float,
    progress: Callable[[int, float], None],
) -> None:
    """Fit the network by its binary cross-entropy, a one-cycle schedule of Adam.

    Args:
        network: fitted in place.
        examples: shuffled here.
        seed: of the order.
        epochs: how often each example is used.
        progress: told of each minibatch: its examples and its loss.
    """
    steps = max(int(epochs * len(examples.traffic) / BATCH), 1)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps + 1, pct_start=0.05
    )
    weights = torch.tensor([NEXT] + [1.0] * len(HORIZONS))
    for _, rows in zip(range(steps), _orders(len(examples.traffic), seed), strict=False):
        traffic, level, exceeded = (torch.from_numpy(array[rows]) for array in examples)
        logits = network(traffic, level)
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits, exceeded.float(), reduction="none"
        ).mean((0, 1))
        optimiser.zero_grad()
        (losses * weights).sum().backward()
        optimiser.step()
        schedule.step()
        progress(BATCH * EACH, float(losses[0].detach()))


def _orders(count: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        for start in range(0, max(count - BATCH, 0) + 1, BATCH):
            yield order[start : start + BATCH]


def onnx_bytes(network: ExceedanceNetwork) -> bytes:
    """The network as a serialised ONNX model."""
    inputs = torch.zeros((2, len(TRAFFIC))), torch.zeros((2, LEVELS, len(LEVEL)))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        links = torch.export.Dim("links")
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
