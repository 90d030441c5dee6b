from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from objectives.errors import InputError
from tasks.vision.augmentation import affine, none
from tasks.vision.classification import Classification
from tasks.vision.contrastive import TwoViews, spread
from tasks.vision.digits import digits
from tasks.vision.images import ImageSet, Original, image_set, split_of, validation

CPU = torch.device("cpu")


def images(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 1, 4, 4)).astype(np.uint8)
    return pixels, np.arange(count) % classes


def digits_in_splits() -> ImageSet:
    return image_set(digits(), seed=0, val_share=0.2)


def small_set(classes: int = 3) -> ImageSet:
    train, val, test = (split_of(*images(n, classes)) for n in (30, 12, 9))
    return ImageSet(train, val, test, classes)


def test_digits_are_scikit_learns_in_three_splits() -> None:
    data = digits_in_splits()
    assert (len(data.train), len(data.val), len(data.test)) == (1149, 288, 360)
    assert data.shape == (1, 8, 8)
    splits = torch.cat([s.images.flatten(1) for s in (data.train, data.val, data.test)])
    pixels = torch.from_numpy(load_digits().data) * (255 / 16)
    assert torch.equal(splits.unique(dim=0), pixels.to(torch.uint8).unique(dim=0))
    for split in (data.train, data.val, data.test):  # stratified
        shares = split.labels.bincount(minlength=10) / len(split)
        assert ((shares - 0.1).abs() < 0.015).all()


def test_normalized_by_the_training_split_alone() -> None:
    data = small_set()
    whitened = data.normalized(data.train.images)
    assert whitened.mean().item() == pytest.approx(0, abs=1e-5)
    assert whitened.std().item() == pytest.approx(1, abs=1e-5)
    held_out = data.normalized(data.val.images)
    mean, std = data.train.images.double().mean(), data.train.images.double().std()
    expected = (data.val.images.double() - mean) / std
    torch.testing.assert_close(held_out.double(), expected, rtol=0, atol=1e-5)


def test_constant_images_stay_finite() -> None:
    blank = split_of(np.full((4, 1, 2, 2), 7, np.uint8), np.arange(4))
    data = ImageSet(blank, blank, blank, 4)
    assert torch.equal(data.normalized(blank.images), torch.zeros(4, 1, 2, 2))


def test_validation_is_split_off_the_same_for_every_seed() -> None:
    pixels, labels = images(60, 3)
    original = Original(split_of(pixels, labels), split_of(*images(9, 3)), 3)
    one, other = (image_set(original, seed=seed, val_share=0.2) for seed in (0, 1))
    assert (len(one.train), len(one.val)) == (48, 12)
    assert torch.equal(one.train.images, other.train.images)
    assert one.val.labels.bincount().tolist() == [4, 4, 4]
    together = torch.cat([one.train.images, one.val.images]).flatten(1)
    assert torch.equal(together.unique(dim=0), torch.from_numpy(pixels).flatten(1).unique(dim=0))


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_too_small_to_split_is_refused(count: int) -> None:
    labels = torch.tensor([0] * 20 + [1] * count + [2] * 20)
    with pytest.raises(InputError) as error:
        validation(labels, 0.2, num_classes=3)
    assert str(error.value) == (
        f"class 1 has {count} training examples; at least 2 are needed to make a validation split."
    )


def test_a_share_too_small_for_every_class_is_refused() -> None:
    with pytest.raises(InputError, match="no validation split can be made: The test_size = 1 "):
        validation(torch.arange(30) % 3, 0.02, num_classes=3)


def test_a_test_split_without_a_class_is_refused() -> None:
    train = split_of(*images(60, 3))
    with pytest.raises(InputError, match="the test split has no example of class 2"):
        image_set(Original(train, split_of(*images(2, 3)), 3), seed=0)


def test_noise_reaches_validation_and_not_test() -> None:
    pixels, labels = images(60, 3)
    original = Original(split_of(pixels, labels), split_of(pixels, labels), 3)

    def all_wrong(labels: torch.Tensor, classes: int, _: object) -> torch.Tensor:
        return (labels + 1) % classes

    noisy, clean = (image_set(original, seed=0, noise=n) for n in (all_wrong, None))
    for split in ("train", "val"):
        one, other = getattr(noisy, split), getattr(clean, split)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, (other.labels + 1) % 3)
    assert torch.equal(noisy.test.labels, clean.test.labels)


def test_subset_and_imbalance_reach_the_training_split_alone() -> None:
    original = Original(split_of(*images(600, 3)), split_of(*images(30, 3)), 3)
    whole = image_set(original, seed=0)
    part = image_set(original, seed=0, subset=90, imbalance=lambda _: torch.tensor([1, 0.5, 0.1]))
    assert part.train.labels.bincount().tolist() == [30, 15, 3]
    assert torch.equal(part.val.images, whole.val.images)
    assert len(part.test) == 30
    assert part.shape == (1, 4, 4)
    again = image_set(original, seed=1, subset=90)
    assert not torch.equal(again.train.images, image_set(original, seed=0, subset=90).train.images)


