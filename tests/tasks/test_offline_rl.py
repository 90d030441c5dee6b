import copy
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.models.td3 import TD3, held
from tasks.rl.behaviour import Trajectories, collect, joined
from tasks.rl.controllers import SwingUp, WithTheMotion
from tasks.rl.environments import bounds, environment
from tasks.rl.episodes import Episode, play
from tasks.rl.offline import Offline
from tasks.rl.weighting import TrajectoryWeighted, advantages, probabilities, returns

Built = Callable[..., Any]

CPU = torch.device("cpu")
PENDULUM = "Pendulum-v1"
GOLDEN = Path(__file__).parents[1] / "golden" / "harness_traj_weighting.json"


def of(*episodes: list[float], starts: list[float] | None = None) -> Trajectories:
    """Episodes that bring these rewards, from these starts on."""
    begin = starts or [0.0] * len(episodes)
    found = []
    for rewards, start in zip(episodes, begin, strict=True):
        count = len(rewards)
        seen = np.full((count, 3), start, np.float32)
        seen[1:] = 7  # what comes after the start says nothing of it
        actions, ends = np.zeros((count, 1), np.float32), np.zeros(count, bool)
        found.append(Episode(seen, actions, np.array(rewards, np.float32), seen, ends))
    return joined(environment(PENDULUM), found, -1.0, 1.0)


def test_an_episode_is_played_from_its_seed_to_its_end() -> None:
    def act(observations: np.ndarray) -> np.ndarray:
        return np.ones((len(observations), 1), np.float32)

    mountain = environment("MountainCarContinuous-v0")
    drive = play(mountain, WithTheMotion(), 3, first_seed=5)
    for episode in drive:
        assert episode.terminated.tolist() == [False] * (len(episode.rewards) - 1) + [True]
        assert np.array_equal(episode.observations[1:], episode.next_observations[:-1])
        assert episode.total == pytest.approx(100 - 0.1 * len(episode.rewards), rel=1e-4)
    assert len({len(episode.rewards) for episode in drive}) > 1
    alone = play(mountain, WithTheMotion(), 1, first_seed=6)[0]
    for name in ("observations", "actions", "rewards", "next_observations"):
        assert np.array_equal(getattr(alone, name), getattr(drive[1], name))
    limited = play(environment(PENDULUM), act, 1, first_seed=0)[0]
    assert (len(limited.rewards), limited.terminated.any()) == (200, False)


def test_a_later_reward_is_worth_less() -> None:
    rewards = np.array([1.0, 2.0, 4.0])
    episode = Episode(*[np.zeros(3)] * 2, rewards, *[np.zeros(3)] * 2)
    assert episode.discounted(0.5) == 1 + 1 + 1
    assert episode.discounted(0.0) == 1
    assert episode.total == 7


def test_an_expert_stands_the_pendulum_up() -> None:
    data = collect(PENDULUM, SwingUp(), 0, episodes=5, expert=1.0)
    assert (data.worst, data.best) == (pytest.approx(-1250, abs=150), pytest.approx(-170, abs=40))
    assert data.returns.mean() > -400
    upright = data.observations[199::200, 0]
    assert (upright > 0.99).all()


def test_skills_have_their_share_of_the_episodes() -> None:
    data = collect(PENDULUM, SwingUp(), 3, episodes=8, random=2.0, medium=1.0, expert=1.0)
    assert data.lengths.tolist() == [200] * 8
    same = torch.from_numpy(SwingUp()(data.observations.numpy())) / 2
    share = (
        torch.isclose(same, data.actions, atol=1e-4).float().mean(dim=1).view(8, 200).mean(dim=1)
    )
    assert (share[:4] < 0.05).all()
    assert torch.allclose(share[4:6], torch.tensor(0.4), atol=0.12)
    assert (share[6:] == 1).all()
    assert data.actions.abs().max() <= 1


def test_behaviour_is_the_same_for_the_same_seed_alone() -> None:
    first, other = (collect(PENDULUM, SwingUp(), seed, episodes=2, medium=1.0) for seed in (0, 1))
    collect.cache_clear()
    again = collect(PENDULUM, SwingUp(), 0, episodes=2, medium=1.0)
    for field in fields(Trajectories):
        mine, same = getattr(first, field.name), getattr(again, field.name)
        if isinstance(mine, Tensor):
            assert torch.equal(mine, same)
    assert not torch.equal(first.actions, other.actions)
    assert not torch.equal(first.starts, other.starts)


