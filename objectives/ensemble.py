"""Losses that are drawn anew at every step."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int
from torch import Tensor, nn

from objectives.confusion import highest_other
from objectives.domains import Count, Scalar
from objectives.objective import declare

LEAST = 1e-6
"""By this the official code has every derivative below 0."""


@declare(
    coupled="the derivatives that are drawn are given out by the margins' order in the batch",
    surrogate="its value means nothing: it has the gradient of a loss that was drawn",
    stochastic="every call draws derivatives of a loss",
)
class EnsLoss(nn.Module):
    """Stochastic ensemble of calibrated losses: at each step the derivatives of another one.

    The derivatives are g = -min(invBC(z), 1) of normal z, invBC(z) = (1 + lam z)^(1 / lam), which
    is e^z at lam = 0. In rising order they are given out to the examples in rising order of their
    margins m = f_y - max_{j != y} f_j, as a convex loss has it, and divided by m where m > 1. They
    are below 0 everywhere, as a calibrated loss has it at 0.

    The paper has two classes, where m is the difference of the scores; for more, the margin to the
    highest other score is our extension.

    Args:
        lam: Parameter of the inverse Box-Cox transform, until it is first drawn.
        period: Training steps after which lam is drawn anew, uniform between -1 and 1 (the code
            counts epochs); None to keep it.

    Returns:
        g * m per example, g without gradient; its value means nothing.

    Source:
        Dai 2025, arXiv:2409.00908; code statmlben/ensLoss.
    """

    current: Tensor
    step: Tensor

    def __init__(self, *, lam: Annotated[Scalar, Ge(-1), Le(1)] = 0.0, period: Count | None = None):
        super().__init__()
        self.period = period
        self.register_buffer("current", torch.tensor(float(lam)))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        if self.training and self.period is not None:
            drawn = (2 * torch.rand((), device=self.step.device) - 1).to(self.current.dtype)
            self.current = torch.where(self.step % self.period == 0, drawn, self.current)
            self.step += 1
        of_label = labels[:, None]
        margins = (logits.gather(1, of_label) - highest_other(logits).gather(1, of_label))[:, 0]
        draws = torch.randn(len(labels), device=logits.device)
        return derivatives(margins.detach(), draws.to(logits.dtype), self.current) * margins


@torch.no_grad()
def derivatives(
    margins: Float[Tensor, " batch"], draws: Float[Tensor, " batch"], lam: Float[Tensor, ""]
) -> Float[Tensor, " batch"]:
    """Derivatives of a convex, calibrated loss at the margins, from normal draws."""
    drawn = -inverse_box_cox(draws, lam.to(draws.dtype)).clamp_max(1.0).sort(descending=True).values
    given = torch.empty_like(drawn).scatter(0, margins.argsort(), drawn)
    return given / margins.clamp_min(1.0) - LEAST


def inverse_box_cox(values: Tensor, lam: Tensor) -> Tensor:
    """(1 + lam z)^(1 / lam), where 1 + lam z is positive, and e^z at lam = 0."""
    tiny = torch.finfo(values.dtype).tiny
    safe = torch.where(lam == 0, 1.0, lam)
    power = ((1 + safe * values).clamp_min(tiny).log() / safe).exp()
    return torch.where(lam == 0, values.exp(), power)
