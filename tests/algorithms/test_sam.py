import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Products, learner, rows

from objectives.errors import InputError
from objectives.objective import Objective
from runner.algorithms.sam import SAM
from tasks.regression.regression import Rows

GOLDEN = Path(__file__).parents[1] / "golden" / "sam.json"
Built = Callable[..., Any]


def test_by_hand() -> None:
    # w^2 at w = 1: gradient 2, up to 1 + 0.1 * 2 / 2 = 1.1, gradient 2.2: 1 - 0.25 * 2.2
    protocol = Products()
    climbing = learner(1.0, protocol=protocol, lr=0.25)
    metrics = SAM(climbing, rho=0.1).update(rows([1.0], [0.0]))
    assert climbing.model.weight.item() == pytest.approx(0.45)
    assert [weight.item() for weight in protocol.visited] == pytest.approx([1.0, 1.1])
    assert metrics["loss"].item() == pytest.approx(1.0)  # where the model is


@dataclass
class Slopes(Products):
    """A landscape whose gradient is given, one after the other."""

    gradients: Iterator[Tensor] = field(default_factory=lambda: iter(()))

    def predictions(self, weight: Tensor, batch: Rows) -> Tensor:
        return (weight * next(self.gradients)).sum()[None]


def test_golden() -> None:
    golden = json.loads(GOLDEN.read_text())
    inputs, output = golden["inputs"], golden["output"]
    pairs = zip(inputs["gradients_at_weights"], inputs["gradients_at_perturbed"], strict=True)
    gradients = [torch.tensor(g, dtype=torch.float64) for pair in pairs for g in pair]
    protocol = Slopes(gradients=iter(gradients))
    height = Objective(lambda predictions: predictions, ("predictions",), {})
    climbing = learner(inputs["weights"], height, protocol, lr=golden["hyper"]["lr"])
    algorithm = SAM(climbing, rho=golden["hyper"]["rho"])
    for step, weights in enumerate(output["weights"]):
        algorithm.update(rows([0.0], [0.0]))
        perturbed = protocol.visited[2 * step + 1]
        expected = torch.tensor(weights, dtype=torch.float64)
        at_worst = torch.tensor(output["perturbed_weights"][step], dtype=torch.float64)
        torch.testing.assert_close(climbing.model.weight.detach(), expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(perturbed, at_worst, rtol=0, atol=1e-8)  # norm in float32


def trained(built: Built, *overrides: str) -> Tensor:
    """All weights after three updates."""
    experiment = built("digits", "optimizer=sgd", *overrides)
    learning = experiment.learner
    for batch, _ in zip(learning.protocol.batches(learning.model, 0, 0), range(3), strict=False):
        experiment.algorithm.update(batch)
    return torch.cat([p.detach().flatten() for p in learning.model.parameters()])


def test_small_rho_is_plain_descent(built: Built) -> None:
    descended = trained(built)
    torch.testing.assert_close(trained(built, "algorithm=sam", "rho=1e-6"), descended)
    near, far = (
        (trained(built, "algorithm=sam", f"rho={rho}") - descended).norm() for rho in (0.01, 0.1)
    )
    assert 1e-4 < near < far


def test_objective_is_updated_once_and_goes_on_training(built: Built) -> None:
    experiments = [built("digits", "objective=aldr", f"algorithm={a}") for a in ("descent", "sam")]
    learners = [experiment.learner for experiment in experiments]
    batch = next(learners[0].protocol.batches(learners[0].model, 0, 0))
    losses = [experiment.algorithm.update(batch)["loss"] for experiment in experiments]
    plain, sharp = (learner.objective.compute.temperatures for learner in learners)
    assert torch.equal(sharp, plain)
    assert (sharp[batch.index] < 1).all()
    assert torch.equal(*losses)
    assert learners[1].objective.training


def test_accumulated_climb_is_that_of_the_batch(built: Built) -> None:
    parts = trained(built, "algorithm=sam", "rho=0.5", "accumulate=3")
    torch.testing.assert_close(parts, trained(built, "algorithm=sam", "rho=0.5"))


def test_parameters_of_the_objective_climb_too() -> None:
    # (w - c)^2 with c the objective's: gradients (2, -2) at w - c = 1, norm sqrt 8: both move
    # rho / sqrt 2 apart
    class Centre(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centre = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, predictions: Tensor) -> Tensor:
            return (predictions - self.centre) ** 2

    objective = Objective(Centre(), ("predictions",), {})
    climbing = learner(1.0, objective)
    climbing.optimizer.add_param_group({"params": objective.parameters()})
    climbing.__post_init__()
    SAM(climbing, rho=0.1).update(rows([1.0], [0.0]))
    lead = 1 + 2 * 0.1 / 2**0.5
    assert climbing.model.weight.item() == pytest.approx(1 - 2 * lead)
    assert objective.compute.centre.item() == pytest.approx(2 * lead)


@pytest.mark.parametrize("rho", [0.0, -0.05])
def test_rho_must_be_a_distance(built: Built, rho: float) -> None:
    with pytest.raises(InputError) as error:
        built("digits", "algorithm=sam", f"rho={rho}")
    assert str(error.value) == (
        f"rho={rho} is outside the domain of SAM: input should be greater than 0."
    )
