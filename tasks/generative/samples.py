"""What is to be generated: points of known densities in the plane, and images."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from objectives.domains import checked
from tasks.sampling import generator_of
from tasks.vision.images import ImageSet

HELD_OUT = 1000
"""Points of the validation split, and of the test split, of a density."""

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Samples:
    """Examples [n, *shape] in three splits, and class labels of those for training if there are."""

    train: Tensor
    val: Tensor
    test: Tensor
    labels: Tensor | None = None

    def to(self, device: torch.device) -> "Samples":
        labels = self.labels if self.labels is None else self.labels.to(device)
        return Samples(self.train.to(device), self.val.to(device), self.test.to(device), labels)


@checked
def density(draw: Draw, *, seed: int, size: Annotated[int, Ge(2)] = 4000) -> Samples:
    """Points of a density; new for every seed.

    Args:
        draw: Draws so many points [n, 2].
        seed: Decides the points.
        size: Training points; 1,000 for validation and 1,000 for test come on top.

    Raises:
        InputError: A setting is outside its domain.
    """
    counts = (size, HELD_OUT, HELD_OUT)
    return Samples(*(draw(count, generator_of(seed, part)) for part, count in enumerate(counts)))


def images(data: ImageSet) -> Samples:
    """An image set as its pixels, from -1 (black) to 1 (white), and the training labels."""
    train, val, test = (part.images / 127.5 - 1 for part in (data.train, data.val, data.test))
    return Samples(train, val, test, data.train.labels)


def eight_gaussians(count: int, generator: torch.Generator) -> Tensor:
    """Eight equally likely normal modes of deviation 0.1 on a circle of radius sqrt(2)."""
    angles = torch.randint(8, (count,), generator=generator) * (math.pi / 4)
    centres = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)
    return centres + 0.1 * torch.randn(count, 2, generator=generator)


def two_moons(count: int, generator: torch.Generator) -> Tensor:
    """Two interleaved half circles with normal noise of deviation 0.1."""
    angles = math.pi * torch.rand(count, generator=generator)
    lower = torch.randint(2, (count,), generator=generator)
    sign = 1 - 2 * lower
    x = sign * angles.cos() + lower - 0.5
    y = sign * angles.sin() + 0.5 * lower - 0.25
    return 1.2 * torch.stack([x, y], dim=1) + 0.1 * torch.randn(count, 2, generator=generator)


def checkerboard(count: int, generator: torch.Generator) -> Tensor:
    """Uniform on the eight dark squares of a board of four by four, from -2 to 2."""
    x = 4 * torch.rand(count, generator=generator) - 2
    row = 2 * torch.randint(2, (count,), generator=generator) - 2 + x.floor() % 2
    return torch.stack([x, row + torch.rand(count, generator=generator)], dim=1)
