"""Learning-rate schedules over all steps of a run, from torch's own pieces."""

from typing import Annotated

from annotated_types import Ge, Lt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

Share = Annotated[float, Ge(0), Lt(1)]
"""A share of all steps."""


def constant(optimizer: Optimizer, total_steps: int, *, warmup: Share = 0.0) -> LRScheduler | None:
    """The same learning rate after a linear warm-up over a share of all steps."""
    return _warmup(optimizer, round(warmup * total_steps)) if warmup else None


def cosine(optimizer: Optimizer, total_steps: int, *, warmup: Share = 0.05) -> LRScheduler:
    """Linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017, 1608.03983)."""
    steps = round(warmup * total_steps)
    falling = CosineAnnealingLR(optimizer, max(total_steps - steps, 1))
    if not steps:
        return falling
    return SequentialLR(optimizer, [_warmup(optimizer, steps), falling], [steps])


def one_cycle(optimizer: Optimizer, total_steps: int, *, warmup: Share = 0.3) -> LRScheduler:
    """Up to the learning rate and down to nearly zero (Smith & Topin 2018, 1708.07120)."""
    peak = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, peak, total_steps=total_steps, pct_start=warmup)


def _warmup(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=max(steps, 1))
