"""Objectives made of objectives."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from objectives.errors import InputError
from objectives.objective import Objective, Traits


class Weighted(nn.Module):
    """A weighted sum of objectives that fit one record.

    sum_k weight_k * loss_k, example by example; of their means where one has values of other
    things, of tokens say

    Args:
        terms: The objectives by name; each keeps its own hyperparameters.
        weights: Weight of each term by name; 1 where none is given.

    Returns:
        The weighted loss, one value per example where all terms have one, and each term's mean
        loss and metrics under its name.

    Raises:
        InputError: A weight names no term.
    """

    def __init__(
        self,
        *,
        terms: Mapping[str, Objective],
        weights: Mapping[str, Annotated[float, Ge(0)]],
    ):
        super().__init__()
        if unknown := weights.keys() - terms.keys():
            raise InputError(f"weights.{min(unknown)} names no term (terms: {', '.join(terms)}).")
        self.terms: Mapping[str, Objective] = nn.ModuleDict(terms)  # type: ignore[assignment]
        self.weights = {name: weights.get(name, 1.0) for name in terms}
        self.traits = Traits(
            coupled=_first(term.traits.coupled for term in terms.values()),
            surrogate=_first(term.traits.surrogate for term in terms.values()),
            stochastic=_first(term.traits.stochastic for term in terms.values()),
        )

    def forward(self, **tensors: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = dict[str, Tensor](), dict[str, Tensor]()
        for name, term in self.terms.items():
            losses[name], shown = term.of_tensors(**tensors)
            metrics[f"{name}_loss"] = losses[name].detach().mean()
            metrics |= {f"{name}_{key}": value for key, value in shown.items()}
        if len({values.shape for values in losses.values() if values.ndim}) > 1:
            losses = {name: values.mean() for name, values in losses.items()}
        total = torch.zeros(())
        for name, values in losses.items():
            total = total + self.weights[name] * values
        return total, metrics


def _first(reasons: Iterable[str]) -> str:
    return next(filter(None, reasons), "")
