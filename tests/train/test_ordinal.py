"""The ordinal actor: what its logits mean, and that its export answers alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexnfv.action import OFFSETS
from flexnfv.observation import CLIP, DROP_COST, ObservationEncoder
from flexnfv.policies.bundle import INPUT, OUTPUT
from flexnfv.train.export import onnx_bytes
from flexnfv.train.ordinal import NEED_SLOW, Actor, OrdinalHead, OrdinalPolicy, price

FEATURES = len(ObservationEncoder.names)


def rows(count: int, seed: int = 0) -> torch.Tensor:
    """Random observations."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, FEATURES), generator=generator) * 2 - 1


def policy() -> OrdinalPolicy:
    from gymnasium import spaces

    torch.manual_seed(0)
    return OrdinalPolicy(
        spaces.Box(-4, 4, (FEATURES,), np.float32),
        spaces.Discrete(len(OFFSETS)),
        lambda _: 1e-3,
        net_arch={"pi": [16, 16], "vf": [8]},
    )


def test_price_is_the_log_of_drop_cost_over_slow_need() -> None:
    observation = torch.zeros((1, FEATURES))
    observation[0, DROP_COST] = np.log10(500.0) / 3.0
    observation[0, NEED_SLOW] = np.log(4.0) / CLIP
    assert price(observation).item() == pytest.approx(np.log(500.0 / 4.0), rel=1e-5)


@pytest.mark.parametrize(
    ("uses", "cost", "best"),
    [
        ([0.9, 0.9, 0.5, 0.01], 10.0, 3),  # 10 x 0.5 pays, 10 x 0.01 does not
        ([0.9, 0.9, 0.5, 0.01], 1000.0, 4),
        ([0.9, 0.9, 0.5, 0.01], 1.5, 2),
        ([0.001, 0.001, 0.001, 0.001], 10.0, 0),
    ],
)
def test_likeliest_action_is_the_last_instance_that_pays(
    uses: list[float], cost: float, best: int
) -> None:
    head = OrdinalHead(1, 5)
    with torch.no_grad():
        head.use.weight.zero_()
        head.use.bias.copy_(torch.logit(torch.tensor(uses)))
    latent = torch.tensor([[0.0, float(np.log(cost))]])
    assert head(latent).argmax(dim=1).item() == best


def test_a_higher_drop_cost_never_wants_fewer_instances() -> None:
    actor = Actor(policy())
    observation = rows(200)
    previous = torch.zeros(200, dtype=torch.int64)
    for drop_cost in (3.0, 30.0, 300.0, 3000.0, 30000.0):
        observation[:, DROP_COST] = np.log10(drop_cost) / 3.0
        latent = actor.policy_net(observation).detach()
        # The trunk sees the drop cost as well; hold it still to look at the head alone.
        if drop_cost == 3.0:
            trunk = latent
        action = actor.head(torch.cat((trunk, price(observation)), dim=1)).argmax(dim=1)
        assert (action >= previous).all()
        previous = action


def test_exported_network_answers_as_the_actor_does() -> None:
    import onnxruntime

    mine = policy()
    session = onnxruntime.InferenceSession(onnx_bytes(mine), providers=["CPUExecutionProvider"])
    for count in (1, 3, 50):
        observation = rows(count, seed=count)
        (logits,) = session.run([OUTPUT], {INPUT: observation.numpy()})
        with torch.no_grad():
            expected = Actor(mine)(observation).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_policy_and_actor_have_the_same_logits() -> None:
    mine = policy()
    observation = rows(7)
    distribution = mine.get_distribution(observation).distribution
    with torch.no_grad():
        expected = torch.log_softmax(Actor(mine)(observation), dim=1)
    assert torch.allclose(distribution.logits, expected, atol=1e-5)
