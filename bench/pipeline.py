"""Augmented training images of the runner beside a plain DataLoader with workers.

One epoch of batches of 128 images of 3 x 32 x 32 pixels, shuffled, cropped out of a padding of 4,
flipped and normalised. The runner keeps the images on the device and augments a batch at once;
the loader's workers, one a core, augment image by image, as is usual.
"""

import os
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench.loop import coloured
from bench.measure import Row, Spread, interleaved, ratios
from tasks.vision.augmentation import crop_flip
from tasks.vision.classification import Classification
from tasks.vision.images import ImageSet, image_set

COUNT, BATCH_SIZE, PADDING = 10_000, 128, 4
ROUNDS = 7


class Images(Dataset):
    """One image after the other."""

    def __init__(self, data: ImageSet):
        self.data = data
        mean, std = data.scale
        self.mean, self.std = mean[0], std[0]

    def __len__(self) -> int:
        return len(self.data.train)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, size = self.data.train.images[index], self.data.shape[-1]
        top, left = torch.randint(2 * PADDING + 1, (2,)).tolist()
        image = F.pad(image, [PADDING] * 4)[:, top : top + size, left : left + size]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image - self.mean) / self.std, self.data.train.labels[index]


def rows() -> list[Row]:
    """Images a second of both, and their ratio."""
    data = image_set(coloured(), seed=0, subset=COUNT)
    augmentation = partial(crop_flip, padding=PADDING)
    protocol = Classification(data, BATCH_SIZE, 0, torch.device("cpu"), augmentation)
    loader = DataLoader(Images(data), BATCH_SIZE, shuffle=True, num_workers=os.cpu_count() or 1)
    variants: dict[str, Callable[[], int]] = {
        "runner": lambda: sum(len(batch) for batch in protocol.batches(nn.Identity(), 0, 0)),
        "loader": lambda: sum(len(images) for images, _ in loader),
    }
    seconds = interleaved({n: partial(_counted, run) for n, run in variants.items()}, ROUNDS)
    return [
        Row("runner / DataLoader", ratios(seconds["loader"], seconds["runner"])),
        *(
            Row(f"{name}: images a second", Spread.of([COUNT / s for s in values]), "/s")
            for name, values in seconds.items()
        ),
    ]


def _counted(run: Callable[[], int]) -> Callable[[], None]:
    def check() -> None:
        if run() != COUNT:
            raise AssertionError("an image is missing")

    return check
