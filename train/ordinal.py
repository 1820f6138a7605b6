"""The network: an actor-critic whose actor adds instances one by one.

Action a means `OFFSETS[a]` instances beside the need, so the actions are ordered. The actor
predicts, for each further instance, which part of it the next interval will use, in logarithms, and
weighs that against the drop cost: instance a is worth having if drop_cost x use exceeds its
cost. The logits are the running sums of these margins, so the most likely action is the last
instance that pays. One network serves every drop cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import Tensor, nn

from flexnfv.observation import CLIP, DROP_COST, ObservationEncoder

SHARPNESS = 1.4
"""Logarithm of the logits' scale at the start: sampled actions stay within about one instance of
the likeliest, so that PPO need not bend the predicted use to make the sampled policy sharp."""
NEED_SLOW = ObservationEncoder.names.index("need_slow")


def price(observation: Tensor) -> Tensor:
    """Log of what losing the traffic of one instance for an interval costs, in cores, [N, 1].

    Losing the mean traffic costs the drop cost; one instance carries 1 / need of it.
    """
    drop_cost = observation[:, DROP_COST, None] * (3.0 * math.log(10.0))
    return drop_cost - observation[:, NEED_SLOW, None] * CLIP


class PricedExtractor(MlpExtractor):
    """SB3's two-headed MLP; the actor's latent carries the price as its last column."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.latent_dim_pi += 1

    def forward_actor(self, features: Tensor) -> Tensor:
        """Latent of the actor and the price, [N, width + 1]."""
        return torch.cat((self.policy_net(features), price(features)), dim=1)


class OrdinalHead(nn.Module):
    """Logits of ordered actions from the latent and the price.

    Args:
        width: columns of the latent beside the price.
        actions: number of actions, A.
    """

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.use = nn.Linear(width, actions - 1)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.sums: Tensor
        self.register_buffer("sums", torch.triu(torch.ones(actions - 1, actions), diagonal=1))

    def predicted_use(self, latent: Tensor) -> Tensor:
        """Logit of the part of each further instance that will be used, [N, A - 1]."""
        return torch.as_tensor(self.use(latent[:, :-1]))

    def forward(self, latent: Tensor) -> Tensor:
        """Logits, [N, A]."""
        margin = nn.functional.logsigmoid(self.predicted_use(latent)) + latent[:, -1:]
        return torch.as_tensor(self.sharpness.exp() * margin.clamp(-12.0, 12.0) @ self.sums)


class OrdinalPolicy(ActorCriticPolicy):
    """SB3's actor-critic policy with the ordinal actor; PPO itself stays unmodified."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = PricedExtractor(
            self.features_dim,
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            device=self.device,
        )

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        assert isinstance(self.action_net, nn.Linear)
        head = OrdinalHead(self.mlp_extractor.latent_dim_pi - 1, self.action_net.out_features)
        self.action_net = head.to(self.device)
        self.optimizer = torch.optim.Adam(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )


class Actor(nn.Module):
    """The part of an `OrdinalPolicy` that a bundle holds: observation [N, F] -> logits [N, A]."""

    def __init__(self, policy: OrdinalPolicy) -> None:
        super().__init__()
        self.policy_net = policy.mlp_extractor.policy_net
        self.head = policy.action_net

    def forward(self, observation: Tensor) -> Tensor:
        """Logits of every row."""
        latent = torch.cat((self.policy_net(observation), price(observation)), dim=1)
        return torch.as_tensor(self.head(latent))
