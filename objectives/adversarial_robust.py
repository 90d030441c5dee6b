"""Classification of attacked examples: which of them count how much."""

import math
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Scalar
from objectives.objective import declare


@declare(
    coupled="the weights are relative to the mean over the batch",
    surrogate="no gradient flows through the weights",
)
class DoublyRobustAT(nn.Module):
    """Cross-entropy with the instance weights of KL-regularised distributional robustness.

    max_p sum_i p_i l_i - tau * KL(p || uniform) = tau * log mean_i exp(l_i / tau),

    over all training examples, whose gradient is mean_i w_i * grad l_i, w_i = exp(l_i / tau) / g,
    g = mean_i exp(l_i / tau). A batch knows g badly, so it is followed by a moving average:

    u <- (1 - eta) * u + eta * mean_batch exp(l_i / tau),  w_i = exp(l_i / tau) / u,

    divided by its total weight, so that the first u is the first batch's. Doubly robust where the
    batch is attacked (`algorithm=pgd_at`): the weights raise those of its examples that are
    easiest to attack. The paper also differentiates through the attack, by a log-barrier; here
    the attacked batch is taken as it is.

    Args:
        tau: Strength of the regularisation (the paper's r), in nats; tau -> infinity weights all
            examples alike, tau -> 0 the worst alone.
        eta: Share of a new batch in the moving average; 1 forgets all others.

    Returns:
        Weighted loss per example, in nats, the estimate of tau * log mean exp(l / tau), and the
        largest weight; cross-entropy for tau -> infinity.

    Source:
        Sow, Lin, Wang & Liang 2024, arXiv:2308.00311.
    """

    log_total: Tensor
    mass: Tensor

    def __init__(
        self,
        *,
        tau: Annotated[Scalar, Gt(0)] = 1.0,
        eta: Annotated[float, Interval(gt=0, le=1)] = 0.1,
    ):
        super().__init__()
        self.tau, self.eta = tau, eta
        self.log_kept = math.log1p(-eta) if eta < 1 else -math.inf
        self.register_buffer("log_total", torch.tensor(-math.inf))
        self.register_buffer("mass", torch.tensor(0.0))

    def forward(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
        losses = F.cross_entropy(logits, labels, reduction="none")
        scaled = losses.detach().to(self.log_total.dtype) / self.tau
        log_mean = self._follow(torch.logsumexp(scaled, dim=0) - math.log(len(scaled)))
        weights = (scaled - log_mean).exp()
        shown = {"soft_worst_loss": self.tau * log_mean, "largest_weight": weights.max()}
        return weights.to(losses.dtype) * losses, shown

    def _follow(self, log_mean: Tensor) -> Tensor:
        """The logarithm of the moving average, this batch included; kept where it is trained."""
        total = torch.logaddexp(self.log_kept + self.log_total, math.log(self.eta) + log_mean)
        mass = (1 - self.eta) * self.mass + self.eta
        if self.training:
            self.log_total.copy_(total)
            self.mass.copy_(mass)
        return total - mass.log()
