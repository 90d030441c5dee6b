"""Preference pairs of token sequences."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt
from torch import Tensor, nn

from objectives.domains import Share, checked
from tasks.models.transformer import PADDING
from tasks.nlp.judges import Judge, KnownReward
from tasks.nlp.sampling import OPEN, opened, sampled, written


@dataclass(frozen=True)
class Pairs:
    """Prompts with a chosen and a rejected response: tokens [n, time], masks true on responses."""

    chosen: Tensor
    rejected: Tensor
    chosen_mask: Tensor
    rejected_mask: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(*(column.to(device) for column in vars(self).values()))


class Written(NamedTuple):
    """Prompts with a response: tokens [batch, time], a mask that is true on the response."""

    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True)
class PairSet:
    """Preference pairs in three splits, over a vocabulary of `num_tokens`.

    Attributes:
        judge: Who can judge other responses to their prompts too; None where nobody can.
        end: The token that ends a response; None where all are of one length.
        tokenizer: The pretrained model whose tokens these are; "" where they are no such.
    """

    train: Pairs
    val: Pairs
    test: Pairs
    num_tokens: int
    judge: Judge | None = None
    end: int | None = None
    tokenizer: str = ""

    def to(self, device: torch.device) -> "PairSet":
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        judge = self.judge and self.judge.to(device)
        return replace(self, train=train, val=val, test=test, judge=judge)

    @torch.no_grad()
    def responses(
        self, model: nn.Module, prompts: Tensor, generator: torch.Generator | None, **how: float
    ) -> Written:
        """A model's own responses to prompts, with padding after what ends them.

        Args:
            model: Says what follows.
            prompts: Tokens, `OPEN` where it may write: [batch, time].
            generator: On the prompts' device; None where the likeliest are asked for.
            **how: Settings of `sampled`.
        """
        mode = model.training
        tokens = sampled(model.eval(), prompts, generator, end=self.end, **how)
        model.train(mode)
        mask = written(tokens, prompts, self.end)
        return Written(tokens.masked_fill((prompts == OPEN) & ~mask, PADDING), mask)


def given(pairs: Pairs) -> Tensor:
    """The prompts: tokens, `OPEN` behind them: [n, time]."""
    return opened(pairs.chosen, pairs.chosen_mask)


@cache
@checked
def synthetic_pairs(
    num_tokens: Annotated[int, Gt(1)] = 16,
    prompt: Annotated[int, Gt(0)] = 4,
    response: Annotated[int, Gt(1)] = 8,
    flip_rate: Share = 0.0,
) -> PairSet:
    """Random responses judged by a known reward, the same for every seed.

    A response's reward is the sum of fixed random scores of its tokens, in which the prompt's
    first token decides the sign: the same response can be good or bad. Responses have half to
    all of `response` tokens. A share `flip_rate` of the training pairs is labelled wrongly.
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(num_tokens, generator=generator)
    sizes = {"train": 2048, "val": 512, "test": 512}
    splits = {
        name: _judged(size, scores, prompt, response, flip_rate * (name == "train"), generator)
        for name, size in sizes.items()
    }
    train, val, test = splits.values()
    return PairSet(train, val, test, num_tokens, KnownReward(scores))


def _judged(
    size: int,
    scores: Tensor,
    prompt: int,
    response: int,
    flip_rate: float,
    generator: torch.Generator,
) -> Pairs:
    prompts = torch.randint(len(scores), (size, prompt), generator=generator)
    sign = (prompts[:, 0] % 2) * 2 - 1
    responses = torch.randint(len(scores), (2, size, response), generator=generator)
    lengths = torch.randint(response // 2, response + 1, (2, size, 1), generator=generator)
    written = torch.arange(response) < lengths
    reward = (scores[responses] * written).sum(dim=-1) * sign
    flipped = torch.rand(size, generator=generator) < flip_rate
    best = (reward[1] > reward[0]) ^ flipped
    rows = torch.arange(size)
    tokens = torch.cat([prompts.expand(2, -1, -1), responses * written], dim=-1)
    mask = torch.cat([torch.zeros(2, size, prompt, dtype=torch.bool), written], dim=-1)
    chosen, rejected = best.long(), 1 - best.long()
    return Pairs(
        tokens[chosen, rows], tokens[rejected, rows], mask[chosen, rows], mask[rejected, rows]
    )
