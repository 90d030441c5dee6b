"""Policies with a critic."""

import math
from collections.abc import Callable

from torch import Tensor, nn


class ActorCritic(nn.Module):
    """Two tanh perceptrons: the parameters of a policy [batch, ...] and a value [batch].

    The actor computes `num_actions` numbers; `policy_head` makes the layer after them.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        num_actions: int,
        policy_head: Callable[[], nn.Module] = nn.Identity,
        *,
        width: int = 64,
    ):
        super().__init__()
        self.actor = _perceptron(math.prod(observation_shape), width, num_actions, gain=0.01)
        self.head = policy_head()
        self.critic = _perceptron(math.prod(observation_shape), width, 1, gain=1.0)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.actor(observations)), self.critic(observations).squeeze(-1)


def _perceptron(inputs: int, width: int, outputs: int, gain: float) -> nn.Sequential:
    """Orthogonal weights, the last layer scaled by `gain` (Engstrom et al. 2020)."""
    widths = [inputs, width, width, outputs]
    gains = [math.sqrt(2), math.sqrt(2), gain]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out, scale in zip(widths, widths[1:], gains, strict=False):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
