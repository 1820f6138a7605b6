"""Warm start: fit the actor to what the next interval uses, before PPO.

Traffic does not react to scaling, so what each further instance would have carried in the next
interval can be computed for every action at once, from the demand alone. The actor's predicted use
is fitted to it by cross-entropy with soft targets, whose minimum is the expected use.

Every row is new and seen once: a thread steps the chains while the actor is fitted to what they
gave before, so that nothing is kept and a second core is used.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from flexnfv.action import OFFSETS, need
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.task import Task
from flexnfv.train.ordinal import OrdinalHead, OrdinalPolicy, price

Block = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

CHAINS = 1024
"""Chains stepped together."""
INTERVALS = 24
"""Intervals of a block: its rows are shuffled, so that no minibatch holds one moment alone."""
_LIKELY = np.array([0.02, 0.08, 0.25, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03])
"""How often each offset is tried: mostly small ones, as any policy worth its name will."""


def blocks(task: Task, seed: int, chains: int = CHAINS) -> Iterator[Block]:
    """Observations under random offsets, and the use that the next interval made of them.

    Yields:
        Observations [N, F] and the used part of each further instance [N, A - 1], 0 .. 1, of
        `INTERVALS` intervals, shuffled; without end.
    """
    rollout = Rollout(task, chains, seed=seed)
    rollout.seed(seed)
    rollout.reset(stagger=True)
    rng = np.random.default_rng(seed)
    capacity = task.chain.capacity_pps[:, None]
    rows = chains * task.chain.types
    offset = np.zeros((chains, task.chain.types), dtype=np.int64)
    while True:
        observations = np.empty((rows * INTERVALS, task.features), dtype=np.float32)
        uses = np.empty((rows * INTERVALS, len(OFFSETS) - 1), dtype=np.float32)
        for place in rng.permutation(rows * INTERVALS).reshape(INTERVALS, rows):
            # Offsets are held for a while, so that parked, draining and late instances are seen.
            fresh = rng.random(offset.shape) < 0.3
            offset = np.where(fresh, rng.choice(len(OFFSETS), offset.shape, p=_LIKELY), offset)
            observations[place] = rollout.observation.reshape(rows, -1)
            further = need(rollout.reading, task.chain)[..., None] + OFFSETS[1:] - 1
            _, ended = rollout.step(offset)
            demand = rollout.reading.demand_pps(task.chain)[..., None]
            uses[place] = np.clip(demand / capacity - further, 0.0, 1.0).reshape(rows, -1)
            if ended.any():
                rollout.reset(ended)
        yield observations, uses


def ahead(items: Iterator[Block], depth: int = 2) -> Iterator[Block]:
    """The same items, made by a thread before they are asked for.

    Args:
        items: what to make.
        depth: how many to make ahead.
    """
    made: queue.Queue[Block | BaseException] = queue.Queue(depth)
    over = threading.Event()

    def make() -> None:
        try:
            while not over.is_set():
                made.put(next(items))
        except BaseException as error:  # the reader raises it, whatever it is
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    try:
        while True:
            item = made.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        over.set()
        while not made.empty():  # the thread may wait for room
            made.get_nowait()


def fit(
    policy: OrdinalPolicy,
    task: Task,
    *,
    samples: int,
    minibatch: int = 512,
    learning_rate: float = 3e-3,
    seed: int = 0,
    tick: Callable[[int], None] = lambda count: None,
) -> float:
    """Fit the actor of `policy` in place.

    Args:
        policy: whose actor is fitted.
        task: where its rows come from.
        samples: rows to fit it to, each once; rounded up to whole minibatches.
        minibatch: rows of a gradient step.
        learning_rate: the highest of the schedule.
        seed: of the rows.
        tick: told how many rows were just fitted.

    Returns:
        Mean cross-entropy of the last tenth.
    """
    head = policy.action_net
    assert isinstance(head, OrdinalHead)
    trunk = policy.mlp_extractor.policy_net
    optimizer = torch.optim.Adam(
        [*trunk.parameters(), *head.parameters()], lr=learning_rate, fused=True
    )
    minibatch = min(minibatch, samples)
    steps = math.ceil(samples / minibatch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps
    )
    losses = []
    for rows, uses in minibatches(ahead(blocks(task, seed)), minibatch, steps):
        latent = torch.cat((trunk(rows), price(rows)), dim=1)
        loss = nn.functional.binary_cross_entropy_with_logits(head.predicted_use(latent), uses)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        tick(minibatch)
    return float(torch.stack(losses[-max(steps // 10, 1) :]).mean())


def minibatches(
    blocks: Iterator[Block], size: int, count: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The first `count` minibatches of `size` rows; what a block has beyond whole ones is left."""
    done = 0
    for block in blocks:
        rows, uses = map(torch.from_numpy, block)
        for pair in zip(torch.split(rows, size), torch.split(uses, size), strict=True):
            if len(pair[0]) < size:
                break
            yield pair
            done += 1
            if done == count:
                return