def test_actions_are_played_as_they_were_seen() -> None:
    data = collect(PENDULUM, SwingUp(), 0, episodes=2, expert=1.0)
    assert np.allclose(data.played(data.actions), SwingUp()(data.observations.numpy()), atol=1e-6)
    assert data.played(torch.tensor([[-1.0], [0.0], [1.0]])).tolist() == [[-2], [0], [2]]


def test_behaviour_that_cannot_be() -> None:
    with pytest.raises(InputError, match="of nobody: give random, medium or expert a weight"):
        collect(PENDULUM, SwingUp(), 0)
    with pytest.raises(InputError, match=r"has actions Discrete\(2\), expected a Box with bounds"):
        collect("CartPole-v1", SwingUp(), 0, expert=1.0)
    with pytest.raises(InputError, match="is for Pendulum-v1 and its 3 observations, not for"):
        collect("MountainCarContinuous-v0", SwingUp(), 0, expert=1.0)
    with pytest.raises(InputError, match=r"no expert of Pendulum-v1: its mean return is .* random"):
        collect(PENDULUM, lambda observations: -SwingUp()(observations), 0, expert=1.0)
    assert bounds(environment(PENDULUM))[1].tolist() == [2.0]


def test_an_unknown_skill_is_refused(composed: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="behaviour/genius"):
        composed("offline", "behaviour=genius")


def protocol(data: Trajectories, **settings: Any) -> Offline:
    return Offline(data, 4, 0, CPU, **settings)


