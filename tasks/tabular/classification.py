"""Classification of a table: rows in, class scores out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import (
    binary_f1_score,
    multiclass_f1_score,
    multiclass_recall,
)

from objectives.errors import InputError
from objectives.records import Attributed, Labelled, Record
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled
from tasks.tabular.fairness import fairness
from tasks.tabular.tables import LabelledTable


@dataclass(frozen=True)
class Rows(Batch):
    features: Tensor
    labels: Tensor
    attributes: Tensor
    index: Tensor


class TableClassification(Protocol):
    """Class scores and labels.

    Evaluated by accuracy, negative log-likelihood (nats), F1 (of class 1 where there are two
    classes, else the mean over classes), balanced accuracy and the geometric mean of the recalls.

    Args:
        sampler: Which rows a batch holds.
    """

    record: ClassVar[type[Record]] = Labelled
    monitor = Monitor("accuracy", maximize=True)

    def __init__(
        self,
        data: LabelledTable,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        self.data = data.to(device)
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "input_shape": tuple(data.train.features.shape[1:]),
            "num_outputs": data.num_classes,
            "num_classes": data.num_classes,
            "num_examples": len(data.train),
            "attribute_columns": data.attribute_columns,
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Rows]:
        train = self.data.train
        for index in self.sampler.batches(epoch, start):
            attributes = train.attributes[index]
            yield Rows(train.features[index], train.labels[index], attributes, index)

    def __call__(self, model: nn.Module, batch: Rows) -> Record:
        return Labelled(model(batch.features), batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        data = getattr(self.data, split)
        logits = model(data.features).float()
        nll = F.cross_entropy(logits, data.labels).item()
        shown = class_metrics(logits.argmax(dim=-1), data.labels, self.data.num_classes)
        return {"nll": nll, **shown}

    def examples(self, split: str) -> Iterator[Rows]:
        data = getattr(self.data, split)
        index = torch.arange(len(data), device=data.labels.device)
        yield Rows(data.features, data.labels, data.attributes, index)


class FairClassification(TableClassification):
    """Class scores, labels and protected attributes.

    Evaluated by how far the decisions differ between groups, too: see `fairness`.

    Raises:
        InputError: The table has no protected attributes.
    """

    record: ClassVar[type[Record]] = Attributed

    def __init__(
        self,
        data: LabelledTable,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
    ):
        if not data.attribute_columns:
            raise InputError("protected=[] names no column; give one, as in protected=[sex].")
        super().__init__(data, batch_size, seed, device, sampler)

    def __call__(self, model: nn.Module, batch: Rows) -> Attributed:
        return Attributed(model(batch.features), batch.labels, batch.index, batch.attributes)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        data = getattr(self.data, split)
        decisions = model(data.features).argmax(dim=-1)
        return super().evaluate(model, split) | fairness(decisions, data.labels, data.groups)


def class_metrics(decisions: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Metrics of the decided class against the true one; recalls are of the classes that occur."""
    recalls = multiclass_recall(decisions, labels, num_classes, average=None)[labels.unique()]
    f1 = (
        binary_f1_score(decisions, labels)
        if num_classes == 2
        else multiclass_f1_score(decisions, labels, num_classes)
    )
    return {
        "accuracy": (decisions == labels).double().mean().item(),
        "f1": f1.item(),
        "balanced_accuracy": recalls.mean().item(),
        "geometric_mean": recalls.log().mean().exp().item(),
    }
