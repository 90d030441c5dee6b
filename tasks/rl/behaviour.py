"""What other policies have left behind: episodes of several skills, for offline learning.

They are played anew rather than kept on disk: a hundred episodes take a second, and are the same
for the same seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from objectives.domains import Count, checked
from objectives.errors import InputError
from tasks.rl.environments import Environment, bounds, environment
from tasks.rl.episodes import FIRST_SEED, SEEDS_PER_RUN, Act, Episode, play

SKILLS = {"random": 0.0, "medium": 0.4, "expert": 1.0}
"""Shares of the actions that are the controller's; the others are drawn at random."""

REFERENCES = 50
"""Episodes by which 0 and 100 of the normalised return are measured."""


@dataclass(frozen=True)
class Trajectories:
    """Transitions of whole episodes, one episode after another.

    Attributes:
        environment: What they are of.
        low: The lowest action.
        high: The highest action.
        worst: The return that is 0 when normalised.
        best: The return that is 100 when normalised.
        observations: Observations [n, ...].
        actions: Actions [n, dims] from -1, the lowest, to 1, the highest.
        rewards: Rewards [n].
        next_observations: Observations after the step [n, ...], before any reset.
        terminated: 1 where the step ended the episode [n]; a time limit is no end.
        lengths: Steps of each episode.
    """

    environment: Environment
    low: np.ndarray
    high: np.ndarray
    worst: float
    best: float
    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.rewards)

    def to(self, device: torch.device) -> "Trajectories":
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    @property
    def returns(self) -> Tensor:
        """The sum of each episode's rewards."""
        parts = self.rewards.split(self.lengths.tolist())
        return torch.stack([part.sum() for part in parts])

    @property
    def starts(self) -> Tensor:
        """The observation at which each episode began."""
        return self.observations[self.lengths.cumsum(0) - self.lengths]

    def played(self, actions: Tensor) -> np.ndarray:
        """Actions in [-1, 1] as the environment counts them."""
        half = (self.high - self.low) / 2
        return self.low + (actions.cpu().numpy().reshape(-1, *self.low.shape) + 1) * half


@lru_cache(maxsize=16)
@checked
def collect(
    env: str,
    controller: Act,
    seed: int,
    *,
    episodes: Count = 100,
    random: Annotated[float, Ge(0)] = 0.0,
    medium: Annotated[float, Ge(0)] = 0.0,
    expert: Annotated[float, Ge(0)] = 0.0,
) -> Trajectories:
    """Play episodes of policies of three skills, in the proportion of their weights.

    Args:
        env: Gymnasium id of an environment whose actions are a vector with bounds.
        controller: The expert. It has all actions of an expert, two of five of one of medium
            skill, and none of the random policy; all others are uniform.
        seed: Decides the episodes and the random actions.
        episodes: Episodes in all.
        random: Weight of the random policy.
        medium: Weight of a medium one.
        expert: Weight of the expert.

    Raises:
        InputError: The environment or the controller does not fit, or all weights are 0.
    """
    weights = {"random": random, "medium": medium, "expert": expert}
    made, total = environment(env), sum(weights.values())
    if total == 0:
        raise InputError("behaviour is of nobody: give random, medium or expert a weight above 0.")
    low, high = bounds(made)
    ends = np.round(np.cumsum(list(weights.values())) / total * episodes)
    level = np.searchsorted(ends, np.arange(episodes), side="right")
    skills = np.array([SKILLS[name] for name in weights])[level]
    act = mixed(controller, skills, low, high, seed)
    first = FIRST_SEED["train"] + seed * SEEDS_PER_RUN
    return joined(made, play(made, act, episodes, first), *references(env, controller))


def mixed(controller: Act, skills: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int) -> Act:
    """A policy for each of several episodes: each action the controller's with a probability.

    Args:
        controller: The expert.
        skills: That probability, one an episode.
        low: The lowest action.
        high: The highest action.
        seed: Decides which actions are random, and these.
    """
    generator = np.random.default_rng([seed, len(skills)])

    def act(observations: np.ndarray) -> np.ndarray:
        anything = generator.uniform(low, high, (len(skills), *low.shape)).astype(low.dtype)
        chosen = generator.random(len(skills)) < skills
        return np.where(chosen.reshape(-1, *[1] * low.ndim), controller(observations), anything)

    return act


@cache
def references(env: str, controller: Act) -> tuple[float, float]:
    """Mean returns of the random policy and of the controller.

    Raises:
        InputError: The controller is no better than the random policy.
    """
    made = environment(env)
    low, high = bounds(made)
    means = []
    for skill in (0.0, 1.0):
        act = mixed(controller, np.full(REFERENCES, skill), low, high, seed=0)
        played = play(made, act, REFERENCES, FIRST_SEED["reference"])
        means.append(float(np.mean([episode.total for episode in played])))
    worst, best = means
    if best <= worst:
        raise InputError(
            f"the controller is no expert of {env}: its mean return is {best:.4g}, that of random "
            f"actions {worst:.4g}. Choose controller._target_=... for it."
        )
    return worst, best


def joined(
    environment: Environment, episodes: Sequence[Episode], worst: float, best: float
) -> Trajectories:
    """Episodes one after another, their actions from -1 to 1.

    Raises:
        InputError: The environment's actions are no vector with bounds.
    """
    low, high = bounds(environment)

    def column(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(e, name) for e in episodes])).float()

    half = torch.from_numpy((high - low) / 2)
    actions = (column("actions") - torch.from_numpy(low)) / half - 1
    return Trajectories(
        environment,
        low,
        high,
        worst,
        best,
        column("observations"),
        actions.clamp(-1, 1).flatten(1),
        column("rewards"),
        column("next_observations"),
        column("terminated"),
        torch.tensor([len(e.rewards) for e in episodes]),
    )
