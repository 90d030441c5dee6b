"""Regression objectives, on standardised targets."""

import math
from typing import Annotated

import torch
from annotated_types import Gt, Lt, MinLen
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar

Level = Annotated[float, Gt(0), Lt(1)]

MAX_LOG_VARIANCE = 20.0
"""A variance beyond exp(+-20) means nothing; cut there, the likelihood stays finite."""


def mse(
    predictions: Float[Tensor, " batch"], targets: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Squared error.

    (f - y)^2

    Args:
        predictions: Predicted means f.
        targets: Targets y.

    Returns:
        Loss per example, in squared units of the target.

    Source:
        Gauss 1809, Theoria motus, section 179.
    """
    return F.mse_loss(predictions, targets, reduction="none")


def huber(
    predictions: Float[Tensor, " batch"],
    targets: Float[Tensor, " batch"],
    *,
    delta: Annotated[Scalar, Gt(0)] = 1.0,
) -> Float[Tensor, " batch"]:
    """Huber loss: squared near the target, absolute far from it.

    e^2 / 2 where |e| <= delta, else delta * (|e| - delta / 2),      e = f - y

    Args:
        predictions: Predictions f.
        targets: Targets y.
        delta: Error from which on the gradient grows no more, in units of the target.

    Returns:
        Loss per example, in squared units of the target; half the squared error as delta → ∞,
        delta times the absolute error as delta → 0.

    Source:
        Huber 1964, Ann. Math. Statist. 35(1).
    """
    if isinstance(delta, Tensor):  # several at once, for which torch's own loss has no argument
        error = (predictions - targets) / delta
        return delta**2 * F.huber_loss(error, torch.zeros_like(error), reduction="none")
    return F.huber_loss(predictions, targets, reduction="none", delta=delta)


def gaussian_nll(
    predictions: Float[Tensor, " batch"],
    targets: Float[Tensor, " batch"],
    log_variances: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood under a normal distribution whose variance is predicted too.

    (s + (f - y)^2 * exp(-s) + log(2 * pi)) / 2

    The constant is kept, so that this is a likelihood; torch's own loss drops it by default.

    Args:
        predictions: Predicted means f.
        targets: Targets y.
        log_variances: Logarithms s of the predicted variances, cut to +-20.

    Returns:
        Loss per example, in nats; log(2 * pi) / 2 more than half the squared error at s = 0.

    Source:
        Nix & Weigend 1994, ICNN, Estimating the mean and variance of the target distribution.
    """
    log_variance = log_variances.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
    square = (predictions - targets) ** 2 * (-log_variance).exp()
    return (log_variance + square + math.log(2 * math.pi)) / 2


def quantile(
    quantiles: Float[Tensor, "batch levels"],
    targets: Float[Tensor, " batch"],
    *,
    levels: Annotated[tuple[Level, ...], MinLen(1)] = (0.1, 0.5, 0.9),
) -> Float[Tensor, " batch"]:
    """Quantile (pinball) loss, averaged over several levels at once.

    mean_q max(q * (y - f_q), (q - 1) * (y - f_q))

    Args:
        quantiles: Predicted quantiles f_q, one column a level, in the order of `levels`.
        targets: Targets y.
        levels: Quantile levels q, as probabilities.

    Returns:
        Loss per example, in units of the target; half the absolute error at levels = (0.5,).

    Source:
        Koenker & Bassett 1978, Econometrica 46(1).
    """
    loss = torch.zeros_like(targets)
    for column, level in zip(quantiles.unbind(dim=-1), levels, strict=True):
        # (1 - q) * max(e, -q / (1 - q) * e) of e = f_q - y: one pass over it, and one back
        larger = F.leaky_relu(column - targets, level / (level - 1))
        loss = loss.add(larger, alpha=(1 - level) / len(levels))
    return loss
