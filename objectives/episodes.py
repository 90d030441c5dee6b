"""Policy gradients on groups of episodes of several actions from the same start."""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Int
from torch import Tensor

from objectives.domains import Scalar
from objectives.objective import declare
from objectives.parts import Groups, Mask, Tokens, Values, share
from objectives.parts.advantages import standardized
from objectives.parts.aggregates import per_token
from objectives.parts.divergences import k3
from objectives.parts.surrogates import ppo_clip
from objectives.verifiable import GROUPED


@declare(coupled=GROUPED)
def gigpo(
    token_logprobs: Tokens,
    old_token_logprobs: Tokens,
    ref_token_logprobs: Tokens,
    mask: Mask,
    rewards: Values,
    group: Groups,
    anchors: Int[Tensor, "batch time"],
    starts: Mask,
    step_rewards: Tokens,
    *,
    advantage: Callable[..., Tensor] = standardized,
    surrogate: Callable[..., tuple[Tensor, Tensor]] = ppo_clip,
    aggregate: Callable[..., Tensor] = per_token,
    kl: Callable[..., Tensor] = k3,
    omega: Annotated[Scalar, Ge(0)] = 1.0,
    gamma: Annotated[Scalar, Interval(ge=0, le=1)] = 0.95,
    clip_low: Annotated[Scalar, Interval(gt=0, le=1)] = 0.2,
    clip_high: Annotated[Scalar, Gt(0)] = 0.2,
    kl_beta: Annotated[Scalar, Ge(0)] = 0.01,
) -> tuple[Values, dict[str, Tensor]]:
    """Group-in-group policy optimisation: episodes and single actions, each beside their like.

    aggregate_t( -min(r_t * A_t, clip(r_t, 1 - clip_low, 1 + clip_high) * A_t) + kl_beta * kl_t ),
    A_t = advantage(reward) + omega * advantage(R_t),
    R_t = sum_{s >= t} gamma^(s - t) step_reward_s

    The first advantage is among episodes from the same start, the second among all actions of them
    that answer the same state; s and t count actions.

    Args:
        token_logprobs: Log-probabilities of an episode's tokens under the policy, in nats.
        old_token_logprobs: Under the policy that drew them.
        ref_token_logprobs: Under the reference.
        mask: True on the policy's own tokens.
        rewards: What each episode is worth.
        group: Episodes of the same number have the same start; a batch holds whole groups.
        anchors: Number of the state that each token's action answers.
        starts: True on the first token of each action.
        step_rewards: What the environment gives for it, there.
        advantage: From values and groups to advantages: standardized, centred. One that is alone in
            its group has none.
        surrogate: What the first term is: ppo_clip, cispo_clip.
        aggregate: From losses of tokens to one an episode: per_response, per_token, per_budget.
        kl: Estimator of a token's KL to the reference: k1, k2, k3.
        omega: Weight of the advantages of actions.
        gamma: Discount of rewards, an action.
        clip_low: How far below 1 a ratio still has a gradient.
        clip_high: How far above.
        kl_beta: Weight of the KL, in reward per nat.

    Returns:
        Loss per episode; grpo's at omega = 0. Metrics: the share of clipped tokens, the KL per
        token by `kl`, and the share of actions that are not alone in their state.

    Source:
        Feng et al. 2025, arXiv:2505.10978. In the official code an episode that is alone in its
        group is worth its whole reward.
    """
    returns = discounted(step_rewards, starts, gamma)
    states = numbered(group, anchors, starts)
    step = advantage(returns.flatten(), states.flatten()).view_as(returns)
    worth = advantage(rewards, group)[:, None] + omega * step.gather(1, first_tokens(starts))
    losses, clipped = surrogate(token_logprobs, old_token_logprobs, worth, clip_low, clip_high)
    divergence = kl(token_logprobs, ref_token_logprobs)
    counts = states.unique(return_inverse=True, return_counts=True)
    return aggregate(losses + kl_beta * divergence, mask), {
        "clip_fraction": share(clipped, mask),
        "kl": share(divergence.detach(), mask),
        "shared": share(counts[2][counts[1]] > 1, starts),
    }


def discounted(step_rewards: Tokens, starts: Mask, gamma: Scalar) -> Tokens:
    """The return from each action on, on its first token: sum_{s >= t} gamma^(s - t) reward_s."""
    returns, ahead = [], torch.zeros_like(step_rewards[:, 0])
    for reward, start in zip(step_rewards.unbind(1)[::-1], starts.unbind(1)[::-1], strict=True):
        ahead = torch.where(start, reward + gamma * ahead, ahead)
        returns.append(ahead)
    return torch.stack(returns[::-1], dim=1)


def numbered(group: Groups, anchors: Int[Tensor, "batch time"], starts: Mask) -> Tensor:
    """A number for each group's each state; one of its own for what is no action: [batch, time]."""
    numbers = group.unique(return_inverse=True)[1]
    places = anchors.unique(return_inverse=True)[1]  # within each group
    states = numbers[:, None] * (places.max() + 1) + places
    others = states.max() + 1 + torch.arange(states.numel(), device=anchors.device)
    return states.where(starts, others.view_as(anchors))


def first_tokens(starts: Mask) -> Tensor:
    """The place of the first token of the action that each one belongs to: [batch, time]."""
    places = torch.arange(starts.shape[1], device=starts.device)
    return (places * starts).cummax(dim=1).values
