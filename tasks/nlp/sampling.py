"""Responses drawn from a language model."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def sampled(model: nn.Module, prompts: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Prompts [batch, time] and a response of `length` tokens to each, at temperature 1.

    Args:
        model: Scores of each next token: [batch, time] to [batch, time, vocabulary].
        prompts: Token indices.
        length: Tokens of a response.
        generator: On the prompts' device; what is drawn depends on it alone.
    """
    tokens = prompts
    for _ in range(length):
        probabilities = model(tokens)[:, -1].float().softmax(dim=-1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        tokens = torch.cat([tokens, drawn], dim=1)
    return tokens
