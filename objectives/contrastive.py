"""Contrastive objectives on two views of each example."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import AtMost, Scalar, Share
from objectives.objective import declare
from objectives.pairs import by_rows, unit

LARGEST_STEP = 3.0
"""The official iSogCLR code clips the gradient of a temperature to +-3."""


@declare(coupled="the other examples of the batch are the negatives")
def info_nce(
    embeddings_1: Float[Tensor, "batch dim"],
    embeddings_2: Float[Tensor, "batch dim"],
    *,
    tau: Annotated[Scalar, Gt(0)] = 0.1,
) -> tuple[Float[Tensor, " anchors"], dict[str, Tensor]]:
    """InfoNCE in SimCLR's symmetric form (NT-Xent).

    -log( exp(s_ip / tau) / sum_{k != i} exp(s_ik / tau) ),  s = cosine similarity,
    p = the other view of i; the 2 * batch - 2 other embeddings are the negatives.

    Args:
        embeddings_1: First view, of any length.
        embeddings_2: Second view, row by row of the same examples.
        tau: Temperature, in units of cosine similarity; tau -> 0 is a hinge on the hardest
            negative: tau * loss -> relu(max_k s_ik - s_ip).

    Returns:
        Loss per anchor (2 * batch), in nats, log(2 * batch - 1) where all embeddings agree, so 0
        for a single example. And the mean similarity of positives and of negatives; the share of
        anchors whose positive is nearer than any negative; and, of the gradient on an anchor's
        negatives, the share that falls on the nearest of them: 1 / negatives for tau ->
        infinity, 1 for tau -> 0.

    Source:
        van den Oord, Li & Vinyals 2018, arXiv:1807.03748; Chen et al. 2020, arXiv:2002.05709;
        of the hard negatives' share Wang & Liu 2021, arXiv:2012.09740.
    """
    anchors = unit(torch.cat([embeddings_1, embeddings_2]))

    def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        own, positive = rows[:, None], _other_view(rows, len(anchors))[:, None]
        negatives = (similarity / tau).scatter(1, torch.cat([own, positive], dim=1), -torch.inf)
        total, most = negatives.logsumexp(dim=1), negatives.detach().amax(dim=1)
        of_positive = similarity.gather(1, positive).squeeze(1)
        of_negatives = (
            similarity.detach().sum(dim=1) - of_positive - similarity.gather(1, own)[:, 0]
        )
        nearest = (of_positive / tau > most).to(similarity.dtype)
        hard = (most - total).exp().nan_to_num(0.0)
        return F.softplus(total - of_positive / tau), of_positive, of_negatives, nearest, hard

    loss, *seen = by_rows(of_rows, anchors, anchors)
    of_positives, of_negatives, nearest, hard = (column.detach().mean() for column in seen)
    negatives = max(len(anchors) - 2, 1)
    return loss, {
        "positive_similarity": of_positives,
        "negative_similarity": of_negatives / negatives,
        "contrastive_accuracy": nearest,
        "hard_negative_share": hard,
    }


@declare(
    coupled="the other examples of the batch are the negatives",
    surrogate="the value has the gradient of the robust loss, and is not that loss",
)
class ISogCLR(nn.Module):
    """Contrastive loss with a temperature for each example, learned (iSogCLR).

    An anchor's loss is robust to which of its negatives count, within a divergence of rho:

    min_{t_i} max_p  sum_j p_j h_ij - t_i * (KL(p || uniform) - rho)
        = min_{t_i}  t_i * log mean_j exp(h_ij / t_i) + t_i * rho,  h_ij = s_ij - s_ip

    over the 2 * batch - 2 negatives j of i. The mean is estimated by a moving average u_i over the
    steps that saw the example, so that small batches do; the value is what has the gradient of the
    above at this estimate:

    sum_j w_ij h_ij,  w_ij = exp(h_ij / t_i) / (u_i * negatives), held constant;
    u_i <- (1 - gamma) * u_i + gamma * mean_j exp(h_ij / t_i), by the first mean alone at first;
    v_i <- (1 - beta) * v_i + beta * (log u_i + rho - sum_j w_ij h_ij / t_i, within +-3);
    t_i <- t_i - eta * v_i, within [tau_min, tau_max].

    An example far from its negatives gets a small temperature, one amid many near ones, as those
    of a frequent class are, a large one. Where a batch has an example twice, both teach it by
    their mean; a batch of one has no negatives and teaches nothing.

    The authors' code for images has u_i of s_ij alone, the positive's similarity outside with a
    weight of 1 (`relative` is false). That is the same where the w_ij of an anchor add up to 1, at
    gamma = 1. Where they do not, in batches without its near neighbours, that code's gradient of a
    temperature is off by (1 - sum_j w_ij) * s_ip / t_i, some 20 at 0.05: it drives nearly all
    temperatures of a small set to tau_min.

    Args:
        tau: Temperature at the start, in units of cosine similarity.
        rho: Divergence from equal weights on the negatives that is allowed, in nats.
        eta: Step size of the temperatures.
        gamma: Share of the newest mean in the moving average.
        beta: Share of the newest gradient in a temperature's step.
        tau_min: Least temperature, not above tau_max.
        tau_max: Largest temperature.
        relative: Whether similarities count relative to that of the positive in the moving average,
            as in the paper.
        num_examples: Size of the training set.

    Returns:
        Loss per example, the sum of its two views, in units of cosine similarity, near -2 where
        views agree and negatives are orthogonal; and the batch's mean temperature and robust
        loss, t_i * (log u_i + rho). At a fixed temperature and gamma = 1 the gradient is
        that of tau * InfoNCE without the positive in the denominator.

    Source:
        Qiu et al. 2023, arXiv:2305.11965; code zhqiu/contrastive-learning-iSogCLR, whose clipping
        of +-3 and of the temperatures the paper does not have, and which has h_ij for images with
        texts alone; rho, tau_min and tau_max are those of the authors' library LibAUC for images.
    """

    temperatures: Tensor
    momenta: Tensor
    log_means: Tensor

    def __init__(
        self,
        *,
        tau: Annotated[float, Gt(0)] = 0.07,
        rho: Annotated[float, Ge(0)] = 0.3,
        eta: Annotated[float, Ge(0)] = 0.01,
        gamma: Share = 0.8,
        beta: Share = 0.9,
        tau_min: Annotated[float, Gt(0), AtMost("tau_max")] = 0.05,
        tau_max: Annotated[float, Gt(0)] = 0.7,
        relative: bool = True,
        num_examples: int,
    ):
        super().__init__()
        self.relative = relative
        self.rho, self.eta, self.gamma, self.beta = rho, eta, gamma, beta
        self.tau_min, self.tau_max = tau_min, tau_max
        self.register_buffer("temperatures", torch.full((num_examples,), tau))
        self.register_buffer("momenta", torch.zeros(num_examples))
        self.register_buffer("log_means", torch.full((num_examples,), -torch.inf))  # not seen yet

    def forward(
        self,
        embeddings_1: Float[Tensor, "batch dim"],
        embeddings_2: Float[Tensor, "batch dim"],
        index: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
        anchors = unit(torch.cat([embeddings_1, embeddings_2]))
        twice = index.repeat(2)
        tau, before = self.temperatures[twice], self.log_means[twice]

        def of_rows(similarity: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
            return self._of_rows(similarity, rows, tau[rows, None], before[rows, None])

        loss, log_mean, drift, robust = by_rows(of_rows, anchors, anchors)
        if self.training and len(index) > 1:
            self._adapt(index, log_mean, drift)
        metrics = {"temperature": tau.mean(), "robust_loss": robust.detach().mean()}
        return loss.view(2, -1).sum(dim=0), metrics

    def _of_rows(
        self, similarity: Tensor, rows: Tensor, tau: Tensor, before: Tensor
    ) -> tuple[Tensor, ...]:
        """Loss, new logarithm of the mean, gradient of the temperature, robust loss."""
        anchors = similarity.shape[1]
        positive = _other_view(rows, anchors)[:, None]
        negative = torch.ones_like(similarity, dtype=torch.bool)
        negative = negative.scatter(1, rows[:, None], False).scatter(1, positive, False)
        of_positive = similarity.gather(1, positive)
        inside, outside = of_positive * self.relative, of_positive * (not self.relative)
        scaled = ((similarity - inside).detach() / tau).masked_fill(~negative, -torch.inf)
        log_negatives = math.log(max(anchors - 2, 1))
        log_mean = self._averaged(before, scaled.logsumexp(1, keepdim=True) - log_negatives)
        weights = (scaled - log_mean - log_negatives).exp().masked_fill(~negative, 0.0)
        weighted = (weights.to(similarity.dtype) * (similarity - inside)).sum(dim=1)
        loss = weighted - outside.squeeze(1)
        tau, log_mean = tau.squeeze(1), log_mean.squeeze(1).nan_to_num(neginf=0.0)
        drift = log_mean + self.rho - weighted.detach() / tau
        robust = tau * (log_mean + self.rho) - outside.detach().squeeze(1)
        return loss, log_mean, drift, robust

    def _averaged(self, before: Tensor, now: Tensor) -> Tensor:
        share = torch.tensor([1 - self.gamma, self.gamma], device=now.device).log()
        averaged = torch.logaddexp(before + share[0], now + share[1])
        return torch.where(before.isneginf(), now, averaged).to(now.dtype)

    @torch.no_grad()
    def _adapt(self, index: Tensor, log_mean: Tensor, drift: Tensor) -> None:
        of_views = torch.logaddexp(*log_mean.view(2, -1)) - math.log(2)
        gradient = drift.view(2, -1).mean(dim=0).clamp(-LARGEST_STEP, LARGEST_STEP)
        momentum = (1 - self.beta) * self.momenta[index] + self.beta * gradient
        tau = self.temperatures[index] - self.eta * momentum
        _remember(self.log_means, index, of_views)
        _remember(self.momenta, index, momentum)
        _remember(self.temperatures, index, tau.clamp(self.tau_min, self.tau_max))


def _other_view(rows: Tensor, anchors: int) -> Tensor:
    """Positions of the anchors' positives."""
    return (rows + anchors // 2) % anchors


def _remember(memory: Tensor, index: Tensor, values: Tensor) -> None:
    """By the mean, where an example is there twice."""
    seen, place, times = index.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(seen), dtype=memory.dtype, device=memory.device)
    memory[seen] = sums.index_add(0, place, values.to(memory.dtype)) / times
