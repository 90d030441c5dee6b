"""Regression protocols: a point prediction, or several quantiles at once."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from objectives.records import Predicted, Quantiles
from tasks.protocol import Batch, Monitor, Protocol, index_batches
from tasks.regression.tables import Table


@dataclass(frozen=True)
class Rows(Batch):
    features: Tensor
    targets: Tensor
    index: Tensor


class Tabular(Protocol):
    """What the regression protocols share: batches of a table, errors in the target's units."""

    def __init__(
        self, data: Table, batch_size: int, seed: int, device: torch.device, num_outputs: int
    ):
        self.data = data.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.steps_per_epoch = -(-len(data.train) // batch_size)
        self.facts = {
            "input_shape": tuple(data.train.features.shape[1:]),
            "num_outputs": num_outputs,
            "num_examples": len(data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Rows]:
        train = self.data.train
        for index in index_batches(
            len(train), self.batch_size, self.seed, epoch, start, self.device
        ):
            yield Rows(train.features[index], train.targets[index], index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        data = getattr(self.data, split)
        metrics = self.errors(model(data.features).double(), data.targets.double())
        return {name: value.item() for name, value in metrics.items()}

    @abstractmethod
    def errors(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Metrics of the model's outputs."""


class PointRegression(Tabular):
    """One prediction; evaluated by RMSE and MAE in the target's own units."""

    record = Predicted
    monitor = Monitor("rmse", maximize=False)

    def __init__(self, data: Table, batch_size: int, seed: int, device: torch.device):
        super().__init__(data, batch_size, seed, device, num_outputs=1)

    def __call__(self, model: nn.Module, batch: Rows) -> Predicted:
        return Predicted(model(batch.features).squeeze(-1), batch.targets, batch.index)

    def errors(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        error = (outputs.squeeze(-1) - targets) * self.data.scale
        return {"rmse": error.square().mean().sqrt(), "mae": error.abs().mean()}


class QuantileRegression(Tabular):
    """A prediction for each of the objective's `levels`.

    Evaluated by the pinball loss in the target's own units, and by the share of targets between
    the lowest and the highest level, beside what it should be.
    """

    record = Quantiles
    monitor = Monitor("pinball", maximize=False)

    def __init__(
        self,
        data: Table,
        batch_size: int,
        seed: int,
        device: torch.device,
        levels: tuple[float, ...],
    ):
        super().__init__(data, batch_size, seed, device, num_outputs=len(levels))
        self.levels = torch.tensor(levels, dtype=torch.float64, device=device)

    def __call__(self, model: nn.Module, batch: Rows) -> Quantiles:
        return Quantiles(model(batch.features), batch.targets, batch.index)

    def errors(self, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
        error = targets[:, None] - outputs
        pinball = torch.maximum(self.levels * error, (self.levels - 1) * error).mean()
        lowest, highest = outputs[:, self.levels.argmin()], outputs[:, self.levels.argmax()]
        inside = (targets >= lowest) & (targets <= highest)
        return {
            "pinball": pinball * self.data.scale,
            "coverage": inside.double().mean(),
            "nominal_coverage": self.levels.max() - self.levels.min(),
        }
