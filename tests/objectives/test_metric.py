import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import Case, embedded
from pytorch_metric_learning.losses import (
    ContrastiveLoss,
    MultiSimilarityLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import Tensor
from torch.nn import functional as F

from objectives import pairs
from objectives.metric import contrastive_pair, ms_loss, triplet

LEARNED = ("embeddings",)
CASES = {
    "contrastive_pair": Case(
        embedded, LEARNED, settings=({}, {"pos_margin": 0.3, "neg_margin": 1.2})
    ),
    "triplet": Case(embedded, LEARNED, settings=({}, {"margin": 0.7})),
    "ms_loss": Case(embedded, LEARNED, settings=({}, {"epsilon": 2.0, "beta": 5.0})),
}

Loss = Callable[..., Any]
LOSSES: dict[str, Loss] = {
    "contrastive_pair": contrastive_pair,
    "triplet": triplet,
    "ms_loss": ms_loss,
}

each = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def values_of(loss: Loss, embeddings: Tensor, labels: Tensor, **setting: float) -> Tensor:
    computed = loss(embeddings, labels, **setting)
    values: Tensor = computed[0] if isinstance(computed, tuple) else computed
    return values


def random_batch(count: int = 24, classes: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 4, dtype=torch.float64), torch.arange(count) % classes


def at(degrees: list[float]) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


CORNER = at([0, 60, 180]), torch.tensor([0, 0, 1])
"""Distances: 2 sin(60 / 2) = 1 in class 0, 2 and sqrt(3) to class 1. Cosines: 1/2; -1, -1/2."""


def test_contrastive_pair_by_hand() -> None:
    # positives: 1 - 0.4 twice, so the mean is 0.6; negatives: relu(1.9 - 2) = 0 is left out, and
    # 1.9 - sqrt(3) is there from either side
    value = contrastive_pair(*CORNER, pos_margin=0.4, neg_margin=1.9).mean()
    assert value.item() == pytest.approx(0.6 + 1.9 - math.sqrt(3))


def test_triplet_by_hand() -> None:
    # anchors 0 and 1 have a positive at 1 and a negative at 2 and sqrt(3): with a margin of 0.9
    # the first triplet is at relu(-0.1) = 0 and left out, the second at 1.9 - sqrt(3)
    values, metrics = triplet(*CORNER, margin=0.9)
    torch.testing.assert_close(values, 3 * torch.tensor([0, 1.9 - math.sqrt(3), 0]).double())
    assert metrics["active_triplets"].item() == pytest.approx(1 / 3)


def test_ms_loss_by_hand() -> None:
    # all pairs taken: positives at 1/2 = lam, negatives at -1 and -1/2; anchor 2 has no positive
    values, metrics = ms_loss(*CORNER, alpha=2.0, beta=4.0, lam=0.5, epsilon=2.0)
    log = math.log
    expected = [
        log(1 + 1) / 2 + log(1 + math.exp(-6)) / 4,
        log(1 + 1) / 2 + log(1 + math.exp(-4)) / 4,
        0,  # without a positive no negative is mined
    ]
    torch.testing.assert_close(values, torch.tensor(expected).double())
    assert metrics["mined_positives"].item() == pytest.approx(2 / 3)
    assert metrics["mined_negatives"].item() == pytest.approx(2 / 3)


def test_ms_loss_mines_hard_pairs_alone() -> None:
    # the positive of anchors 0 and 1, at 1/2, leads the negatives by 1.5 and by 1
    for epsilon, mined in ((0.9, 0), (1.1, 1), (1.6, 2)):
        _, metrics = ms_loss(*CORNER, epsilon=epsilon)
        assert metrics["mined_positives"].item() == pytest.approx(mined / 3)
        assert metrics["mined_negatives"].item() == pytest.approx(mined / 3)


def test_ms_loss_at_infinite_sharpness_is_a_pair_of_hinges() -> None:
    embeddings, labels = random_batch()
    values, _ = ms_loss(embeddings, labels, alpha=1e5, beta=1e5, epsilon=2.0, lam=0.2)
    similarity = pairs.unit(embeddings) @ pairs.unit(embeddings).T
    same = labels[:, None] == labels
    least = similarity.masked_fill(~same | torch.eye(24, dtype=torch.bool), 2).amin(dim=1)
    most = similarity.masked_fill(same, -2).amax(dim=1)
    hinges = F.relu(0.2 - least) + F.relu(most - 0.2)
    torch.testing.assert_close(values, hinges, rtol=0, atol=1e-4)


def test_equal_embeddings_are_a_margin_apart_from_the_goal() -> None:
    same, labels = torch.ones(6, 3), torch.arange(6) % 2
    assert contrastive_pair(same, labels, neg_margin=0.7).mean().item() == pytest.approx(0.7)
    assert triplet(same, labels, margin=0.3)[0].mean().item() == pytest.approx(0.3)


@each
def test_length_and_rotation_do_not_matter(loss: Loss) -> None:
    embeddings, labels = random_batch()
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    turned = (embeddings * torch.rand(24, 1).add(0.5)) @ rotation
    torch.testing.assert_close(values_of(loss, turned, labels), values_of(loss, embeddings, labels))


@each
def test_names_of_classes_do_not_matter(loss: Loss) -> None:
    embeddings, labels = random_batch()
    renamed = torch.tensor([7, 3, 900, 0, 12])[labels]
    assert torch.equal(values_of(loss, embeddings, renamed), values_of(loss, embeddings, labels))


THEIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "contrastive_pair": ContrastiveLoss(0.2, 1.1),
    "triplet": TripletMarginLoss(0.3),
    "ms_loss": lambda e, y: MultiSimilarityLoss(2, 40, 0.5)(e, y, MultiSimilarityMiner(0.1)(e, y)),
}
OURS = {
    "contrastive_pair": {"pos_margin": 0.2, "neg_margin": 1.1},
    "triplet": {"margin": 0.3},
    "ms_loss": {"alpha": 2.0, "beta": 40.0, "lam": 0.5, "epsilon": 0.1},
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [3, 5, 23])
def test_agrees_with_pytorch_metric_learning(name: str, classes: int) -> None:
    embeddings, labels = random_batch(classes=classes)
    embeddings.requires_grad_()
    ours = values_of(LOSSES[name], embeddings, labels, **OURS[name]).mean()
    theirs = THEIRS[name](embeddings, labels)
    torch.testing.assert_close(ours, theirs)
    (gradient,), (expected,) = (torch.autograd.grad(value, embeddings) for value in (ours, theirs))
    torch.testing.assert_close(gradient, expected)


