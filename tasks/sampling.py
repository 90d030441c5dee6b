"""Sampling: which examples a batch holds, as seed, epoch and number of the batch decide alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Sampler(ABC):
    """Decides which examples each batch holds.

    Attributes:
        steps_per_epoch: Batches of an epoch.
    """

    steps_per_epoch: int

    @abstractmethod
    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        """Positions of the examples of each batch of an epoch, from number `start` on."""


MakeSampler = Callable[[Any, int, int, torch.device], Sampler]
"""From the training split, the batch size, the seed and the device that the positions are for."""


class Shuffled(Sampler):
    """Every example once an epoch, in random order; the last batch may be smaller.

    Args:
        split: What is sampled.
        batch_size: Examples of a batch.
        seed: Decides the order.
        device: Where the positions are wanted.
        drop_last: Whether a last batch that is smaller is left out.
    """

    def __init__(
        self,
        split: Sized,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        drop_last: bool = False,
    ):
        self.count, self.batch_size, self.seed, self.device = len(split), batch_size, seed, device
        self.drop_last = drop_last
        self.steps_per_epoch = (
            self.count // batch_size if drop_last else -(-self.count // batch_size)
        )

    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        return iter(
            index_batches(
                self.count, self.batch_size, self.seed, epoch, start, self.device, self.drop_last
            )
        )


def generator_of(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone."""
    mixed = np.random.SeedSequence(numbers).generate_state(1)  # torch takes 32 bits of a seed
    return torch.Generator().manual_seed(int(mixed[0]))


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """A permutation that depends on seed and epoch alone."""
    return torch.randperm(count, generator=generator_of(seed, epoch))


def index_batches(
    count: int,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int,
    device: torch.device | str = "cpu",
    drop_last: bool = False,
) -> tuple[Tensor, ...]:
    """Shuffled index tensors of one epoch on a device, from batch number `start` on."""
    order = epoch_order(count, seed, epoch)
    whole = count - count % batch_size if drop_last else count
    return order[:whole].to(device).split(batch_size)[start:]
