import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import learner

from objectives.errors import InputError
from runner.algorithms.td3 import TD3

Built = Callable[..., Any]


def offline(built: Built, *overrides: str) -> tuple[Any, list[Any]]:
    """An experiment with a step size that can be followed, and some batches."""
    experiment = built("offline", "optimizer=sgd", "lr=0.01", *overrides)
    protocol = experiment.learner.protocol
    return experiment, list(itertools.islice(protocol.batches(experiment.learner.model, 0, 0), 4))


def weights(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def test_the_actor_learns_on_every_second_step_alone(built: Built) -> None:
    experiment, batches = offline(built)
    model = experiment.learner.model
    moved = []
    for batch in batches:
        before = weights(model.actor), weights(model.critic_1), weights(model.critic_2)
        experiment.algorithm.update(batch)
        after = weights(model.actor), weights(model.critic_1), weights(model.critic_2)
        moved.append([not torch.equal(*pair) for pair in zip(before, after, strict=True)])
    assert moved == [[acts, True, True] for acts in (False, True, False, True)]


def test_an_optimizer_with_momentum_leaves_the_actor_alone_too(built: Built) -> None:
    experiment, batches = offline(built, "optimizer=adamw", "delay=3")
    for number, batch in enumerate(batches[:3], 1):
        before = weights(experiment.learner.model.actor)
        experiment.algorithm.update(batch)
        assert torch.equal(weights(experiment.learner.model.actor), before) == (number < 3)


def test_targets_follow_by_their_share(built: Built) -> None:
    experiment, batches = offline(built, "polyak=0.25")
    model = experiment.learner.model
    for acts, batch in zip(itertools.cycle((False, True)), batches, strict=False):
        before = [weights(target) for target, _ in model.targets()]
        experiment.algorithm.update(batch)
        for slow, (target, source) in zip(before, model.targets(), strict=True):
            expected = 0.25 * weights(source) + 0.75 * slow if acts else slow
            torch.testing.assert_close(weights(target), expected)


def test_targets_that_go_all_the_way_are_copies(built: Built) -> None:
    experiment, batches = offline(built, "polyak=1", "delay=1")
    experiment.algorithm.update(batches[0])
    for target, source in experiment.learner.model.targets():
        assert torch.equal(weights(target), weights(source))


def test_goes_on_with_the_actors_turn(built: Built) -> None:
    experiment, batches = offline(built)
    experiment.algorithm.update(batches[0])
    other, _ = offline(built)
    for part in ("model", "optimizer"):
        state = copy.deepcopy(getattr(experiment.learner, part).state_dict())
        getattr(other.learner, part).load_state_dict(state)
    other.algorithm.load_state_dict(experiment.algorithm.state_dict())
    for batch in batches[1:]:
        experiment.algorithm.update(batch)
        other.algorithm.update(batch)
        assert torch.equal(weights(other.learner.model), weights(experiment.learner.model))


def test_a_model_without_an_actor_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs a model with an actor and targets.*model=td3"):
        TD3(learner())


@pytest.mark.parametrize("algorithm", ["descent", "sam"])
def test_targets_that_nothing_would_move_are_refused(built: Built, algorithm: str) -> None:
    with pytest.raises(
        InputError, match="targets that follow it slowly, which algorithm=td3 alone"
    ):
        built("offline", f"algorithm={algorithm}")


@pytest.mark.parametrize("setting", ["polyak=0", "polyak=1.1", "delay=0"])
def test_settings_outside_their_domain(built: Built, setting: str) -> None:
    with pytest.raises(InputError, match=f"{setting} is outside the domain of TD3"):
        built("offline", setting)
