import math

import pytest
import torch
from cases import Case
from torch import Tensor
from torch.nn import functional as F

from objectives.distillation import divergence, kd
from objectives.records import Distilled


def distilled() -> Distilled:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (8,), generator=generator)
    return Distilled(2 * student, 2 * teacher, labels, torch.arange(8))


ONE_TEACHER = ("+teacher.seed=0",)
"""A run does not keep its teacher: it is that of another run."""

CASES = {
    "kd": Case(
        distilled,
        ("student_logits",),
        settings=({}, {"alpha": 0.0}, {"tau": 1.0, "alpha": 0.5}),
        on_task={"digits": ONE_TEACHER},
    ),
}


def example() -> tuple[Tensor, Tensor, Tensor]:
    record = distilled()
    return record.student_logits, record.teacher_logits, record.labels


def test_kd_by_hand() -> None:
    # softmax(log 3, 0) = (3/4, 1/4), softmax(0, 0) = (1/2, 1/2):
    # KL = 3/4 log(3/2) + 1/4 log(1/2); halving the scores at tau = 2 undoes doubling them
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    kl = 0.75 * math.log(1.5) - 0.25 * math.log(2)
    loss, metrics = kd(student, teacher, torch.tensor([1]), tau=2.0, alpha=0.6)
    assert loss.item() == pytest.approx(0.6 * 4 * kl + 0.4 * math.log(2))
    assert metrics["agreement"].item() == 1


def test_kd_without_its_teacher_is_cross_entropy() -> None:
    student, teacher, labels = example()
    loss, _ = kd(student, teacher, labels, alpha=0.0)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels, reduction="none"))


def test_kd_at_a_high_temperature_compares_centred_scores() -> None:
    student, teacher, labels = example()
    loss, _ = kd(student, teacher, labels, tau=1e4, alpha=1.0)
    gap = student - student.mean(-1, keepdim=True) - (teacher - teacher.mean(-1, keepdim=True))
    torch.testing.assert_close(loss, gap.square().sum(-1) / (2 * 5), rtol=1e-3, atol=1e-3)


def test_divergence_is_torchs() -> None:
    student, teacher, _ = example()
    wanted = F.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), reduction="none", log_target=True
    )
    torch.testing.assert_close(divergence(teacher, student), wanted.sum(-1))


def test_a_shift_of_all_scores_changes_nothing() -> None:
    student, teacher, labels = example()
    torch.testing.assert_close(
        kd(student + 7, teacher - 3, labels)[0], kd(student, teacher, labels)[0]
    )
