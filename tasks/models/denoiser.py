"""Models of noised data and a time, whose output has the shape of the data."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, MultipleOf
from torch import Tensor, nn

from objectives.domains import Count, checked

FREQUENCIES = 1.0, 1000.0
"""The slowest and the fastest wave by which a time between 0 and 1 is told."""


class Denoiser(nn.Module):
    """A multi-layer perceptron of the flattened data and waves of the time, with residual layers.

    Args:
        data_shape: Shape of an example.
        width: Units of a hidden layer.
        depth: Hidden layers.
        time_dim: Waves of the time, an even number.

    Raises:
        InputError: A setting is outside its domain.
    """

    frequencies: Tensor

    @checked
    def __init__(
        self,
        data_shape: tuple[int, ...],
        *,
        width: Count = 128,
        depth: Count = 3,
        time_dim: Annotated[int, Ge(2), MultipleOf(2)] = 32,
    ):
        super().__init__()
        low, high = map(math.log, FREQUENCIES)
        self.register_buffer("frequencies", torch.linspace(low, high, time_dim // 2).exp())
        self.enter = nn.Linear(math.prod(data_shape) + time_dim, width)
        self.layers = nn.ModuleList(nn.Linear(width + time_dim, width) for _ in range(depth))
        self.leave = nn.Linear(width, math.prod(data_shape))

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        angles = times[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        hidden = self.enter(torch.cat([x.flatten(1), waves], dim=1))
        for layer in self.layers:
            hidden = hidden + layer(torch.cat([nn.functional.silu(hidden), waves], dim=1))
        return self.leave(nn.functional.silu(hidden)).view_as(x)
