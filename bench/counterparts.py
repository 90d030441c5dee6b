"""Losses of libraries that are the same as objectives, or the nearest, and batches for both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench import trl_losses
from bench.trl_losses import Side
from objectives import classification, distillation, generation, ordinal, regression, verifiable
from objectives import preference as pairs
from objectives.parts.advantages import centred
from objectives.parts.aggregates import per_budget
from objectives.records import (
    Denoised,
    Distilled,
    Flow,
    Gaussian,
    Labelled,
    Ordinal,
    Predicted,
    Preference,
    Quantiles,
    Record,
    Responses,
    Rewards,
)

EXAMPLES, CLASSES, NUMBERS, IMAGES = 1024, 1000, 200_000, 256
SEQUENCES, TOKENS, GROUP = 256, 512, 8
SAID = TOKENS // 2
"""Tokens of a response of a pair; trl's ipo divides by them."""


@dataclass(frozen=True)
class Case:
    """An objective and its counterpart.

    Attributes:
        title: The library's loss.
        objective: Ours, with hyperparameters.
        record: Makes a batch of so many examples.
        size: Of the batch.
        theirs: The other loss of a record.
        unlike: In what it is another loss; empty where it is not.
        surrogate: Only the gradients are the same.
        scale: By which our loss is multiplied.
    """

    title: str
    objective: Callable[..., Any]
    record: Callable[[int], Record]
    size: int
    theirs: Callable[[Any], Side]
    unlike: str = ""
    surrogate: bool = False
    scale: float = 1.0


def direct(loss: Callable[[Any], Tensor]) -> Callable[[Record], Side]:
    """A loss of a record's own tensors."""
    return lambda record: Side(lambda: loss(record), learned(record))


def learned(record: Record) -> list[Tensor]:
    return [tensor for tensor in vars(record).values() if tensor.requires_grad]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape)


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True)


def labelled(size: int) -> Labelled:
    return Labelled(leaf(size, CLASSES), torch.randint(CLASSES, (size,)), torch.arange(size))


def distilled(size: int) -> Distilled:
    known = labelled(size)
    return Distilled(known.logits, normal(size, CLASSES), known.labels, known.index)


def ordered(size: int) -> Ordinal:
    labels = torch.randint(10, (size,))
    return Ordinal(leaf(size, 9), labels, normal(9, 4), torch.arange(size))


def predicted(size: int) -> Predicted:
    return Predicted(leaf(size), normal(size), torch.arange(size))


def gaussian(size: int) -> Gaussian:
    return Gaussian(leaf(size), normal(size), torch.arange(size), leaf(size))


def quantiles(size: int) -> Quantiles:
    return Quantiles(leaf(size, 3), normal(size), torch.arange(size))


def denoised(size: int) -> Denoised:
    return Denoised(leaf(size, 3, 32, 32), normal(size, 3, 32, 32), torch.arange(size))


def flow(size: int) -> Flow:
    clean, noise = normal(size, 3, 32, 32), normal(size, 3, 32, 32)
    return Flow(leaf(size, 3, 32, 32), clean, noise, torch.rand(size), torch.arange(size))


def preferred(size: int) -> Preference:
    chosen, rejected = (said(size).requires_grad_() for _ in range(2))
    reference, other = said(size), said(size)
    mask = torch.ones(size, TOKENS, dtype=torch.bool)
    mask[:, :-SAID] = False
    return Preference(chosen, rejected, reference, other, mask, mask, torch.arange(size))


def said(size: int) -> Tensor:
    """Log-probabilities of tokens, near to one another."""
    return -1 - 0.02 * torch.rand(size, TOKENS)


def rewarded(size: int) -> Rewards:
    return Rewards(leaf(size), leaf(size), torch.arange(size))


def responses(size: int) -> Responses:
    lengths = torch.randint(1, TOKENS + 1, (size, 1))
    old, reference = said(size), said(size)
    return Responses(
        said(size).requires_grad_(),
        old,
        reference,
        torch.arange(TOKENS) < lengths,
        torch.rand(size),
        torch.arange(size) // GROUP,
        torch.arange(size),
    )


def focal(record: Labelled) -> Tensor:
    from kornia.losses import focal_loss

    return focal_loss(record.logits, record.labels, None, 2.0, "sum") / len(record.labels)


def kd(record: Distilled) -> Tensor:
    """At a temperature of 4, nine tenths from the teacher."""
    scores = record.student_logits, record.teacher_logits
    student, teacher = ((score / 4).log_softmax(-1) for score in scores)
    soft = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    hard = F.cross_entropy(record.student_logits, record.labels, reduction="none")
    return (0.9 * 16 * soft + 0.1 * hard).mean()


def frank_hall(record: Ordinal) -> Tensor:
    scores = record.cumulative_logits
    at_most = (record.labels[:, None] <= torch.arange(scores.shape[1])).float()
    losses = F.binary_cross_entropy_with_logits(scores, at_most, reduction="none")
    return losses.sum(-1).mean()


def cross_entropy(record: Labelled) -> Tensor:
    return F.cross_entropy(record.logits, record.labels, reduction="none").mean()


def hinge(record: Labelled) -> Tensor:
    return F.multi_margin_loss(record.logits, record.labels, reduction="none").mean()


def squared(one: Tensor, other: Tensor) -> Tensor:
    return F.mse_loss(one, other, reduction="none").mean()


def huber(record: Predicted) -> Tensor:
    return F.huber_loss(record.predictions, record.targets, reduction="none").mean()


