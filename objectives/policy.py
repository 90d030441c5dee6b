"""Policy-gradient objectives on replayed rollouts."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float
from torch import Tensor

from objectives.domains import Scalar

MAX_LOG_RATIO = 20.0
"""A ratio beyond exp(20) means nothing; cut there, it and its loss stay finite."""


def ppo(
    logprobs: Float[Tensor, " batch"],
    old_logprobs: Float[Tensor, " batch"],
    advantages: Float[Tensor, " batch"],
    returns: Float[Tensor, " batch"],
    values: Float[Tensor, " batch"],
    entropies: Float[Tensor, " batch"],
    *,
    epsilon: Annotated[Scalar, Gt(0), Lt(1)] = 0.2,
    value_weight: Annotated[Scalar, Ge(0)] = 0.5,
    entropy_weight: Annotated[Scalar, Ge(0)] = 0.01,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Proximal policy optimisation, clipped, with a critic and an entropy bonus.

    -min(r * A, clip(r, 1 - epsilon, 1 + epsilon) * A)
        + value_weight * (V - R)^2 - entropy_weight * H,      r = exp(logprob - old_logprob)

    Args:
        logprobs: Log-probability of the action taken under the current policy, in nats.
        old_logprobs: The same under the policy that acted.
        advantages: Advantage estimates A.
        returns: Targets R of the critic, in reward.
        values: The critic's estimate V, in reward.
        entropies: Entropy H of the current policy at the step, in nats.
        epsilon: Half-width of the interval in which the ratio still has a gradient.
        value_weight: Weight of the squared error; the common 0.5 makes it half of it.
        entropy_weight: Weight of the entropy bonus.

    Returns:
        Loss per step; -A where the policy is the acting one and both weights are 0. Metrics: the
        share of clipped ratios, KL(acting || current) by the k3 estimator in nats, the entropy.

    Source:
        Schulman et al. 2017, arXiv:1707.06347; KL estimator: Schulman 2020, "Approximating KL
        Divergence".
    """
    log_ratio = (logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = log_ratio.exp()
    clipped = torch.clamp(ratio, 1 - epsilon, 1 + epsilon)  # type: ignore[arg-type]
    policy = -torch.minimum(ratio * advantages, clipped * advantages)
    loss = policy + value_weight * (values - returns) ** 2 - entropy_weight * entropies
    return loss, {
        "clip_fraction": (ratio != clipped).float().mean(),
        "kl": (ratio - 1 - log_ratio).detach().mean(),
        "entropy": entropies.detach().mean(),
    }


def reinforce(
    logprobs: Float[Tensor, " batch"],
    advantages: Float[Tensor, " batch"],
    returns: Float[Tensor, " batch"],
    values: Float[Tensor, " batch"],
    entropies: Float[Tensor, " batch"],
    *,
    value_weight: Annotated[Scalar, Ge(0)] = 0.5,
    entropy_weight: Annotated[Scalar, Ge(0)] = 0.01,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Policy gradient with a critic as its baseline and an entropy bonus.

    -logprob * A + value_weight * (V - R)^2 - entropy_weight * H

    The gradient is that of the expected return where the current policy is the one that acted,
    so a rollout serves one pass: the config has `replays: 1`, and one step where `batch_size` is
    the whole rollout.

    Args:
        logprobs: Log-probability of the action taken under the current policy, in nats.
        advantages: Advantage estimates A; constants.
        returns: Targets R of the critic, in reward.
        values: The critic's estimate V, in reward.
        entropies: Entropy H of the current policy at the step, in nats.
        value_weight: Weight of the squared error; the common 0.5 makes it half of it.
        entropy_weight: Weight of the entropy bonus.

    Returns:
        Loss per step, whose gradient by the policy is ppo's where it is the acting one. Metric:
        the entropy.

    Source:
        Williams 1992, Machine Learning 8.
    """
    critic = value_weight * (values - returns) ** 2
    loss = -logprobs * advantages + critic - entropy_weight * entropies
    return loss, {"entropy": entropies.detach().mean()}