class Sums(nn.Module):
    """Values and actions that can be told by hand: sums of what goes in, times a factor."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.factor * sum(value.sum(dim=1) for value in inputs)


class Still(nn.Module):
    """Always the same action."""

    def __init__(self, action: float):
        super().__init__()
        self.action = action

    def forward(self, observations: Tensor) -> Tensor:
        return torch.full((len(observations), 1), self.action)


def by_hand(next_action: float = 0.5) -> TD3:
    model = TD3((3,), 1, width=4)
    model.target_actor = Still(next_action)
    model.target_critic_1, model.target_critic_2 = Sums(1.0), Sums(2.0)
    return model


def test_targets_by_hand() -> None:
    # next action 0.5 + 0.2 * 0.5 = 0.6, or 0.5 + 0.3 where the noise is clipped; next observations
    # sum to 3 and -3: y = 1 + 0.5 * min(3.6, 2 * 3.6) = 2.8, 2 + 0.5 * min(-2.2, 2 * -2.2) = -0.2,
    # and 2 where that is the last step; an action of 0.9 + 0.3 is 1: 1 + 0.5 * 4 and 2 - 0.5 * 4
    offline = protocol(of([1.0, 2.0]), discount=0.5, noise_clip=0.3)
    batch = next(offline.batches(by_hand(), 0, 0))
    known = {
        "observations": torch.zeros(3, 3),
        "actions": torch.zeros(3, 1),
        "rewards": torch.tensor([1.0, 2.0, 2.0]),
        "next_observations": torch.tensor([[1.0, 1, 1], [-1.0, -1, -1], [-1.0, -1, -1]]),
        "terminated": torch.tensor([0.0, 0, 1]),
        "noise": torch.tensor([[0.5], [9.0], [9.0]]),
        "index": torch.arange(3),
    }
    targets = offline(by_hand(), type(batch)(**known)).targets
    assert targets.tolist() == pytest.approx([2.8, -0.2, 2.0])
    targets = offline(by_hand(0.9), type(batch)(**known)).targets
    assert targets.tolist() == pytest.approx([3.0, 0.0, 2.0])


def test_gradients_stay_where_they_belong(built: Built) -> None:
    learner = built("offline", "objective=a2pr").learner
    model = learner.model
    record = learner.protocol(model, next(learner.protocol.batches(model, 0, 0)))
    reached = {
        "policy_values": {"actor"},
        "policy_actions": {"actor"},
        "generated_actions": {"actor"},
        "values_1": {"critic_1"},
        "values_2": {"critic_2"},
        "state_values": {"state_critic"},
        "reconstructions": {"generator"},
        "latent_stds": {"generator"},
    }
    for name, parts in reached.items():
        model.zero_grad()
        getattr(record, name).square().sum().backward(retain_graph=True)
        found = {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None}
        assert found == parts, name
    constants = ("targets", "generated_values", "state_targets", "actions")
    assert not any(getattr(record, name).requires_grad for name in constants)


def test_a_held_module_says_the_same() -> None:
    model, seen, action = TD3((3,), 1), torch.randn(5, 3), torch.randn(5, 1)
    assert torch.equal(held(model.critic_1, seen, action), model.critic_1(seen, action))


def test_the_states_value_follows_the_lower_target(built: Built) -> None:
    learner = built("offline", "objective=a2pr").learner
    protocol, model = learner.protocol, learner.model
    batch = next(protocol.batches(model, 0, 0))
    record = protocol(model, batch)  # the targets are the critics still
    torch.testing.assert_close(record.state_targets, record.targets)
    with torch.no_grad():
        for parameter in model.critic_2.parameters():
            parameter -= 1
    lower = protocol(model, batch)
    assert torch.equal(lower.targets, record.targets)
    assert (lower.state_targets <= lower.targets).all()
    assert (lower.state_targets < lower.targets).any()


def test_rewards_that_are_all_the_same_stay_as_they_are() -> None:
    for reward in (0.0, 0.1, -300.0):
        offline = protocol(of([reward] * 7))
        assert (
            next(offline.batches(by_hand(), 0, 0)).rewards.tolist() == [pytest.approx(reward)] * 4
        )
    scaled = protocol(of([0.0, 200.0])).reward_scale
    assert scaled.item() == pytest.approx(0.01)


def test_observations_are_standardised_by_the_data(built: Built) -> None:
    offline = built("offline").learner.protocol
    seen = torch.cat([batch.observations for batch in offline.batches(None, 0, 0)])
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(dim=0), torch.ones(3), atol=1e-2, rtol=0)


def test_an_expert_is_evaluated_as_one() -> None:
    data = collect(PENDULUM, SwingUp(), 0, episodes=2, random=1.0)
    offline = protocol(data, episodes=40, discount=0.9)
    offline._standard = lambda seen: seen

    class Expert(nn.Module):
        def forward(self, observations: Tensor) -> Tensor:
            return torch.from_numpy(SwingUp()(observations.numpy())) / 2

    model = TD3((3,), 1)
    model.actor, model.critic_1 = Expert(), Sums(0.0)
    metrics = offline.evaluate(model, "test")
    assert metrics["normalized_return"] == pytest.approx(100, abs=5)
    spread = data.rewards.std(correction=0)
    assert 0 < metrics["overestimation"] * spread < -metrics["return"]  # it sees 0, all cost


def test_the_loss_falls_where_no_value_comes_later(built: Built) -> None:
    # without a discounted future and without a weight of the values it is regression alone
    experiment = built("offline", "discount=0", "alpha=0", "delay=1", "lr=0.01")
    batch = next(experiment.learner.protocol.batches(experiment.learner.model, 0, 0))
    losses = [experiment.algorithm.update(batch)["loss"].item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_weighting_agrees_with_the_official_code() -> None:
    golden = json.loads(GOLDEN.read_text())
    lengths = torch.tensor(golden["inputs"]["lengths"])
    rewards = torch.tensor(golden["inputs"]["rewards"], dtype=torch.float64)
    gained = torch.stack([part.sum() for part in rewards.split(lengths.tolist())])
    found = probabilities(gained, lengths, golden["hyper"]["tau"])
    expected = torch.tensor(golden["output"], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_weights_by_hand() -> None:
    # u = 0, 1/2, 1 at tau = 1/2: 1, e, e^2 for the 2, 1 and 1 transitions
    e = float(np.e)
    found = probabilities(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([2, 1, 1]), 0.5)
    assert found.tolist() == pytest.approx(np.array([1, 1, e, e**2]) / (2 + e + e**2))


@pytest.mark.parametrize(
    ("tau", "expected"),
    [(1e9, [1 / 4] * 4), (1e-3, [0, 0, 1 / 2, 1 / 2]), (1e-308, [0, 0, 0.5, 0.5])],
)
def test_limits_of_the_temperature(tau: float, expected: list[float]) -> None:
    found = probabilities(torch.tensor([0.0, -1.0, 8.0]), torch.tensor([1, 1, 2]), tau)
    assert found.tolist() == pytest.approx(expected)


def test_equal_scores_and_single_episodes_are_uniform() -> None:
    assert probabilities(torch.full((2,), 0.1), torch.tensor([1, 3]), 0.1).tolist() == [0.25] * 4
    alone = of([5.0])
    assert (returns(alone).tolist(), advantages(alone).tolist()) == ([5.0], [0.0])
    sampler = TrajectoryWeighted(alone, 3, 0, CPU, score=advantages)
    assert [batch.tolist() for batch in sampler.batches(0, 0)] == [[0, 0, 0]]


def test_advantages_are_what_the_start_does_not_explain() -> None:
    # returns 1, 3, 8 from starts 0, 1, 2: the line is 0.5 + 3.5 x
    data = of([1.0], [1.0, 2.0], [8.0], starts=[0.0, 1.0, 2.0])
    assert returns(data).tolist() == [1, 3, 8]
    assert advantages(data).tolist() == pytest.approx([0.5, -1.0, 0.5])
    assert advantages(of([1.0], [5.0], starts=[2.0, 2.0])).tolist() == pytest.approx([-2, 2])


def test_advantages_are_those_of_the_official_codes_regression() -> None:
    generator = np.random.default_rng(0)
    starts = generator.normal(size=(40, 3)).astype(np.float32)
    gained = generator.normal(size=40).astype(np.float32)
    ended = np.zeros(1, bool)
    episodes = [
        Episode(start[None], start[None, :1], gain[None], start[None], ended)
        for start, gain in zip(starts, gained, strict=True)
    ]
    data = joined(environment(PENDULUM), episodes, -1.0, 1.0)
    expected = gained - LinearRegression().fit(starts, gained).predict(starts)
    assert advantages(data).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_batches_are_of_good_episodes_and_of_their_number_alone() -> None:
    data = of([0.0] * 50, [1.0] * 10, [0.0] * 40)

    def sampler(seed: int = 0) -> TrajectoryWeighted:
        return TrajectoryWeighted(data, 32, seed, CPU, score=returns, tau=0.2)

    whole = list(sampler().batches(1, 0))
    assert len(whole) == sampler().steps_per_epoch == 4
    assert not torch.equal(whole[0], whole[1])
    drawn = torch.cat([batch for epoch in range(40) for batch in sampler().batches(epoch, 0)])
    good = ((drawn >= 50) & (drawn < 60)).float().mean().item()
    assert good == pytest.approx(10 * np.e**5 / (90 + 10 * np.e**5), abs=0.015)
    tail = sampler().batches(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(tail, whole[2:], strict=True))
    for other in (sampler(1).batches(1, 0), sampler().batches(2, 0)):
        assert not torch.equal(torch.cat(list(other)), torch.cat(whole))


def test_the_sampler_fits_both_objectives(built: Built) -> None:
    for objective in ("td3_bc", "a2pr"):
        experiment = built(
            "offline", f"objective={objective}", "sampler=harness_traj_weighting", "sampler.tau=0.5"
        )
        assert type(experiment.learner.protocol.sampler) is TrajectoryWeighted
        batch = next(experiment.learner.protocol.batches(experiment.learner.model, 0, 0))
        assert experiment.algorithm.update(copy.copy(batch))["loss"].isfinite()
    with pytest.raises(InputError, match="draws from episodes by how good they are"):
        built("density", "sampler=harness_traj_weighting")
    with pytest.raises(InputError, match="draws examples by their labels, which this task does"):
        built("offline", "sampler=class_balanced")
    with pytest.raises(InputError, match="tau=0 is outside the domain of TrajectoryWeighted"):
        built("offline", "sampler=harness_traj_weighting", "sampler.tau=0")
