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


def token_logprobs(model: nn.Module, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log-probability of each token given those before it: [batch, time - 1], in nats.

    The scores [batch, time, vocabulary] of a large vocabulary are never there as a whole, and none
    are made of a token that the mask leaves out: 0 stands in its place.

    Args:
        model: A causal model: a body, `features`, and a linear `head` with a row a token.
        tokens: Token indices [batch, time].
        mask: True where a log-probability is asked for: [batch, time]; None asks for all.
    """
    asked = torch.ones_like(tokens[:, 1:], dtype=torch.bool) if mask is None else mask[:, 1:]
    row, column = asked.nonzero(as_tuple=True)
    read = int(column.max()) + 1 if len(column) else 1
    states = model.features(tokens[:, :read])[row, column]  # type: ignore[operator]
    found = _logprobs(model.head, states, tokens[row, column + 1])
    return found.new_zeros(asked.shape).index_put((row, column), found)


@torch.no_grad()
def logprobs_of(model: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    """As `token_logprobs`, without a gradient and for any number of rows: some at a time."""
    rows = max(1, MOST_PLACES // tokens.shape[1])
    parts = zip(tokens.split(rows), mask.split(rows), strict=True)
    return torch.cat([token_logprobs(model, *part) for part in parts])


def _logprobs(head: nn.Module | Tensor, states: Tensor, targets: Tensor) -> Tensor:
    """Of each target given a state, at once or in parts: [n]."""
    assert isinstance(head, nn.Linear)
    rows = max(1, MOST_SCORES // head.out_features)
    if len(targets) <= rows:
        return _at_once(head, states, targets)
    parts = zip(states.split(rows), targets.split(rows), strict=True)
    return torch.cat([checkpoint(_at_once, head, *part, use_reentrant=False) for part in parts])


def _at_once(head: nn.Module, states: Tensor, targets: Tensor) -> Tensor:
    scores = head(states)
    precise = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return -F.cross_entropy(precise, targets, reduction="none")
