"""Classification under label noise."""

import math
from typing import Annotated

import torch
from annotated_types import Gt
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Scalar

LABEL_FLOOR = 1e-5
"""Added to each label probability by the official ALDR code before it renormalises."""


def ldr(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 1.0,
    margin: Scalar = 0.0,
    normalize: bool = False,
) -> Float[Tensor, " batch"]:
    """Label-distributionally robust loss with KL regularisation (LDR-KL).

    tau * log mean_j exp((f_j - f_y + margin * [j != y]) / tau)

    Args:
        logits: Class scores f, unnormalised.
        labels: Class indices y.
        tau: Temperature, in logits; tau -> 0 gives the largest violation (Crammer-Singer),
            tau -> infinity the mean.
        margin: Required lead of the true class, in logits.
        normalize: Replace f by softplus(f) / mean_j softplus(f_j), as the official code does and
            the paper's formula does not; the code's margin is 2.

    Returns:
        Loss per example, in logits; cross-entropy - log(classes) at tau = 1, margin = 0.

    Source:
        Zhu, Ying & Yang 2023, arXiv:2112.14869; code Optimization-AI/ICML2023_LDR.
    """
    scores = _normalized(logits) if normalize else logits
    return tau * _nats(scores, labels, tau, margin)


class ALDR(nn.Module):
    """Adaptive LDR-KL loss: a temperature per training example.

    max_{t >= 0} max_p  sum_j p_j (f_j - f_y + margin * [j != y]) - t * KL(p || uniform)
                        - alpha * log(K) / (2 * tau) * (t - tau)^2

    For a given t the inner maximum is the LDR-KL loss at t. The temperature of example i takes
    one step of the alternating maximisation whenever the example is seen in training:

    t_i <- tau - tau * KL(p_i || uniform) / (alpha * log K),  p_i = argmax_p at the previous t_i,

    so a confident prediction cools its example and an uncertain one stays near tau. No gradient
    flows through t_i.

    Args:
        tau: Temperature of a wholly uncertain example and start of all, in logits.
        alpha: Pull towards tau, in units of log(K) / tau; above 1 every t_i is positive.
        margin: Required lead of the true class, in logits.
        normalize: The official code's form: scores as in `ldr`, p from the scores alone without
            margin, with 1e-5 added to each entry before it is renormalised.
        num_examples: Size of the training set.

    Returns:
        Loss per example, in logits, and the batch's mean temperature; LDR-KL at tau for
        alpha -> infinity.

    Source:
        Zhu, Ying & Yang 2023, arXiv:2112.14869, section 5; code Optimization-AI/ICML2023_LDR.
    """

    temperatures: Tensor

    def __init__(
        self,
        *,
        tau: Annotated[Scalar, Gt(0)] = 1.0,
        alpha: Annotated[Scalar, Gt(1)] = 2.0,
        margin: Scalar = 0.0,
        normalize: bool = False,
        num_examples: int,
    ):
        super().__init__()
        self.tau, self.alpha, self.margin, self.normalize = tau, alpha, margin, normalize
        self.register_buffer("temperatures", torch.full((num_examples,), float(tau)))

    def forward(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        index: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
        scores = _normalized(logits) if self.normalize else logits
        if self.training:
            self._adapt(scores.detach(), labels, index)
        adapted = self.temperatures[index].to(scores.dtype)
        strength = self.alpha * math.log(scores.shape[-1]) / self.tau
        nats = _nats(scores, labels, adapted[:, None], self.margin)
        loss = adapted * nats - strength / 2 * (adapted - self.tau) ** 2
        return loss, {"temperature": adapted.mean()}

    @torch.no_grad()
    def _adapt(self, scores: Tensor, labels: Tensor, index: Tensor) -> None:
        margin, floor = (0.0, LABEL_FLOOR) if self.normalize else (self.margin, 0.0)
        previous = self.temperatures[index].to(scores.dtype)
        p = F.softmax(_with_margin(scores, labels, previous[:, None], margin), dim=-1)
        p = F.normalize(p + floor, p=1.0, dim=-1)
        log_classes = math.log(scores.shape[-1])
        divergence = log_classes + torch.special.xlogy(p, p).sum(dim=-1)
        adapted = self.tau - self.tau * divergence / (self.alpha * log_classes)
        self.temperatures[index] = adapted.to(self.temperatures.dtype)


def _nats(scores: Tensor, labels: Tensor, tau: float | Tensor, margin: float | Tensor) -> Tensor:
    """LDR-KL in units of tau.

    For a loss of differences, lowering the true class by the margin is raising all others; so
    torch's fused cross-entropy does the work, finite for any score.
    """
    scaled = _with_margin(scores, labels, tau, margin)
    return F.cross_entropy(scaled, labels, reduction="none") - math.log(scores.shape[-1])


def _with_margin(
    scores: Tensor, labels: Tensor, tau: float | Tensor, margin: float | Tensor
) -> Tensor:
    """The scores with that of the true class lowered by the margin, in units of tau.

    tau is a number or a column [batch, 1].
    """
    tau = tau + 0.0 * margin  # stacked by vmap if either is
    lowered = -margin / tau * torch.ones_like(labels[:, None], dtype=scores.dtype)
    return (scores / tau).scatter_add_(1, labels[:, None], lowered)


def _normalized(logits: Tensor) -> Tensor:
    positive = F.softplus(logits)
    mean = positive.mean(dim=-1, keepdim=True)
    return positive / mean.clamp_min(torch.finfo(mean.dtype).tiny)  # all may underflow to 0
