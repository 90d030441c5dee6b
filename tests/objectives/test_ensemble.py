import json

import pytest
import torch
from cases import GOLDEN, Case, labelled
from scipy.special import inv_boxcox
from torch import Tensor

from objectives.ensemble import EnsLoss, derivatives, inverse_box_cox

CASES = {
    "ensloss": Case(
        labelled,
        ("logits",),
        settings=({"period": 1}, {"period": 2, "lam": 0.5}),
        lacks={
            "golden": "its golden case fixes the draws",
            "stackable": "its derivatives are drawn",
        },
    ),
}

ZERO = torch.tensor(0.0, dtype=torch.float64)


def test_golden() -> None:
    golden = json.loads((GOLDEN / "ensloss.json").read_text())
    logits, labels, draws = (
        torch.tensor(golden["inputs"][n]) for n in ("logits", "labels", "draws")
    )
    scores = logits.double().requires_grad_()
    margins = (2 * labels - 1) * scores
    value = (derivatives(margins.detach()[:, 0], draws.double(), ZERO) * margins[:, 0]).mean()
    value.backward()
    assert value.item() == pytest.approx(golden["output"], rel=1e-12)
    expected = torch.tensor(golden["grad"]["logits"], dtype=torch.float64)
    torch.testing.assert_close(scores.grad, expected, rtol=1e-10, atol=1e-14)


def test_by_hand() -> None:
    # e^z = 1/4, 1/2 and 3, of which 1 is left: -1 goes to the lowest margin, -1/4 to the highest,
    # there divided by 2
    margins = torch.tensor([2.0, -5.0, 0.5], dtype=torch.float64)
    draws = torch.tensor([0.5, 3.0, 0.25], dtype=torch.float64).log()
    expected = torch.tensor([-1 / 8, -1.0, -1 / 2], dtype=torch.float64) - 1e-6
    torch.testing.assert_close(derivatives(margins, draws, ZERO), expected)


@pytest.mark.parametrize("lam", [-1.0, -0.3, 0.0, 0.4, 1.0])
def test_inverse_box_cox_is_that_of_scipy(lam: float) -> None:
    values = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    ours = inverse_box_cox(values, torch.tensor(lam, dtype=torch.float64))
    torch.testing.assert_close(ours, torch.from_numpy(inv_boxcox(values.numpy(), lam)))


@pytest.mark.parametrize("lam", [-1.0, 0.0, 1.0])
def test_derivatives_are_those_of_a_convex_calibrated_loss(lam: float) -> None:
    margins, draws = 3 * torch.randn(50).double(), 2 * torch.randn(50).double()
    found = derivatives(margins, draws, torch.tensor(lam, dtype=torch.float64))
    assert (found < 0).all()
    assert (found >= -1 - 1e-6).all()
    assert (found[margins.argsort()].diff() >= -1e-12).all()


def test_two_classes_have_the_difference_of_their_scores_as_margin() -> None:
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]], requires_grad=True)
    EnsLoss()(logits, torch.tensor([1, 1])).sum().backward()
    gradient = logits.grad
    assert gradient is not None
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(2))
    assert (gradient[:, 1] < 0).all()  # descent raises the score of the label


def test_lam_is_drawn_when_the_period_is_over_and_in_training_alone() -> None:
    objective, record = EnsLoss(period=3), labelled()

    def lams(steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            objective(record.logits, record.labels)
            found.append(objective.current.item())
        return found

    first, second = lams(3), lams(3)
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]
    objective.eval()
    assert set(lams(4)) == {second[0]}
    kept = EnsLoss(lam=0.25)
    kept(record.logits, record.labels)
    assert kept.current == 0.25


def test_draws_come_from_the_global_state_alone() -> None:
    record = labelled()

    def value(seed: int) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = EnsLoss(period=1)(record.logits, record.labels)
        return found

    assert torch.equal(value(1), value(1))
    assert not torch.equal(value(1), value(2))


def test_a_batch_of_one() -> None:
    value = EnsLoss()(torch.tensor([[0.3, -0.1]]), torch.tensor([1]))
    assert value.shape == (1,)
    assert value.isfinite().all()
