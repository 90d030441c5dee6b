"""Objectives of models that turn noise into samples: diffusion and flow."""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from objectives.domains import Scalar
from objectives.policy import MAX_LOG_RATIO

LEAST = 1e-10
"""Of ghuber, whose slope at 0 would be infinite."""


def ddpm(
    predicted_noise: Float[Tensor, " batch *shape"], noise: Float[Tensor, " batch *shape"]
) -> Float[Tensor, " batch"]:
    """Denoising diffusion, the simplified objective: squared error of the noise.

    mean_d (e_d(x_t, t) - noise_d)^2,      x_t = sqrt(abar_t) x + sqrt(1 - abar_t) noise

    The paper sums over the dimensions; the mean makes step sizes comparable between data.

    Args:
        predicted_noise: What the model takes for the noise, in standard deviations of it.
        noise: The standard normal noise that was added.

    Returns:
        Loss per example; 1 on average for a model that predicts 0, 0 for a perfect one.

    Source:
        Ho, Jain & Abbeel 2020, arXiv:2006.11239, equation 14.
    """
    return _squared_distance(predicted_noise, noise)


def flow_matching(
    velocity: Float[Tensor, " batch *shape"],
    clean: Float[Tensor, " batch *shape"],
    noise: Float[Tensor, " batch *shape"],
) -> Float[Tensor, " batch"]:
    """Conditional flow matching along straight lines: squared error of the velocity.

    mean_d (v_d(x_t, t) - (noise_d - clean_d))^2,      x_t = (1 - t) clean + t noise

    Time runs from data (0) to noise (1), as in rectified flow for images; the paper has it the
    other way round.

    Args:
        velocity: The model's velocity at x_t, in units of the data a unit of time.
        clean: Examples.
        noise: The standard normal noise that they are on their way to.

    Returns:
        Loss per example; its least mean is the variance of noise - clean that x_t leaves open.

    Source:
        Lipman et al. 2023, arXiv:2210.02747; Liu, Gong & Liu 2023, arXiv:2209.03003.
    """
    return _squared_distance(velocity, noise - clean)


