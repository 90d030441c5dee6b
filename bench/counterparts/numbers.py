"""Objectives of predictions, of noise and velocities, of values of actions."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.counterparts.case import FORMULA, Case, direct, leaf, normal
from objectives import generation, offline, regression
from objectives.aggregate import aggregate_bag_instance
from objectives.records import (
    Bagged,
    Denoised,
    Flow,
    Gaussian,
    GuidedTransitions,
    Predicted,
    Quantiles,
    RewardedFlow,
    Transitions,
)

NUMBERS, IMAGES, STEPS, ACTIONS, LATENT, BAG = 500_000, 256, 50_000, 6, 12, 8


def predicted(size: int) -> Predicted:
    return Predicted(leaf(size), normal(size), torch.arange(size))


def bagged(size: int) -> Bagged:
    return Bagged(*vars(predicted(size)).values(), torch.arange(size) // BAG)


def gaussian(size: int) -> Gaussian:
    return Gaussian(*vars(predicted(size)).values(), leaf(size))


def quantiles(size: int) -> Quantiles:
    return Quantiles(leaf(size, 3), normal(size), torch.arange(size))


def denoised(size: int) -> Denoised:
    return Denoised(leaf(size, 3, 32, 32), normal(size, 3, 32, 32), torch.arange(size))


def flow(size: int) -> Flow:
    clean, noise = normal(size, 3, 32, 32), normal(size, 3, 32, 32)
    return Flow(leaf(size, 3, 32, 32), clean, noise, torch.rand(size), torch.arange(size))


def rewarded_flow(size: int) -> RewardedFlow:
    plain = flow(size)
    velocities = [plain.velocity.detach() + 0.01 * normal(size, 3, 32, 32) for _ in range(2)]
    return RewardedFlow(*vars(plain).values(), *velocities, normal(size))


def transitions(size: int) -> Transitions:
    values = [leaf(size), leaf(size), normal(size)]
    actions = [normal(size, ACTIONS), leaf(size, ACTIONS), leaf(size)]
    return Transitions(*values, *actions, torch.arange(size))


def guided(size: int) -> GuidedTransitions:
    generated = [normal(size, ACTIONS), normal(size), leaf(size), normal(size)]
    latent = [leaf(size, ACTIONS), leaf(size, LATENT), normal(size, LATENT).exp().requires_grad_()]
    return GuidedTransitions(*vars(transitions(size)).values(), *generated, *latent)


def squared(one: Tensor, other: Tensor) -> Tensor:
    return F.mse_loss(one, other, reduction="none").mean()


def mse(record: Predicted) -> Tensor:
    return squared(record.predictions, record.targets)


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


def noise(record: Denoised) -> Tensor:
    return squared(record.predicted_noise, record.noise)


def velocity(record: Flow) -> Tensor:
    return squared(record.velocity, record.noise - record.clean)


def td3(record: Transitions) -> Tensor:
    """The squared errors of the critics and of the actions alone."""
    critics = squared(record.values_1, record.targets) + squared(record.values_2, record.targets)
    return critics + squared(record.policy_actions, record.actions)


numbers = partial(Case, record=predicted, size=NUMBERS)
images = partial(Case, "torch mse_loss", size=IMAGES)
steps = partial(Case, "torch mse_loss", size=STEPS, unlike=FORMULA)

CASES = {
    "mse": numbers("torch mse_loss", partial(regression.mse), theirs=direct(mse)),
    "huber": numbers(
        "torch huber_loss", partial(regression.huber, delta=1.0), theirs=direct(huber)
    ),
    "aggregate_bag_instance": numbers(
        "torch mse_loss",
        partial(aggregate_bag_instance),
        record=bagged,
        theirs=direct(mse),
        unlike="without bags",
    ),
    "gaussian_nll": numbers(
        "torch gaussian_nll_loss",
        partial(regression.gaussian_nll),
        record=gaussian,
        theirs=direct(gaussian_nll),
    ),
    "quantile at three medians": numbers(
        "torch l1_loss",
        partial(regression.quantile, levels=(0.5, 0.5, 0.5)),
        record=quantiles,
        theirs=direct(absolute),
    ),
    "ddpm": images(partial(generation.ddpm), record=denoised, theirs=direct(noise)),
    "flow_matching": images(
        partial(generation.flow_matching), record=flow, theirs=direct(velocity)
    ),
    "awm": images(
        partial(generation.awm), record=rewarded_flow, theirs=direct(velocity), unlike=FORMULA
    ),
    "td3_bc": steps(partial(offline.td3_bc), record=transitions, theirs=direct(td3)),
    "a2pr": steps(partial(offline.a2pr), record=guided, theirs=direct(td3)),
}
