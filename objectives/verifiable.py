"""Policy gradients on groups of responses to one prompt, each with a reward.

An objective is put together by its YAML from the small functions in `objectives.parts`: how rewards
become advantages (`advantage`), how far a policy may go at once (`surrogate`), how the losses of
tokens become one of a response (`aggregate`), and how far from the reference the policy is (`kl`).
"""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Interval, Le
from torch import Tensor

from objectives.domains import Scalar
from objectives.objective import declare
from objectives.parts import Groups, Mask, Tokens, Values, group_mean, share, total
from objectives.parts.advantages import leave_one_out, standardized
from objectives.parts.aggregates import per_response, per_token
from objectives.parts.divergences import k1, k3
from objectives.parts.surrogates import ppo_clip

GROUPED = "a response is worth more or less than the others of its group"
KL_IN_REWARD = "no gradient flows through the KL in the reward"
HIGHEST_LOG_RATIO = 10.0
"""Of nft, as in its code."""

SURE = 0.02
"""Of nft: a group's accuracy counts as at least this, and at most one less it."""


@declare(coupled=GROUPED)
def grpo(
    token_logprobs: Tokens,
    old_token_logprobs: Tokens,
    ref_token_logprobs: Tokens,
    mask: Mask,
    rewards: Values,
    group: Groups,
    *,
    advantage: Callable[..., Tensor] = standardized,
    surrogate: Callable[..., tuple[Tensor, Tensor]] = ppo_clip,
    aggregate: Callable[..., Tensor] = per_response,
    kl: Callable[..., Tensor] = k3,
    reward_kl: Callable[..., Tensor] = k1,
    clip_low: Annotated[Scalar, Interval(gt=0, le=1)] = 0.2,
    clip_high: Annotated[Scalar, Gt(0)] = 0.2,
    kl_beta: Annotated[Scalar, Ge(0)] = 0.04,
    reward_kl_beta: Annotated[Scalar, Ge(0)] = 0.0,
) -> tuple[Values, dict[str, Tensor]]:
    """Group-relative policy optimisation, and all that is made of the same parts.

    aggregate_t( -min(r_t * A, clip(r_t, 1 - clip_low, 1 + clip_high) * A) + kl_beta * kl_t ),
    r_t = exp(logprob_t - old_logprob_t),  kl_t = kl(logprob_t, ref_logprob_t),
    A = advantage(reward - reward_kl_beta * sum_t reward_kl(old_logprob_t, ref_logprob_t))

    `grpo` standardises rewards in their group and takes the mean over each response's tokens;
    `dr_grpo` does neither, so that neither easy questions nor short wrong answers weigh more;
    `ngrpo` adds one right response to every group.

    Args:
        token_logprobs: Log-probabilities of a response's tokens under the policy, in nats.
        old_token_logprobs: Under the policy that drew them.
        ref_token_logprobs: Under the reference.
        mask: True on the response's tokens.
        rewards: What each response is worth.
        group: Responses of the same number answer the same prompt; a batch holds whole groups.
        advantage: From rewards and groups to advantages: standardized, centred, leave_one_out,
            beside_the_best.
        surrogate: What the first term is: ppo_clip, cispo_clip.
        aggregate: From losses of tokens to one a response: per_response, per_token, per_budget.
        kl: Estimator of a token's KL to the reference, in the loss: k1, k2, k3. The gradient of k1
            is that of no KL, zero on average.
        reward_kl: The same in the reward, of the policy that drew: k1, k2, k3.
        clip_low: How far below 1 a ratio still has a gradient.
        clip_high: How far above.
        kl_beta: Weight of the KL in the loss, in reward per nat.
        reward_kl_beta: Weight of the KL in the reward, in reward per nat.

    Returns:
        Loss per response; -A where the policy is the one that drew it and the reference, and the
        mean is over its own tokens. Metrics: the share of clipped tokens, the KL per token by `kl`,
        the share of responses without an advantage.

    Source:
        Shao et al. 2024, arXiv:2402.03300; Liu et al. 2025, arXiv:2503.20783 (dr_grpo); Nan et
        al. 2025 (ngrpo). Official code differs in the small number that is added to a deviation.
    """
    drift = total(reward_kl(old_token_logprobs, ref_token_logprobs), mask)
    worth = advantage(rewards - reward_kl_beta * drift, group)
    losses, clipped = surrogate(
        token_logprobs, old_token_logprobs, worth[:, None], clip_low, clip_high
    )
    divergence = kl(token_logprobs, ref_token_logprobs)
    return aggregate(losses + kl_beta * divergence, mask), {
        "clip_fraction": share(clipped, mask),
        "kl": share(divergence.detach(), mask),
        "silent": (worth == 0).float().mean(),
    }


