"""How much predictions depend on protected attributes: penalties beside the loss of a task.

All of it is of distances between the examples of a batch, so that it sees any dependence, not
correlation alone. Estimates are V-statistics: means over all pairs, an example with itself too.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from objectives.objective import declare

COUPLED = "a dependence is one of the whole batch"


@declare(coupled=COUPLED)
def dcov(
    predictions: Float[Tensor, " batch"],
    attributes: Float[Tensor, "batch columns"],
    *,
    attribute_columns: tuple[int, ...],
) -> Float[Tensor, ""]:
    """Distance covariance with each protected attribute, added up.

    sum_k dCov^2(f, s_k),  dCov^2(u, v) = mean_ij U_ij V_ij,  U and V the double-centred distances

    It does not see what the attributes tell together alone (fairness gerrymandering).

    Args:
        predictions: Predictions f.
        attributes: Columns of the attributes s.
        attribute_columns: How many columns each attribute has.

    Returns:
        The penalty of the batch, in units of the prediction; 0 for a batch of one, a constant
        prediction or constant attributes.

    Source:
        Szekely, Rizzo & Bakirov 2007, Ann. Statist. 35(6); Lee et al. 2025, arXiv:2509.08163.
    """
    centred = _centred_distances(predictions[:, None])
    marginals = _each(attributes, attribute_columns)
    return torch.stack([(centred * marginal).mean() for marginal in marginals]).sum()


@declare(coupled=COUPLED)
def ccdcov(
    predictions: Float[Tensor, " batch"], attributes: Float[Tensor, "batch columns"]
) -> Float[Tensor, ""]:
    """Concatenated distance covariance: that with all protected attributes as one vector.

    dCov^2(f, (s_1, ..., s_d)), see `dcov`

    Args:
        predictions: Predictions f.
        attributes: Columns of the attributes s.

    Returns:
        The penalty of the batch, in units of the prediction; 0 for a batch of one, a constant
        prediction or constant attributes, and `dcov` where there is one attribute.

    Source:
        Lee et al. 2025, arXiv:2509.08163.
    """
    return (_centred_distances(predictions[:, None]) * _centred_distances(attributes)).mean()


@declare(coupled=COUPLED)
def jdcov(
    predictions: Float[Tensor, " batch"],
    attributes: Float[Tensor, "batch columns"],
    *,
    attribute_columns: tuple[int, ...],
) -> Float[Tensor, ""]:
    """Joint distance covariance: the dependence of predictions and attributes in every subset.

    mean_ij (1 - U_ij) prod_k (1 - V^k_ij) - 1,  U and V^k the double-centred distances, see `dcov`

    The subsets without the prediction, on which no model has an influence, are taken off.

    Args:
        predictions: Predictions f.
        attributes: Columns of the attributes s.
        attribute_columns: How many columns each attribute has.

    Returns:
        The penalty of the batch, in units of the prediction; 0 for a batch of one, a constant
        prediction or constant attributes, and `dcov` where there is one attribute.

    Source:
        Chakraborty & Zhang 2019, arXiv:1711.09493, with c = 1; Lee et al. 2025, arXiv:2509.08163.
    """
    product = torch.ones_like(predictions[:, None] - predictions)
    for marginal in _each(attributes, attribute_columns):
        product = product * (1 - marginal)
    return -(_centred_distances(predictions[:, None]) * product).mean()


def _each(attributes: Tensor, columns: tuple[int, ...]) -> list[Tensor]:
    """The double-centred distances by each attribute."""
    return [_centred_distances(part) for part in attributes.split(columns, dim=1)]


def _centred_distances(points: Tensor) -> Tensor:
    """Distances between all pairs of rows, with the means of rows and columns taken off."""
    distances = _lengths(points[:, None] - points)
    return (
        distances
        - distances.mean(dim=0, keepdim=True)
        - distances.mean(dim=1, keepdim=True)
        + distances.mean()
    )


def _lengths(differences: Tensor) -> Tensor:
    """Euclidean lengths along the last dimension, with slope 0 at 0."""
    if differences.shape[-1] == 1:
        return differences.squeeze(-1).abs()
    return torch.linalg.vector_norm(differences, dim=-1)
