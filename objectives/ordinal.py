"""Objectives of ordered classes, by the log-odds of being at most each threshold."""

import math
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar

CLOSEST = 1e-3
"""Log-odds by which two thresholds must be apart for a likelihood; see `cumulative_logit`."""


def cumulative_logit(
    cumulative_logits: Float[Tensor, "batch thresholds"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood of the cumulative logit model.

    -log(sigmoid(g_y) - sigmoid(g_{y-1})),  g_k the log-odds of y <= k; g_{-1} = -inf, g_K = inf

    With a model whose thresholds share one weight vector (model=proportional_odds) it is the
    proportional odds model. With other models thresholds may cross, where a class would have no
    positive probability: from 0.001 apart on the logarithm goes on along its tangent, which pulls
    them apart again.

    Args:
        cumulative_logits: Log-odds g, one a threshold.
        labels: Class indices y, in order.

    Returns:
        Loss per example, in nats; binary cross-entropy where there is one threshold.

    Source:
        McCullagh 1980, Regression models for ordinal data, J. R. Stat. Soc. B 42(2).
    """
    last = cumulative_logits.shape[-1]
    above, below = labels < last, labels > 0
    upper = _at(cumulative_logits, labels.clamp_max(last - 1))
    lower = _at(cumulative_logits, (labels - 1).clamp_min(0))
    gap = torch.where(above & below, upper - lower, 1.0)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a))
    between = torch.where(above & below, _log_one_minus_exp(gap), 0.0)
    outer = torch.where(above, F.logsigmoid(upper), 0.0) + torch.where(
        below, F.logsigmoid(-lower), 0.0
    )
    return -(outer + between)


def frank_hall(
    cumulative_logits: Float[Tensor, "batch thresholds"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """A logistic regression for each threshold, alone.

    sum_k log(1 + exp(-s_k g_k)),  s_k = 1 where y <= k, else -1

    The last threshold is plain logistic regression of the last class against all others.

    Args:
        cumulative_logits: Log-odds g of y <= k, one a threshold.
        labels: Class indices y, in order.

    Returns:
        Loss per example, in nats; `cumulative_logit` where there is one threshold.

    Source:
        Frank & Hall 2001, A simple approach to ordinal classification, ECML.
    """
    thresholds = torch.arange(cumulative_logits.shape[-1], device=labels.device)
    at_most = (labels[:, None] <= thresholds).to(cumulative_logits.dtype)
    losses = F.binary_cross_entropy_with_logits(cumulative_logits, at_most, reduction="none")
    return losses.sum(dim=-1)


def presto(
    cumulative_logits: Float[Tensor, "batch thresholds"],
    labels: Int[Tensor, " batch"],
    coefficients: Float[Tensor, "thresholds features"],
    *,
    lambda_fuse: Annotated[Scalar, Ge(0)] = 0.01,
) -> Float[Tensor, " batch"]:
    """Cumulative logit model shrunk towards proportional odds (PRESTO).

    cumulative_logit + lambda_fuse * (||b_1||_1 + sum_{k > 1} ||b_k - b_{k-1}||_1)

    Args:
        cumulative_logits: Log-odds of y <= k, one a threshold.
        labels: Class indices y, in order.
        coefficients: Weights b, one vector a threshold.
        lambda_fuse: Strength of the penalty. The paper's coordinate descent makes differences
            exactly 0, a gradient step makes them small.

    Returns:
        Loss per example, in nats; `cumulative_logit` at lambda_fuse = 0, the proportional odds
        model, its weights under a lasso, as the differences vanish.

    Source:
        Faletto & Bien 2023, arXiv:2305.18700; code gregfaletto/presto (R), which has the penalty.
    """
    differences = coefficients.diff(dim=0, prepend=torch.zeros_like(coefficients[:1]))
    return cumulative_logit(cumulative_logits, labels) + lambda_fuse * differences.abs().sum()


def class_probabilities(
    cumulative_logits: Float[Tensor, "batch thresholds"],
) -> Float[Tensor, "batch classes"]:
    """Probability of each class; where thresholds cross, a class between them has none."""
    below = torch.sigmoid(cumulative_logits).cummax(dim=-1).values
    ends = torch.zeros_like(below[:, :1]), torch.ones_like(below[:, :1])
    return torch.cat([ends[0], below, ends[1]], dim=-1).diff(dim=-1)


def _at(scores: Tensor, column: Tensor) -> Tensor:
    return scores.gather(1, column[:, None]).squeeze(1)


def _log_one_minus_exp(gap: Tensor) -> Tensor:
    """log(1 - exp(-gap)), and its tangent where the gap is below `CLOSEST`."""
    apart = gap.clamp_min(CLOSEST)
    return torch.log(-torch.expm1(-apart)) + (gap - apart) / math.expm1(CLOSEST)
