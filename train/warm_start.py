"""Warm start: fit the actor to what the next interval uses, before PPO.

Traffic does not react to scaling, so what each further instance would have carried in the next
interval can be computed for every action at once, from the demand alone. The actor's predicted use
is fitted to it by cross-entropy with soft targets, whose minimum is the expected use.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from flexnfv.action import OFFSETS, need
from flexnfv.envs.rollout import Rollout
from flexnfv.envs.task import Task
from flexnfv.train.ordinal import OrdinalHead, OrdinalPolicy, price


def collect(task: Task, chains: int, intervals: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Observations under random offsets, and the use that the next interval made of them.

    Returns:
        Observations [N, F] and the used part of each further instance [N, A - 1], 0 .. 1.
    """
    rollout = Rollout(task, chains, seed=seed)
    rollout.seed(seed)
    rollout.reset(stagger=True)
    rng = np.random.default_rng(seed)
    capacity = task.chain.capacity_pps[:, None]
    observations, uses = [], []
    offset = np.zeros((chains, task.chain.types), dtype=np.int64)
    for _ in range(intervals):
        # Offsets are held for a while, so that parked, draining and late instances are all seen.
        fresh = rng.random(offset.shape) < 0.3
        offset = np.where(fresh, rng.choice(len(OFFSETS), offset.shape, p=_LIKELY), offset)
        before = rollout.observation.copy()
        further = need(rollout.reading, task.chain)[..., None] + OFFSETS[1:] - 1
        _, ended = rollout.step(offset)
        demand = rollout.reading.demand_pps(task.chain)[..., None]
        observations.append(before.reshape(-1, before.shape[-1]))
        use = np.clip(demand / capacity - further, 0.0, 1.0)
        uses.append(use.reshape(-1, use.shape[-1]).astype(np.float32))
        if ended.any():
            rollout.reset(ended)
    return torch.from_numpy(np.concatenate(observations)), torch.from_numpy(np.concatenate(uses))


_LIKELY = np.array([0.02, 0.08, 0.25, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03])
"""How often each offset is tried: mostly small ones, as any policy worth its name will."""


def fit(
    policy: OrdinalPolicy,
    task: Task,
    *,
    samples: int,
    epochs: int = 3,
    minibatch: int = 4096,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Fit the actor of `policy` in place.

    Returns:
        Mean cross-entropy of the last epoch.
    """
    chains = 512
    intervals = max(2, samples // (chains * task.chain.types))
    observations, uses = collect(task, chains, intervals, seed)
    head = policy.action_net
    assert isinstance(head, OrdinalHead)
    actor = list(policy.mlp_extractor.policy_net.parameters()) + list(head.parameters())
    optimizer = torch.optim.Adam(actor, lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    minibatch = min(minibatch, len(observations))
    batches = len(observations) // minibatch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3 * learning_rate, total_steps=epochs * batches
    )
    mean = float("nan")
    for _ in range(epochs):
        order = torch.randperm(len(observations), generator=generator)
        total = 0.0
        for batch in order[: batches * minibatch].reshape(batches, minibatch):
            rows = observations[batch]
            latent = torch.cat((policy.mlp_extractor.policy_net(rows), price(rows)), dim=1)
            loss = nn.functional.binary_cross_entropy_with_logits(
                head.predicted_use(latent), uses[batch]
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        mean = total / batches
    return mean
