"""Objectives of targets that are known as the mean of a bag of examples alone."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int
from torch import Tensor

from objectives.domains import Scalar
from objectives.objective import declare


@declare(coupled="a bag's prediction is the mean of its examples'")
def aggregate_bag_instance(
    predictions: Float[Tensor, " batch"],
    targets: Float[Tensor, " batch"],
    bags: Int[Tensor, " batch"],
    *,
    rho: Annotated[Scalar, Ge(0), Le(1)] = 0.5,
) -> Float[Tensor, " batch"]:
    """Squared error of bags and of their examples, interpolated.

    (1 - rho) * (mean_{j in bag} f_j - y)^2 + rho * (f_i - y)^2

    Over a bag the second is the first plus the variance of the predictions within, so rho is the
    strength of a regulariser.

    Args:
        predictions: Predictions f of the examples.
        targets: The mean target y of each example's bag.
        bags: Number of the bag that each example is of; whole bags make up the batch.
        rho: 0 for the loss of bags, 1 for that of examples.

    Returns:
        Loss per example, in squared units of the target; the squared error for bags of one.

    Source:
        Javanmard et al. 2024, arXiv:2401.11081.
    """
    _, number, counts = bags.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros_like(counts, dtype=predictions.dtype).index_add(0, number, predictions)
    means = (sums / counts)[number]
    return (1 - rho) * (means - targets) ** 2 + rho * (predictions - targets) ** 2
