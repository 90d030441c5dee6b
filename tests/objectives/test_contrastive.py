import math

import pytest
import torch
from cases import Case, views
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor

from objectives.contrastive import info_nce

CASES = {
    "info_nce": Case(views, ("embeddings_1", "embeddings_2"), settings=({}, {"tau": 0.7})),
}


def random_views(pairs: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, pairs, dim, dtype=torch.float64)
    return first.clone(), second.clone()


def test_by_hand() -> None:
    # both views of two examples are the axes: each anchor has its positive at similarity 1 and
    # two negatives at 0, so -log(e^(1/tau) / (e^(1/tau) + 2)) with e^(1/tau) = e^2
    axes = torch.eye(2)
    values, metrics = info_nce(axes, axes, tau=0.5)
    torch.testing.assert_close(values, torch.full((4,), math.log(1 + 2 / math.exp(2))))
    assert metrics["positive_similarity"].item() == pytest.approx(1)
    assert metrics["negative_similarity"].item() == pytest.approx(0)
    assert metrics["contrastive_accuracy"].item() == 1


def test_metrics_by_hand() -> None:
    # rows (1, 0), (1, 0) against (0, 1), (1, 0): the first pair's similarity is 0, the second's 1
    first, second = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.0, 1], [1, 0]])
    _, metrics = info_nce(first, second)
    assert metrics["positive_similarity"].item() == pytest.approx(0.5)
    # negatives of anchor 1: 1 and 1; of its other view: 0 and 0; of 2: 1 and 0; of its other: 1, 0
    assert metrics["negative_similarity"].item() == pytest.approx(4 / 8)


def test_nearest_positives_are_counted() -> None:
    # the views of the first two examples are swapped: only the third finds its positive
    first = torch.eye(3)
    _, metrics = info_nce(first, first[[1, 0, 2]])
    assert metrics["contrastive_accuracy"].item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("pairs", [1, 2, 8])
def test_equal_embeddings_give_log_of_all_others(pairs: int) -> None:
    same = torch.ones(pairs, 3)
    values, _ = info_nce(same, same)
    torch.testing.assert_close(values, torch.full((2 * pairs,), math.log(2 * pairs - 1)))


def test_small_tau_is_a_hinge_on_the_hardest_negative() -> None:
    first, second = random_views()
    tau = 1e-5
    anchors = torch.nn.functional.normalize(torch.cat([first, second]), dim=-1)
    similarity = anchors @ anchors.T
    for number, value in enumerate(tau * info_nce(first, second, tau=tau)[0]):
        other = (number + 6) % 12
        negatives = [similarity[number, k] for k in range(12) if k not in {number, other}]
        hinge = torch.relu(max(negatives) - similarity[number, other])
        torch.testing.assert_close(value, hinge, rtol=0, atol=1e-4)


def test_swapped_views_swap_the_anchors() -> None:
    first, second = random_views()
    values, swapped = info_nce(first, second)[0], info_nce(second, first)[0]
    torch.testing.assert_close(swapped, values.roll(6))


def test_invariant_to_length_and_rotation() -> None:
    first, second = random_views()
    values = info_nce(first, second)[0]
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    stretched = info_nce(first * torch.rand(6, 1).add(0.5), 100 * second)[0]
    torch.testing.assert_close(stretched, values)
    torch.testing.assert_close(info_nce(first @ rotation, second @ rotation)[0], values)


@pytest.mark.parametrize("tau", [0.07, 0.5, 2.0])
def test_agrees_with_pytorch_metric_learning(tau: float) -> None:
    pairs = [view.requires_grad_() for view in random_views()]
    ours = info_nce(*pairs, tau=tau)[0].mean()
    theirs = NTXentLoss(temperature=tau)(torch.cat(pairs), torch.arange(6).repeat(2))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, pairs), torch.autograd.grad(theirs, pairs))
