"""Self-supervised learning: two augmented views of each image, embeddings out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.errors import InputError
from objectives.records import Views
from tasks.protocol import Batch, Monitor, Protocol, index_batches
from tasks.vision.images import ImageSet

NEIGHBOURS = 5
EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class ViewPair(Batch):
    view_1: Tensor
    view_2: Tensor
    index: Tensor


class TwoViews(Protocol):
    """Embeddings of two views; evaluated by k-NN and a linear probe on the frozen features.

    The features are those in front of the projection head (the model's `features`). Both
    classifiers are fitted on the training split.
    """

    record = Views
    monitor = Monitor("knn_accuracy", maximize=True)

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        embedding_dim: int = 64,
        max_rotation: float = 15.0,
        max_shift: float = 0.15,
        max_zoom: float = 0.15,
    ):
        if batch_size > len(data.train):
            raise InputError(f"batch_size={batch_size} is more than the {len(data.train)} images.")
        self.data = data.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.limits = max_rotation, max_shift, max_zoom
        self.steps_per_epoch = len(data.train) // batch_size
        self.facts = {
            "input_shape": data.shape,
            "num_outputs": embedding_dim,
            "num_classes": data.num_classes,
            "num_examples": len(data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[ViewPair]:
        images = self.data.train.images
        for index in index_batches(
            len(images), self.batch_size, self.seed, epoch, start, self.device, drop_last=True
        ):
            inputs = self.data.normalized(images[index])
            view_1, view_2 = (random_affine(inputs, *self.limits) for _ in range(2))
            yield ViewPair(view_1, view_2, index)

    def __call__(self, model: nn.Module, batch: ViewPair) -> Views:
        embeddings = model(torch.cat([batch.view_1, batch.view_2]))
        embeddings_1, embeddings_2 = embeddings.chunk(2)
        return Views(embeddings_1, embeddings_2, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier

        train, held_out = self._features(model, "train"), self._features(model, split)
        classifiers = {
            "knn_accuracy": KNeighborsClassifier(NEIGHBOURS, metric="cosine"),
            "probe_accuracy": LogisticRegression(max_iter=200),
        }
        return {
            name: float(classifier.fit(*train).score(*held_out))
            for name, classifier in classifiers.items()
        }

    def _features(self, model: nn.Module, split: str) -> tuple[np.ndarray, np.ndarray]:
        data = getattr(self.data, split)
        parts = [
            model.features(self.data.normalized(part))  # type: ignore[operator]
            for part in data.images.split(EVALUATION_BATCH)
        ]
        features = F.normalize(torch.cat(parts).float(), dim=-1)
        return features.cpu().numpy(), data.labels.cpu().numpy()


def random_affine(images: Tensor, max_rotation: float, max_shift: float, max_zoom: float) -> Tensor:
    """Rotate (degrees), zoom and shift (shares of the width) each image at random."""
    amounts = torch.rand(4, len(images), device=images.device) * 2 - 1
    angle = torch.deg2rad(amounts[0] * max_rotation)
    zoom = 1 + amounts[1] * max_zoom
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    shift_x, shift_y = amounts[2:] * 2 * max_shift
    rows = torch.stack([cosine, -sine, shift_x, sine, cosine, shift_y], dim=-1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
