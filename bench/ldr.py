"""`ldr` beside torch's cross-entropy, and beside its own formula written down as it stands.

Forward and backward pass of the mean over a batch of 1,024 examples of 1,000 classes in float32.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.measure import Row, Spread, interleaved, ratios
from objectives.noise_robust import ldr

LIMIT = 1.5
BATCH, CLASSES, TAU, MARGIN = 1024, 1000, 0.5, 0.3
ROUNDS, PASSES = 100, 10

Loss = Callable[[Tensor, Tensor], Tensor]


def as_written(logits: Tensor, labels: Tensor, *, tau: float, margin: float) -> Tensor:
    """tau * log mean_j exp((f_j - f_y + margin * [j != y]) / tau)."""
    leads = logits - logits.gather(1, labels[:, None])
    others = 1 - F.one_hot(labels, logits.shape[1])
    return tau * torch.exp((leads + margin * others) / tau).mean(dim=1).log()


LOSSES: dict[str, Loss] = {
    "cross_entropy": partial(F.cross_entropy, reduction="none"),
    "ldr": partial(ldr, tau=TAU),
    "ldr with a margin": partial(ldr, tau=TAU, margin=MARGIN),
    "ldr's formula as written": partial(as_written, tau=TAU, margin=0.0),
    "ldr's formula with a margin": partial(as_written, tau=TAU, margin=MARGIN),
}


def rows() -> list[Row]:
    """Each loss as a ratio to cross-entropy, and the time of that."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, CLASSES, generator=generator).requires_grad_()
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)

    def passes(loss: Loss) -> None:
        for _ in range(PASSES):
            logits.grad = None
            loss(logits, labels).mean().backward()

    def prepared(loss: Loss) -> Callable[[], None]:
        passes(loss)  # the allocator settles on what this loss needs
        return partial(passes, loss)

    seconds = interleaved({n: partial(prepared, loss) for n, loss in LOSSES.items()}, ROUNDS)
    baseline = seconds.pop("cross_entropy")
    compared = [
        Row(
            f"{name} / cross_entropy",
            ratios(values, baseline),
            "×",
            LIMIT if name == "ldr" else None,
        )
        for name, values in seconds.items()
    ]
    milliseconds = [value / PASSES * 1000 for value in baseline]
    return [*compared, Row("cross_entropy", Spread.of(milliseconds), "ms")]
