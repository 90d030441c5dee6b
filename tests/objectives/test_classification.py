import math
from collections.abc import Callable

import pytest
import torch
from cases import Case, labelled
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn import functional as F

from objectives.classification import (
    comp_sum,
    crammer_singer,
    cross_entropy,
    focal,
    frugal_cross_entropy,
    gce,
    mae,
)
from objectives.noise_robust import ldr

CASES = {
    "comp_sum": Case(labelled, ("logits",), settings=({}, {"tau": 1.0}, {"tau": 2.0})),
    "crammer_singer": Case(
        labelled,
        ("logits",),
        settings=({}, {"margin": 0.3}),
    ),
    "cross_entropy": Case(labelled, ("logits",)),
    "focal": Case(labelled, ("logits",), settings=({}, {"gamma": 0.0}, {"gamma": 0.5})),
    "gce": Case(labelled, ("logits",), settings=({}, {"q": 1.0})),
    "mae": Case(labelled, ("logits",)),
}


def example(batch: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, classes, dtype=torch.float64), torch.arange(batch) % classes


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


# f = (log 2, 0, log 5), y = 0: u = (1 + 5) / 2 = 3, so 1 + u = 4 and p_y = 1 / 4
@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.0, 3.0),  # 4 - 1
        (0.5, 2.0),  # (sqrt(4) - 1) / 0.5
        (1.0, math.log(4)),
        (1.5, 1.0),  # (1 / sqrt(4) - 1) / -0.5
        (2.0, 0.75),  # 1 - 1 / 4
        (3.0, 15 / 32),  # (1 / 16 - 1) / -2
    ],
)
def test_comp_sum_by_hand(tau: float, expected: float) -> None:
    logits = torch.tensor([[math.log(2), 0.0, math.log(5)]])
    value = comp_sum(logits, torch.tensor([0]), tau=tau)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_comp_sum_is_continuous_at_cross_entropy() -> None:
    logits, labels = example()
    exact = cross_entropy(logits, labels)
    assert torch.equal(comp_sum(logits, labels, tau=1.0), exact)
    for tau in (1 - 1e-7, 1 + 1e-7):
        near = comp_sum(logits, labels, tau=tau)
        torch.testing.assert_close(near, exact, rtol=1e-6, atol=0)
        assert not torch.equal(near, exact)


def test_gce_by_hand() -> None:
    # p_y = 1 / 4, q = 1 / 2: (1 - 1 / 2) / (1 / 2)
    logits = torch.tensor([[0.0, math.log(3)]])
    assert gce(logits, torch.tensor([0]), q=0.5).item() == pytest.approx(1.0)


def test_gce_is_bounded_and_ends_at_mae() -> None:
    logits, labels = example()
    assert (gce(1000 * logits, labels, q=0.7) <= 1 / 0.7 + 1e-12).all()
    torch.testing.assert_close(gce(logits, labels, q=1.0), mae(logits, labels))


def test_mae_is_half_the_distance_of_the_probabilities() -> None:
    logits, labels = example()
    distance = (logits.softmax(dim=-1) - F.one_hot(labels, 4)).abs().sum(dim=-1)
    torch.testing.assert_close(mae(logits, labels), distance / 2)


def test_mae_by_hand() -> None:
    # p_y = 3 / 4 and 1 / 4
    logits = torch.tensor([[math.log(3), 0.0]] * 2)
    torch.testing.assert_close(mae(logits, torch.tensor([0, 1])), torch.tensor([0.25, 0.75]))


# f = (1, 3, 2.5): y = 0 is behind by 2 + margin; y = 1 leads by 0.5
@pytest.mark.parametrize(
    ("label", "margin", "expected"),
    [(0, 1.0, 3.0), (0, 0.0, 2.0), (1, 1.0, 0.5), (1, 0.5, 0.0), (1, 0.2, 0.0)],
)
def test_crammer_singer_by_hand(label: int, margin: float, expected: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.5]])
    value = crammer_singer(logits, torch.tensor([label]), margin=margin)
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_crammer_singer_is_the_hinge_of_two_classes() -> None:
    logits, labels = torch.randn(6, 2), torch.tensor([0, 1] * 3)
    # torch divides by the number of classes
    hinge = 2 * F.multi_margin_loss(logits, labels, margin=0.7, reduction="none")
    torch.testing.assert_close(crammer_singer(logits, labels, margin=0.7), hinge)


def test_crammer_singer_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import hinge_loss

    logits, labels = example()
    ours = crammer_singer(logits, labels).mean().item()
    assert ours == pytest.approx(hinge_loss(labels, logits.numpy(), labels=list(range(4))))


def test_crammer_singer_is_the_limit_of_ldr() -> None:
    logits, labels = example()
    limit = ldr(logits, labels, tau=1e-6, margin=0.4)
    value = crammer_singer(logits, labels, margin=0.4)
    torch.testing.assert_close(limit, value, rtol=0, atol=2e-6)


def test_focal_by_hand() -> None:
    # p_y = 3 / 4: (1 / 4)^2 log(4 / 3)
    logits = torch.tensor([[math.log(3), 0.0]])
    value = focal(logits, torch.tensor([0]), gamma=2.0)
    assert value.item() == pytest.approx(math.log(4 / 3) / 16, rel=1e-6)


def test_focal_at_zero_is_cross_entropy() -> None:
    logits, labels = example()
    torch.testing.assert_close(focal(logits, labels, gamma=0.0), cross_entropy(logits, labels))


def test_focal_agrees_with_kornia() -> None:
    losses = pytest.importorskip("kornia.losses")
    logits, labels = example()
    theirs = losses.focal_loss(logits, labels, alpha=None, gamma=1.7, reduction="none")
    value = focal(logits, labels, gamma=1.7)
    torch.testing.assert_close(value, theirs.flatten(1).sum(dim=1).view(-1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_all_is_right(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), gamma=gamma).sum().backward()
    assert torch.equal(logits.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("at", ["random", "extremes"])
def test_frugal_cross_entropy_has_the_value_and_gradient_of_cross_entropy(at: str) -> None:
    logits, labels = example()
    logits = 1e4 * logits.sign() if at == "extremes" else logits
    found = [
        torch.func.vjp(lambda f, loss=loss: loss(f, labels), logits)
        for loss in (frugal_cross_entropy, cross_entropy)
    ]
    weights = torch.randn(len(labels), dtype=torch.float64)
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1](weights), found[1][1](weights))


def test_frugal_cross_entropy_of_stacked_scores() -> None:
    stack, labels = torch.randn(3, 6, 4, dtype=torch.float64), example()[1]
    slopes = [
        torch.func.vmap(torch.func.grad(lambda f, loss=loss: loss(f, labels).mean()))(stack)
        for loss in (frugal_cross_entropy, cross_entropy)
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("loss", [comp_sum, gce, mae, crammer_singer, focal])
def test_all_are_invariant_to_a_shift_of_all_classes(loss: Callable[..., Tensor]) -> None:
    logits, labels = example()
    torch.testing.assert_close(loss(logits + 3, labels), loss(logits, labels))
