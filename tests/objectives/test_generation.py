"""Objectives of diffusion and flow."""

from functools import partial

import pytest
import torch
from cases import Case

from objectives.generation import awm, by_time, ddpm, flow_matching
from objectives.records import Denoised, Flow, RewardedFlow

KNOWN = {"golden": "its value is torch's, see below"}
WEIGHTING = {"defaults": "its weighting is a function"}


def denoised() -> Denoised:
    predicted, noise = normal(2, 6, 2, 3)
    return Denoised(predicted, noise, torch.arange(6))


def flow() -> Flow:
    velocity, clean, noise = normal(3, 6, 2, 3)
    times = torch.linspace(0.1, 1, 6, dtype=torch.float64)
    return Flow(velocity, clean, noise, times, torch.arange(6))


def rewarded() -> RewardedFlow:
    """Ratios on either side of the range, and advantages beyond their bound."""
    plain = flow()
    target = plain.noise - plain.clean
    far, reference = normal(2, 6, 2, 3, seed=1)
    rest = plain.clean, plain.noise, plain.times, plain.index
    near, far = target + 0.5 * plain.velocity, target + 1.2 * far
    return RewardedFlow(near, *rest, far, reference, 7 * normal(6, seed=2))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


CASES = {
    "ddpm": Case(denoised, ("predicted_noise",), lacks=KNOWN),
    "flow_matching": Case(flow, ("velocity",), lacks=KNOWN),
    "awm": Case(
        rewarded,
        ("velocity",),
        settings=({}, {"weighting": partial(by_time), "anchor_weight": 0.5, "clip_range": 0.2}),
        lacks=WEIGHTING,
    ),
}


def test_both_are_torchs_squared_error() -> None:
    noisy, moving = denoised(), flow()
    mse = torch.nn.functional.mse_loss
    assert ddpm(noisy.predicted_noise, noisy.noise).mean() == pytest.approx(
        mse(noisy.predicted_noise, noisy.noise).item()
    )
    assert flow_matching(moving.velocity, moving.clean, moving.noise).mean() == pytest.approx(
        mse(moving.velocity, moving.noise - moving.clean).item()
    )


def test_a_perfect_model_has_no_loss() -> None:
    noisy, moving = denoised(), flow()
    assert ddpm(noisy.noise, noisy.noise).abs().max() == 0
    velocity = moving.noise - moving.clean
    assert flow_matching(velocity, moving.clean, moving.noise).abs().max() == 0


def test_the_best_velocity_for_a_normal_density_is_its_conditional_mean() -> None:
    # x, noise ~ N(0, 1), x_t = (1 - t) x + t noise: E[noise - x | x_t] = (2 t - 1) / s x_t and
    # Var[noise - x | x_t] = 1 / s with s = (1 - t)^2 + t^2
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 100_000, 1, generator=generator, dtype=torch.float64)
    for t in (0.1, 0.5, 0.8):
        s = (1 - t) ** 2 + t**2
        noised = (1 - t) * clean + t * noise
        slope = (2 * t - 1) / s
        best = flow_matching(slope * noised, clean, noise).mean().item()
        assert best == pytest.approx(1 / s, rel=0.02)
        for other in (slope - 0.1, slope + 0.1):
            assert flow_matching(other * noised, clean, noise).mean().item() > best


def one(velocity: float, old: float, advantage: float, **settings: float) -> float:
    """awm of one sample of one dimension at 0, whose noise is at 1."""
    column = partial(torch.full, (1, 1), dtype=torch.float64)
    loss, _ = awm(
        column(velocity),
        column(0.0),
        column(1.0),
        torch.tensor([0.5], dtype=torch.float64),
        column(old),
        column(0.0),
        torch.tensor([advantage], dtype=torch.float64),
        **settings,
    )
    return loss.item()


def test_awm_by_hand() -> None:
    # target 1; l = -(v - 1)^2: v = 1 has 0, v = 0 has -1, so that r = e and r = 1 / e
    e = 2.718281828459045
    assert one(1.0, 0.0, 1.0, clip_range=2.0) == pytest.approx(-e)
    assert one(1.0, 0.0, 1.0) == pytest.approx(-2)  # cut at 1 + 1
    assert one(0.0, 1.0, 1.0) == pytest.approx(-1 / e)
    assert one(0.0, 1.0, -1.0, clip_range=0.5) == pytest.approx(0.5)  # cut at 1 - 0.5
    assert one(0.0, 1.0, -9.0) == pytest.approx(5 / e)  # the advantage is cut at 5
    assert one(1.0, 1.0, 0.0, anchor_weight=3.0) == pytest.approx(3)  # (1 - 0)^2
    assert one(1.0, 0.0, 1.0, weighting=by_time) == pytest.approx(-(e**0.5))


def test_where_the_model_has_drawn_the_samples_awm_is_weighted_flow_matching() -> None:
    record = rewarded()
    velocity = record.velocity.clone().requires_grad_()
    advantages = record.advantages.clamp(-5, 5)
    loss, metrics = awm(
        velocity,
        record.clean,
        record.noise,
        record.times,
        record.velocity,
        record.ref_velocity,
        record.advantages,
    )
    torch.testing.assert_close(loss, -advantages)
    assert metrics["clip_fraction"] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), velocity)
    matched = advantages * flow_matching(velocity, record.clean, record.noise)
    torch.testing.assert_close(gradient, torch.autograd.grad(matched.sum(), velocity)[0])


def test_without_advantages_nothing_is_learned() -> None:
    record = rewarded()
    velocity = record.velocity.clone().requires_grad_()
    rest = record.clean, record.noise, record.times, record.old_velocity, record.ref_velocity
    loss, _ = awm(velocity, *rest, torch.zeros_like(record.advantages))
    loss.sum().backward()
    assert velocity.grad.abs().max() == 0
