"""Feed-forward models; each is a body, `features`, and a linear head."""

import math

from torch import Tensor, nn

from objectives.domains import Count, checked


class Headed(nn.Module):
    """A body that computes features and a linear head on them."""

    def __init__(self, body: nn.Module, feature_dim: int, num_outputs: int):
        super().__init__()
        self.body = body
        self.head: nn.Module = nn.Linear(feature_dim, num_outputs)

    def features(self, inputs: Tensor) -> Tensor:
        return self.body(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs))


def linear(input_shape: tuple[int, ...], num_outputs: int) -> Headed:
    """A linear map of the flattened input."""
    return Headed(nn.Flatten(), math.prod(input_shape), num_outputs)


@checked
def mlp(
    input_shape: tuple[int, ...], num_outputs: int, *, width: Count = 128, depth: Count = 2
) -> Headed:
    """A multi-layer perceptron with ReLU, `depth` hidden layers of `width` units."""
    layers: list[nn.Module] = [nn.Flatten()]
    fan_in = math.prod(input_shape)
    for _ in range(depth):
        layers += [nn.Linear(fan_in, width), nn.ReLU()]
        fan_in = width
    return Headed(nn.Sequential(*layers), fan_in, num_outputs)


GRID = 4
"""Cells a side in which a `cnn` still tells places apart."""


@checked
def cnn(
    input_shape: tuple[int, ...], num_outputs: int, *, width: Count = 32, depth: Count = 2
) -> Headed:
    """Convolutions of 3 x 3 with batch norm, ReLU and pooling, `depth` stages doubling in width."""
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for stage in range(depth):
        out = width * 2**stage
        layers += [
            nn.Conv2d(channels, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = out
    layers += [nn.AdaptiveAvgPool2d(GRID), nn.Flatten()]
    return Headed(nn.Sequential(*layers), channels * GRID**2, num_outputs)
