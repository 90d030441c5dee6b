"""Regression objectives, on standardised targets."""

from typing import Annotated

import torch
from annotated_types import Gt, Lt, MinLen
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Level = Annotated[float, Gt(0), Lt(1)]


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
    error = targets[:, None] - quantiles
    level = torch.tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    return torch.maximum(level * error, (level - 1) * error).mean(dim=-1)
