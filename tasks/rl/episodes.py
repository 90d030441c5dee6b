"""Whole episodes of a policy that is given as a function."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.rl.environments import Actors, Environment

FIRST_SEED = {"val": 0, "reference": 500_000, "test": 1_000_000, "train": 2_000_000}
"""Episodes of one split never share a seed with those of another."""

SEEDS_PER_RUN = 10_000_000

Act = Callable[[np.ndarray], np.ndarray]
"""From the observations [episodes, ...] to the actions [episodes, ...]."""


@dataclass(frozen=True)
class Episode:
    """All steps of an episode, time first."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminated: np.ndarray

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    def discounted(self, discount: float) -> float:
        """The sum of the rewards, each step worth less than the one before."""
        return float(self.rewards @ discount ** np.arange(len(self.rewards)))


def play(environment: Environment, act: Act, count: int, first_seed: int) -> list[Episode]:
    """Play episodes side by side to their ends, each with a seed of its own."""
    actors = Actors(environment, count, first_seed)
    lengths, running, steps = np.zeros(count, int), np.ones(count, bool), []
    while running.any():
        seen = actors.observations.copy()
        actions = act(seen)
        step = actors.step(actions)
        steps.append((seen, actions, step.rewards, step.observations, step.terminated))
        lengths += running
        running &= ~(step.terminated | step.truncated)
    columns = [np.stack(column, axis=1) for column in zip(*steps, strict=True)]
    return [
        Episode(*(column[number, :length] for column in columns))
        for number, length in enumerate(lengths)
    ]
