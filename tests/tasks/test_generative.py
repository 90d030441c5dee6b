"""Generation: densities, samplers, rewards, rounds."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from objectives.errors import InputError
from runner.build import build
from tasks.generative.matching import Noised, between, kept_variances
from tasks.generative.rewards import class_logprob, nearness, rewards_of
from tasks.generative.rounds import standardized
from tasks.generative.samples import Samples, checkerboard, density, eight_gaussians, two_moons
from tasks.generative.sampling import ancestral, euler, random_step, sliced_wasserstein
from tasks.models.denoiser import Denoiser
from tasks.sampling import generator_of


class Known(nn.Module):
    """A model that is known."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        return self.function(x, times[:, None])


def to_normal(m: float, s: float):
    """The velocity to data N(m, s^2): E[noise - x | x_t]."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        spread = (1 - t) ** 2 * s**2 + t**2
        return -m + (t - (1 - t) * s**2) / spread * (x - (1 - t) * m)

    return velocity


def test_densities_are_where_they_should_be() -> None:
    points = eight_gaussians(4000, generator_of(0))
    angles = torch.arange(8) * (math.pi / 4)
    modes = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)
    distances, nearest = torch.cdist(points, modes).min(dim=1)
    assert distances.max() < 0.6
    assert nearest.bincount().min() > 400
    x, y = checkerboard(4000, generator_of(0)).T
    assert ((x.floor() + y.floor()) % 2 == 0).all()
    assert min(x.min(), y.min()) >= -2
    assert max(x.max(), y.max()) <= 2
    moons = two_moons(4000, generator_of(0))
    assert moons.mean(dim=0).abs().max() < 0.1
    assert moons.std(dim=0)[0] > moons.std(dim=0)[1] > 0.3


def test_a_density_is_new_for_a_seed_and_its_splits_differ() -> None:
    one, again, other = (density(two_moons, seed=seed, size=1000) for seed in (0, 0, 1))
    assert torch.equal(one.train, again.train)
    assert not torch.equal(one.train, other.train)
    assert not torch.equal(one.val, one.test)
    assert len(one.train) == len(one.val) == len(one.test)


def test_a_flow_to_a_normal_density_has_its_mean_and_deviation() -> None:
    m, s = 2.0, 0.5
    samples = euler(Known(to_normal(m, s)), torch.randn(4000, 1, generator=generator_of(0)), 200)
    assert samples.mean().item() == pytest.approx(m, abs=0.05)
    assert samples.std().item() == pytest.approx(s, abs=0.02)


def test_a_diffusion_to_a_normal_density_has_its_mean_and_deviation() -> None:
    # E[noise | x_t] of data N(m, s^2)
    m, s, kept = 2.0, 0.5, kept_variances(100)

    def noise(x: Tensor, t: Tensor) -> Tensor:
        share = kept[(t * 100).round().long() - 1]
        spread = share * s**2 + 1 - share
        return (1 - share).sqrt() / spread * (x - share.sqrt() * m)

    start = torch.randn(4000, 1, generator=generator_of(0))
    samples = ancestral(Known(noise), start, kept, generator_of(1))
    assert samples.mean().item() == pytest.approx(m, abs=0.05)
    assert samples.std().item() == pytest.approx(s, abs=0.05)


def test_the_schedule_is_the_papers_at_a_thousand_steps() -> None:
    kept = kept_variances(1000)
    assert kept[0].item() == pytest.approx(1 - 0.0001)
    assert (1 - kept[-1] / kept[-2]).item() == pytest.approx(0.02, rel=1e-3)
    assert kept[-1] < 1e-4


@pytest.mark.parametrize("steps", [1, 5, 100, 3000])
def test_other_numbers_of_steps_are_along_the_papers(steps: int) -> None:
    kept, papers = kept_variances(steps), kept_variances(1000)
    assert len(kept) == steps
    assert kept[-1] == papers[-1]
    assert (kept.diff() < 0).all()
    if steps < 1000:
        assert torch.equal(kept, papers[1000 // steps - 1 :: 1000 // steps])


def test_a_diffusions_step_keeps_its_share_of_the_data(built) -> None:
    learner = built("density", "objective=ddpm").learner
    protocol, seen = learner.protocol, []
    protocol.kept = torch.tensor([0.81, 0.25])
    ones = torch.ones(2, 2)
    batch = Noised(10 * ones, ones, torch.tensor([0.5, 1.0]), torch.arange(2))
    record = protocol(Known(lambda x, _: seen.append(x) or x), batch)
    # 10 sqrt(0.81) + sqrt(0.19), 10 sqrt(0.25) + sqrt(0.75)
    assert seen[0][:, 0].tolist() == pytest.approx([9.43589, 5.86603])
    assert torch.equal(record.noise, ones)


def test_between_data_and_noise() -> None:
    clean, noise = torch.zeros(3, 1, 2), torch.ones(3, 1, 2)
    mixed = between(clean, noise, torch.tensor([0.0, 0.25, 1.0]))
    assert mixed[:, 0, 0].tolist() == [0, 0.25, 1]


def test_sliced_wasserstein_of_a_shift() -> None:
    points = torch.randn(500, 2, generator=generator_of(0))
    assert sliced_wasserstein(points, points.flip(0), generator_of(1)) == pytest.approx(0, abs=1e-6)
    shift = torch.tensor([3.0, 4.0])
    # |<u, s>| has the mean square |s|^2 / d over directions u
    found = sliced_wasserstein(points, points + shift, generator_of(1))
    assert found == pytest.approx(5 / math.sqrt(2), rel=0.1)


def test_rewards() -> None:
    points = Samples(*torch.zeros(3, 4, 2))
    worth = nearness(points, target=[3.0, 4.0])
    assert worth(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist() == [-5, 0]
    with pytest.raises(InputError, match=r"target=\[1.0\] is no point among data of shape \(2,\)"):
        nearness(points, target=[1.0])
    with pytest.raises(InputError, match="have no labels"):
        class_logprob(points, wanted=1)


def test_a_reward_is_one_finite_number_a_sample() -> None:
    samples = torch.randn(4, 2)
    assert torch.equal(rewards_of(lambda x: x[:, 0], samples), samples[:, 0])
    with pytest.raises(InputError, match=r"4 samples has the shape \(4, 2\), expected \(4,\): one"):
        rewards_of(lambda x: x, samples)
    with pytest.raises(InputError, match="the reward of 1 of 4 samples is not finite"):
        rewards_of(lambda x: x[:, 0] / torch.tensor([1.0, 1, 1, 0]), samples)
    lost = samples / 0  # of a model that has diverged: its loss says so
    assert not rewards_of(lambda x: x[:, 0], lost).isfinite().any()


@pytest.mark.parametrize("objective", ["flow_matching", "ddpm"])
def test_whatever_has_trained_it_a_model_is_judged_by_its_reward(built, objective: str) -> None:
    learner = built("density", f"objective={objective}", "sampling_steps=2").learner
    protocol, model = learner.protocol, learner.model
    with torch.no_grad():
        metrics = protocol.evaluate(model, "val")
        expected = protocol.reward(protocol.drawn(model, "val")).mean().item()
    assert metrics["reward"] == pytest.approx(expected, rel=1e-6)
    assert metrics["sliced_wasserstein"] > 0


def test_the_digits_reward_model_knows_digits(built) -> None:
    protocol = built("digits_generation", "objective=awm", "wanted=3").learner.protocol
    images = protocol.data.train
    worth = protocol.reward(images)
    threes = protocol.data.labels == 3
    assert worth[threes].mean() > -0.5
    assert worth[~threes].mean() < -5
    beyond = images + 9 * images.sign()
    torch.testing.assert_close(protocol.reward(beyond), protocol.reward(images.sign()))
    zeros = class_logprob(protocol.data, wanted=0)(images)
    assert zeros[protocol.data.labels == 0].mean() > zeros[protocol.data.labels != 0].mean() + 3
    with pytest.raises(InputError, match="wanted=11 is no class"):
        class_logprob(protocol.data, wanted=11)


def test_equal_rewards_are_worth_nothing() -> None:
    assert standardized(torch.full((4,), 7.0)).tolist() == [0, 0, 0, 0]
    assert standardized(torch.tensor([1.0, 3.0])).tolist() == pytest.approx([-1, 1])


def test_a_round_is_of_the_models_own_samples(built) -> None:
    learner = built("density", "objective=awm").learner
    protocol, model = learner.protocol, learner.model
    batch = next(protocol.batches(model, 0, 0))
    drawn, times = protocol.round, protocol.times_per_sample
    assert len(drawn) == protocol.group_size * times
    assert (drawn.clean[:times] == drawn.clean[0]).all()
    assert drawn.times[:times].unique().numel() > 1
    expected = standardized(protocol.reward(drawn.clean[::times]))
    torch.testing.assert_close(drawn.advantages, expected.repeat_interleave(times))
    record = protocol(model, batch)
    torch.testing.assert_close(record.velocity, batch.old_velocity)  # nobody has learned yet
    torch.testing.assert_close(record.ref_velocity, batch.old_velocity)
    learner.backward(batch)
    learner.step()
    assert not torch.allclose(protocol(model, batch).velocity, batch.old_velocity)
    torch.testing.assert_close(protocol(model, batch).ref_velocity, batch.old_velocity)


def test_the_reference_stays_or_follows_from_round_to_round(built) -> None:
    for decay in (1.0, 0.25):
        learner = built("density", "objective=awm", f"reference_decay={decay}").learner
        protocol, model = learner.protocol, learner.model
        (weight, *_), (kept, *_) = model.parameters(), protocol.reference.parameters()
        before = weight.detach().clone()
        next(protocol.batches(model, 0, 0))
        assert torch.equal(kept, before)
        with torch.no_grad():
            weight += 1
        next(protocol.batches(model, 0, 1))  # of the same round
        assert torch.equal(kept, before)
        next(protocol.batches(model, 1, 0))
        torch.testing.assert_close(kept, before + 1 - decay)
    with pytest.raises(InputError, match="reference_decay=2 is outside the domain"):
        built("density", "objective=awm", "reference_decay=2")


def test_random_steps_to_a_normal_density_have_its_mean_and_deviation() -> None:
    m, s, steps = 2.0, 0.5, 200
    x = torch.randn(4000, 1, generator=generator_of(0))
    for number in range(steps, 0, -1):
        times = torch.full((len(x),), number / steps)
        x = random_step(to_normal(m, s)(x, times[:, None]), x, times, steps, 0.7).sample()
    assert x.mean().item() == pytest.approx(m, abs=0.05)
    assert x.std().item() == pytest.approx(s, abs=0.03)


def test_a_random_step_by_hand() -> None:
    # t = 1/2 of 4 steps, noise 1: s^2 = 1; drift v + (x + v / 2) = 1 + 2.5 at x = 2, v = 1
    step = random_step(torch.ones(1, 1), torch.full((1, 1), 2.0), torch.tensor([0.5]), 4, 1.0)
    assert step.mean.item() == pytest.approx(2 - 3.5 / 4)
    assert step.variance.item() == pytest.approx(1 / 4)
    # t = 1, where 1 - t counts as 1/4: s^2 = 4; drift v + 2 x
    step = random_step(torch.ones(1, 1), torch.full((1, 1), 2.0), torch.tensor([1.0]), 4, 1.0)
    assert step.mean.item() == pytest.approx(2 - 5 / 4)
    assert step.variance.item() == pytest.approx(1)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_round_of_random_steps_leads_to_its_samples(composed, steps: int) -> None:
    config = composed("density", "objective=ddpo")
    for protocol in config["task"]["protocols"]:
        protocol |= {"sampling_steps": steps} if "sampling_steps" in protocol else {}
    learner = build(config).learner
    protocol, model = learner.protocol, learner.model
    next(protocol.batches(model, 0, 0))
    drawn = protocol.round
    assert len(drawn) == 8 * steps
    shares = [number / steps for number in range(steps, 0, -1)]
    assert drawn.times.view(steps, 8)[:, 0].tolist() == pytest.approx(shares)
    assert torch.equal(drawn.here[8:], drawn.there[:-8])  # a step begins where the last has led
    expected = standardized(protocol.reward(drawn.there[-8:]))
    torch.testing.assert_close(drawn.advantages, expected.repeat(steps))
    record = protocol(model, drawn)
    torch.testing.assert_close(record.logprob, record.old_logprob)
    assert record.logprob.isfinite().all()


def test_a_denoiser_tells_times_and_keeps_the_shape() -> None:
    model, x = Denoiser((1, 4, 4), width=8, depth=1), torch.randn(3, 1, 4, 4)
    outputs = [model(x, torch.full((3,), t)) for t in (0.0, 0.001, 0.5, 1.0)]
    assert all(out.shape == x.shape for out in outputs)
    for one, other in pairwise(outputs):
        assert not torch.allclose(one, other, atol=1e-4)
    for wrong in (partial(Denoiser, (2,), time_dim=3), partial(Denoiser, (2,), width=0)):
        with pytest.raises(InputError, match="outside the domain of Denoiser"):
            wrong()
