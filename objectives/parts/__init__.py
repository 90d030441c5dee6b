"""What policy gradients on groups of responses are put together from; a YAML names one of each.

`advantages`, `surrogates`, `aggregates` and `divergences` hold nothing but such functions.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Float[Tensor, "batch time"]
Mask = Bool[Tensor, "batch time"]
Values = Float[Tensor, " batch"]
Groups = Int[Tensor, " batch"]


def group_sum(values: Values, group: Groups) -> Values:
    """The sum over each response's group."""
    numbers = group.unique(return_inverse=True)[1]
    return torch.zeros_like(values).index_add(0, numbers, values)[numbers]


def group_mean(rewards: Values, group: Groups) -> Values:
    """The mean of each response's group."""
    return group_sum(rewards, group) / group_sum(torch.ones_like(rewards), group)


def total(values: Tokens, mask: Mask) -> Values:
    """The sum of each response's tokens."""
    return torch.where(mask, values, 0.0).sum(dim=1)


def share(values: Tensor, mask: Mask) -> Tensor:
    """The mean over the tokens of all responses."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