def gaussian_nll(record: Gaussian) -> Tensor:
    variances = record.log_variances.exp()
    losses = F.gaussian_nll_loss(
        record.predictions, record.targets, variances, full=True, reduction="none"
    )
    return losses.mean()


def absolute(record: Quantiles) -> Tensor:
    targets = record.targets[:, None].expand_as(record.quantiles)
    return F.l1_loss(record.quantiles, targets, reduction="none").mean(dim=1).mean() / 2


FORMULA = "another formula"


def of_scores() -> dict[str, Case]:
    """Objectives of class scores."""
    nearest = partial(Case, "torch cross_entropy", size=EXAMPLES, record=labelled)
    nearest = partial(nearest, theirs=direct(cross_entropy))
    return {
        "cross_entropy": nearest(objective=partial(classification.cross_entropy)),
        "gce": nearest(objective=partial(classification.gce, q=0.7), unlike=FORMULA),
        "mae": nearest(objective=partial(classification.mae), unlike=FORMULA),
        "comp_sum": nearest(objective=partial(classification.comp_sum, tau=1.5), unlike=FORMULA),
        "focal": Case(
            "kornia focal_loss",
            partial(classification.focal, gamma=2.0),
            labelled,
            EXAMPLES,
            direct(focal),
        ),
        "crammer_singer": Case(
            "torch multi_margin_loss",
            partial(classification.crammer_singer),
            labelled,
            EXAMPLES,
            direct(hinge),
            unlike="the sum of the violations, not the largest",
        ),
        "frank_hall": Case(
            "torch binary_cross_entropy_with_logits",
            partial(ordinal.frank_hall),
            ordered,
            NUMBERS,
            direct(frank_hall),
        ),
        "kd": Case(
            "torch kl_div + cross_entropy",
            partial(distillation.kd, tau=4.0, alpha=0.9),
            distilled,
            EXAMPLES,
            direct(kd),
        ),
    }


def of_numbers() -> dict[str, Case]:
    """Objectives of predictions, of noise and of velocities."""
    return {
        "mse": Case(
            "torch mse_loss",
            partial(regression.mse),
            predicted,
            NUMBERS,
            direct(lambda r: squared(r.predictions, r.targets)),
        ),
        "huber": Case(
            "torch huber_loss",
            partial(regression.huber, delta=1.0),
            predicted,
            NUMBERS,
            direct(huber),
        ),
        "gaussian_nll": Case(
            "torch gaussian_nll_loss",
            partial(regression.gaussian_nll),
            gaussian,
            NUMBERS,
            direct(gaussian_nll),
        ),
        "quantile at three medians": Case(
            "torch l1_loss",
            partial(regression.quantile, levels=(0.5, 0.5, 0.5)),
            quantiles,
            NUMBERS,
            direct(absolute),
        ),
        "ddpm": Case(
            "torch mse_loss",
            partial(generation.ddpm),
            denoised,
            IMAGES,
            direct(lambda r: squared(r.predicted_noise, r.noise)),
        ),
        "flow_matching": Case(
            "torch mse_loss",
            partial(generation.flow_matching),
            flow,
            IMAGES,
            direct(lambda r: squared(r.velocity, r.noise - r.clean)),
        ),
    }


def of_pairs() -> dict[str, Case]:
    """Objectives of preferences."""
    ours = partial(Case, record=preferred, size=SEQUENCES)
    dpo = partial(trl_losses.dpo, beta=0.1)
    return {
        "dpo": ours(
            "trl DPOTrainer",
            partial(pairs.dpo, beta=0.1),
            theirs=partial(dpo, loss_type="sigmoid"),
        ),
        "ipo": ours(
            "trl DPOTrainer",
            partial(pairs.ipo, beta=0.1 / SAID),
            theirs=partial(dpo, loss_type="ipo"),
            scale=1 / SAID**2,
        ),
        "rdpo": ours(
            "trl DPOTrainer",
            partial(pairs.rdpo, beta=0.1, epsilon=0.1),
            theirs=partial(dpo, loss_type="robust", label_smoothing=0.1),
        ),
        "simpo": ours(
            "trl CPOTrainer",
            partial(pairs.simpo, beta=2.0, gamma=1.0),
            theirs=partial(trl_losses.simpo, beta=2.0, gamma=1.0),
        ),
        "bradley_terry": Case(
            "trl RewardTrainer",
            partial(pairs.bradley_terry),
            rewarded,
            NUMBERS,
            trl_losses.bradley_terry,
        ),
    }


def of_responses() -> dict[str, Case]:
    """Objectives of rewarded responses."""
    ours = partial(Case, record=responses, size=2 * SEQUENCES)
    dr_grpo = {
        "advantage": partial(centred),
        "aggregate": partial(per_budget),
        "kl_beta": 0.0,
    }
    return {
        "grpo": ours(
            "trl GRPOTrainer",
            partial(verifiable.grpo, kl_beta=0.04),
            theirs=partial(trl_losses.grpo, loss_type="grpo", beta=0.04, scaled=True),
        ),
        "dr_grpo": ours(
            "trl GRPOTrainer",
            partial(verifiable.grpo, **dr_grpo),
            theirs=partial(trl_losses.grpo, loss_type="dr_grpo", beta=0.0, scaled=False),
        ),
        "rloo": ours(
            "trl RLOOTrainer",
            partial(verifiable.rloo, kl_beta=0.05),
            theirs=partial(trl_losses.rloo, beta=0.05),
            surrogate=True,
        ),
    }


CASES = of_scores() | of_numbers() | of_pairs() | of_responses()
