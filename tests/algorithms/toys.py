"""A model of one number, small enough to follow its training by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from objectives.objective import Objective, bind, check
from objectives.records import Predicted
from objectives.regression import mse
from runner.learner import Learner
from tasks.protocol import Batch, Monitor, Protocol
from tasks.regression.regression import Rows


class Weights(nn.Module):
    """Only its weights."""

    def __init__(self, values: Any):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))


@dataclass
class Products(Protocol):
    """Predictions weight * feature; remembers at which weights it was asked for some."""

    record = Predicted
    monitor = Monitor("loss", maximize=False)
    visited: list[Tensor] = field(default_factory=list)

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Rows]:
        yield from ()

    def __call__(self, model: nn.Module, batch: Rows) -> Predicted:
        self.visited.append(model.weight.detach().clone())
        return Predicted(self.predictions(model.weight, batch), batch.targets, batch.index)

    def predictions(self, weight: Tensor, batch: Rows) -> Tensor:
        return weight * batch.features

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        return {}


def rows(features: list[float], targets: list[float]) -> Batch:
    columns = (torch.tensor(values, dtype=torch.float64) for values in (features, targets))
    return Rows(*columns, torch.arange(len(features)))


def learner(
    weight: Any = 1.0,
    objective: Objective | None = None,
    protocol: Protocol | None = None,
    lr: float = 1.0,
    **settings: Any,
) -> Learner:
    """Plain gradient descent on the squared error of a single weight."""
    model = Weights(weight)
    return Learner(
        model,
        protocol or Products(),
        objective or bind(check(partial(mse)), {}),
        torch.optim.SGD(model.parameters(), lr=lr),
        torch.device("cpu"),
        **settings,
    )
