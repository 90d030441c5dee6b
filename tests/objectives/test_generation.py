"""Objectives of diffusion and flow."""

from functools import partial

import pytest
import torch
from cases import Case

from objectives.generation import awm, by_time, ddpm, ddpo, flow_matching, ghuber
from objectives.policy import ppo
from objectives.records import Denoised, DenoisingSteps, Flow, RewardedFlow

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
    """Ratios on either side of any range, and advantages of both signs within and beyond a bound.

    The model that drew the samples is 0.25 to 2.4 times as far from the target as the model is.
    """
    _, clean, noise, times, index = vars(flow()).values()
    target, (shift, reference) = noise - clean, normal(2, 6, 2, 3, seed=1)
    shift = shift / shift.square().mean(dim=(1, 2), keepdim=True).sqrt()
    distances = torch.tensor([2.2, 0.25, 0.5, 2.4, 1.5, 0.3], dtype=torch.float64)
    old = target + 0.5 * distances.view(-1, 1, 1) * shift
    advantages = torch.tensor([1.5, -0.7, 8.0, -6.0, -2.0, 0.4], dtype=torch.float64)
    near = target + 0.5 * shift
    return RewardedFlow(near, clean, noise, times, index, old, reference, advantages)


def steps() -> DenoisingSteps:
    """Ratios on either side of the range, and advantages beyond their bound."""
    log_ratio = torch.tensor([0.5, -0.6, 0.1, 0.7, -0.05, -0.8], dtype=torch.float64)
    advantages = torch.tensor([1.5, -0.7, 8.0, -6.0, -2.0, 0.4], dtype=torch.float64)
    logprob = normal(6)
    return DenoisingSteps(logprob, logprob - log_ratio, advantages, torch.arange(6))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


CASES = {
    "ddpm": Case(denoised, ("predicted_noise",), lacks=KNOWN),
    "flow_matching": Case(flow, ("velocity",), lacks=KNOWN),
    "awm": Case(
        rewarded,
        ("velocity",),
        settings=(
            {},
            {"weighting": partial(by_time), "anchor_weight": 0.5, "clip_range": 0.2},
            {"weighting": partial(ghuber)},
        ),
        lacks=WEIGHTING,
    ),
    "ddpo": Case(steps, ("logprob",), lacks={"golden": "its value is ppo's, see below"}),
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
        **{"anchor_weight": 0.0} | settings,
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
    # v = 17 is 16^2 off: 1/2 * (256^(1/4) - c^(1/4)) / (1/4) = 2 * (4 - 0.00316), v = 2 has 2 - ...
    far = one(2.0, 17.0, -1.0, weighting=ghuber, clip_range=1e9)
    assert far == pytest.approx(e ** (2 * 4 - 2 * 1))
    half = one(2.0, 5.0, -1.0, weighting=partial(ghuber, power=0.5), clip_range=1e9)
    assert half == pytest.approx(e ** (4 - 1))  # 1/2 * (sqrt(16) - sqrt(1)) / (1/2)


# l = -(v - 1)^2 with v = 1 at one end: ratios e^(1/2), e^(-1/2) with a range of 0.2
@pytest.mark.parametrize(
    ("new", "old", "advantage", "loss", "learns"),
    [
        (1.0, 1 - 0.5**0.5, 1.0, -1.2, False),
        (1.0, 1 - 0.5**0.5, -1.0, 1.648721, True),
        (1 - 0.5**0.5, 1.0, 1.0, -0.606531, True),
        (1 - 0.5**0.5, 1.0, -1.0, 0.8, False),
    ],
)
def test_awm_learns_within_its_range_alone(
    new: float, old: float, advantage: float, loss: float, learns: bool
) -> None:
    assert one(new, old, advantage, clip_range=0.2) == pytest.approx(loss, rel=1e-6)
    assert (one(new + 0.01, old, advantage, clip_range=0.2) != pytest.approx(loss)) == learns


def test_ghuber_minds_large_distances_less() -> None:
    distances, times = torch.tensor([0.0, 1.0, 16.0, 1e4]).double(), torch.ones(4).double()
    found = ghuber(distances, times)
    assert found[0] == 0
    assert (found[1:].diff() < distances[1:].diff()).all()
    torch.testing.assert_close(ghuber(distances, times, power=1.0), distances)


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
        anchor_weight=0.0,
    )
    torch.testing.assert_close(loss, -advantages)
    assert metrics["clip_fraction"] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), velocity)
    matched = advantages * flow_matching(velocity, record.clean, record.noise)
    torch.testing.assert_close(gradient, torch.autograd.grad(matched.sum(), velocity)[0])


def test_ddpo_is_ppo_without_a_critic() -> None:
    record = steps()
    zeros = torch.zeros(6, dtype=torch.float64)
    columns = record.logprob, record.old_logprob, record.advantages.clamp(-5, 5)
    expected, shown = ppo(*columns, zeros, zeros, zeros)
    loss, metrics = ddpo(record.logprob, record.old_logprob, record.advantages)
    torch.testing.assert_close(loss, expected)
    for name, value in metrics.items():
        torch.testing.assert_close(value, shown[name])


def test_ddpo_has_a_gradient_within_its_range_alone() -> None:
    # ratios 1.5 and 0.5 with advantages of 1 and -1: cut where the step was right already
    log_ratio = torch.tensor([1.5, 1.5, 0.5, 0.5], dtype=torch.float64).log().requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    loss, metrics = ddpo(log_ratio, torch.zeros_like(log_ratio), advantages)
    assert loss.tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8])
    (gradient,) = torch.autograd.grad(loss.sum(), log_ratio)
    assert gradient.tolist() == pytest.approx([0, 1.5, -0.5, 0])
    assert metrics["clip_fraction"] == 1


def test_without_advantages_nothing_is_learned() -> None:
    record = rewarded()
    velocity = record.velocity.clone().requires_grad_()
    rest = record.clean, record.noise, record.times, record.old_velocity, record.ref_velocity
    loss, _ = awm(velocity, *rest, torch.zeros_like(record.advantages), anchor_weight=0.0)
    loss.sum().backward()
    assert velocity.grad.abs().max() == 0
