"""Actions of an environment: what a model computes for them, how they are drawn and played."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal


@dataclass(frozen=True)
class Actions:
    """What the kind of an environment's actions decides.

    Attributes:
        size: Numbers that the actor computes for a state.
        head: Makes the layer that turns these into the parameters of the policy.
        policy: The distribution of the actions from its parameters [batch, ...].
        best: The most likely action from the same.
        played: A drawn action, as plain numbers, in the form that the environment takes.
    """

    size: int
    head: Callable[[], nn.Module]
    policy: Callable[[Tensor], Distribution]
    best: Callable[[Tensor], Tensor]
    played: Callable[[Any], Any]


def one_of(count: int, start: int) -> Actions:
    """One of several actions, numbered from `start`, by their scores."""
    return Actions(
        size=count,
        head=nn.Identity,
        policy=lambda scores: Categorical(logits=scores, validate_args=False),
        best=lambda scores: scores.argmax(dim=-1),
        played=lambda action: start + action,
    )


def vector(low: np.ndarray, high: np.ndarray) -> Actions:
    """A vector of real numbers, normally distributed, each with a deviation of its own.

    Its probability is that of the number drawn; what is played is clipped to the bounds.
    """
    size = math.prod(low.shape)
    return Actions(
        size=size,
        head=partial(WithDeviation, size),
        policy=normal,
        best=lambda parameters: parameters.chunk(2, dim=-1)[0],
        played=lambda action: np.clip(np.reshape(action, low.shape), low, high, dtype=low.dtype),
    )


def normal(parameters: Tensor) -> Distribution:
    """Independent normal distributions from means and logarithms of deviations [batch, 2 * d]."""
    mean, log_std = parameters.chunk(2, dim=-1)
    return Independent(Normal(mean, log_std.exp(), validate_args=False), 1, validate_args=False)


class WithDeviation(nn.Module):
    """Means [batch, d] with learned logarithms of deviations beside them, equal in every state."""

    def __init__(self, size: int):
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(size))

    def forward(self, means: Tensor) -> Tensor:
        return torch.cat([means, self.log_std.expand_as(means)], dim=-1)
