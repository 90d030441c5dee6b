"""Log-probabilities of given tokens under a language model."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

MOST_SCORES = 2**24
"""Scores held at once, 64 MB in float32; more are made in parts, and once more for backward.

A part has at least half as many, which the C library gives back to the system when it is freed;
smaller ones pile up on its heap.
"""

MOST_PLACES = 2**16
"""Tokens read at once where no gradient is needed."""


def token_logprobs(model: nn.Module, tokens: Tensor) -> Tensor:
    """Log-probability of each token given those before it: [batch, time - 1], in nats.

    The scores [batch, time, vocabulary] of a large vocabulary are never there as a whole.

    Args:
        model: A causal model: a body, `features`, and a linear `head` with a row a token.
        tokens: Token indices [batch, time].
    """
    targets, head = tokens[:, 1:], model.head
    assert isinstance(head, nn.Linear)
    rows = max(1, MOST_SCORES // head.out_features)
    if targets.numel() <= rows:
        scores = model(tokens[:, :-1]).float()
        return -F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view_as(
            targets
        )
    features = model.features(tokens[:, :-1]).flatten(0, 1)  # type: ignore[operator]
    parts = [
        checkpoint(_logprobs, head, *part, use_reentrant=False)
        for part in zip(features.split(rows), targets.flatten().split(rows), strict=True)
    ]
    return torch.cat(parts).view_as(targets)


@torch.no_grad()
def logprobs_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """As `token_logprobs`, without a gradient and for any number of rows: some at a time."""
    rows = max(1, MOST_PLACES // tokens.shape[1])
    return torch.cat([token_logprobs(model, part) for part in tokens.split(rows)])


def _logprobs(head: nn.Module, features: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(head(features).float(), targets, reduction="none")
