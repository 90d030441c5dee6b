"""Preference pairs of token sequences."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt, Len
from pydantic import Strict
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.errors import InputError
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


Range = Annotated[tuple[Annotated[float, Ge(0)], float], Strict(False)]
"""A least value and a largest one."""

SIZES = {"train": 2048, "val": 512, "test": 512}

ROUNDS = 100
"""Times that so many pairs are drawn as there are to be, to find those of a range of margins."""


class Drawn(NamedTuple):
    """Two responses to each prompt: tokens and masks [2, n, time], their rewards [2, n]."""

    tokens: Tensor
    mask: Tensor
    rewards: Tensor


@checked
def synthetic_pairs(
    num_tokens: Annotated[int, Gt(1)] = 16,
    prompt_length: Count = 4,
    response_length: Annotated[int, Gt(1)] = 8,
    flip_rate: Share = 0.0,
    margins: Annotated[list[Range], Len(1)] | None = None,
) -> PairSet:
    """Random responses judged by a known reward, the same for every seed.

    A response's reward is the sum of fixed random scores of its tokens, in which the prompt's
    first token decides the sign: the same response can be good or bad.

    Args:
        num_tokens: Of the vocabulary.
        prompt_length: Of every prompt, in tokens.
        response_length: Of the longest responses, in tokens; the shortest have half as many.
        flip_rate: Share of the training pairs that is labelled wrongly.
        margins: Ranges of the difference between the rewards of a training pair's responses, each
            for an equal share of the pairs; None leaves it to chance.

    Raises:
        InputError: A range holds nothing, or too few random pairs.
    """
    generator, others = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    scores = torch.randn(num_tokens, generator=generator)
    how = scores, prompt_length, response_length
    splits: list[Pairs] = []
    for name, size in SIZES.items():
        drawn, chance = _drawn(size, *how, generator), torch.rand(size, generator=generator)
        if margins and name == "train":
            drawn = _apart(margins, size, partial(_drawn, size, *how, others))
        splits.append(_labelled(drawn, chance < flip_rate * (name == "train")))
    train, val, test = splits
    return PairSet(train, val, test, num_tokens, KnownReward(scores))


def _drawn(
    size: int, scores: Tensor, prompt: int, response: int, generator: torch.Generator
) -> Drawn:
    prompts = torch.randint(len(scores), (size, prompt), generator=generator)
    sign = (prompts[:, 0] % 2) * 2 - 1
    responses = torch.randint(len(scores), (2, size, response), generator=generator)
    lengths = torch.randint(response // 2, response + 1, (2, size, 1), generator=generator)
    written = torch.arange(response) < lengths
    rewards = (scores[responses] * written).sum(dim=-1) * sign
    tokens = torch.cat([prompts.expand(2, -1, -1), responses * written], dim=-1)
    mask = torch.cat([torch.zeros(2, size, prompt, dtype=torch.bool), written], dim=-1)
    return Drawn(tokens, mask, rewards)


def _apart(margins: list[Range], size: int, draw: Callable[[], Drawn]) -> Drawn:
    """So many pairs, an equal share of each range of margins."""
    shares = torch.arange(size).tensor_split(len(margins))
    parts = [_within(*ends, len(share), draw) for ends, share in zip(margins, shares, strict=True)]
    return Drawn(*(torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)))


def _within(least: float, most: float, size: int, draw: Callable[[], Drawn]) -> Drawn:
    """So many pairs of a range of margins.

    Raises:
        InputError: It holds nothing, or too few random pairs.
    """
    if least >= most:
        raise InputError(f"margins=[[{least}, {most}]] holds nothing: name the smaller end first.")
    found, farthest = [], 0.0
    for _ in range(ROUNDS):
        drawn = draw()
        margin = (drawn.rewards[0] - drawn.rewards[1]).abs()
        found.append([column[:, (least <= margin) & (margin <= most)] for column in drawn])
        farthest = max(farthest, margin.max().item())
        if sum(tokens.shape[1] for tokens, *_ in found) >= size:
            return Drawn(*(torch.cat(c, dim=1)[:, :size] for c in zip(*found, strict=True)))
    raise InputError(
        f"margins=[[{least}, {most}]] holds too few pairs: the rewards of random responses are "
        f"up to {farthest:.1f} apart; name a wider range, or a larger response_length."
    )


def _labelled(drawn: Drawn, flipped: Tensor) -> Pairs:
    """What is worth more as the chosen response, where it is not flipped."""
    best = ((drawn.rewards[1] > drawn.rewards[0]) ^ flipped).long()
    rows, (tokens, mask, _) = torch.arange(len(best)), drawn
    return Pairs(tokens[best, rows], tokens[1 - best, rows], mask[best, rows], mask[1 - best, rows])
