"""Attacks on pixels, and training on attacked batches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.errors import InputError
from runner.attack import Pixels, slope_of

Built = Callable[..., Any]
UNIT = Pixels(torch.tensor(0.0), torch.tensor(1.0))


def test_an_attack_of_a_linear_loss_goes_to_the_corner_of_the_ball() -> None:
    slopes = torch.tensor([3.0, -0.1, 2.0, -4.0])
    inputs = torch.tensor([0.5, 0.5, 0.95, 0.05])
    slope = slope_of(lambda x: (slopes * x).sum())
    expected = torch.tensor([0.6, 0.4, 1.0, 0.0])  # the last two end at white and black
    torch.testing.assert_close(UNIT.fgsm(slope, inputs, epsilon=0.1), expected)
    attacked = UNIT.pgd(slope, inputs, epsilon=0.1, steps=20, step_size=0.02)
    torch.testing.assert_close(attacked, expected)


def test_epsilon_is_in_units_of_the_range() -> None:
    normalised = Pixels(torch.tensor(-1.0), torch.tensor(1.0))
    slope = slope_of(lambda x: x.sum())
    assert normalised.fgsm(slope, torch.zeros(1), epsilon=0.1).item() == pytest.approx(0.2)
    assert normalised.pgd(
        slope, torch.zeros(1), epsilon=0.1, steps=9, step_size=0.05
    ).item() == pytest.approx(0.2)


def test_a_ball_without_radius_is_its_middle() -> None:
    inputs = torch.rand(4)
    slope = slope_of(lambda x: x.sum())
    assert torch.equal(UNIT.fgsm(slope, inputs, epsilon=0.0), inputs)
    assert torch.equal(UNIT.pgd(slope, inputs, epsilon=0.0, steps=3, step_size=0.1), inputs)


def test_random_starts_differ_and_stay_inside() -> None:
    inputs = torch.tensor([0.5, 0.02, 0.99]).expand(100, 3)
    flat = slope_of(lambda x: (0 * x).sum())
    starts = UNIT.pgd(flat, inputs, epsilon=0.1, steps=1, step_size=0.1)
    assert starts.unique(dim=0).shape[0] == 100
    assert (starts - inputs).abs().max() <= 0.1 + 1e-6
    assert starts.min() >= 0
    assert starts.max() <= 1


def first_batch(experiment: Any) -> Any:
    learner = experiment.learner
    return next(learner.protocol.batches(learner.model, 0, 0))


@pytest.mark.parametrize("objective", ["cross_entropy", "ldr", "aldr"])
def test_the_attack_raises_the_loss_that_is_trained_and_leaves_no_trace(
    built: Built, objective: str
) -> None:
    experiment = built(
        "digits", "algorithm=pgd_at", f"objective={objective}", "model=cnn", "model.width=4"
    )
    learner, batch = experiment.learner, first_batch(experiment)
    seen: list[Any] = []
    experiment.algorithm.outer.update = lambda attacked: seen.append(attacked) or {}
    before = {
        name: value.clone()
        for part in (learner.model, learner.objective)
        for name, value in part.state_dict().items()
    }
    experiment.algorithm.update(batch)
    (attacked,) = seen
    for part in (learner.model, learner.objective):
        for name, value in part.state_dict().items():
            assert torch.equal(value, before[name]), name
        assert part.training
        part.eval()
    assert all(parameter.grad is None for parameter in learner.parameters)
    low, high = learner.protocol.facts["input_range"]
    moved = (attacked.inputs - batch.inputs) / (high - low)
    assert 0 < moved.abs().max() <= 0.03137 + 1e-6
    plain, worse = (learner.loss(b)[0].mean() for b in (batch, attacked))
    assert worse > plain


def weights_after(built: Built, *overrides: str) -> Tensor:
    experiment = built("digits", "optimizer=sgd", *overrides)
    experiment.algorithm.update(first_batch(experiment))
    return torch.cat([p.detach().flatten() for p in experiment.learner.model.parameters()])


def test_without_radius_it_is_the_outer_algorithm(built: Built) -> None:
    harmless = "algorithm=pgd_at", "attack_epsilon=0", "attack_steps=1"
    torch.testing.assert_close(weights_after(built, *harmless), weights_after(built))
    sharp = "algorithm.outer._target_=runner.algorithms.sam.SAM"
    around = weights_after(built, *harmless, sharp)
    torch.testing.assert_close(around, weights_after(built, "algorithm=sam"))
    assert not torch.allclose(around, weights_after(built))


def test_what_has_no_pixels_is_refused(built: Built) -> None:
    for task, objective in (("diabetes", "mse"), ("pairs", "sft"), ("digits", "info_nce")):
        with pytest.raises(InputError, match=r"pgd_at changes pixels, but \w+ yields no `inputs`"):
            built(task, f"objective={objective}", "algorithm=pgd_at")
    with pytest.raises(InputError, match=r"attack_epsilon=-0\.1 is outside the domain"):
        built("digits", "algorithm=pgd_at", "attack_epsilon=-0.1")