class Brightness(nn.Module):
    """Scores by the mean pixel alone: always the same class for bright images."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        bright = inputs.mean(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=-1)


def test_classification_metrics_by_hand() -> None:
    # normalised by mean 5, the images 4 and 6 are at -+s: scores (s, -s) and (-s, s); one of two
    # is labelled rightly: nll (log(1 + e^-2s) + log(1 + e^2s)) / 2
    pixels = np.repeat(np.array([4, 6], np.uint8), 4).reshape(2, 1, 2, 2)
    train, val = split_of(pixels, np.array([0, 1])), split_of(pixels, np.array([0, 0]))
    protocol = Classification(ImageSet(train, val, val, 2), 2, 0, CPU, none)
    s = np.sqrt(7 / 8)  # the standard deviation of eight pixels at -+1 is sqrt(8 / 7)
    metrics = protocol.evaluate(Brightness(), "val")
    nll = (np.log1p(np.exp(-2 * s)) + np.log1p(np.exp(2 * s))) / 2
    sure = 1 / (1 + np.exp(-2 * s))  # of both, so they are in one bin: it is right every other time
    assert metrics == {
        "accuracy": 0.5,
        "nll": pytest.approx(nll, rel=1e-5),
        "ece": pytest.approx(sure - 0.5, rel=1e-5),
    }
    assert protocol.evaluate(Brightness(), "train")["accuracy"] == 1.0


def test_views_are_of_the_indexed_images() -> None:
    data = small_set()
    protocol = TwoViews(data, 8, 0, CPU, none)
    batch = next(protocol.batches(nn.Identity(), 0, 0))
    expected = data.normalized(data.train.images[batch.index])
    torch.testing.assert_close(batch.view_1, expected)
    torch.testing.assert_close(batch.view_2, expected)
    batch = next(TwoViews(data, 8, 0, CPU, affine).batches(nn.Identity(), 0, 0))
    assert not torch.allclose(batch.view_1, batch.view_2)


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size=31 is more than the 30 images"):
        TwoViews(small_set(), 31, 0, CPU, none)


def test_a_batch_of_one_image_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size=1 leaves nothing to tell an image from"):
        TwoViews(small_set(), 1, 0, CPU, none)


def test_two_views_of_a_long_tailed_set(built: Callable[..., Any]) -> None:
    learner = built("digits", "objective=isogclr", "imbalance=exponential").learner
    counts = learner.protocol.data.train.labels.bincount()
    assert counts[0] == 113
    assert counts[-1] == 1
    assert (
        learner.protocol.facts["num_examples"]
        == counts.sum()
        == len(learner.objective.compute.temperatures)
    )
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    assert learner.backward(batch)["loss"].isfinite()


def test_embeddings_are_in_the_order_of_their_views(built: Callable[..., Any]) -> None:
    learner = built("digits", "objective=info_nce").learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    record = learner.protocol(learner.model, batch)
    torch.testing.assert_close(record.embeddings_1, learner.model(batch.view_1))
    torch.testing.assert_close(record.embeddings_2, learner.model(batch.view_2))
    assert record.embeddings_1.shape == (16, 64)


class Shown(nn.Module):
    """Features and embeddings are the pixels themselves."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.features(inputs)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)


def test_frozen_features_are_judged_by_neighbours_and_probe() -> None:
    metrics = TwoViews(digits_in_splits(), 64, 0, CPU, none).evaluate(Shown(), "test")
    judged = {"knn_accuracy", "probe_accuracy", "uniformity", "tolerance"}
    assert metrics.keys() == judged
    assert metrics["knn_accuracy"] > 0.95  # digits are easy even in pixels
    assert metrics["probe_accuracy"] > 0.9


def test_spread_by_hand() -> None:
    # four unit vectors: 0, 90 degrees of class 0, 180, 270 of class 1; of the 6 pairs 4 are at
    # distance sqrt(2), 2 at 2; both pairs of one class have similarity 0
    vectors = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    expected = -np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6)
    found = spread(vectors, torch.tensor([0, 0, 1, 1]))
    assert found == {"uniformity": pytest.approx(expected), "tolerance": pytest.approx(0)}
    same = spread(torch.ones(5, 1), torch.tensor([0, 0, 1, 1, 2]))
    assert same == {"uniformity": pytest.approx(0), "tolerance": pytest.approx(1)}
    assert spread(torch.eye(2), torch.tensor([0, 1])) == {"uniformity": pytest.approx(4)}  # no pair
    assert spread(torch.ones(1, 2), torch.tensor([0])) == {}


def test_the_calibration_error_is_of_fifteen_bins_of_confidence(built) -> None:
    learner = built("digits").learner
    val = learner.protocol.data.val
    with torch.no_grad():
        found = learner.protocol.evaluate(learner.model, "val")["ece"]
        logits = learner.model(learner.protocol.data.normalized(val.images))
    confidences, decisions = logits.softmax(dim=1).max(dim=1)
    bins = defaultdict(list)
    for confidence, right in zip(confidences.tolist(), decisions == val.labels, strict=True):
        bins[int(confidence * 15)].append(confidence - right.item())
    expected = sum(abs(sum(gaps)) for gaps in bins.values()) / len(logits)
    assert found == pytest.approx(expected, rel=1e-4)


def test_student_and_peer_are_trained_together(built) -> None:
    experiment = built("digits", "objective=bd_kd", "peer.width=24", "lr=0.01")
    model, protocol = experiment.learner.model, experiment.learner.protocol
    data = protocol.own.data
    assert model.peer.head.in_features == 24
    batch = next(protocol.batches(model, 0, 0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record = protocol(model, batch)
    torch.testing.assert_close(record.student_logits, model.student(batch.inputs))
    torch.testing.assert_close(record.peer_logits, model.peer(batch.inputs))
    experiment.algorithm.update(batch)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == set(before)
    model.eval()
    metrics, logits = (
        protocol.evaluate(model, "val"),
        model.student(data.normalized(data.val.images)),
    )
    correct = (logits.argmax(-1) == data.val.labels).double().mean().item()
    assert metrics["accuracy"] == correct
    assert "peer_accuracy" in metrics
