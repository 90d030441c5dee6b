"""Weights of distributional robustness."""

import math

import pytest
import torch
from cases import Case, labelled
from torch.nn import functional as F

from objectives.adversarial_robust import DoublyRobustAT

CASES = {
    "doubly_robust_at": Case(
        labelled,
        ("logits",),
        settings=({}, {"tau": 0.5, "eta": 1.0}),
        lacks={
            "golden": "no code of its authors to take it from",
            "state": "after one batch the mean over all is that batch's: see below",
            "stackable": "it remembers the mean of earlier batches",
        },
    )
}


def pair(first: float, second: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two examples of such losses in nats."""
    chosen = torch.tensor([-first, -second], dtype=torch.float64)
    return torch.stack([chosen, (1 - chosen.exp()).log()], dim=1), torch.tensor([0, 0])


def test_by_hand() -> None:
    # exp(l / 0.5) of l = (log 2) / 2 and log 2: 2 and 4, their mean 3: weights 2 / 3 and 4 / 3
    objective = DoublyRobustAT(tau=0.5, eta=0.1).double()
    loss, metrics = objective(*pair(math.log(2) / 2, math.log(2)))
    assert loss.tolist() == pytest.approx([math.log(2) / 3, 4 * math.log(2) / 3])
    assert metrics["soft_worst_loss"].item() == pytest.approx(0.5 * math.log(3))
    assert metrics["largest_weight"].item() == pytest.approx(4 / 3)
    another = DoublyRobustAT(tau=0.5, eta=0.1).double()
    another.load_state_dict(objective.state_dict())
    # then exp = 4 and 4: (0.09 * 3 + 0.1 * 4) / 0.19 over the mass of both batches
    loss, metrics = objective(*pair(math.log(2), math.log(2)))
    followed = (0.9 * 0.1 * 3 + 0.1 * 4) / (1 - 0.9**2)
    assert loss.tolist() == pytest.approx([4 / followed * math.log(2)] * 2)
    assert torch.equal(another(*pair(math.log(2), math.log(2)))[0], loss)


def test_the_mean_is_followed_in_training_alone() -> None:
    objective = DoublyRobustAT().double()
    objective(*pair(0.5, 1.0))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.eval()(*pair(3.0, 4.0))
    assert all(torch.equal(objective.state_dict()[n], value) for n, value in before.items())


def test_its_gradient_is_that_of_the_soft_worst_case() -> None:
    record = labelled()
    logits = record.logits.clone().requires_grad_()
    loss, _ = DoublyRobustAT(tau=0.7, eta=1.0).double()(logits, record.labels)
    losses = F.cross_entropy(logits, record.labels, reduction="none")
    worst = 0.7 * ((losses / 0.7).logsumexp(0) - math.log(len(losses)))
    mine, known = (torch.autograd.grad(value, logits)[0] for value in (loss.mean(), worst))
    torch.testing.assert_close(mine, known)


def test_at_a_high_temperature_it_is_cross_entropy() -> None:
    record = labelled()
    loss, _ = DoublyRobustAT(tau=1e9).double()(record.logits, record.labels)
    known = F.cross_entropy(record.logits, record.labels, reduction="none")
    torch.testing.assert_close(loss, known, rtol=1e-7, atol=0)
