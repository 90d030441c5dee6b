from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from objectives.errors import InputError
from tasks.vision.classification import Classification
from tasks.vision.contrastive import TwoViews, random_affine
from tasks.vision.digits import digits
from tasks.vision.images import ImageSet, split_of, split_off_validation

CPU = torch.device("cpu")


def images(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 1, 4, 4)).astype(np.uint8)
    return pixels, np.arange(count) % classes


def small_set(classes: int = 3) -> ImageSet:
    train, val, test = (split_of(*images(n, classes)) for n in (30, 12, 9))
    return ImageSet(train, val, test, classes)


def test_digits_are_scikit_learns_in_three_splits() -> None:
    data = digits()
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
    (train, val), (again, _) = (split_off_validation(pixels, labels, 0.2, 3) for _ in range(2))
    assert (len(train), len(val)) == (48, 12)
    assert torch.equal(train.images, again.images)
    assert val.labels.bincount().tolist() == [4, 4, 4]
    together = torch.cat([train.images, val.images]).flatten(1)
    assert torch.equal(together.unique(dim=0), torch.from_numpy(pixels).flatten(1).unique(dim=0))


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_too_small_to_split_is_refused(count: int) -> None:
    labels = np.array([0] * 20 + [1] * count + [2] * 20)
    pixels = np.zeros((len(labels), 1, 2, 2), np.uint8)
    with pytest.raises(InputError) as error:
        split_off_validation(pixels, labels, 0.2, num_classes=3)
    assert str(error.value) == (
        f"class 1 has {count} training examples; at least 2 are needed to make a validation split."
    )


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
    protocol = Classification(ImageSet(train, val, val, 2), 2, seed=0, device=CPU)
    s = np.sqrt(7 / 8)  # the standard deviation of eight pixels at -+1 is sqrt(8 / 7)
    metrics = protocol.evaluate(Brightness(), "val")
    nll = (np.log1p(np.exp(-2 * s)) + np.log1p(np.exp(2 * s))) / 2
    assert metrics == {"accuracy": 0.5, "nll": pytest.approx(nll, rel=1e-5)}
    assert protocol.evaluate(Brightness(), "train")["accuracy"] == 1.0


def test_no_change_at_zero_limits() -> None:
    pictures = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(random_affine(pictures, 0.0, 0.0, 0.0), pictures)


@pytest.mark.parametrize("limits", [(30.0, 0, 0), (0, 0.3, 0), (0, 0, 0.3)], ids=str)
def test_every_image_is_changed_in_its_own_way(limits: tuple[float, float, float]) -> None:
    picture = torch.rand(1, 1, 8, 8)
    changed = random_affine(picture.expand(6, -1, -1, -1), *limits)
    assert changed.shape == (6, 1, 8, 8)
    assert len(changed.flatten(1).unique(dim=0)) == 6
    assert not any(torch.allclose(one, picture[0]) for one in changed)
    assert changed.min() >= picture.min()
    assert changed.max() <= picture.max()


def test_a_shift_is_a_share_of_the_width() -> None:
    ramp = torch.arange(8.0).expand(200, 1, 8, 8)  # brighter by 1 a pixel to the right
    shifts = random_affine(ramp, 0, 0.25, 0)[:, 0, 4, 4] - 4
    assert shifts.abs().max().item() == pytest.approx(2, abs=0.05)  # a quarter of 8 pixels


def test_rotation_keeps_the_centre_and_the_lengths() -> None:
    size = 17
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None] ** 2 + axis**2).sqrt().expand(4, 1, size, size)
    rotated = random_affine(radius, 45.0, 0, 0)
    inside = radius < 0.8
    torch.testing.assert_close(rotated[inside], radius[inside], rtol=0, atol=0.03)


def test_views_are_of_the_indexed_images() -> None:
    data = small_set()
    protocol = TwoViews(data, 8, 0, CPU, max_rotation=0.0, max_shift=0.0, max_zoom=0.0)
    batch = next(protocol.batches(nn.Identity(), 0, 0))
    expected = data.normalized(data.train.images[batch.index])
    torch.testing.assert_close(batch.view_1, expected)
    torch.testing.assert_close(batch.view_2, expected)
    batch = next(TwoViews(data, 8, 0, CPU).batches(nn.Identity(), 0, 0))
    assert not torch.allclose(batch.view_1, batch.view_2)


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size=31 is more than the 30 images"):
        TwoViews(small_set(), 31, 0, CPU)


def test_embeddings_are_in_the_order_of_their_views(built: Callable[..., Any]) -> None:
    learner = built("digits", "objective=info_nce").learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    record = learner.protocol(learner.model, batch)
    torch.testing.assert_close(record.embeddings_1, learner.model(batch.view_1))
    torch.testing.assert_close(record.embeddings_2, learner.model(batch.view_2))
    assert record.embeddings_1.shape == (16, 64)


class Shown(nn.Module):
    """Features are the pixels themselves."""

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)


def test_frozen_features_are_judged_by_neighbours_and_probe() -> None:
    metrics = TwoViews(digits(), 64, 0, CPU).evaluate(Shown(), "test")
    assert metrics.keys() == {"knn_accuracy", "probe_accuracy"}
    assert metrics["knn_accuracy"] > 0.95  # digits are easy even in pixels
    assert metrics["probe_accuracy"] > 0.9
