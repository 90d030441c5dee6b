"""Regression protocols: a point prediction, a normal distribution, or several quantiles at once."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from objectives.records import Gaussian, Predicted, Quantiles
from tasks.protocol import Batch, Monitor, Protocol
from tasks.regression.tables import Regression
from tasks.sampling import index_batches

CENTRAL = 0.9
"""Probability of the interval whose coverage is shown for a normal distribution."""

HALF_WIDTH = 1.6448536269514722
"""Half of that interval, in standard deviations: the normal quantile at 0.95."""


@dataclass(frozen=True)
class Rows(Batch):
    features: Tensor
    targets: Tensor
    index: Tensor


class Tabular(Protocol):
    """What the regression protocols share: batches of a table, errors in the target's units."""

    def __init__(
        self, data: Regression, batch_size: int, seed: int, device: torch.device, num_outputs: int
    ):
        self.data = data.regression.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.steps_per_epoch = -(-len(self.data.train) // batch_size)
        self.facts = {
            "input_shape": tuple(self.data.train.features.shape[1:]),
            "num_outputs": num_outputs,
            "num_examples": len(self.data.train),
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

    record: ClassVar[type[Predicted]] = Predicted
    monitor = Monitor("rmse", maximize=False)

    def __init__(self, data: Regression, batch_size: int, seed: int, device: torch.device):
        super().__init__(data, batch_size, seed, device, num_outputs=1)

    def __call__(self, model: nn.Module, batch: Rows) -> Predicted:
        return Predicted(model(batch.features).squeeze(-1), batch.targets, batch.index)

    def errors(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return point_errors(outputs.squeeze(-1), targets, self.data.scale)


class GaussianRegression(Tabular):
    """A mean and the logarithm of a variance.

    Evaluated by the negative log-likelihood in nats, as a density of the target in its own
    units; by RMSE and MAE of the mean in these units; and by the share of targets in the central
    90 % interval.
    """

    record = Gaussian
    monitor = Monitor("nll", maximize=False)

    def __init__(self, data: Regression, batch_size: int, seed: int, device: torch.device):
        super().__init__(data, batch_size, seed, device, num_outputs=2)

    def __call__(self, model: nn.Module, batch: Rows) -> Gaussian:
        means, log_variances = model(batch.features).unbind(dim=-1)
        return Gaussian(means, batch.targets, batch.index, log_variances)

    def errors(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        means, log_variances = outputs.unbind(dim=-1)
        deviations = (means - targets) * (-log_variances / 2).exp()
        nll = (deviations.square() + log_variances + math.log(2 * math.pi)) / 2
        return {
            "nll": nll.mean() + math.log(self.data.scale),
            **point_errors(means, targets, self.data.scale),
            "coverage": (deviations.abs() <= HALF_WIDTH).double().mean(),
            "nominal_coverage": torch.tensor(CENTRAL),
        }


class QuantileRegression(Tabular):
    """A prediction for each of the objective's `levels`.

    Evaluated by the pinball loss in the target's own units; by the share of targets between the
    lowest and the highest level, beside what it should be; and, where one level is the median,
    by its RMSE and MAE.
    """

    record = Quantiles
    monitor = Monitor("pinball", maximize=False)

    def __init__(
        self,
        data: Regression,
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
        metrics = {
            "pinball": pinball * self.data.scale,
            "coverage": inside.double().mean(),
            "nominal_coverage": self.levels.max() - self.levels.min(),
        }
        for level in (self.levels == 0.5).nonzero().flatten().tolist():
            metrics |= point_errors(outputs[:, level], targets, self.data.scale)
        return metrics


def point_errors(predictions: Tensor, targets: Tensor, scale: float) -> dict[str, Tensor]:
    """Root mean squared and mean absolute error; `scale` turns them into the target's own units."""
    error = (predictions - targets) * scale
    return {"rmse": error.square().mean().sqrt(), "mae": error.abs().mean()}
