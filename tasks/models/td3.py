"""An actor with two critics, and slowly moving targets of all three."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from objectives.domains import Count, checked


class Actor(nn.Sequential):
    """Actions [batch, dims] in [-1, 1] of observations [batch, ...]."""

    def __init__(self, inputs: int, outputs: int, width: int):
        super().__init__(nn.Flatten(), *perceptron(inputs, width, outputs), nn.Tanh())


class Critic(nn.Module):
    """The value [batch] of actions in the light of observations."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.body = perceptron(inputs, width, 1)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self.body(torch.cat([observations.flatten(1), actions], dim=1)).squeeze(1)


class Generator(nn.Module):
    """A variational autoencoder of actions [batch, dims] in [-1, 1], in the light of observations.

    Returns reconstructions, and the means and deviations [batch, latents] of the latent variables
    from which they are drawn by the noise [batch, latents].
    """

    def __init__(self, inputs: int, outputs: int, latents: int, width: int):
        super().__init__()
        self.encoder = perceptron(inputs + outputs, width, 2 * latents)
        self.decoder = Actor(inputs + latents, outputs, width)

    def forward(
        self, observations: Tensor, actions: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        seen = observations.flatten(1)
        means, log_stds = self.encoder(torch.cat([seen, actions], dim=1)).chunk(2, dim=1)
        stds = log_stds.clamp(*LOG_STDS).exp()
        return self.decoder(torch.cat([seen, means + stds * noise], dim=1)), means, stds


LOG_STDS = -4, 15
"""Bounds of the logarithm of a latent variable's deviation."""


class TD3(nn.Module):
    """An actor, two critics and their targets, which take no gradient.

    Where the task asks for a number of latent variables, a generative model of the actions and a
    critic of the state alone are beside them.

    Source:
        Fujimoto et al. 2018, arXiv:1802.09477.
    """

    @checked
    def __init__(
        self,
        observation_shape: tuple[int, ...],
        num_actions: int,
        num_latents: int = 0,
        *,
        width: Count = 64,
    ):
        super().__init__()
        size = math.prod(observation_shape)
        self.actor = Actor(size, num_actions, width)
        self.critic_1 = Critic(size + num_actions, width)
        self.critic_2 = Critic(size + num_actions, width)
        self.target_actor = following(self.actor)
        self.target_critic_1 = following(self.critic_1)
        self.target_critic_2 = following(self.critic_2)
        if num_latents:
            self.state_critic = nn.Sequential(
                nn.Flatten(), *perceptron(size, width, 1), nn.Flatten(0)
            )
            self.generator = Generator(size, num_actions, num_latents, width)

    def targets(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Each target, and what it follows."""
        yield self.target_actor, self.actor
        yield self.target_critic_1, self.critic_1
        yield self.target_critic_2, self.critic_2


def following(module: nn.Module) -> nn.Module:
    """A copy that takes no gradient."""
    return copy.deepcopy(module).requires_grad_(False)


def held(module: nn.Module, *inputs: Tensor) -> Any:
    """What a module makes of its inputs, with a gradient for these and none for its weights."""
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return torch.func.functional_call(module, weights, inputs)


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with ReLU."""
    return nn.Sequential(
        *(nn.Linear(inputs, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, outputs),
    )
