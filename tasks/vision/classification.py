"""Image classification: one pass over the images, class scores out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from objectives.records import Labelled, Record
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled
from tasks.vision.augmentation import Augment, Shape
from tasks.vision.images import ImageSet

EVALUATION_BATCH = 1024

BINS = 15
"""Of confidence, in the calibration error."""


@dataclass(frozen=True)
class Images(Batch):
    inputs: Tensor
    labels: Tensor
    index: Tensor


class Classification(Protocol):
    """Class scores and labels; evaluated by accuracy, negative log-likelihood and calibration.

    The log-likelihood is in nats; the calibration error is the expected one, of 15 bins of equal
    width by confidence (Guo et al. 2017, arXiv:1706.04599).

    Args:
        augmentation: What is done to training images.
        sampler: Which of them a batch holds.
    """

    record: ClassVar[type[Record]] = Labelled
    monitor = Monitor("accuracy", maximize=True)

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: Callable[[Shape], Augment],
        sampler: MakeSampler = Shuffled,
    ):
        self.data = data.to(device)
        self.augment = augmentation(data.shape)
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "input_shape": data.shape,
            "num_outputs": data.num_classes,
            "num_classes": data.num_classes,
            "num_examples": len(data.train),
            "input_range": self.data.range,
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Images]:
        train = self.data.train
        for index in self.sampler.batches(epoch, start):
            images = self.augment(train.images[index])
            yield Images(self.data.normalized(images), train.labels[index], index)

    def __call__(self, model: nn.Module, batch: Images) -> Record:
        return Labelled(model(batch.inputs), batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        logits = torch.cat([model(part.inputs).float() for part in self.examples(split)])
        labels = getattr(self.data, split).labels
        correct = (logits.argmax(dim=-1) == labels).double().mean()
        return {
            "accuracy": correct.item(),
            "nll": F.cross_entropy(logits, labels).item(),
            "ece": multiclass_calibration_error(
                logits.softmax(dim=-1), labels, logits.shape[-1], n_bins=BINS
            ).item(),
        }

    def examples(self, split: str) -> Iterator[Images]:
        data = getattr(self.data, split)
        for index in torch.arange(len(data), device=data.labels.device).split(EVALUATION_BATCH):
            yield Images(self.data.normalized(data.images[index]), data.labels[index], index)
