"""Objectives by which a student learns from a teacher's scores."""

from typing import Annotated

from annotated_types import Gt, Interval
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar


def kd(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 4.0,
    alpha: Annotated[Scalar, Interval(ge=0, le=1)] = 0.9,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Knowledge distillation: the teacher's softened probabilities beside the labels.

    alpha * tau^2 * KL(softmax(t / tau) || softmax(s / tau)) + (1 - alpha) * CE(s, y)

    Args:
        student_logits: Class scores s of the student, unnormalised.
        teacher_logits: Class scores t of the teacher, unnormalised.
        labels: Class indices y.
        tau: Temperature, in logits; as tau -> infinity the first term becomes half of the
            squared difference of the centred scores, summed over classes and divided by their
            number.
        alpha: Weight of the teacher; 0 is cross-entropy.

    Returns:
        Loss per example, in nats, and the share of examples on which both agree.

    Source:
        Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
    """
    soft = tau**2 * divergence(teacher_logits / tau, student_logits / tau)
    hard = F.cross_entropy(student_logits, labels, reduction="none")
    return alpha * soft + (1 - alpha) * hard, {
        "agreement": (student_logits.argmax(-1) == teacher_logits.argmax(-1)).float().mean()
    }


def divergence(
    logits: Float[Tensor, "batch classes"], other: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """KL(softmax(logits) || softmax(other)) of each row, in nats."""
    mine, others = logits.log_softmax(-1), other.log_softmax(-1)
    return (mine.exp() * (mine - others)).sum(-1)
