import copy
import itertools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives.errors import InputError
from tasks.rl.environments import Actors, environment
from tasks.rl.on_policy import FIRST_SEED, OnPolicy, gae

CPU = torch.device("cpu")
CARTPOLE = "CartPole-v1"


def columns(*rows: list[float]) -> Tensor:
    """One row an actor, written along time."""
    return torch.tensor(rows).T


def test_gae_by_hand() -> None:
    # gamma = 0.5, gamma lambda = 0.25. First actor, terminated at step 1 and truncated at 2:
    #   d = (1 + 0.5*2 - 1, 1 + 0 - 2, 1 + 0.5*6 - 3, 1 + 0.5*5 - 4) = (1, -1, 1, -0.5)
    #   A3 = -0.5; A2 = 1, cut off from A3; A1 = -1, cut off; A0 = 1 + 0.25 * -1 = 0.75
    # Second actor, never done, errors all 1: A = 1 + 0.25 * the next
    advantages = gae(
        rewards=columns([1.0, 1, 1, 1], [0.0, 0, 0, 0]),
        values=columns([1.0, 2, 3, 4], [0.0, 0, 0, 0]),
        next_values=columns([2.0, 9, 6, 5], [2.0, 2, 2, 2]),
        terminated=columns([0.0, 1, 0, 0], [0.0, 0, 0, 0]),
        truncated=columns([0.0, 0, 1, 0], [0.0, 0, 0, 0]),
        gamma=0.5,
        gae_lambda=0.5,
    )
    expected = columns([0.75, -1.0, 1.0, -0.5], [1.328125, 1.3125, 1.25, 1.0])
    torch.testing.assert_close(advantages, expected)


def episode(length: int) -> dict[str, Tensor]:
    """One actor whose next value is the value of its next step, ended by termination."""
    rewards, values = torch.randn(2, length, 1, dtype=torch.float64)
    terminated = torch.zeros(length, 1, dtype=torch.float64)
    terminated[-1] = 1
    next_values = torch.cat([values[1:], torch.full((1, 1), 7.0, dtype=torch.float64)])
    return {
        "rewards": rewards,
        "values": values,
        "next_values": next_values,
        "terminated": terminated,
        "truncated": torch.zeros_like(terminated),
    }


def test_gae_at_lambda_one_is_the_return_less_the_value() -> None:
    steps = episode(6)
    returns = torch.zeros(6, 1, dtype=torch.float64)
    for t in range(6):
        returns[t] = sum(0.9 ** (k - t) * steps["rewards"][k] for k in range(t, 6))
    advantages = gae(**steps, gamma=0.9, gae_lambda=1.0)
    torch.testing.assert_close(advantages, returns - steps["values"])


def test_gae_at_lambda_zero_is_the_one_step_error() -> None:
    steps = episode(6)
    bootstrap = steps["next_values"] * (1 - steps["terminated"])
    expected = steps["rewards"] + 0.9 * bootstrap - steps["values"]
    torch.testing.assert_close(gae(**steps, gamma=0.9, gae_lambda=0.0), expected)


def test_environment_facts() -> None:
    cartpole = environment(CARTPOLE)
    assert (cartpole.observation_shape, cartpole.actions.size) == ((4,), 2)


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("NoSuchThing-v0", "environment 'NoSuchThing-v0' cannot be made: .*NoSuchThing"),
        ("CartPole-v9", "environment 'CartPole-v9' cannot be made: .*version"),
        ("nowhere:Thing-v0", "environment 'nowhere:Thing-v0' cannot be made: .*nowhere"),
        (5, "environment 5 cannot be made: "),
        ("FrozenLake-v1", "environment 'FrozenLake-v1' observes Discrete.*, expected Box"),
    ],
)
def test_environments_that_do_not_fit(id: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        environment(id)


def play(actors: Actors, actions: np.ndarray) -> list[np.ndarray]:
    """All that is seen in some steps."""
    seen = []
    for chosen in actions:
        step = actors.step(chosen)
        seen += [*vars(step).values(), actors.observations.copy()]
    return seen


def test_actors_go_on_from_their_state() -> None:
    actions = np.random.default_rng(0).integers(0, 2, (200, 3))
    actors = Actors(environment(CARTPOLE), 3, first_seed=5)
    done = 0
    while actors.seeds.index(max(actors.seeds)) != 1:  # not the last to be restored
        play(actors, actions[done : done + 1])
        done += 1
    play(actors, actions[done : done + 3])  # into the episodes
    state, observations = copy.deepcopy(actors.state_dict()), actors.observations.copy()
    expected = play(actors, actions[done + 3 :])
    other = Actors(environment(CARTPOLE), 3, first_seed=99)
    other.load_state_dict(state)
    assert np.array_equal(other.observations, observations)
    assert other.state_dict() == state
    for ours, theirs in zip(play(other, actions[done + 3 :]), expected, strict=True):
        assert np.array_equal(ours, theirs)
    assert other.state_dict() == actors.state_dict()


def test_a_step_shows_the_last_state_of_an_episode() -> None:
    actors = Actors(environment(CARTPOLE), 1, first_seed=3)
    env = gymnasium.make(CARTPOLE)
    env.reset(seed=3)
    for _ in range(500):
        step = actors.step(np.array([1]))
        observation, reward, terminated, truncated, _ = env.step(1)
        assert np.array_equal(step.observations[0], observation)
        assert (step.rewards[0], step.terminated[0]) == (reward, terminated)
        if terminated or truncated:
            break
    fresh, _ = env.reset(seed=4)  # every episode has the next seed
    assert np.array_equal(actors.observations[0], fresh)
    assert not np.array_equal(actors.observations, step.observations)


def test_time_limits_truncate_and_do_not_terminate() -> None:
    actors = Actors(environment("MountainCar-v0"), 1, first_seed=0)
    *before, last = (actors.step(np.array([1])) for _ in range(200))
    assert last.truncated.all()
    assert not last.terminated.any()
    assert not any(step.truncated.any() for step in before)
    fresh, _ = gymnasium.make("MountainCar-v0").reset(seed=1)
    assert np.array_equal(actors.observations[0], fresh)


@pytest.mark.parametrize("seed", [0, 1, 99, 100, 200])
def test_training_never_sees_the_episodes_of_evaluation(seed: int) -> None:
    trained = OnPolicy(environment(CARTPOLE), 16, seed, CPU, actors=2, horizon=4)
    for split in ("val", "test"):
        held_out = Actors(environment(CARTPOLE), 2, FIRST_SEED[split])
        assert set(trained.actors.seeds).isdisjoint(held_out.seeds), split
        assert not np.array_equal(trained.actors.observations, held_out.observations)


def test_seeds_have_episodes_of_their_own() -> None:
    starts = [
        OnPolicy(environment(CARTPOLE), 16, seed, CPU, actors=2).actors.observations
        for seed in range(3)
    ]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(starts, 2))


