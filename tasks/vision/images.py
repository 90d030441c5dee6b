"""Image sets that fit in memory: uint8 on the device, normalised a batch at a time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from objectives.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images [n, channels, height, width] as uint8 and labels [n]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


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


def split_off_validation(
    images: np.ndarray, labels: np.ndarray, share: float, num_classes: int
) -> tuple[Split, Split]:
    """Training and validation splits, stratified, the same for every seed.

    Raises:
        InputError: A class has too few examples to be in both.
    """
    from sklearn.model_selection import train_test_split

    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise InputError(
            f"class {counts.argmin()} has {counts.min()} training examples; "
            "at least 2 are needed to make a validation split."
        )
    train, val = train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels, random_state=0
    )
    return split_of(images[train], labels[train]), split_of(images[val], labels[val])


def split_of(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))
