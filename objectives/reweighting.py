"""Weights of examples around any objective."""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn

from objectives.domains import Scalar
from objectives.errors import InputError
from objectives.objective import Objective, Traits

Strategy = Callable[[Tensor], Tensor]
"""From losses between -1 and 1 to how much each is worth."""


def linear_upper(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """min(h + 1, 1): low losses count for less, all in the upper half alike (LinUpper)."""
    return (losses + 1).clamp_max(1.0)


def upper(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """(h + 1) / 2: the higher the loss, the more it counts."""
    return (losses + 1) / 2


def quadratic(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """1 - h^2: losses in the middle count most."""
    return 1 - losses**2


def extremes(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """|h|: the lowest and the highest losses count most."""
    return losses.abs()


class DynamicLossReweighting(nn.Module):
    """Weights by each example's loss within the batch, around any objective.

    w_i * l_i,  w = n * softmax(strategy(h) / r),  h the losses between -1 (lowest) and 1 (highest)

    No gradient flows through the weights. The paper weighs sequences; here an example is what the
    term has a value for.

    Args:
        term: The objective; it keeps its own hyperparameters.
        strategy: How much a loss is worth.
        r: Temperature of the weights; r -> infinity weighs all alike.
        warmup: Training steps before which all weigh alike.

    Returns:
        The weighted loss per example, the largest weight, and the metrics of the term; the term's
        loss where the losses of the batch are equal.

    Raises:
        InputError: The term has one value for the whole batch.

    Source:
        Sow et al. 2025, arXiv:2502.06733; code sowmaster/Sample-Level-Loss-Reweighting-ICLR-2025.
    """

    step: Tensor

    def __init__(
        self,
        *,
        term: Objective,
        strategy: Strategy = linear_upper,
        r: Annotated[Scalar, Gt(0)] = 0.4,
        warmup: Annotated[int, Ge(0)] = 0,
    ):
        super().__init__()
        self.term, self.strategy, self.r, self.warmup = term, strategy, r, warmup
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.traits = Traits(
            coupled="the weights are by the losses of the whole batch",
            surrogate="no gradient flows through the weights",
            stochastic=term.traits.stochastic,
        )

    def forward(self, **tensors: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = self.term.of_tensors(**tensors)
        if losses.ndim == 0:
            raise InputError(
                "the term of dynamic_loss_reweighting has one value for the whole batch: there is "
                "nothing to weigh. Take one that has a value for each example."
            )
        weights = weights_of(losses.detach(), self.strategy, self.r)
        weights = torch.where(self.step < self.warmup, torch.ones_like(weights), weights)
        if self.training:
            self.step += 1
        return weights * losses, {**metrics, "largest_weight": weights.max()}


def weights_of(
    losses: Float[Tensor, " batch"], strategy: Strategy, r: float | Tensor
) -> Float[Tensor, " batch"]:
    """Weights with a mean of 1."""
    lowest, highest = losses.min(), losses.max()
    span = (highest - lowest).clamp_min(1e-6)  # as the official code has it
    scaled = (losses - lowest + losses - highest) / span
    return len(losses) * torch.softmax(strategy(scaled) / r, dim=0)
