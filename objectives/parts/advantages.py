"""From the rewards of responses and their groups to what each response is worth."""

import torch

from objectives.parts import Groups, Values, group_mean, group_sum

SMALL = 1e-6
"""Added to a deviation."""


def centred(rewards: Values, group: Groups) -> Values:
    """Rewards less their group's mean."""
    return rewards - group_mean(rewards, group)


def standardized(rewards: Values, group: Groups) -> Values:
    """Rewards less their group's mean, over its sample deviation; 0 where all are equal."""
    difference, size = centred(rewards, group), group_sum(torch.ones_like(rewards), group)
    variance = group_sum(difference**2, group) / (size - 1).clamp_min(1)
    deviation = variance.where(variance > 0, 1.0).sqrt()  # whose slope at 0 is infinite
    return difference / (deviation + SMALL)


def leave_one_out(rewards: Values, group: Groups) -> Values:
    """Rewards less the mean of the others of their group; 0 where there is no other."""
    size = group_sum(torch.ones_like(rewards), group)
    return centred(rewards, group) * size / (size - 1).clamp_min(1)


def beside_the_best(rewards: Values, group: Groups, *, best: float = 1.0) -> Values:
    """As `standardized`, in a group that has one response more, of reward `best`.

    A group that is wrong as a whole has negative advantages, one that is right as a whole none.
    """
    size = group_sum(torch.ones_like(rewards), group) + 1
    mean = (group_sum(rewards, group) + best) / size
    squares = group_sum((rewards - mean) ** 2, group) + (best - mean) ** 2
    return (rewards - mean) / ((squares / (size - 1)).sqrt() + SMALL)