@declare(coupled=GROUPED, surrogate=KL_IN_REWARD)
def rloo(
    token_logprobs: Tokens,
    ref_token_logprobs: Tokens,
    mask: Mask,
    rewards: Values,
    group: Groups,
    *,
    kl: Callable[..., Tensor] = k1,
    kl_beta: Annotated[Scalar, Ge(0)] = 0.05,
) -> tuple[Values, dict[str, Tensor]]:
    """REINFORCE, leave one out: the mean of a group's other rewards is a response's baseline.

    -(R_i - mean_{j != i} R_j) * sum_t logprob_t,
    R = reward - kl_beta * sum_t kl(logprob_t, ref_logprob_t)

    The policy must be the one that drew the responses: one pass over a round, one step of it.

    Args:
        token_logprobs: Log-probabilities of a response's tokens under the policy, in nats.
        ref_token_logprobs: Under the reference.
        mask: True on the response's tokens.
        rewards: What each response is worth.
        group: Responses of the same number answer the same prompt; alone in it, one has no
            gradient.
        kl: Estimator of a token's KL to the reference: k1, as in the paper, k2, k3.
        kl_beta: Weight of the KL to the reference in the reward, in reward per nat.

    Returns:
        Surrogate loss per response, whose gradient is the policy's. Metric: the KL per token.

    Source:
        Ahmadian et al. 2024, arXiv:2402.14740; Kool, van Hoof & Welling 2019.
    """
    logprob = total(token_logprobs, mask)
    divergence = kl(token_logprobs.detach(), ref_token_logprobs)
    worth = leave_one_out(rewards - kl_beta * total(divergence, mask), group)
    return -worth * logprob, {
        "kl": share(divergence, mask),
        "silent": (worth == 0).float().mean(),
    }


@declare(coupled="the tokens of all responses count alike", surrogate=KL_IN_REWARD)
def remax(
    token_logprobs: Tokens,
    ref_token_logprobs: Tokens,
    mask: Mask,
    rewards: Values,
    greedy_rewards: Values,
    *,
    kl: Callable[..., Tensor] = k1,
    kl_beta: Annotated[Scalar, Ge(0)] = 0.1,
    reward_clip: Annotated[Scalar, Gt(0)] = 5.0,
) -> tuple[Values, dict[str, Tensor]]:
    """REINFORCE with the reward of the greedy response to the same prompt as its baseline.

    -1/T sum_t (clip(reward - greedy_reward) - kl_beta * kl(logprob_t, ref_logprob_t)) * logprob_t,

    T the mean length. As in the official code a token bears its own KL alone, not that of those
    after it, and the discount is 1.

    Args:
        token_logprobs: Log-probabilities of a response's tokens under the policy, in nats.
        ref_token_logprobs: Under the reference.
        mask: True on the response's tokens.
        rewards: What each response is worth.
        greedy_rewards: What the most likely response to its prompt is worth.
        kl: Estimator of a token's KL to the reference: k1, as in the paper, k2, k3.
        kl_beta: Weight of the KL to the reference, in reward per nat.
        reward_clip: Largest lead over the greedy response that counts, of either sign.

    Returns:
        Surrogate loss per response, whose gradient is the policy's. Metric: the KL per token.

    Source:
        Li et al. 2024, arXiv:2310.10505.
    """
    lead = torch.clamp(rewards - greedy_rewards, -reward_clip, reward_clip)  # type: ignore[arg-type]
    divergence = kl(token_logprobs.detach(), ref_token_logprobs)
    returns = lead[:, None] - kl_beta * divergence
    return per_token(-returns * token_logprobs, mask), {
        "kl": share(divergence, mask),
        "silent": (lead == 0).float().mean(),
    }


@declare(coupled=GROUPED, surrogate="at the floor the gradient goes on")
def nft(
    token_logprobs: Tokens,
    old_token_logprobs: Tokens,
    mask: Mask,
    rewards: Values,
    group: Groups,
    *,
    negative_weight: Annotated[Scalar, Ge(0)] = 1.0,
    floor: Annotated[Scalar, Gt(0), Le(1)] = 1.0,
) -> tuple[Values, dict[str, Tensor]]:
    """Negative-aware fine-tuning: likelihood of right answers, and of wrong ones' complement.

    right: -(1 - q) log r_t,
    wrong: -(1 - q) * negative_weight * log max((1 - q r_t) / (1 - q), floor),
    r_t = exp(logprob_t - old_logprob_t),  q the share of right answers in the group, 0.02 to 0.98

    Below the floor the value is the floor's and the gradient goes on. On the first step its
    gradient is that of GRPO without the deviation.

    Args:
        token_logprobs: Log-probabilities of a response's tokens under the policy, in nats.
        old_token_logprobs: Under the policy that drew them.
        mask: True on the response's tokens.
        rewards: 1 of a right answer, 0 of a wrong one.
        group: Responses of the same number answer the same prompt.
        negative_weight: Weight of wrong answers; 0 is fine-tuning on the right ones.
        floor: Least ratio of the policy of wrong answers.

    Returns:
        Loss per response, all tokens counting alike (the official code divides by 1,000
        instead). Metric: the share of tokens at the floor.

    Source:
        Chen et al. 2025, arXiv:2505.18116.
    """
    accuracy = group_mean(rewards, group).clamp(SURE, 1 - SURE)
    losses, at_floor = negative_aware(
        token_logprobs, old_token_logprobs, rewards, accuracy, negative_weight, floor
    )
    return per_token(losses, mask), {"floor_fraction": share(at_floor, mask)}


def negative_aware(
    token_logprobs: Tokens,
    old_token_logprobs: Tokens,
    rewards: Values,
    accuracy: Values,
    negative_weight: Scalar,
    floor: Scalar,
) -> tuple[Tokens, Mask]:
    """The losses of tokens, and which of them are of wrong answers at the floor."""
    log_ratio = (token_logprobs - old_token_logprobs).clamp(max=HIGHEST_LOG_RATIO)
    q, right = accuracy[:, None], rewards[:, None] > 0.5
    implicit = (1 - q * log_ratio.exp()) / (1 - q)
    cut = torch.clamp(implicit.detach(), min=floor)
    through = cut.log() + (implicit - implicit.detach()) / cut.detach()
    losses = torch.where(right, -log_ratio, -negative_weight * through)
    return (1 - q) * losses, ~right & (implicit < floor)
