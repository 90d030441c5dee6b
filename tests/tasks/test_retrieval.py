from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch import nn

from objectives.errors import InputError
from objectives.pairs import unit
from tasks.vision import mixing, retrieval
from tasks.vision.augmentation import none
from tasks.vision.images import ImageSet, Split, split_of
from tasks.vision.mixing import MixedImages
from tasks.vision.retrieval import Retrieval, by_classes, ranked

Built = Callable[..., Any]

CPU = torch.device("cpu")


def images(count: int, classes: int) -> Split:
    pixels = np.random.default_rng(count).integers(0, 256, (count, 1, 4, 4)).astype(np.uint8)
    return split_of(pixels, np.arange(count) % classes)


def small_set(classes: int) -> ImageSet:
    return ImageSet(*(images(n * classes, classes) for n in (8, 4, 3)), classes)


@pytest.mark.parametrize(
    ("classes", "held_out", "expected"),
    [
        (10, 0.5, ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])),
        (6, 0.7, ([0, 1], [2, 3], [4, 5])),
        (9, 0.5, ([0, 1, 2, 3, 4], [5, 6], [7, 8])),
    ],
)
def test_no_class_is_in_two_splits(
    classes: int, held_out: float, expected: tuple[list[int], ...]
) -> None:
    whole, data = small_set(classes), by_classes(small_set(classes), held_out)
    for split, labels in zip(("train", "val", "test"), expected, strict=True):
        theirs, ours = getattr(whole, split), getattr(data, split)
        assert ours.labels.unique().tolist() == labels
        chosen = torch.isin(theirs.labels, torch.tensor(labels))
        assert torch.equal(ours.images, theirs.images[chosen])
    assert data.num_classes == len(expected[0])


@pytest.mark.parametrize(("classes", "held_out"), [(5, 0.5), (10, 0.3), (10, 0.9)])
def test_a_split_of_one_class_is_refused(classes: int, held_out: float) -> None:
    with pytest.raises(InputError, match=f"held_out_classes={held_out:g} of {classes} classes, "):
        by_classes(small_set(classes), held_out)


def test_a_split_without_a_pair_is_refused() -> None:
    data = ImageSet(images(60, 6), images(12, 6), images(6, 6), 6)
    with pytest.raises(InputError, match="no class has two images in the test split"):
        by_classes(data, 0.7)


def test_normalised_by_the_classes_trained_on() -> None:
    protocol = Retrieval(small_set(10), 8, 0, CPU, none)
    seen = protocol.data.train.images.double()
    assert protocol.data.scale[0].item() == pytest.approx(seen.mean().item(), rel=1e-6)
    assert protocol.facts["num_classes"] == 5
    assert protocol.facts["num_examples"] == 40


def test_ranked_by_hand() -> None:
    # on a half circle: class 0 at 0, 10 and 50 degrees, class 1 at 15 and 60, class 2 alone at 170
    angles = torch.tensor([0.0, 10, 50, 15, 60, 170]).deg2rad()
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    # nearest two of 0: 10, 15: of its two others one, at rank 1: (1 + 0) / 2; of 10: 15, 0: at rank
    # 2, (1/2) / 2; of 50: 60, 15: none; of 15: 10, 0: none; of 60: 50, 15: at rank 2 > R = 1
    found = ranked(vectors, labels, neighbours=2)
    assert found["recall_at_1"] == pytest.approx(1 / 5)
    assert found["recall_at_k"] == pytest.approx(3 / 5)
    assert found["map_at_r"] == pytest.approx((1 / 2 + 1 / 4) / 5)


def test_ranked_agrees_with_pytorch_metric_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(torch.randn(60, 3))
    labels = torch.randint(5, (60,))
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity()),
    )
    theirs = calculator.get_accuracy(vectors, labels)
    found = ranked(vectors, labels, neighbours=3)
    assert found["recall_at_1"] == pytest.approx(theirs["precision_at_1"])
    assert found["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"])
    monkeypatch.setattr(retrieval, "BLOCK", 7 * 60)  # seven queries at once
    assert ranked(vectors, labels, neighbours=3) == pytest.approx(found)


def test_more_neighbours_than_images_are_all() -> None:
    vectors = unit(torch.randn(4, 3))
    assert ranked(vectors, torch.tensor([0, 0, 1, 1]), neighbours=50)["recall_at_k"] == 1


class Doubled(nn.Module):
    """Features are pixels, embeddings their doubles, squared."""

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return (2 * features) ** 2

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(inputs))


def test_mixtures_by_hand() -> None:
    batch = MixedImages(
        torch.tensor([1.0, 3.0]).view(2, 1, 1, 1),
        torch.tensor([0, 1]),
        torch.tensor([4, 7]),
        torch.tensor([1, 0]),
        torch.tensor([0.75, 0.5]),
    )
    model = Doubled()
    embedded = model(batch.inputs)  # 4 and 36; pixels mix to 1.5 and 2
    for mix, expected in (
        (mixing.inputs, [9.0, 16.0]),
        (mixing.features, [9.0, 16.0]),
        (mixing.embeddings, [12.0, 20.0]),
    ):
        assert mix(model, batch, embedded).flatten().tolist() == expected


@pytest.mark.parametrize("mixup", ["inputs", "features", "embeddings"])
def test_every_image_is_mixed_with_one_of_another_class(built: Built, mixup: str) -> None:
    learner = built("digits", "objective=metrix", f"mixup={mixup}").learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    record = learner.protocol(learner.model, batch)
    assert (record.mixed_labels[:, 0] != record.mixed_labels[:, 1]).all()
    assert torch.equal(record.mixed_index[:, 0], record.index)
    train = learner.protocol.data.train
    assert torch.equal(train.labels[record.mixed_index], record.mixed_labels)
    assert ((record.mixed_shares > 0) & (record.mixed_shares < 1)).all()
    share = record.mixed_shares[:, None]
    blend = share * record.embeddings + (1 - share) * record.embeddings[batch.partners]
    assert torch.allclose(record.mixed_embeddings, blend, atol=1e-6) == (mixup != "inputs")


def test_shares_are_beta_distributed(built: Built) -> None:
    settings = "mixup_alpha=5", "batch_size=600"
    learner = built("digits", "objective=metrix", *settings).learner
    shares = next(learner.protocol.batches(learner.model, 0, 0)).shares
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / (4 * 11), rel=0.2)  # 1 / (4 (2 alpha + 1))


def test_images_of_one_class_are_mixed_among_each_other() -> None:
    partners = mixing._partners(torch.zeros(5, dtype=torch.long))
    assert partners.shape == (5,)
    assert mixing._partners(torch.tensor([0, 0, 1])).tolist()[:2] == [2, 2]
