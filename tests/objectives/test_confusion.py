import json
import math
from functools import partial

import pytest
import torch
from cases import GOLDEN, Case
from sklearn.metrics import balanced_accuracy_score, f1_score, fbeta_score, recall_score
from torch import Tensor

from objectives.confusion import (
    Metric,
    accuracy,
    anyloss,
    balanced_accuracy,
    confusion,
    f_beta,
    geometric_mean,
)
from objectives.errors import InputError
from objectives.objective import check
from objectives.records import Labelled


def undecided() -> Labelled:
    """Two classes, and probabilities near 1/2, where the amplifier matters."""
    generator = torch.Generator().manual_seed(0)
    logits = 0.1 * torch.randn(8, 2, generator=generator, dtype=torch.float64)
    return Labelled(logits, torch.arange(8) // 5, torch.arange(8))


CASES = {
    "anyloss": Case(
        undecided,
        ("logits",),
        settings=(  # but for the accuracy, which does not couple the examples
            {},
            {"metric": partial(f_beta, beta=2.0)},
            {"metric": partial(geometric_mean), "amplifier": 20.0},
            {"metric": partial(balanced_accuracy)},
        ),
        lacks={
            "golden": "its golden cases are of probabilities",
            "defaults": "its metric is a function, to which its hyperparameters are bound",
        },
    ),
}

METRICS: dict[str, Metric] = {
    "anyloss": f_beta,
    "anyloss_acc": accuracy,
    "anyloss_gmean": geometric_mean,
    "anyloss_balacc": balanced_accuracy,
}


def of_probabilities(p: Tensor) -> Tensor:
    """Scores of two classes, by which class 1 has probability p."""
    return torch.stack([torch.zeros_like(p), p.logit()], dim=1)


@pytest.mark.parametrize("name", METRICS)
def test_golden(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    p = torch.tensor(golden["inputs"]["predictions"], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(golden["inputs"]["labels"])
    loss = anyloss(of_probabilities(p), labels, metric=METRICS[name], **golden["hyper"])
    loss.backward()
    assert loss.item() == pytest.approx(golden["output"], rel=1e-12)
    expected = torch.tensor(golden["grad"]["predictions"], dtype=torch.float64)
    torch.testing.assert_close(p.grad, expected, rtol=1e-9, atol=1e-14)


# At amplifier log 81 an example with p = 3/4 counts 3 / (1 + 3) = 3/4 as taken, with p = 1/4 1/4.
# Labels 1, 1, 0, 0 with p = 3/4, 1/4, 1/4, 1/4: hits 1, misses 1, alarms 1/2, passes 3/2
@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (accuracy, 2.5 / 4),
        (f_beta, 2 / (2 + 1 + 0.5)),
        (partial(f_beta, beta=2.0), 5 / (5 + 4 + 0.5)),
        (balanced_accuracy, (1 / 2 + 3 / 4) / 2),
        (geometric_mean, math.sqrt(1 / 2 * 3 / 4)),
    ],
)
def test_by_hand(metric: Metric, expected: float) -> None:
    p = torch.tensor([0.75, 0.25, 0.25, 0.25], dtype=torch.float64)
    loss = anyloss(
        of_probabilities(p), torch.tensor([1, 1, 0, 0]), metric=metric, amplifier=math.log(81)
    )
    assert loss.item() == pytest.approx(1 - expected)


def test_at_a_large_amplifier_it_is_the_metric_of_the_decisions() -> None:
    logits, labels = torch.randn(40, 2), torch.randint(2, (40,))
    decided = logits.argmax(dim=1)
    recalls = recall_score(labels, decided, average=None)
    for metric, expected in (
        (accuracy, (decided == labels).double().mean()),
        (partial(f_beta, beta=0.5), fbeta_score(labels, decided, beta=0.5)),
        (balanced_accuracy, balanced_accuracy_score(labels, decided)),
        (geometric_mean, recalls.prod() ** 0.5),
    ):
        loss = anyloss(logits, labels, metric=metric, amplifier=1e6)
        assert 1 - loss.item() == pytest.approx(float(expected), abs=1e-5)


def test_more_classes_are_told_from_the_rest_by_the_highest_score() -> None:
    logits, labels = torch.randn(30, 3, dtype=torch.float64), torch.arange(30) % 3
    loss = anyloss(logits, labels, amplifier=1e6)
    expected = f1_score(labels, logits.argmax(dim=1), average="macro")
    assert 1 - loss.item() == pytest.approx(expected, abs=1e-5)


def test_it_is_invariant_to_a_shift_and_to_the_order_of_classes() -> None:
    logits, labels = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 4
    loss, order = anyloss(logits, labels, amplifier=5.0), torch.randperm(4)
    torch.testing.assert_close(anyloss(logits + torch.randn(30, 1), labels, amplifier=5.0), loss)
    reordered = anyloss(logits[:, order], order.argsort()[labels], amplifier=5.0)
    torch.testing.assert_close(reordered, loss)


def test_what_the_batch_lacks_is_neither_nan_nor_wrong() -> None:
    logits = torch.tensor([[0.0, -20.0]], dtype=torch.float64, requires_grad=True)  # one, rightly 0
    expected = {accuracy: 0.0, geometric_mean: 0.0, balanced_accuracy: 0.0, f_beta: 1.0}
    for metric, value in expected.items():
        loss = anyloss(logits, torch.tensor([0]), metric=metric)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == pytest.approx(value, abs=1e-6)
        assert gradient.isfinite().all()


def test_all_wrong_beyond_doubt_has_a_finite_gradient() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    for amplifier in (73.0, 1e3):  # of which the second underflows
        loss = anyloss(logits, torch.tensor([1, 0]), metric=geometric_mean, amplifier=amplifier)
        assert loss.item() == pytest.approx(1.0, abs=1e-6)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


def test_counts_add_up() -> None:
    positive = torch.randint(2, (20, 3))
    counts = confusion(torch.rand(20, 3), positive, 30.0)
    torch.testing.assert_close(sum(counts), torch.full((3,), 20.0))
    torch.testing.assert_close(counts.hits + counts.misses, positive.sum(dim=0).float())


def test_a_metric_has_hyperparameters_of_its_own() -> None:
    with pytest.raises(InputError, match="beta=0 is outside the domain of f_beta"):
        check(partial(anyloss, metric=partial(f_beta, beta=0)))
    with pytest.raises(InputError, match="accuracy has no hyperparameter 'beta'"):
        check(partial(anyloss, metric=partial(accuracy, beta=1.0)))
    with pytest.raises(InputError, match="metric=f1 is outside the domain of anyloss"):
        check(partial(anyloss, metric="f1"))
