"""Estimators of a token's KL to the reference, in nats, from the token that was drawn.

Source:
    Schulman 2020, "Approximating KL Divergence"; their gradients as a loss: Tang & Munos 2025,
    arXiv:2506.09477.
"""

import torch

from objectives.parts import Tokens
from objectives.policy import MAX_LOG_RATIO


def k1(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """The log ratio: unbiased, of high variance; its gradient is not that of the KL."""
    return logprobs - ref_logprobs


def k2(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """Half its square: biased, of low variance; its gradient is that of the KL."""
    return (logprobs - ref_logprobs) ** 2 / 2


def k3(logprobs: Tokens, ref_logprobs: Tokens) -> Tokens:
    """exp(-log ratio) - 1 + log ratio: unbiased, never negative."""
    log_ratio = (ref_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratio) - log_ratio
