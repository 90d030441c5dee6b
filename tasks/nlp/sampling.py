"""Responses drawn from a language model."""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.transformer import PADDING

OPEN = -1
"""Stands behind a prompt, in each place where a response may be written."""

AT_ONCE = 2**16
"""Places of the rows that are written side by side: keys and values of all of them are kept."""


@torch.no_grad()
def sampled(
    model: nn.Module,
    prompts: Tensor,
    generator: torch.Generator | None,
    *,
    end: int | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Tensor:
    """Prompts and a response to each, up to the last place: [batch, time].

    Args:
        model: Says what follows; keys and values of what was read are kept.
        prompts: Token indices, and `OPEN` behind them: [batch, time].
        generator: On the prompts' device; what is drawn depends on it alone, where one is given.
        end: Ends a response; when all have ended there is padding behind them.
        temperature: Divides the scores; 0 takes the likeliest token always.
        top_p: The likeliest tokens that have so much probability together are drawn from.
    """
    rows = max(1, AT_ONCE // prompts.shape[1])
    parts = [_sampled(model, p, generator, end, temperature, top_p) for p in prompts.split(rows)]
    return torch.cat(parts)


def _sampled(
    model: nn.Module,
    prompts: Tensor,
    generator: torch.Generator | None,
    end: int | None,
    temperature: float,
    top_p: float,
) -> Tensor:
    """As `sampled`, all side by side: while one is written, a longer prompt is still read."""
    answers = prompts == OPEN
    first = int((~answers).all(dim=0).sum())
    tokens, past = prompts.masked_fill(answers, PADDING), list[Any]()
    read, ended = tokens[:, :first], ~answers[:, -1:]
    for place in range(first, prompts.shape[1]):
        if ended.all():
            break
        scores = model.following(read, past).float()  # type: ignore[operator]
        here, said = slice(place, place + 1), drawn(scores, generator, temperature, top_p)
        tokens[:, here] = read = said.where(answers[:, here], tokens[:, here])
        ended = ended if end is None else ended | (answers[:, here] & (read == end))
    return tokens


def drawn(
    scores: Tensor, generator: torch.Generator | None, temperature: float, top_p: float
) -> Tensor:
    """A token for each row of scores, the last one where these are not finite: [batch, 1]."""
    if temperature == 0:
        return scores.argmax(dim=-1, keepdim=True)
    probabilities = nucleus((scores / temperature).softmax(dim=-1), top_p)
    up_to = probabilities.cumsum(dim=-1, dtype=torch.float64)
    share = 1 - torch.rand(len(scores), 1, generator=generator, device=scores.device).double()
    return torch.searchsorted(up_to, share * up_to[:, -1:]).clamp_max(scores.shape[-1] - 1)


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


def opened(tokens: Tensor, mask: Tensor) -> Tensor:
    """The prompts of responses, on which the mask is true: `OPEN` from there on: [batch, time]."""
    return tokens.masked_fill(mask.cumsum(dim=1) > 0, OPEN)


def written(tokens: Tensor, prompts: Tensor, end: int | None) -> Tensor:
    """True on the responses to prompts, up to the token that ends each: [batch, time]."""
    answers = prompts == OPEN
    if end is None:
        return answers
    ends = ((tokens == end) & answers).int()
    return answers & (ends.cumsum(dim=1) - ends == 0)
