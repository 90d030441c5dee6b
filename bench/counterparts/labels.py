"""Objectives of class scores and labels, of a student's scores, of thresholds."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.counterparts.case import FORMULA, Case, direct, leaf, normal
from objectives import classification, confusion, distillation, fairness, ordinal
from objectives.adversarial_robust import DoublyRobustAT
from objectives.composite import Weighted
from objectives.ensemble import EnsLoss
from objectives.records import Attributed, Distilled, Labelled, Mutual, Ordinal
from objectives.reweighting import DynamicLossReweighting

EXAMPLES, CLASSES, THRESHOLDS, ORDERED = 1024, 1000, 9, 200_000
TRANSPORTED = 128
"""Examples of sinkd, which holds the distances of all pairs, class by class."""
TAU, ALPHA, DELTA = 4.0, 0.9, 2.0


def labelled(size: int) -> Labelled:
    return Labelled(leaf(size, CLASSES), torch.randint(CLASSES, (size,)), torch.arange(size))


def attributed(size: int) -> Attributed:
    return Attributed(*vars(labelled(size)).values(), normal(size, 3))


def distilled(size: int) -> Distilled:
    known = labelled(size)
    return Distilled(known.logits, normal(size, CLASSES), known.labels, known.index)


def mutual(size: int) -> Mutual:
    known = labelled(size)
    return Mutual(known.logits, leaf(size, CLASSES), known.labels, known.index)


def ordered(size: int) -> Ordinal:
    labels = torch.randint(THRESHOLDS + 1, (size,))
    return Ordinal(leaf(size, THRESHOLDS), labels, normal(THRESHOLDS, 4), torch.arange(size))


def cross_entropy(record: Labelled) -> Tensor:
    return F.cross_entropy(record.logits, record.labels, reduction="none").mean()


def focal(record: Labelled) -> Tensor:
    from kornia.losses import focal_loss

    return focal_loss(record.logits, record.labels, None, 2.0, "sum") / len(record.labels)


def hinge(record: Labelled) -> Tensor:
    return F.multi_margin_loss(record.logits, record.labels, reduction="none").mean()


def logistic(record: Ordinal) -> Tensor:
    scores = record.cumulative_logits
    at_most = (record.labels[:, None] <= torch.arange(scores.shape[1])).float()
    losses = F.binary_cross_entropy_with_logits(scores, at_most, reduction="none")
    return losses.sum(-1).mean()


def kd(record: Distilled) -> Tensor:
    soft = divergence(*softened(record.teacher_logits, record.student_logits))
    hard = F.cross_entropy(record.student_logits, record.labels, reduction="none")
    return (ALPHA * TAU**2 * soft + (1 - ALPHA) * hard).mean()


def bd_kd(record: Mutual) -> Tensor:
    """Both learn from the other's scores as they are."""
    student, peer = softened(record.student_logits, record.peer_logits)
    less = entropy(student.detach()) < entropy(peer.detach())
    forward, reverse = torch.where(less, DELTA, 1.0), torch.where(less, 1.0, DELTA)
    of_student = forward * divergence(peer.detach(), student)
    of_student = of_student + reverse * divergence(student, peer.detach())
    hard = [
        F.cross_entropy(scores, record.labels, reduction="none")
        for scores in (record.student_logits, record.peer_logits)
    ]
    soft = of_student + divergence(student.detach(), peer)
    return (sum(hard) + TAU**2 * soft).mean()


def softened(*scores: Tensor) -> list[Tensor]:
    return [(each / TAU).log_softmax(-1) for each in scores]


def divergence(logprobs: Tensor, others: Tensor) -> Tensor:
    return F.kl_div(others, logprobs, reduction="none", log_target=True).sum(-1)


def entropy(logprobs: Tensor) -> Tensor:
    return -(logprobs.exp() * logprobs).sum(-1)


scores = partial(Case, record=labelled, size=EXAMPLES)
beside_cross_entropy = partial(scores, "torch cross_entropy", theirs=direct(cross_entropy))
another = partial(beside_cross_entropy, unlike=FORMULA)
student = partial(Case, "torch kl_div + cross_entropy", size=EXAMPLES)
thresholds = partial(
    Case,
    "torch binary_cross_entropy_with_logits",
    record=ordered,
    size=ORDERED,
    theirs=direct(logistic),
)

CASES = {
    "cross_entropy": beside_cross_entropy(partial(classification.cross_entropy)),
    "gce": another(partial(classification.gce, q=0.7)),
    "mae": another(partial(classification.mae)),
    "comp_sum": another(partial(classification.comp_sum, tau=1.5)),
    "ensloss": another(partial(EnsLoss)),
    "anyloss": another(partial(confusion.anyloss, metric=partial(confusion.f_beta))),
    "dynamic_loss_reweighting": another(
        partial(DynamicLossReweighting, term=partial(classification.cross_entropy))
    ),
    "doubly_robust_at": another(partial(DoublyRobustAT)),
    "ccdcov_fair_reg": another(
        partial(
            Weighted,
            terms={
                "task": partial(classification.cross_entropy),
                "dependence": partial(fairness.ccdcov),
            },
            weights={},
        ),
        record=attributed,
    ),
    "focal": scores(
        "kornia focal_loss", partial(classification.focal, gamma=2.0), theirs=direct(focal)
    ),
    "crammer_singer": scores(
        "torch multi_margin_loss",
        partial(classification.crammer_singer),
        theirs=direct(hinge),
        unlike="the sum of the violations, not the largest",
    ),
    "frank_hall": thresholds(partial(ordinal.frank_hall)),
    "cumulative_logit": thresholds(partial(ordinal.cumulative_logit), unlike=FORMULA),
    "presto": thresholds(partial(ordinal.presto), unlike=FORMULA),
    "kd": student(
        partial(distillation.kd, tau=TAU, alpha=ALPHA), record=distilled, theirs=direct(kd)
    ),
    "bd_kd": student(
        partial(distillation.bd_kd, tau=TAU, delta=DELTA), record=mutual, theirs=direct(bd_kd)
    ),
    "sinkd": student(
        partial(distillation.sinkd),
        record=distilled,
        theirs=direct(kd),
        size=TRANSPORTED,
        unlike="without transport",
    ),
    "pld": student(partial(distillation.pld), record=distilled, theirs=direct(kd), unlike=FORMULA),
}