def sampled(built: Callable[..., Any], *overrides: str) -> tuple[Any, list[Any]]:
    learner = built("cartpole", *overrides).learner
    batches = list(learner.protocol.batches(learner.model, 0, 0))
    return learner, batches


def test_a_rollout_is_of_the_policy_that_acted(built: Callable[..., Any]) -> None:
    learner, batches = sampled(built)
    for batch in batches:
        record = learner.protocol(learner.model, batch)
        torch.testing.assert_close(record.logprobs, record.old_logprobs)
        scores = learner.model(batch.observations)[0].log_softmax(dim=-1)
        chosen = scores.gather(1, batch.actions[:, None]).squeeze(1)
        torch.testing.assert_close(record.logprobs, chosen)
        torch.testing.assert_close(record.entropies, -(scores.exp() * scores).sum(dim=-1))
        assert not batch.advantages.requires_grad


def test_advantages_are_standardised_and_returns_are_not(built: Callable[..., Any]) -> None:
    learner, _ = sampled(built)
    rollout = learner.protocol.rollout
    assert rollout.advantages.mean().item() == pytest.approx(0, abs=1e-5)
    assert rollout.advantages.std().item() == pytest.approx(1, abs=1e-5)
    # returns = GAE + values: both affine in the standardised advantages once the values are off
    values = learner.model(rollout.observations)[1].detach()
    raw = rollout.returns - values
    torch.testing.assert_close(
        (raw - raw.mean()) / raw.std(), rollout.advantages, rtol=1e-3, atol=1e-4
    )


def test_rewards_to_come_are_bootstrapped_at_the_horizon(built: Callable[..., Any]) -> None:
    # CartPole pays 1 a step; the pole stands through these few steps: with lambda = 1 the return
    # of step t is 1 + gamma + ... + gamma^(T - t) V(s_T)
    learner = built("cartpole").learner
    protocol = OnPolicy(
        environment(CARTPOLE), 4, 0, CPU, actors=1, horizon=4, discount=0.5, gae_lambda=1.0
    )
    next(protocol.batches(learner.model, 0, 0))
    last = torch.from_numpy(protocol.actors.observations)
    value = learner.model(last)[1].item()
    expected = [value]
    for _ in range(4):
        expected.insert(0, 1 + 0.5 * expected[0])
    assert protocol.rollout is not None
    assert protocol.rollout.returns.tolist() == pytest.approx(expected[:4], rel=1e-4)


def test_a_new_epoch_samples_anew_and_replays_differ(built: Callable[..., Any]) -> None:
    learner, first = sampled(built)
    half = len(first) // 2
    passes = [torch.cat([b.observations for b in part]) for part in (first[:half], first[half:])]
    assert not torch.equal(*passes)
    assert torch.equal(*(seen.unique(dim=0) for seen in passes))
    second = list(learner.protocol.batches(learner.model, 1, 0))
    later = torch.cat([b.observations for b in second[:half]])
    assert not torch.equal(later.unique(dim=0), passes[0].unique(dim=0))


class Follows(nn.Module):
    """Pushes to where the pole leans."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        angle = observations[:, 2]
        return torch.stack([-angle, angle], dim=-1), torch.zeros(len(observations))


def played(seed: int) -> float:
    """The return of one episode of that policy."""
    env = gymnasium.make(CARTPOLE)
    observation, _ = env.reset(seed=seed)
    total = 0.0
    while True:
        observation, reward, terminated, truncated, _ = env.step(int(observation[2] > 0))
        total += reward
        if terminated or truncated:
            return total


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_the_return_of_whole_greedy_episodes(split: str) -> None:
    protocol = OnPolicy(environment(CARTPOLE), 16, 0, CPU, actors=1, episodes=5)
    returns = [played(FIRST_SEED[split] + episode) for episode in range(5)]
    metrics = protocol.evaluate(Follows(), split)
    assert metrics["return"] == np.mean(returns)
    assert metrics["return_std"] == pytest.approx(np.std(returns))
