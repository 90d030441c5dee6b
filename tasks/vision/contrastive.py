"""Self-supervised learning: two augmented views of each image, embeddings out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Count, checked
from objectives.errors import InputError
from objectives.pairs import by_rows, unit
from objectives.records import Views
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import index_batches
from tasks.vision.augmentation import Augment, Shape
from tasks.vision.images import ImageSet, Split

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
    classifiers are fitted on the training split. Of the embeddings, as unit vectors e, are told:

    - uniformity: -log mean exp(-2 * |e_i - e_j|^2) over pairs of images; higher is more uniform;
    - tolerance: mean of e_i . e_j over pairs of images of one class;

    each where the split has such a pair.

    Args:
        views: What makes a view of an image.
        embedding_dim: Length of an embedding.

    Source:
        Wang & Liu 2021, arXiv:2012.09740 (uniformity and tolerance).
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
        if batch_size < 2:
            raise InputError("batch_size=1 leaves nothing to tell an image from; set 2 or more.")
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
            "knn_accuracy": KNeighborsClassifier(min(NEIGHBOURS, len(train[1])), metric="cosine"),
            "probe_accuracy": LogisticRegression(max_iter=200),
        }
        scores = {
            name: float(classifier.fit(*train).score(*held_out))
            for name, classifier in classifiers.items()
        }
        return scores | self._spread(model, getattr(self.data, split))

    def _features(self, model: nn.Module, split: str) -> tuple[np.ndarray, np.ndarray]:
        data = getattr(self.data, split)
        parts = [
            model.features(self.data.normalized(part))  # type: ignore[operator]
            for part in data.images.split(EVALUATION_BATCH)
        ]
        features = F.normalize(torch.cat(parts).float(), dim=-1)
        return features.cpu().numpy(), data.labels.cpu().numpy()

    def _spread(self, model: nn.Module, data: Split) -> dict[str, float]:
        parts = data.images.split(EVALUATION_BATCH)
        embeddings = torch.cat([model(self.data.normalized(part)).float() for part in parts])
        return spread(unit(embeddings), data.labels)


@torch.no_grad()
def spread(vectors: Tensor, labels: Tensor) -> dict[str, float]:
    """Uniformity and tolerance of unit vectors: see `TwoViews`."""

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        similarity = similarity.double()
        same = (labels[rows, None] == labels).scatter(1, rows[:, None], False)
        near = (4 * similarity - 4).exp().scatter(1, rows[:, None], 0.0)
        return near.sum(dim=1), similarity.mul(same).sum(dim=1), same.sum(dim=1)

    near, similarity, same = (column.sum() for column in by_rows(of_rows, vectors, vectors))
    pairs = len(vectors) * (len(vectors) - 1)
    found = {"uniformity": -(near / pairs).log().item()} if pairs else {}
    return found | ({"tolerance": (similarity / same).item()} if same else {})
