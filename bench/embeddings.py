"""Losses of all pairs of a batch beside pytorch-metric-learning's: time and memory.

Forward and backward pass on embeddings of 64 numbers in float32, one thread; four examples a class.
Of two views (InfoNCE) a batch of n has 2 n embeddings. A pass is measured in a process of its own,
with at most 14 GB: its memory is what the pass adds at its peak. Where the other library needs more
than that there is no ratio; its InfoNCE compares every positive pair with every negative one.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.measure import Row, Spread, cost_apart, print_cost, ratios
from objectives.contrastive import info_nce
from objectives.metric import contrastive_pair, ms_loss, triplet

SIZES = 512, 2048, 8192
DIM, PER_CLASS = 64, 4
LARGEST_MB = 2 << 10
ROUNDS = 3
LOSSES = "info_nce", "ms_loss", "contrastive_pair", "triplet"

Loss = Callable[[Tensor], Tensor]


def ours(name: str, labels: Tensor) -> Loss:
    losses: dict[str, Callable[..., Any]] = {
        "ms_loss": ms_loss,
        "contrastive_pair": contrastive_pair,
        "triplet": triplet,
    }
    if name == "info_nce":
        return lambda x: info_nce(*x.chunk(2), tau=0.1)[0].mean()
    return lambda x: mean_of(losses[name](x, labels))


def mean_of(result: Any) -> Tensor:
    values: Tensor = result[0] if isinstance(result, tuple) else result
    return values.mean()


def theirs(name: str, labels: Tensor) -> Loss:
    from pytorch_metric_learning import losses, miners

    if name == "ms_loss":
        loss, miner = losses.MultiSimilarityLoss(2, 40, 0.5), miners.MultiSimilarityMiner(0.1)
        return lambda x: loss(x, labels, miner(x, labels))
    made = {
        "contrastive_pair": partial(losses.ContrastiveLoss, 0, 1),
        "triplet": partial(losses.TripletMarginLoss, 0.2),
        "info_nce": partial(losses.NTXentLoss, 0.1),
    }[name]()
    return lambda x: made(x, labels)


def a_pass(whose: str, name: str, size: int) -> Callable[[], None]:
    """Forward and backward pass of a loss."""
    torch.set_num_threads(1)
    views = name == "info_nce"
    labels = torch.arange(size).repeat(2) if views else torch.arange(size) // PER_CLASS
    inputs = torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(0))
    loss = (ours if whose == "ours" else theirs)(name, labels)
    inputs.requires_grad_()
    return lambda: loss(inputs).backward()


def rows() -> list[Row]:
    """For each loss and size the ratio of times, our time and both peaks."""
    return [row for name in LOSSES for size in SIZES for row in compared(name, size)]


def compared(name: str, size: int) -> list[Row]:
    """The rows of one loss at one size."""
    what = f"{name} of {size:,}"
    passes = [
        [cost_apart("bench.embeddings", whose, name, size) for whose in ("ours", "theirs")]
        for _ in range(ROUNDS)
    ]
    mine = [one for one, _ in passes if one]
    others = [other for _, other in passes if other]
    peak = LARGEST_MB if size == max(SIZES) else None
    found = [
        Row(f"{what}: a pass", Spread.of([one.seconds for one in mine]), "s"),
        Row(f"{what}: memory", Spread.of([one.megabytes for one in mine]), "MB", peak),
    ]
    if len(others) < ROUNDS:
        return found
    times = ratios([one.seconds for one in mine], [other.seconds for other in others])
    memories = Spread.of([other.megabytes for other in others])
    return [
        Row(f"{what} / pytorch-metric-learning: time", times, "×", 1.0),
        *found,
        Row(f"{what}, pytorch-metric-learning: memory", memories, "MB"),
    ]


if __name__ == "__main__":
    print_cost(a_pass(sys.argv[1], sys.argv[2], int(sys.argv[3])))
