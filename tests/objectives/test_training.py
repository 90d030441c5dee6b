"""Every objective on every task that it fits, from its config to its steps."""

import io
from collections.abc import Callable
from itertools import chain, islice
from typing import Any

import pytest
import torch
from cases import cases

from objectives.errors import InputError
from objectives.records import Rollout
from runner import catalogue
from runner.build import Experiment
from tasks.protocol import Batch

CASES = cases()

Built = Callable[..., Experiment]


def fitting() -> list[Any]:
    """Task and objective, once for every protocol that an objective has without files."""
    found: dict[tuple[str, str], Any] = {}
    wanted = {
        name: set(catalogue.fields(entry))
        for name, entry in catalogue.options("objective").items()
        if name in CASES
    }
    for task, entry in catalogue.options("task").items():
        if any(not file.startswith("pkg://") for file in entry.config.get("files", [])):
            continue
        offered = catalogue.record_fields(entry.config["task"])
        for objective, case in CASES.items():
            fit = [number for number, known in enumerate(offered) if wanted[objective] <= known]
            if fit or task in case.on_task:
                best = min(fit, key=lambda number: len(offered[number]), default=0)
                protocol = entry.config["task"]["protocols"][best]["_target_"]
                param = pytest.param(task, objective, id=f"{task}-{objective}")
                found.setdefault((protocol, objective), param)
    return list(found.values())


# by their scope all tests of a pair run together, in the process that has composed its config
everywhere = pytest.mark.parametrize(("task", "objective"), fitting(), scope="module")


def overrides(task: str, objective: str) -> list[str]:
    return [f"objective={objective}", "lr=0.01", *CASES[objective].on_task.get(task, ())]


def batches(experiment: Experiment, count: int) -> list[Batch]:
    learner = experiment.learner
    epochs = (learner.protocol.batches(learner.model, epoch, 0) for epoch in range(count))
    return list(islice(chain.from_iterable(epochs), count))


def parameters(experiment: Experiment) -> list[torch.Tensor]:
    return [p.detach().clone() for p in experiment.learner.model.parameters()]


def test_every_objective_fits_some_task() -> None:
    assert {param.values[1] for param in fitting()} == set(CASES)


@everywhere
def test_takes_a_step(built: Built, task: str, objective: str) -> None:
    experiment = built(task, *overrides(task, objective))
    before = parameters(experiment)
    metrics = experiment.algorithm.update(*batches(experiment, 1))
    assert metrics["loss"].isfinite()
    assert all(metric.isfinite() and not metric.requires_grad for metric in metrics.values())
    names = [name for name, _ in experiment.learner.model.named_parameters()]
    changes = zip(names, before, parameters(experiment), strict=True)
    still = {name for name, b, a in changes if torch.equal(b, a)}
    assert still <= set(CASES[objective].still), "these parameters got no gradient"


@everywhere
def test_loss_falls_on_one_batch(built: Built, task: str, objective: str) -> None:
    experiment = built(task, *overrides(task, objective))
    if experiment.learner.protocol.record is Rollout:
        pytest.skip("the surrogate of a policy is of its change, not of how good it is")
    if reason := CASES[objective].lacks.get("fall"):
        pytest.skip(reason)
    if task == "rock_paper_scissors":
        pytest.skip("preferences go in a circle: the loss of a policy is near its floor")
    (batch,) = batches(experiment, 1)
    losses = [experiment.algorithm.update(batch)["loss"].item() for _ in range(12)]
    assert losses[-1] < losses[0] - 0.1 * abs(losses[0]), losses


@everywhere
def test_goes_on_from_its_state(built: Built, task: str, objective: str) -> None:
    experiment = built(task, *overrides(task, objective))
    first, second = batches(experiment, 2)
    experiment.algorithm.update(first)
    state, random_state = saved(experiment), torch.get_rng_state()
    expected = experiment.algorithm.update(second)

    other = built(task, *overrides(task, objective), seed=5)  # differs until it is loaded
    for name, part in stateful(other).items():
        part.load_state_dict(state[name])
    torch.set_rng_state(random_state)  # as a checkpoint has it
    metrics = other.algorithm.update(second)
    assert metrics.keys() == expected.keys()
    for name, metric in metrics.items():
        assert torch.equal(metric, expected[name]), name
    for ours, theirs in zip(parameters(other), parameters(experiment), strict=True):
        assert torch.equal(ours, theirs)
    for name in ("objective", "protocol"):
        torch.testing.assert_close(saved(other)[name], saved(experiment)[name], rtol=0, atol=0)


@everywhere
def test_accumulated_gradient_is_that_of_the_batch(built: Built, task: str, objective: str) -> None:
    chosen = overrides(task, objective)
    whole = built(task, *chosen)
    if whole.learner.objective.traits.coupled:
        with pytest.raises(InputError, match="accumulate=3 would change this objective, since"):
            built(task, *chosen, accumulate=3)
        return
    parts = built(task, *chosen, accumulate=3)  # of 6, 6 and 4 examples
    (batch,) = batches(whole, 1)
    metrics, in_parts = whole.learner.backward(batch), parts.learner.backward(batch)
    torch.testing.assert_close(in_parts, metrics)
    for one, other in zip(whole.learner.parameters, parts.learner.parameters, strict=True):
        rounding = 1e-5 * float(one.grad.abs().max())
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=max(1e-6, rounding))
    torch.testing.assert_close(saved(parts)["objective"], saved(whole)["objective"])


def stateful(experiment: Experiment) -> dict[str, Any]:
    learner = experiment.learner
    return {
        "model": learner.model,
        "objective": learner.objective,
        "optimizer": learner.optimizer,
        "protocol": learner.protocol,
        "algorithm": experiment.algorithm,
    }


def saved(experiment: Experiment) -> dict[str, Any]:
    """The state of all parts, through a file's bytes."""
    with io.BytesIO() as file:
        torch.save({name: p.state_dict() for name, p in stateful(experiment).items()}, file)
        file.seek(0)
        state: dict[str, Any] = torch.load(file, weights_only=True)
    return state