@each
def test_blocks_change_nothing(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = random_batch()
    embeddings.requires_grad_()
    whole = values_of(loss, embeddings, labels)
    (gradient,) = torch.autograd.grad(whole.mean(), embeddings)
    monkeypatch.setattr(pairs, "BLOCK", 7 * 24)  # seven rows at once
    parts = values_of(loss, embeddings, labels)
    (in_parts,) = torch.autograd.grad(parts.mean(), embeddings)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(in_parts, gradient, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradgradcheck(
        lambda e: values_of(loss, e, labels).mean(), embeddings, fast_mode=True
    )


@each
@pytest.mark.parametrize(
    "labels",
    [[0], [0, 1], [0, 0], [0, 1, 2, 3], [5, 5, 5, 5]],
    ids=["one example", "no positive", "no negative", "all alone", "all of one class"],
)
def test_a_side_without_pairs_is_worth_nothing(loss: Loss, labels: list[int]) -> None:
    embeddings = torch.randn(len(labels), 3, requires_grad=True)
    values = values_of(loss, embeddings, torch.tensor(labels))
    values.mean().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
    if loss is contrastive_pair:  # each side counts for itself
        assert values.isfinite().all()
    else:
        assert torch.equal(values, torch.zeros(len(labels)))


@each
def test_zero_vectors_and_copies_are_finite(loss: Loss) -> None:
    embeddings = torch.randn(8, 3)
    embeddings[[0, 3, 4]] = 0
    embeddings[5] = embeddings[6]
    embeddings.requires_grad_()
    values = values_of(loss, embeddings, torch.tensor([0, 0, 1, 1, 2, 2, 2, 0]))
    values.mean().backward()
    assert values.isfinite().all()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().max() < 1e3
