"""From noise to samples, and how far samples are from data."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal

PROJECTIONS = 256
"""Directions along which two sets of samples are compared."""


def euler(model: nn.Module, noise: Tensor, steps: int) -> Tensor:
    """Follow a flow from noise, at time 1, back to data, at 0, in equal steps."""
    x = noise
    for step in range(steps, 0, -1):
        times = torch.full((len(x),), step / steps, device=x.device)
        x = x - model(x, times) / steps
    return x


def random_step(velocity: Tensor, x: Tensor, times: Tensor, steps: int, noise: float) -> Normal:
    """Where a step of a flow leads if it is random, so that the samples stay what they are.

    N(x - (v + s^2 / 2t (x + (1 - t) v)) / steps,  s^2 / steps),      s^2 = noise^2 t / (1 - t)

    1 - t is taken for 1 / steps at t = 1; noise -> 0 is Euler's step.

    Args:
        velocity: The flow's velocity v at x and t.
        x: Where the step begins.
        times: Time t of each example, 1 at noise.
        steps: Steps from noise to a sample.
        noise: How random the step is.

    Source:
        Liu et al. 2025, arXiv:2505.05470; what is done at t = 1 is their code's.
    """
    t = times.view(-1, *[1] * (x.dim() - 1))
    spread = noise**2 * t / (1 - t).clamp_min(1 / steps)
    drift = velocity + spread / (2 * t) * (x + (1 - t) * velocity)
    return Normal(x - drift / steps, (spread / steps).sqrt().expand_as(x))


def ancestral(
    model: nn.Module, noise: Tensor, kept: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Take the noise out of it step by step, as the reverse of a diffusion.

    x_{t-1} = (x_t - b_t / sqrt(1 - abar_t) e(x_t, t)) / sqrt(1 - b_t) + sqrt(b_t) z

    Args:
        model: Predicts the noise e of examples at times, the shares of all steps.
        noise: Where to begin.
        kept: abar_t of every step: the share of the variance that is still data's.
        generator: Of the noise z of every step but the last.

    Source:
        Ho, Jain & Abbeel 2020, arXiv:2006.11239, algorithm 2.
    """
    x, steps = noise, len(kept)
    before = torch.cat([torch.ones_like(kept[:1]), kept[:-1]])
    betas = 1 - kept / before
    for step in range(steps - 1, -1, -1):
        times = torch.full((len(x),), (step + 1) / steps, device=x.device)
        error = model(x, times) * betas[step] / (1 - kept[step]).sqrt()
        x = (x - error) / (1 - betas[step]).sqrt()
        if step:
            fresh = torch.randn(x.shape, generator=generator).to(x.device)
            x = x + betas[step].sqrt() * fresh
    return x


def sliced_wasserstein(one: Tensor, other: Tensor, generator: torch.Generator) -> float:
    """Sliced 2-Wasserstein distance of two equally large sets, over random directions.

    sqrt( mean_u mean_i (<u, one>_(i) - <u, other>_(i))^2 ),  sorted along each direction u;
    a shift by the vector s makes it |s| / sqrt(d).

    Source:
        Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters of Measures.
    """
    one, other = one.flatten(1).double(), other.flatten(1).double()
    directions = torch.randn(one.shape[1], PROJECTIONS, generator=generator, dtype=torch.float64)
    directions = (directions / directions.norm(dim=0)).to(one.device)
    gaps = (one @ directions).sort(dim=0).values - (other @ directions).sort(dim=0).values
    return gaps.square().mean().sqrt().item()
