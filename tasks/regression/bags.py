"""Regression from aggregate responses: the target of a bag of rows is known, that of a row not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Generator, Tensor, device, nn

from objectives.domains import Count, checked
from objectives.records import Bagged
from tasks.regression.regression import PointRegression, Rows
from tasks.regression.tables import Regression
from tasks.sampling import index_batches

BOUND = 3.0
"""Standard deviations at which a response is cut before noise makes it private."""


@dataclass(frozen=True)
class BaggedRows(Rows):
    bags: Tensor


class BaggedRegression(PointRegression):
    """A prediction for each row and the mean target of its bag; batches hold whole bags.

    Evaluated on rows with targets of their own, as `PointRegression` is.

    Args:
        data: The table; its training rows are put into bags at random.
        batch_size: Rows of a batch, as far as whole bags make it up; one bag at least.
        bag_size: Rows of a bag; the last bag may be smaller.
        epsilon: Label differential privacy: responses are cut at 3 standard deviations and their
            mean gets Laplace noise of scale 6 / (bag_size * epsilon); None for neither.
    """

    record = Bagged

    def __init__(
        self,
        data: Regression,
        batch_size: int,
        seed: int,
        device: device,
        bag_size: int,
        epsilon: float | None,
    ):
        data = data.regression
        super().__init__(data, batch_size, seed, device)
        generator = Generator().manual_seed(seed)
        self.bags = in_bags(len(data.train), generator, bag_size=bag_size)
        self.responses = responses(data.train.targets, self.bags, generator, epsilon=epsilon)
        self.per_batch = max(1, batch_size // bag_size)
        self.steps_per_epoch = -(-len(self.bags) // self.per_batch)

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[BaggedRows]:
        train = self.data.train
        for chosen in index_batches(len(self.bags), self.per_batch, self.seed, epoch, start):
            rows = [self.bags[number] for number in chosen.tolist()]
            sizes = torch.tensor([len(bag) for bag in rows])
            index = torch.cat(rows).to(self.device)
            targets = self.responses[chosen].repeat_interleave(sizes).to(self.device)
            bags = chosen.repeat_interleave(sizes).to(self.device)
            yield BaggedRows(train.features[index], targets, index, bags)

    def __call__(self, model: nn.Module, batch: Rows) -> Bagged:
        assert isinstance(batch, BaggedRows)
        predictions = model(batch.features).squeeze(-1)
        return Bagged(predictions, batch.targets, batch.index, batch.bags)


@checked
def in_bags(count: int, generator: Generator, *, bag_size: Count) -> tuple[Tensor, ...]:
    """Row numbers of each bag, drawn at random; the last one may be smaller.

    Raises:
        InputError: `bag_size` is not a positive whole number.
    """
    return torch.randperm(count, generator=generator).split(bag_size)


@checked
def responses(
    targets: Tensor,
    bags: tuple[Tensor, ...],
    generator: Generator,
    *,
    epsilon: Annotated[float, Gt(0)] | None,
) -> Tensor:
    """Mean target of each bag, with Laplace noise where `epsilon` is given [bags].

    Raises:
        InputError: `epsilon` is not positive.

    Source:
        Javanmard et al. 2024, arXiv:2401.11081 (the mechanism).
    """
    if epsilon is None:
        return torch.stack([targets[bag].mean() for bag in bags])
    means = torch.stack([targets[bag].clamp(-BOUND, BOUND).mean() for bag in bags])
    scales = torch.tensor([2 * BOUND / (len(bag) * epsilon) for bag in bags])
    one, other = (torch.empty(len(bags)).exponential_(generator=generator) for _ in range(2))
    return means + scales * (one - other)  # Laplace
