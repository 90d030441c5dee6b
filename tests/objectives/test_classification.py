import math

import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional as F

from objectives.classification import cross_entropy


def test_by_hand() -> None:
    # log(e^0 + e^log3) = log 4; less f_0 = 0 and f_1 = log 3: log 4 and log(4/3)
    logits = torch.tensor([[0.0, math.log(3)]] * 2)
    values = cross_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(values, torch.tensor([math.log(4), math.log(4 / 3)]))


def test_equal_scores_give_log_classes() -> None:
    values = cross_entropy(torch.full((3, 7), 2.5), torch.tensor([0, 3, 6]))
    torch.testing.assert_close(values, torch.full((3,), math.log(7)))


def test_two_classes_give_the_logistic_loss() -> None:
    logits = torch.randn(6, 2)
    values = cross_entropy(logits, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(values, F.softplus(logits[:, 1] - logits[:, 0]))


def test_invariant_to_a_shift_of_all_classes() -> None:
    logits, labels = torch.randn(6, 4), torch.arange(6) % 4
    shifted = cross_entropy(logits + 10 * torch.randn(6, 1), labels)
    torch.testing.assert_close(shifted, cross_entropy(logits, labels), rtol=1e-4, atol=1e-5)


def test_agrees_with_scikit_learn() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 4
    ours = cross_entropy(logits, labels).mean()
    assert ours.item() == pytest.approx(log_loss(labels, logits.softmax(dim=-1)))


def test_gradient_is_softmax_less_label() -> None:
    logits = torch.randn(5, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1])
    cross_entropy(logits, labels).sum().backward()
    expected = logits.detach().softmax(dim=-1) - F.one_hot(labels, 3)
    torch.testing.assert_close(logits.grad, expected)
