"""Sampling of transitions by how good the episode is that they are of."""

from collections.abc import Callable, Iterator
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from objectives.errors import InputError
from tasks.rl.behaviour import Trajectories
from tasks.sampling import Sampler, generator_of

Score = Callable[[Trajectories], Tensor]
"""How good each episode is: from the data to one number an episode."""


class TrajectoryWeighted(Sampler):
    """Transitions drawn with replacement, those of good episodes more often.

    p(transition of episode i) = exp(u_i / tau) / sum_j length_j exp(u_j / tau),
    u = (score - least score) / (greatest - least), all 0 where the scores are the same

    An epoch is as many batches as hold the set once; which of its transitions they hold is left
    to chance.

    Args:
        split: The episodes.
        batch_size: Transitions of a batch.
        seed: Decides what is drawn.
        device: Where the positions are wanted.
        score: How good an episode is: `returns` or `advantages`.
        tau: Temperature; tau -> 0 draws from the best episodes alone, tau -> infinity from all
            transitions alike.

    Raises:
        InputError: There are no episodes.

    Source:
        Hong et al. 2023, arXiv:2306.13085, which calls the temperature alpha. One example of the
        official code takes the scores as they are.
    """

    def __init__(
        self,
        split: Trajectories,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        score: Score,
        tau: Annotated[float, Gt(0)] = 0.1,
    ):
        if not isinstance(split, Trajectories):
            raise InputError(
                "sampler=harness_traj_weighting draws from episodes by how good they are, which "
                "task=offline alone has."
            )
        self.probabilities = probabilities(score(split), split.lengths, tau).cpu()
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.steps_per_epoch = -(-len(split) // batch_size)

    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        return (self._batch(epoch, number) for number in range(start, self.steps_per_epoch))

    def _batch(self, epoch: int, number: int) -> Tensor:
        generator = generator_of(self.seed, epoch, number)
        drawn = torch.multinomial(self.probabilities, self.batch_size, True, generator=generator)
        return drawn.to(self.device)


def probabilities(scores: Tensor, lengths: Tensor, tau: float) -> Tensor:
    """The probability of each transition, in float64: see `TrajectoryWeighted`."""
    scores = scores.double()
    spread = scores.max() - scores.min()
    unit = (scores - scores.min()) / torch.where(spread > 0, spread, 1.0)
    return (unit / tau).repeat_interleave(lengths).softmax(dim=0)


def returns(data: Trajectories) -> Tensor:
    """The sum of each episode's rewards."""
    return data.returns


def advantages(data: Trajectories) -> Tensor:
    """Each episode's return, less what a linear regression expects from its first observation."""
    seen, gained = data.starts.flatten(1).double(), data.returns.double()
    seen, gained = seen - seen.mean(dim=0), gained - gained.mean()
    return gained - seen @ (torch.linalg.pinv(seen) @ gained)
