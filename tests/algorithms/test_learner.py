from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import learner, rows

from objectives.errors import InputError
from objectives.objective import Objective, declare

BATCH = ([1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 0.0, 2.0, 1.0])


def above(predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared errors of the positive targets alone: as many values as there are."""
    counted = targets > 0
    return (predictions - targets)[counted] ** 2, {"targets": targets.mean()}


def of(function: Callable[..., Any]) -> Objective:
    return Objective(function, ("predictions", "targets"), {})


def test_gradient_of_the_mean() -> None:
    # mean of (w x)^2 at w = 1: d/dw = mean of 2 x^2 = (2 + 8) / 2
    learning = learner()
    assert learning.backward(rows([1.0, 2.0], [0.0, 0.0]))["loss"].item() == 2.5
    assert learning.model.weight.grad.item() == 5.0


def test_every_backward_starts_from_zero() -> None:
    learning = learner()
    for _ in range(2):
        learning.backward(rows([1.0, 2.0], [0.0, 0.0]))
    assert learning.model.weight.grad.item() == 5.0


@pytest.mark.parametrize("accumulate", [2, 3, 5, 9])
@pytest.mark.parametrize("objective", [None, of(above)], ids=["mse", "some values"])
def test_accumulation(accumulate: int, objective: Objective | None) -> None:
    whole, parts = learner(objective=objective), learner(objective=objective, accumulate=accumulate)
    expected, metrics = whole.backward(rows(*BATCH)), parts.backward(rows(*BATCH))
    torch.testing.assert_close(metrics, expected)
    torch.testing.assert_close(parts.model.weight.grad, whole.model.weight.grad)
    assert len(parts.protocol.visited) == min(accumulate, 5)  # chunks of 5 rows by 2: 3 and 2


def test_accumulation_is_refused_where_examples_are_coupled() -> None:
    @declare(coupled="the mean is taken off")
    def centred(predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions - predictions.mean()) ** 2

    with pytest.raises(InputError) as error:
        learner(objective=of(centred), accumulate=2)
    assert str(error.value) == (
        "accumulate=2 would change this objective, since the mean is taken off. "
        "Use accumulate=1 and a batch_size that fits."
    )
    learner(objective=of(centred), accumulate=1)


# the gradient is 5; a step of size 1 along it, cut to `clip`
@pytest.mark.parametrize(("clip", "step"), [(None, 5.0), (2.0, 2.0), (5.5, 5.0)])
def test_clip(clip: float | None, step: float) -> None:
    learning = learner(10.0, clip=clip)
    learning.backward(rows([1.0, 2.0], [9.0, 18.0]))  # errors 1 and 2
    learning.step()
    assert learning.model.weight.item() == pytest.approx(10 - step, rel=1e-5)


def test_clip_is_of_all_parameters_together() -> None:
    # gradients 2 w x^2 / 2 = (3, 4) of norm 5, cut to norm 1
    learning = learner([3.0, 4.0], clip=1.0)
    learning.backward(rows([1.0, 1.0], [0.0, 0.0]))
    learning.step()
    expected = torch.tensor([3 - 0.6, 4 - 0.8], dtype=torch.float64)
    torch.testing.assert_close(learning.model.weight.detach(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("task", "output"), [("digits", "logits"), ("diabetes", "predictions")])
def test_bfloat16_is_of_the_forward_pass_alone(
    built: Callable[..., Any], task: str, output: str
) -> None:
    exact, rough = built(task).learner, built(task, "precision=bfloat16").learner
    batch = next(exact.protocol.batches(exact.model, 0, 0))
    with rough.autocast:
        assert getattr(rough.protocol(rough.model, batch), output).dtype == torch.bfloat16
    expected, metrics = exact.backward(batch), rough.backward(batch)
    torch.testing.assert_close(metrics["loss"].float(), expected["loss"], rtol=0.02, atol=0.01)
    for one, other in zip(exact.parameters, rough.parameters, strict=True):
        assert other.grad.dtype == torch.float32
        assert not torch.equal(other.grad, one.grad)
        assert (other.grad - one.grad).norm() < 0.2 * one.grad.norm()


@pytest.mark.parametrize(("task", "objective"), [("digits", "aldr"), ("digits", "info_nce")])
def test_bfloat16_steps(built: Callable[..., Any], task: str, objective: str) -> None:
    experiment = built(task, f"objective={objective}", "precision=bfloat16", "lr=0.01")
    learning = experiment.learner
    batch = next(learning.protocol.batches(learning.model, 0, 0))
    losses = [experiment.algorithm.update(batch)["loss"].item() for _ in range(6)]
    assert losses[-1] < losses[0]
