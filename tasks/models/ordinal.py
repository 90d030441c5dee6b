"""Models of ordered classes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tasks.models.feedforward import Headed


class SharedWeights(nn.Module):
    """Outputs that differ by their bias alone, in rising order: thresholds on one score.

    Attributes:
        weight: The one weight vector, once for each output [outputs, features].
    """

    def __init__(self, feature_dim: int, num_outputs: int):
        super().__init__()
        self.score = nn.Linear(feature_dim, 1, bias=False)
        self.first = nn.Parameter(torch.tensor([-(num_outputs - 1) / 2]))
        self.steps = nn.Parameter(torch.full((num_outputs - 1,), math.log(math.e - 1)))  # of 1

    @property
    def weight(self) -> Tensor:
        return self.score.weight.expand(1 + len(self.steps), -1)

    def forward(self, features: Tensor) -> Tensor:
        return self.score(features) + torch.cat([self.first, F.softplus(self.steps)]).cumsum(0)


def proportional_odds(input_shape: tuple[int, ...], num_outputs: int) -> Headed:
    """One score, linear in the input, and a threshold for each output."""
    feature_dim = math.prod(input_shape)
    model = Headed(nn.Flatten(), feature_dim, num_outputs)
    model.head = SharedWeights(feature_dim, num_outputs)
    return model


def nonproportional_odds(input_shape: tuple[int, ...], num_outputs: int) -> Headed:
    """A linear map of the input; its outputs start without weights, one apart in rising order.

    From random weights thresholds would cross at first, where the likelihood is steep.
    """
    model = Headed(nn.Flatten(), math.prod(input_shape), num_outputs)
    head = nn.Linear(math.prod(input_shape), num_outputs)
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.arange(num_outputs) - (num_outputs - 1) / 2)
    model.head = head
    return model
