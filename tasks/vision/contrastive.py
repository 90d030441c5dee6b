"""Self-supervised learning: two augmented views of each image, embeddings out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Count, checked
from objectives.errors import InputError
from objectives.records import Views
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import index_batches
from tasks.vision.augmentation import Augment, Shape
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

    Args:
        views: What makes a view of an image.
        embedding_dim: Length of an embedding.
    """

    record = Views
    monitor = Monitor("knn_accuracy", maximize=True)

    @checked
    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        views: Callable[[Shape], Augment],
        embedding_dim: Count = 64,
    ):
        if batch_size > len(data.train):
            raise InputError(f"batch_size={batch_size} is more than the {len(data.train)} images.")
        self.data = data.to(device)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.view = views(data.shape)
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
            view_1, view_2 = (self.data.normalized(self.view(images[index])) for _ in range(2))
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
