import json
import math

import pytest
import torch
from cases import GOLDEN, Case, ordinal
from torch import Tensor
from torch.nn import functional as F

from objectives.ordinal import class_probabilities, cumulative_logit, frank_hall, presto

CASES = {
    "cumulative_logit": Case(
        ordinal, ("cumulative_logits",), lacks={"golden": "that of presto, without its penalty"}
    ),
    "frank_hall": Case(
        ordinal, ("cumulative_logits",), lacks={"golden": "logistic regressions, as torch has them"}
    ),
    "presto": Case(
        ordinal,
        ("cumulative_logits", "coefficients"),
        settings=({}, {"lambda_fuse": 0.0}, {"lambda_fuse": 2.0}),
        lacks={"golden": "its golden case is of a model's features and weights"},
    ),
}


def example() -> tuple[Tensor, Tensor]:
    record = ordinal()
    return record.cumulative_logits, record.labels


def test_golden() -> None:
    golden = json.loads((GOLDEN / "presto.json").read_text())
    features, coefficients, thresholds = (
        torch.tensor(golden["inputs"][name], dtype=torch.float64)
        for name in ("features", "coefficients", "thresholds")
    )
    scores = thresholds - (features @ coefficients)[:, None]  # the sign of its coefficients
    labels = torch.tensor(golden["inputs"]["labels"])
    value = presto(scores, labels, coefficients.expand(2, 3), lambda_fuse=0.0)
    expected = torch.tensor(golden["output"], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


# sigmoid(-log 3) = 1/4, sigmoid(0) = 1/2, so the classes have 1/4, 1/4 and 1/2
@pytest.mark.parametrize(("label", "probability"), [(0, 1 / 4), (1, 1 / 4), (2, 1 / 2)])
def test_likelihood_by_hand(label: int, probability: float) -> None:
    scores = torch.tensor([[-math.log(3), 0.0]], dtype=torch.float64)
    value = cumulative_logit(scores, torch.tensor([label]))
    assert value.item() == pytest.approx(-math.log(probability))
    assert class_probabilities(scores)[0, label].item() == pytest.approx(probability)


def test_penalty_by_hand() -> None:
    # |1| + |-2| for the first vector, |3 - 1| + |-2 + 2| and |3 - 3| + |1 + 2| for the others
    coefficients = torch.tensor([[1.0, -2.0], [3.0, -2.0], [3.0, 1.0]], dtype=torch.float64)
    scores, labels = example()
    penalty = presto(scores, labels, coefficients, lambda_fuse=0.5) - cumulative_logit(
        scores, labels
    )
    torch.testing.assert_close(penalty, torch.full_like(penalty, 0.5 * (3 + 2 + 3)))


def test_equal_weights_cost_their_norm_alone() -> None:
    weights = torch.randn(2, dtype=torch.float64)
    scores, labels = example()
    value = presto(scores, labels, weights.expand(3, 2), lambda_fuse=2.0)
    torch.testing.assert_close(value, cumulative_logit(scores, labels) + 2 * weights.abs().sum())


def test_one_threshold_is_logistic_regression() -> None:
    scores, labels = torch.randn(9, 1).double(), torch.arange(9) % 2
    expected = F.binary_cross_entropy_with_logits(
        scores[:, 0], (labels == 0).double(), reduction="none"
    )
    torch.testing.assert_close(cumulative_logit(scores, labels), expected)
    torch.testing.assert_close(frank_hall(scores, labels), expected)


def test_likelihood_is_that_of_the_probabilities() -> None:
    scores, labels = example()
    probabilities = class_probabilities(scores)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(8).double())
    expected = F.nll_loss(probabilities.log(), labels, reduction="none")
    torch.testing.assert_close(cumulative_logit(scores, labels), expected)


def test_frank_hall_by_hand() -> None:
    # class 1 of 3 is above the first threshold and at most the second
    value = frank_hall(torch.tensor([[math.log(3), math.log(4)]]), torch.tensor([1]))
    assert value.item() == pytest.approx(math.log(1 + 3) + math.log(1 + 1 / 4))


def test_reversing_the_classes_changes_nothing() -> None:
    scores, labels = example()
    for loss in (cumulative_logit, frank_hall):
        torch.testing.assert_close(loss(-scores.flip(1), 3 - labels), loss(scores, labels))


def test_thresholds_that_cross_are_pulled_apart() -> None:
    scores = torch.tensor([[0.0, -2.0]], dtype=torch.float64, requires_grad=True)
    value = cumulative_logit(scores, torch.tensor([1]))
    value.sum().backward()
    assert value.isfinite().all()
    assert scores.grad is not None
    assert scores.grad[0, 0] > 0 > scores.grad[0, 1]  # a step lowers the first, raises the second
    assert class_probabilities(scores.detach())[0].tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_the_tangent_meets_the_likelihood() -> None:
    gaps = torch.tensor([1e-3 - 1e-9, 1e-3 + 1e-9], dtype=torch.float64)
    scores = torch.stack([torch.zeros(2).double(), gaps], dim=1).requires_grad_()
    value = cumulative_logit(scores, torch.tensor([1, 1]))
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    torch.testing.assert_close(value[0], value[1], rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient[0], gradient[1], rtol=1e-5, atol=0)


def test_a_batch_without_some_class() -> None:
    scores, _ = example()
    for label in range(4):
        alone = torch.full((8,), label)
        assert cumulative_logit(scores, alone).isfinite().all()
        assert frank_hall(scores, alone).isfinite().all()
