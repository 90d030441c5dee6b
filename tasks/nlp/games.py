"""Games of two players as preferences that may go in a circle."""

from functools import cache
from typing import Annotated

import torch
from annotated_types import Gt, Interval

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.nlp.judges import WinMatrix
from tasks.nlp.pairs import Pairs, PairSet

HELD_OUT = 256
"""Pairs of a split that is not trained on."""


@cache
@checked
def rock_paper_scissors(
    actions: Annotated[int, Gt(2)] = 3,
    win: Annotated[float, Interval(gt=0.5, le=1)] = 1.0,
    size: Count = 1024,
) -> PairSet:
    """Actions of which each beats the half that follows it, with probability `win`.

    A response is one action, the prompt always the same; `size` pairs are played at a time.

    Raises:
        InputError: The number of actions is even.
    """
    if actions % 2 == 0:
        raise InputError(f"actions={actions} must be odd: each beats as many as beat it.")
    places = torch.arange(actions)
    ahead = (places[:, None] - places) % actions
    sign = torch.where(ahead == 0, 0, torch.where(ahead <= actions // 2, 1, -1))
    judge = WinMatrix(0.5 + sign * (win - 0.5))
    generator = torch.Generator().manual_seed(0)
    train, val, test = (_played(judge, n, generator) for n in (size, HELD_OUT, HELD_OUT))
    return PairSet(train, val, test, actions, judge)


def _played(judge: WinMatrix, size: int, generator: torch.Generator) -> Pairs:
    """Actions drawn uniformly, judged once."""
    mask = torch.tensor([False, True]).expand(size, 2)
    first, second = torch.randint(len(judge.wins), (2, size, 1), generator=generator)
    first, second = (torch.cat([torch.zeros_like(a), a], dim=1) for a in (first, second))
    won = torch.rand(size, generator=generator) < judge.preference(first, second, mask)
    chosen, rejected = first.where(won[:, None], second), second.where(won[:, None], first)
    return Pairs(chosen, rejected, mask, mask)
