"""Image retrieval: embeddings learned on some classes, judged on others."""

from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar

import torch
from annotated_types import Interval
from torch import Tensor, nn

from objectives.domains import Count, checked
from objectives.errors import InputError
from objectives.pairs import BLOCK, unit
from objectives.records import Embedded, Record
from tasks.protocol import Monitor, Protocol
from tasks.sampling import ClassBalanced, MakeSampler
from tasks.vision.augmentation import Augment, Shape
from tasks.vision.classification import EVALUATION_BATCH, Images
from tasks.vision.images import ImageSet, Split


class Retrieval(Protocol):
    """Embeddings and labels; evaluated by retrieval among images of classes never trained on.

    No class is in two of the splits: the first classes are trained on, of those held out the
    first half (rounded down) is for validation and the rest for test. Every held-out image is a
    query for the others of its split, which are ranked by cosine similarity:

    - recall_at_1: share of queries whose nearest image is of their class;
    - recall_at_k: share with one of their class among the `neighbours` nearest;
    - map_at_r: mean over queries of 1/R * sum over ranks r <= R of the precision at r where rank r
      is of their class, R = number of others of their class.

    A query that is alone in its class is left out.

    Args:
        augmentation: What is done to training images.
        embedding_dim: Length of an embedding.
        held_out_classes: Share of the classes that are not trained on.
        neighbours: k of recall_at_k.
        sampler: Which images a batch holds.

    Source:
        Musgrave, Belongie & Lim 2020, arXiv:2003.08505 (MAP@R).
    """

    record: ClassVar[type[Record]] = Embedded
    monitor = Monitor("map_at_r", maximize=True)

    @checked
    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: Callable[[Shape], Augment],
        embedding_dim: Count = 64,
        held_out_classes: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        neighbours: Count = 5,
        sampler: MakeSampler = ClassBalanced,
    ):
        self.data = by_classes(data, held_out_classes).to(device)
        self.device, self.neighbours = device, neighbours
        self.augment = augmentation(data.shape)
        self.sampler = sampler(self.data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts = {
            "input_shape": data.shape,
            "num_outputs": embedding_dim,
            "num_classes": self.data.num_classes,
            "num_examples": len(self.data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Images]:
        train = self.data.train
        for index in self.sampler.batches(epoch, start):
            images = self.augment(train.images[index])
            yield Images(self.data.normalized(images), train.labels[index], index)

    def __call__(self, model: nn.Module, batch: Images) -> Record:
        return Embedded(model(batch.inputs), batch.labels, batch.index)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        data = getattr(self.data, split)
        parts = data.images.split(EVALUATION_BATCH)
        embeddings = torch.cat([model(self.data.normalized(part)).float() for part in parts])
        return ranked(unit(embeddings), data.labels, self.neighbours)


def by_classes(data: ImageSet, held_out: float) -> ImageSet:
    """The set with other classes in each split: the first in training, the last in test.

    Args:
        data: A set whose splits have the same classes.
        held_out: Share of the classes that are not in the training split.

    Raises:
        InputError: A split would have fewer than two classes, or none with two images.
    """
    count = round(data.num_classes * held_out)
    first_val, first_test = data.num_classes - count, data.num_classes - count + count // 2
    if first_val < 2 or count < 4:
        raise InputError(
            f"retrieval needs two classes in each split: with held_out_classes={held_out:g} of "
            f"{data.num_classes} classes, {first_val} are left to train on, {count // 2} to "
            f"validate and {count - count // 2} to test."
        )
    train = data.train[data.train.labels < first_val]
    val = data.val[(data.val.labels >= first_val) & (data.val.labels < first_test)]
    test = data.test[data.test.labels >= first_test]
    for name, split in {"training": train, "validation": val, "test": test}.items():
        _check_pairs(name, split)
    return ImageSet(train, val, test, first_val)


@torch.no_grad()
def ranked(vectors: Tensor, labels: Tensor, neighbours: int) -> dict[str, float]:
    """How well images of a class find each other, from unit vectors: see `Retrieval`."""
    others = (labels.bincount()[labels] - 1).clamp_min(0)
    queries = (others > 0).nonzero().squeeze(1)
    depth = min(max(int(others.max()), neighbours), len(labels) - 1)
    blocks = queries.split(max(1, BLOCK // len(labels)))
    parts = [_of_queries(vectors, labels, block, others[block], depth) for block in blocks]
    first, within, precision = torch.cat(
        [torch.stack([hit[:, 0], hit[:, :neighbours].amax(dim=1), ap]) for hit, ap in parts], dim=1
    ).mean(dim=1)
    return {
        "recall_at_1": first.item(),
        "recall_at_k": within.item(),
        "map_at_r": precision.item(),
    }


def _of_queries(
    vectors: Tensor, labels: Tensor, queries: Tensor, others: Tensor, depth: int
) -> tuple[Tensor, Tensor]:
    """Which of the nearest images are of each query's class, and the average precision at R."""
    similarity = (vectors[queries] @ vectors.T).scatter(1, queries[:, None], -torch.inf)
    nearest = similarity.topk(depth, dim=1).indices
    hits = (labels[nearest] == labels[queries, None]).double()
    ranks = torch.arange(1, depth + 1, device=labels.device)
    precision = hits.cumsum(dim=1) / ranks * hits * (ranks <= others[:, None])
    return hits, precision.sum(dim=1) / others


def _check_pairs(name: str, split: Split) -> None:
    if len(split) == 0 or split.labels.bincount().max() < 2:
        raise InputError(
            f"no class has two images in the {name} split, so that there is nothing to retrieve; "
            "use more images (subset, val_share)."
        )
