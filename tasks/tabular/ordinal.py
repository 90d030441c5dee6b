"""Classification with ordered classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.ordinal import class_probabilities
from objectives.records import Labelled, Ordinal, Record
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled
from tasks.tabular.ordered import Ordered, Split


@dataclass(frozen=True)
class Rows(Batch):
    features: Tensor
    labels: Tensor
    index: Tensor


class NominalClassification(Protocol):
    """A score for each class, whose order nothing knows but the evaluation.

    Evaluated by negative log-likelihood (nats), accuracy, the mean absolute error in classes, the
    Brier score of the last class and, where its true probability is known, the mean squared error
    of that.

    Args:
        sampler: Which rows a batch holds.
    """

    record: ClassVar[type[Record]] = Labelled
    monitor = Monitor("nll", maximize=False)

    def __init__(
        self,
        data: Ordered,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        self.data = data.ordered.to(device)
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "input_shape": tuple(self.data.train.features.shape[1:]),
            "num_outputs": self.data.num_classes,
            "num_classes": self.data.num_classes,
            "num_examples": len(self.data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Rows]:
        train = self.data.train
        for index in self.sampler.batches(epoch, start):
            yield Rows(train.features[index], train.labels[index], index)

    def __call__(self, model: nn.Module, batch: Rows) -> Record:
        return Labelled(model(batch.features), batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        data: Split = getattr(self.data, split)
        metrics = ordinal_metrics(self.probabilities(model(data.features).double()), data)
        return {name: value.item() for name, value in metrics.items()}

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Of each class, from the model's outputs."""
        return outputs.softmax(dim=-1)


class OrdinalClassification(NominalClassification):
    """Log-odds of being at most each threshold, and the weights of the model's head.

    Evaluated in the same way.
    """

    record: ClassVar[type[Record]] = Ordinal

    def __init__(
        self,
        data: Ordered,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        super().__init__(data, batch_size, seed, device, sampler)
        self.facts = {**self.facts, "num_outputs": self.data.num_classes - 1}

    def __call__(self, model: nn.Module, batch: Rows) -> Ordinal:
        head: Any = model.head
        return Ordinal(model(batch.features), batch.labels, head.weight, batch.index)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return class_probabilities(outputs)


def ordinal_metrics(probabilities: Tensor, data: Split) -> dict[str, Tensor]:
    """Metrics of the classes' probabilities [n, classes]."""
    decisions = probabilities.argmax(dim=-1)
    rare, last = probabilities[:, -1], probabilities.shape[1] - 1
    tiny = torch.finfo(torch.float32).tiny  # a likelihood of 0 would be an infinite one
    known = {"rare_mse": (rare - data.rare[:, 0]).square().mean()} if data.rare.shape[1] else {}
    return {
        "nll": F.nll_loss(probabilities.clamp_min(tiny).log(), data.labels),
        "accuracy": (decisions == data.labels).double().mean(),
        "mae": (decisions - data.labels).abs().double().mean(),
        "rare_brier": (rare - (data.labels == last).double()).square().mean(),
        **known,
    }
