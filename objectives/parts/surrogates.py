"""From log-probabilities of tokens and what they are worth to their losses.

r = exp(logprob - old_logprob) is a token's ratio, A what it is worth. Each function returns the
losses, and where a ratio lies beyond [1 - low, 1 + high].
"""

import torch
from torch import Tensor

from objectives.domains import Scalar
from objectives.parts import Mask, Tokens
from objectives.policy import MAX_LOG_RATIO


def ppo_clip(
    token_logprobs: Tokens, old_token_logprobs: Tokens, worth: Tensor, low: Scalar, high: Scalar
) -> tuple[Tokens, Mask]:
    """-min(r * A, clip(r) * A): no gradient where a ratio has gone too far in A's direction.

    Source:
        Schulman et al. 2017, arXiv:1707.06347.
    """
    ratio, clipped = _ratios(token_logprobs, old_token_logprobs, low, high)
    return -torch.minimum(ratio * worth, clipped * worth), ratio != clipped


def cispo_clip(
    token_logprobs: Tokens, old_token_logprobs: Tokens, worth: Tensor, low: Scalar, high: Scalar
) -> tuple[Tokens, Mask]:
    """-clip(r) * A * logprob, clip(r) held constant: every token keeps a gradient.

    Source:
        MiniMax 2025, arXiv:2506.13585.
    """
    ratio, clipped = _ratios(token_logprobs.detach(), old_token_logprobs, low, high)
    return -clipped * worth * token_logprobs, ratio != clipped


def _ratios(
    token_logprobs: Tokens, old_token_logprobs: Tokens, low: Scalar, high: Scalar
) -> tuple[Tokens, Tokens]:
    """Ratios, and the same within their interval."""
    log_ratio = (token_logprobs - old_token_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = log_ratio.exp()
    return ratio, ratio.clamp(min=1 - low).clamp(max=1 + high)
