"""Image sets that fit in memory: uint8 on the device, normalised a batch at a time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Interval
from torch import Generator, Tensor

from objectives.domains import checked
from objectives.errors import InputError
from tasks.labels import Imbalance, Noise, kept, validation


@dataclass(frozen=True)
class Split:
    """Images [n, channels, height, width] as uint8 and labels [n]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> "Split":
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Original:
    """A set as its authors give it."""

    train: Split
    test: Split
    num_classes: int


@dataclass(frozen=True)
class ImageSet:
    """A labelled image set in three splits; nothing is ever chosen on `test`."""

    train: Split
    val: Split
    test: Split
    num_classes: int

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.train.images.shape[1:])

    @cached_property
    def scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over the training split.

        From counts of the 256 values: exact, and without a copy of the images as numbers.
        """
        images = self.train.images
        counts = torch.stack(
            [torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])]
        ).double()
        values = torch.arange(256, dtype=torch.float64, device=images.device)
        total = counts.sum(dim=1, keepdim=True)
        mean = (counts * values).sum(dim=1, keepdim=True) / total
        variance = (counts * (values - mean) ** 2).sum(dim=1, keepdim=True) / (total - 1)
        shape = (1, -1, 1, 1)
        return mean.float().view(shape), variance.sqrt().clamp_min(1e-8).float().view(shape)

    def to(self, device: torch.device) -> "ImageSet":
        if self.train.images.device == device:
            return self
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return ImageSet(train, val, test, self.num_classes)

    def normalized(self, images: Tensor) -> Tensor:
        mean, std = self.scale
        return (images - mean) / std


@checked
def image_set(
    original: Original,
    *,
    seed: int,
    noise: Noise | None = None,
    imbalance: Imbalance | None = None,
    subset: Annotated[int, Gt(0)] | None = None,
    val_share: Annotated[float, Interval(gt=0, lt=1)] = 0.1,
) -> ImageSet:
    """Training, validation and test split of a set, as an experiment wants them.

    Args:
        original: The set.
        seed: Decides which labels are wrong and which examples are left out.
        noise: Label noise. Validation is noisy too, since it comes from the same hands; test
            labels are true.
        imbalance: Class sizes of the training split; the other two stay as they are.
        subset: Size of the training split, before imbalance; its classes keep their shares.
        val_share: Share of the original training set that is held out, the same for every seed.

    Raises:
        InputError: A class has too few examples, or `subset` does not fit.
    """
    missing = original.test.labels.bincount(minlength=original.num_classes) == 0
    if missing.any():
        raise InputError(f"the test split has no example of class {int(missing.int().argmax())}.")
    generator = Generator().manual_seed(seed)
    labels = original.train.labels
    noisy = labels if noise is None else noise(labels, original.num_classes, generator)
    held_out = validation(labels, val_share, original.num_classes)
    train, val = (Split(original.train.images[i], noisy[i]) for i in held_out)
    if imbalance is not None or subset is not None:
        train = train[
            kept(train.labels, original.num_classes, generator, imbalance=imbalance, subset=subset)
        ]
    return ImageSet(train, val, original.test, original.num_classes)


def split_of(images: np.ndarray, labels: np.ndarray) -> Split:
    """Arrays as a split; images without channels get one."""
    pictures = images if images.ndim == 4 else images[:, None]
    return Split(torch.from_numpy(pictures), torch.from_numpy(labels.astype(np.int64)))
