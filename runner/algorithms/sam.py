"""Sharpness-aware minimisation, around any objective."""

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from runner.algorithms.descent import Descent
from runner.learner import Learner
from tasks.protocol import Batch


class SAM(Descent):
    """Descend along the gradient at the worst point nearby.

    w <- step(w, gradient at w + rho * g / ||g||),  g = gradient at w

    Both gradients are of the same batch. What an objective remembers (a temperature per example,
    say) is updated by the first pass alone.

    Args:
        learner: What learns.
        rho: Distance to the worst point, in the norm of all parameters together; rho -> 0 is
            plain descent.

    Source:
        Foret et al. 2021, arXiv:2010.01412.
    """

    def __init__(self, learner: Learner, *, rho: Annotated[float, Gt(0)] = 0.05):
        super().__init__(learner)
        self.rho = rho

    def update(self, batch: Batch) -> dict[str, Tensor]:
        metrics = self.learner.backward(batch)
        shifts = self._climb()
        self.learner.objective.eval()
        self.learner.backward(batch)
        self.learner.objective.train()
        with torch.no_grad():
            for parameter, shift in shifts:
                parameter -= shift
        self.learner.step()
        return metrics

    @torch.no_grad()
    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        learning = [(p, p.grad) for p in self.learner.parameters if p.grad is not None]
        norm = torch.stack([torch.linalg.vector_norm(g) for _, g in learning]).norm()
        shifts = [
            (parameter, gradient * self.rho / (norm + 1e-12)) for parameter, gradient in learning
        ]
        for parameter, shift in shifts:
            parameter += shift
        return shifts
