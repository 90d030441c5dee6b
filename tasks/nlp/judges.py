"""Judges of responses: what an oracle of preferences says, and how it comes to it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Judge(ABC):
    """Says of two responses to one prompt how probably the first is preferred.

    Tokens [batch, time] hold prompt and response; the mask is true on the response.
    """

    best: ClassVar[str] = "best_of"
    """What the reward of the best of some responses is called, their number behind it."""

    def preference(self, first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
        """Probability that the first one is preferred, the one that is worth more: [batch]."""
        lead = self.reward(first, mask) - self.reward(second, mask)
        return (1 + lead.sign()) / 2

    @abstractmethod
    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What each response is worth by itself: [batch]."""

    def shown(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What it says of responses by themselves, on average."""
        return {}

    def to(self, device: torch.device) -> Self:
        return type(self)(*(column.to(device) for column in vars(self).values()))


class Checker(Judge):
    """Reads a response: its reward is 1 where it is right, and 0 else."""

    best = "pass_at"

    def shown(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"accuracy": self.reward(tokens, mask).mean()}

    def to(self, device: torch.device) -> Self:
        return self


@dataclass(frozen=True)
class KnownReward(Judge):
    """The sum of the tokens' scores, of which the prompt's first token decides the sign."""

    scores: Tensor

    def shown(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"true_reward": self.reward(tokens, mask).mean()}

    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        sign = (tokens[..., 0] % 2) * 2 - 1
        return (self.scores[tokens] * mask).sum(dim=-1) * sign


@dataclass(frozen=True)
class WinMatrix(Judge):
    """The probability `wins[a, b]` that last token a is preferred to b: any game of two players."""

    wins: Tensor

    def preference(self, first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
        return self.wins[first[:, -1], second[:, -1]]

    def reward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """How often the action wins against all actions alike."""
        return self.wins.mean(dim=1)[tokens[:, -1]]
