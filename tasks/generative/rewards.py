"""What samples are worth: functions of a point, and models of what an image shows."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from objectives.domains import checked
from objectives.errors import InputError
from tasks.generative.samples import Samples

Reward = Callable[[Tensor], Tensor]
"""From samples [n, *shape] to what each is worth [n]."""

MakeReward = Callable[[Samples], Reward]
"""Makes the function of samples from the data."""


def rewards_of(reward: Reward, samples: Tensor) -> Tensor:
    """What each sample is worth.

    Raises:
        InputError: The reward is not one finite number for each sample that is finite.
    """
    rewards = reward(samples)
    if rewards.shape != samples.shape[:1]:
        raise InputError(
            f"the reward of {len(samples)} samples has the shape {tuple(rewards.shape)}, expected "
            f"({len(samples)},): one number for each."
        )
    if samples.isfinite().all() and not rewards.isfinite().all():
        unknown = int((~rewards.isfinite()).sum())
        raise InputError(f"the reward of {unknown} of {len(samples)} samples is not finite.")
    return rewards


def nearness(data: Samples, *, target: Sequence[float]) -> Reward:
    """Minus the distance to a point.

    Raises:
        InputError: The point is not of the data's dimensions.
    """
    shape = tuple(data.train.shape[1:])
    point = torch.tensor(list(target), dtype=torch.float32, device=data.train.device)
    if tuple(point.shape) != shape:
        raise InputError(f"target={list(target)} is no point among data of shape {shape}.")
    return lambda samples: -(samples - point).flatten(1).norm(dim=1)


@checked
def class_logprob(data: Samples, *, wanted: Annotated[int, Ge(0)]) -> Reward:
    """Log-probability, in nats, of a class by a logistic regression on the training images.

    What is blacker than black or whiter than white counts as these, so that no reward is to be had
    beyond them.

    Raises:
        InputError: The data have no labels, or no such class.
    """
    from sklearn.linear_model import LogisticRegression

    if data.labels is None:
        raise InputError("these data have no labels for a reward model to learn.")
    classes = data.labels.unique().tolist()
    if wanted not in classes:
        raise InputError(f"wanted={wanted} is no class; there are {classes}.")
    fitted = LogisticRegression(max_iter=1000).fit(data.train.flatten(1).cpu(), data.labels.cpu())
    weights, offsets = (
        torch.from_numpy(part).float().to(data.train.device)
        for part in (fitted.coef_, fitted.intercept_)
    )
    column = classes.index(wanted)

    def logprob(samples: Tensor) -> Tensor:
        shown = samples.clamp(-1, 1).flatten(1)
        return (shown @ weights.T + offsets).log_softmax(1)[:, column]

    return logprob
