"""Losses of all pairs of a batch beside a library's: time and memory.

Forward and backward pass on embeddings of 64 numbers in float32, one thread; four examples a class.
Of two views (info_nce, isogclr) a batch of n has 2 n embeddings; metrix has as many mixtures as
examples. A pass of ours and one of the library's take turns in a process of their own, with at most
14 GB: time is that of the processor, memory what the pass adds at its peak. That both are the same
loss is checked on 512, by the gradient; where the library needs more than 14 GB there is no ratio.

pytorch-metric-learning's NTXentLoss, which compares every positive pair with every negative one,
needs more even at 512; its SupConLoss, with an example's number for the label, is the same loss.
LibAUC's GCLoss_v1 with individual temperatures is iSogCLR; LibAUC asks for torchvision, which it
does not use there: pip install --no-deps libauc. No library has metrix.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.measure import Cost, Row, Spread, cost_of, ratios, tell, told
from objectives.contrastive import ISogCLR, info_nce
from objectives.metric import contrastive_pair, ms_loss, triplet
from objectives.metric_mixup import metrix, metrix_contrastive

ROUNDS = {512: 5, 2048: 3, 8192: 2}
"""By size of the batch."""
SMALL, DIM, PER_CLASS = 64, 64, 4
LARGEST_MB, CLOSE = 2 << 10, 1e-5
LIBRARIES = {
    "info_nce": "pytorch_metric_learning",
    "isogclr": "libauc",
    "ms_loss": "pytorch_metric_learning",
    "contrastive_pair": "pytorch_metric_learning",
    "triplet": "pytorch_metric_learning",
}
VIEWS = "info_nce", "isogclr"
LOSSES = (*LIBRARIES, "metrix", "metrix_contrastive")

Loss = Callable[[Tensor], Any]


def ours(name: str, labels: Tensor) -> Loss:
    if name == "info_nce":
        return lambda x: info_nce(*x.chunk(2), tau=0.1)
    if name == "isogclr":
        index = labels.chunk(2)[0]
        loss = ISogCLR(num_examples=len(index))
        return lambda x: loss(*x.chunk(2), index)
    if name in ("metrix", "metrix_contrastive"):
        return mixed({"metrix": metrix, "metrix_contrastive": metrix_contrastive}[name], labels)
    losses: dict[str, Callable[..., Any]] = {
        "ms_loss": ms_loss,
        "contrastive_pair": contrastive_pair,
        "triplet": triplet,
    }
    return lambda x: losses[name](x, labels)


def mixed(loss: Callable[..., Any], labels: Tensor) -> Loss:
    """With mixtures of each embedding and another one."""
    index = torch.arange(len(labels))
    pairs = torch.stack([index, index.roll(1)], dim=1)
    shares = torch.rand(len(labels), generator=torch.Generator().manual_seed(0))

    def value(x: Tensor) -> Any:
        mixtures = torch.lerp(x.roll(1, 0), x, shares[:, None])
        return loss(x, labels, index, mixtures, labels[pairs], pairs, shares)

    return value


def theirs(name: str, labels: Tensor) -> Loss:
    if name == "isogclr":
        return libauc(labels.chunk(2)[0])
    from pytorch_metric_learning import losses, miners

    if name == "ms_loss":
        loss, miner = losses.MultiSimilarityLoss(2, 40, 0.5), miners.MultiSimilarityMiner(0.1)
        return lambda x: loss(x, labels, miner(x, labels))
    made = {
        "contrastive_pair": partial(losses.ContrastiveLoss, 0, 1),
        "triplet": partial(losses.TripletMarginLoss, 0.2),
        "info_nce": partial(losses.SupConLoss, 0.1),
    }[name]()
    return lambda x: made(x, labels)


def libauc(index: Tensor) -> Loss:
    """With the defaults of ours."""
    from libauc.losses import GCLoss_v1

    with contextlib.redirect_stdout(None):  # it says what it is
        loss = GCLoss_v1(len(index), tau=0.07, gamma=0.8, device="cpu", enable_isogclr=True)
    return lambda x: loss(*x.chunk(2), index)


def a_pass(whose: str, name: str, size: int) -> tuple[Callable[[], None], Tensor]:
    """Forward and backward pass of a loss, and what gets the gradient."""
    views = name in VIEWS
    labels = torch.arange(size).repeat(2) if views else torch.arange(size) // PER_CLASS
    inputs = torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(0))
    inputs.requires_grad_()
    loss = (ours if whose == "ours" else theirs)(name, labels)

    def run() -> None:
        inputs.grad = None
        result = loss(inputs)
        (result[0] if isinstance(result, tuple) else result).mean().backward()

    return run, inputs


def rows() -> list[Row]:
    """For each loss and size the ratio of times, our time and both peaks."""
    return [row for name in LOSSES for size in ROUNDS for row in compared(name, size)]


def compared(name: str, size: int) -> list[Row]:
    """The rows of one loss at one size."""
    costs: dict[str, list[Cost]] = {"ours": [], "theirs": []}
    for whose, seconds, megabytes in told("bench.embeddings", name, size):
        costs[whose].append(Cost(float(seconds), float(megabytes)))
    (seconds, megabytes), (others, other_megabytes) = (
        ([cost.seconds for cost in side], [cost.megabytes for cost in side])
        for side in costs.values()
    )
    what, library = f"{name} of {size:,}", LIBRARIES.get(name, "").replace("_", "-")
    peak = LARGEST_MB if size == max(ROUNDS) else None
    found = [
        Row(f"{what}: a pass", Spread.of(seconds), "s"),
        Row(f"{what}: memory", Spread.of(megabytes), "MB", peak),
    ]
    if len(others) < ROUNDS[size]:
        return found
    return [
        Row(f"{what} / {library}: time", ratios(seconds, others), "×", 1.0),
        *found,
        Row(f"{what}, {library}: memory", Spread.of(other_megabytes), "MB"),
    ]


def tell_costs(name: str, size: int) -> None:
    """Passes in turn, for `compared` to read; of the library's until one takes too much memory."""
    torch.set_num_threads(1)
    both = ["ours"]
    if name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]):
        both.append("theirs")
    for whose in both:
        a_pass(whose, name, SMALL)[0]()
    if size == min(ROUNDS):
        agree(name, both)
    runs = {whose: a_pass(whose, name, size)[0] for whose in both}
    for number in range(ROUNDS[size]):
        for whose in list(runs)[:: 1 - 2 * (number % 2)]:
            try:
                tell(whose, *cost_of(runs[whose]))
            except (MemoryError, RuntimeError) as error:
                if whose == "ours" or "memory" not in str(error):
                    raise
                del runs[whose]


def agree(name: str, both: list[str]) -> None:
    """Both have the same gradient on the smallest batch.

    Raises:
        AssertionError: They have not.
    """
    gradients = []
    for whose in both:
        run, inputs = a_pass(whose, name, min(ROUNDS))
        run()
        gradients.append(inputs.grad)
    off = (gradients[0] - gradients[-1]).abs().max() / gradients[-1].abs().max()
    if not off <= CLOSE:
        raise AssertionError(f"{name} is not {LIBRARIES[name]}'s: {off.item():.2g} apart")


if __name__ == "__main__":
    tell_costs(sys.argv[1], int(sys.argv[2]))