def uniform(
    distances: Float[Tensor, " batch"], _times: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The same weight at all times: d."""
    return distances


def by_time(
    distances: Float[Tensor, " batch"], times: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """More weight nearer to the noise: t d."""
    return times * distances


def ghuber(
    distances: Float[Tensor, " batch"],
    times: Float[Tensor, " batch"],
    *,
    power: Annotated[Scalar, Gt(0), Le(1)] = 0.25,
) -> Float[Tensor, " batch"]:
    """By time, and large distances for less: t ((d + c)^power - c^power) / power,  c = 1e-10."""
    return times * ((distances + LEAST) ** power - LEAST**power) / power


def awm(
    velocity: Float[Tensor, " batch *shape"],
    clean: Float[Tensor, " batch *shape"],
    noise: Float[Tensor, " batch *shape"],
    times: Float[Tensor, " batch"],
    old_velocity: Float[Tensor, " batch *shape"],
    ref_velocity: Float[Tensor, " batch *shape"],
    advantages: Float[Tensor, " batch"],
    *,
    weighting: Callable[..., Tensor] = uniform,
    clip_range: Annotated[Scalar, Gt(0)] = 1.0,
    advantage_clip: Annotated[Scalar, Gt(0)] = 5.0,
    anchor_weight: Annotated[Scalar, Ge(0)] = 1.0,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Advantage-weighted matching: flow matching on samples of one's own, weighted by their worth.

    -min(r * A, clip(r, 1 - clip_range, 1 + clip_range) * A)
        + anchor_weight * mean_d (v_d - v_ref_d)^2,
    r = exp(l - l_old),      l = -weighting(mean_d (v_d - (noise_d - clean_d))^2, t)

    Args:
        velocity: The model's velocity v.
        clean: Samples of the model that began the round.
        noise: Noise that is mixed into them anew.
        times: Times t, from 0 (clean) to 1 (noise).
        old_velocity: The velocity of the model that drew the samples.
        ref_velocity: The velocity v_ref of the reference.
        advantages: Rewards, standardised within their group.
        weighting: From squared distances and times to what counts: uniform, by_time, ghuber.
        clip_range: Half-width of the interval in which the ratio r still has a gradient.
        advantage_clip: Largest advantage A, in standard deviations of the reward.
        anchor_weight: Weight of the squared distance to the reference, the paper's beta; with 0,
            velocities are pushed away from bad samples without bound.

    Returns:
        Loss per sample; where the model is the one that drew it and is the reference, -A, whose
        gradient is that of A * weighting(flow_matching, t). Metrics: the share of clipped ratios,
        and the squared distance to the reference.

    Source:
        Xue et al. 2025, arXiv:2509.25050, where the distance is squared. The published runs of the
        code scxue/advantage_weighted_matching have weighting=ghuber; advantages divided by their
        bound, which is 5 times the anchor_weight; and an anchor that follows the model, which is
        reference_decay=0.3 of the tasks of generation, here in the place of the fixed one that the
        code gives a weight of 0.001 beside it.
    """
    target = noise - clean
    now, before = (_squared_distance(v, target) for v in (velocity, old_velocity))
    log_ratio = weighting(before, times) - weighting(now, times)
    loss, clipped = _clipped_surrogate(log_ratio, advantages, clip_range, advantage_clip)
    anchor = _squared_distance(velocity, ref_velocity)
    return loss + anchor_weight * anchor, {
        "clip_fraction": clipped,
        "anchor_distance": anchor.detach().mean(),
    }


def ddpo(
    logprob: Float[Tensor, " batch"],
    old_logprob: Float[Tensor, " batch"],
    advantages: Float[Tensor, " batch"],
    *,
    clip_range: Annotated[Scalar, Gt(0)] = 0.2,
    advantage_clip: Annotated[Scalar, Gt(0)] = 5.0,
) -> tuple[Float[Tensor, " batch"], dict[str, Tensor]]:
    """Denoising diffusion policy optimisation: every step to a sample is an action.

    -min(r * A, clip(r, 1 - clip_range, 1 + clip_range) * A),      r = exp(logprob - old_logprob)

    The official code takes the mean of a step's log-probability over its dimensions, not their
    sum, so that its ratios are nearer to 1 and its range, 0.0001, is that much narrower.

    Args:
        logprob: Log-probability of a step under the current model, in nats.
        old_logprob: The same under the model that took the step.
        advantages: Rewards of the samples that the steps led to, standardised.
        clip_range: Half-width of the interval in which the ratio r still has a gradient.
        advantage_clip: Largest advantage A, in standard deviations of the reward.

    Returns:
        Loss per step; ppo's without critic and entropy. Metrics: the share of clipped ratios,
        KL(acting || current) by the k3 estimator in nats.

    Source:
        Black et al. 2024, arXiv:2305.13301, the estimator by importance sampling; for flows, Liu
        et al. 2025, arXiv:2505.05470.
    """
    log_ratio = logprob - old_logprob
    loss, clipped = _clipped_surrogate(log_ratio, advantages, clip_range, advantage_clip)
    cut = log_ratio.detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return loss, {"clip_fraction": clipped, "kl": (cut.exp() - 1 - cut).mean()}


def _clipped_surrogate(
    log_ratio: Float[Tensor, " batch"],
    advantages: Float[Tensor, " batch"],
    clip_range: Scalar,
    advantage_clip: Scalar,
) -> tuple[Float[Tensor, " batch"], Tensor]:
    """The clipped loss, and the share of clipped ratios."""
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)  # type: ignore[arg-type]
    worth = torch.clamp(advantages, -advantage_clip, advantage_clip)  # type: ignore[arg-type]
    loss = -torch.minimum(ratio * worth, clipped * worth)
    return loss, (ratio != clipped).float().mean()


def _squared_distance(
    one: Float[Tensor, " batch *shape"], other: Float[Tensor, " batch *shape"]
) -> Float[Tensor, " batch"]:
    return F.mse_loss(one, other, reduction="none").flatten(1).mean(1)
