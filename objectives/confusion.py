"""Metrics of the confusion matrix as losses."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar
from objectives.objective import declare


class Confusion(NamedTuple):
    """Soft counts of a batch, one column a class that is told from the rest.

    Attributes:
        hits: Examples of the class that are taken for it (true positives).
        alarms: Examples of the rest that are taken for it (false positives).
        misses: Examples of the class that are not taken for it (false negatives).
        passes: Examples of the rest that are not taken for it (true negatives).
    """

    hits: Float[Tensor, " classes"]
    alarms: Float[Tensor, " classes"]
    misses: Float[Tensor, " classes"]
    passes: Float[Tensor, " classes"]


Metric = Callable[[Confusion], Tensor]
"""From soft counts to a value between 0 and 1 for each class, 1 being the best."""


def accuracy(counts: Confusion) -> Float[Tensor, " classes"]:
    """Share of the examples that are told rightly: (hits + passes) / all."""
    return (counts.hits + counts.passes) / sum(counts)


def f_beta(counts: Confusion, *, beta: Annotated[Scalar, Gt(0)] = 1.0) -> Float[Tensor, " classes"]:
    """Weighted harmonic mean of precision and recall; recall weighs beta times as much.

    (1 + beta^2) hits / ((1 + beta^2) hits + beta^2 misses + alarms); 0 for a class that the batch
    lacks, as scikit-learn has it.
    """
    weighted = (1 + beta**2) * counts.hits
    total = weighted + beta**2 * counts.misses + counts.alarms
    return weighted / total.clamp_min(torch.finfo(total.dtype).tiny)


def geometric_mean(counts: Confusion) -> Float[Tensor, " classes"]:
    """Root of recall times specificity; the rate of what the batch lacks counts as 1."""
    product = recall(counts) * specificity(counts)
    return product.clamp_min(torch.finfo(product.dtype).tiny).sqrt()  # whose slope ends at 0


def balanced_accuracy(counts: Confusion) -> Float[Tensor, " classes"]:
    """Mean of recall and specificity; the rate of what the batch lacks counts as 1."""
    return (recall(counts) + specificity(counts)) / 2


def recall(counts: Confusion) -> Float[Tensor, " classes"]:
    """Share of the class that is taken for it; 1 where the batch has none of it."""
    return _rate(counts.hits, counts.misses)


def specificity(counts: Confusion) -> Float[Tensor, " classes"]:
    """Share of the rest that is not taken for the class; 1 where the batch has no rest."""
    return _rate(counts.passes, counts.alarms)


@declare(coupled="the confusion matrix is that of the whole batch")
def anyloss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    metric: Metric = f_beta,
    amplifier: Annotated[Scalar, Gt(0)] = 73.0,
) -> Float[Tensor, ""]:
    """A metric of the confusion matrix as a loss (AnyLoss).

    1 - metric(counts),  where an example counts as A(p) = sigmoid(amplifier * (p - 1/2)) of one
    that is taken for the class and as 1 - A(p) of one that is not,
    p = sigmoid(f_k - max_{j != k} f_j)

    Two classes have one confusion matrix, with class 1 as the positive one and p its probability.
    More, which the paper leaves open, have one each, told from the rest, and the metric is their
    mean; p is then above 1/2 for the class of the highest score alone.

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices.
        metric: What is to be high.
        amplifier: How near A is to a step at p = 1/2; at 73 it is 1e-15 off at p = 0 and p = 1.

    Returns:
        Loss of the batch, between 0 and 1; one minus the metric of the decisions at p = 1/2 as
        amplifier -> infinity.

    Source:
        Han, Moniz & Chawla 2024, arXiv:2405.14745; code doheonhan/anyloss.
    """
    first = 1 if logits.shape[-1] == 2 else 0
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    probabilities = torch.sigmoid(scores - highest_other(scores))[:, first:]
    positive = F.one_hot(labels, logits.shape[-1])[:, first:]
    return 1 - metric(confusion(probabilities, positive, amplifier)).mean()


def highest_other(scores: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """For each class the highest score of any other."""
    (highest, second), (best, _) = (part.unbind(dim=-1) for part in scores.topk(2, dim=-1))
    is_best = torch.arange(scores.shape[-1], device=scores.device) == best[:, None]
    return torch.where(is_best, second[:, None], highest[:, None])


def confusion(
    probabilities: Float[Tensor, "batch classes"],
    positive: Int[Tensor, "batch classes"],
    amplifier: float | Tensor,
) -> Confusion:
    """Soft counts from probabilities and from what is true."""
    taken = torch.sigmoid(amplifier * (probabilities - 0.5))
    return Confusion(
        hits=(taken * positive).sum(dim=0),
        alarms=(taken * (1 - positive)).sum(dim=0),
        misses=((1 - taken) * positive).sum(dim=0),
        passes=((1 - taken) * (1 - positive)).sum(dim=0),
    )


def _rate(right: Tensor, wrong: Tensor) -> Tensor:
    count = right + wrong
    present = count > 0.5  # a count is whole but for rounding
    return torch.where(present, right, 1.0) / torch.where(present, count, 1.0)
