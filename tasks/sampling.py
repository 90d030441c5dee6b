"""Sampling: which examples a batch holds, as seed, epoch and number of the batch decide alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sized
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from objectives.domains import Count
from objectives.errors import InputError


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


class WithLabels(Protocol):
    """What can be sampled by class."""

    labels: Tensor


class ClassBalanced(Sampler):
    """Batches of equally many examples of some classes, drawn anew for every batch.

    As many classes, drawn at random, as a batch can hold with `samples_per_class` of each, or all
    there are with more of each. A class with too few examples gives all that it has, so that none
    is twice in a batch. An epoch is as many batches as hold the set once; which of its examples
    they hold is left to chance.

    Args:
        split: What is sampled.
        batch_size: Most examples of a batch.
        seed: Decides what is drawn.
        device: Where the positions are wanted.
        samples_per_class: Least examples of a class in a batch.

    Raises:
        InputError: The split has no labels, or a batch no room for two classes.
    """

    def __init__(
        self,
        split: WithLabels,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        samples_per_class: Count = 4,
    ):
        if not hasattr(split, "labels"):
            raise InputError(
                "sampler=class_balanced draws examples by their labels, which this task does not "
                "have."
            )
        if batch_size < 2 * samples_per_class:
            raise InputError(
                f"batch_size={batch_size} has no room for two classes of "
                f"samples_per_class={samples_per_class}: set batch_size to "
                f"{2 * samples_per_class} or more."
            )
        labels = split.labels.cpu()
        self.members = [(labels == label).nonzero().squeeze(1) for label in labels.unique()]
        self.classes = min(len(self.members), batch_size // samples_per_class)
        self.per_class = batch_size // self.classes
        self.seed, self.device = seed, device
        self.steps_per_epoch = -(-len(labels) // batch_size)

    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        return (self._batch(epoch, number) for number in range(start, self.steps_per_epoch))

    def _batch(self, epoch: int, number: int) -> Tensor:
        generator = generator_of(self.seed, epoch, number)
        chosen = torch.randperm(len(self.members), generator=generator)[: self.classes]
        positions = [_some(self.members[label], self.per_class, generator) for label in chosen]
        return torch.cat(positions).to(self.device)


def _some(positions: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return positions[torch.randperm(len(positions), generator=generator)[:count]]


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
