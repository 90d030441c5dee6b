"""Responses drawn from a language model."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def sampled(
    model: nn.Module,
    prompts: Tensor,
    length: int,
    generator: torch.Generator | None,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Tensor:
    """Prompts [batch, time] and a response of `length` tokens to each.

    Args:
        model: Says what follows; keys and values of what was read are kept.
        prompts: Token indices.
        length: Tokens of a response.
        generator: On the prompts' device; what is drawn depends on it alone, where one is given.
        temperature: Divides the scores; 0 takes the likeliest token always.
        top_p: The likeliest tokens that have so much probability together are drawn from.
    """
    tokens, read, past = prompts, prompts, list[list[Tensor]]()
    for _ in range(length):
        scores = model.following(read, past).float()  # type: ignore[operator]
        read = drawn(scores, generator, temperature, top_p)
        tokens = torch.cat([tokens, read], dim=1)
    return tokens


def drawn(
    scores: Tensor, generator: torch.Generator | None, temperature: float, top_p: float
) -> Tensor:
    """A token for each row of scores: [batch, 1]."""
    if temperature == 0:
        return scores.argmax(dim=-1, keepdim=True)
    probabilities = nucleus((scores / temperature).softmax(dim=-1), top_p)
    return torch.multinomial(probabilities, 1, generator=generator)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Probabilities, 0 but for the fewest of the largest that reach `top_p` together.

    Source:
        Holtzman et al. 2020, arXiv:1904.09751.
    """
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(ordered).scatter(-1, order, ordered * (before < top_p))


def written(tokens: Tensor, start: int, end: int | None) -> Tensor:
    """True on a response's tokens, from a place up to the one that ends it: [batch, time]."""
    answered = (torch.arange(tokens.shape[1], device=tokens.device) >= start).expand_as(tokens)
    if end is None:
        return answered
    ends = ((tokens == end) & answered).int()
    return answered & (ends.cumsum(dim=1) - ends == 0)
