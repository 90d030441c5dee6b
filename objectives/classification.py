"""Losses of class scores, most of them a function of the probability of the label."""

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import Function
from torch.nn import functional as F

from objectives.domains import Scalar


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Cross-entropy of the softmax with the labels.

    log sum_j exp(f_j) - f_y

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.

    Returns:
        Loss per example, in nats; log(classes) where all scores are equal.

    Source:
        Good 1952, Rational Decisions, J. R. Stat. Soc. B 14(1) (the logarithmic score).
    """
    return F.cross_entropy(logits, labels, reduction="none")


def comp_sum(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Ge(0)] = 1.5,
) -> Float[Tensor, " batch"]:
    """Comp-sum loss: a concave transform of the sum of exponential violations.

    ((1 + u)^(1 - tau) - 1) / (1 - tau),  u = sum_{j != y} exp(f_j - f_y);  log(1 + u) at tau = 1

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.
        tau: Member of the family: 0 sum-exponential (may overflow for scores beyond 80), 1
            cross-entropy, 1 + q the generalised cross-entropy `gce`, 2 the mean absolute error
            `mae`.

    Returns:
        Loss per example; with p the softmax, (1 - p_y^(tau - 1)) / (tau - 1).

    Source:
        Mao, Mohri & Zhong 2023, arXiv:2304.07288.
    """
    nats = frugal_cross_entropy(logits, labels)  # log(1 + u)
    exponent = (1 - tau) * nats
    nonzero = torch.where(exponent == 0, 1, exponent)
    slope = torch.where(exponent == 0, 1 + exponent / 2, torch.expm1(nonzero) / nonzero)
    return nats * slope


def gce(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    q: Annotated[Scalar, Gt(0), Le(1)] = 0.7,
) -> Float[Tensor, " batch"]:
    """Generalised cross-entropy, without truncation.

    (1 - p_y^q) / q,  p = softmax(f)

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.
        q: Between cross-entropy (q -> 0) and the mean absolute error (q = 1).

    Returns:
        Loss per example, at most 1 / q; `comp_sum` at tau = 1 + q.

    Source:
        Zhang & Sabuncu 2018, arXiv:1805.07836, equation 6.
    """
    return comp_sum(logits, labels, tau=1 + q)


def mae(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Mean absolute error of the predicted probabilities, halved.

    1 - p_y = sum_j |p_j - [j = y]| / 2,  p = softmax(f)

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.

    Returns:
        Loss per example, at most 1; `comp_sum` at tau = 2.

    Source:
        Ghosh, Kumar & Sastry 2017, arXiv:1712.09482; the half as in code
        HanxunH/Active-Passive-Losses.
    """
    return comp_sum(logits, labels, tau=2.0)


def crammer_singer(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    margin: Annotated[Scalar, Ge(0)] = 1.0,
) -> Float[Tensor, " batch"]:
    """Multi-class hinge loss of the largest violation.

    max_j (f_j - f_y + margin * [j != y])

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.
        margin: Required lead of the true class, in logits.

    Returns:
        Loss per example, in logits; never negative, as j = y gives 0. At a tie the gradient is
        that of one largest violation. The limit of `ldr` at tau -> 0.

    Source:
        Crammer & Singer 2001, JMLR 2:265-292.
    """
    own = labels[:, None]
    raised = (logits + margin).scatter(1, own, logits.gather(1, own))
    return raised.max(dim=1).values - logits.gather(1, own).squeeze(1)


def focal(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    gamma: Annotated[Scalar, Ge(0)] = 2.0,
) -> Float[Tensor, " batch"]:
    """Focal loss: cross-entropy, less of it where the prediction is already right.

    -(1 - p_y)^gamma * log p_y,  p = softmax(f)

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.
        gamma: How fast well-classified examples lose weight.

    Returns:
        Loss per example, in nats; cross-entropy at gamma = 0. Without class weights.

    Source:
        Lin et al. 2017, arXiv:1708.02002, with the softmax for their sigmoid.
    """
    nats = frugal_cross_entropy(logits, labels)
    wrong = -torch.expm1(-nats)  # 1 - p_y without cancellation
    floor = torch.finfo(wrong.dtype).tiny  # the slope at 0 is infinite for gamma < 1
    return wrong.clamp_min(floor) ** gamma * nats


def frugal_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """`cross_entropy`, in a third of the memory; of few scores it is the slower one."""
    nats: Tensor = _CrossEntropy.apply(logits, labels)
    return nats


class _CrossEntropy(Function):
    """Keeps the scores for its backward pass, not their log-probabilities beside them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        logits, labels = ctx.saved_tensors
        slope, own = slope[:, None], labels[:, None]
        if torch.is_grad_enabled():  # of a second derivative nothing may be overwritten
            return (logits.softmax(1) * slope).scatter_add(1, own, -slope), None
        return logits.softmax(1).mul_(slope).scatter_add_(1, own, -slope), None
