"""Environments of any kind, and actions that are vectors."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import hydra
import numpy as np
import pytest
import torch
from gymnasium import spaces
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.distributions import Categorical, MultivariateNormal

from objectives.errors import InputError
from tasks.models.actor_critic import ActorCritic
from tasks.rl.actions import WithDeviation, normal, one_of, vector
from tasks.rl.environments import Actors, environment
from tasks.rl.on_policy import FIRST_SEED, OnPolicy

CPU = torch.device("cpu")
PENDULUM = "Pendulum-v1"


class Echo(gymnasium.Env):
    """Shows what it is played, and pays the sum of it; episodes of three steps."""

    def __init__(self, action_space: spaces.Space, observation_space: spaces.Space | None = None):
        self.action_space = action_space
        self.observation_space = observation_space or spaces.Box(-9, 9, (2, 2), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros((2, 2), np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.action_space.contains(action), repr(action)
        self.steps += 1
        shown = np.broadcast_to(np.asarray(action, np.float32), (2, 2)).copy()
        return shown, float(np.sum(action)), self.steps == 3, False, {}


@pytest.fixture
def echo() -> Any:
    """Register an environment of given spaces for the length of a test."""
    made: list[str] = []

    def register(*arguments: spaces.Space) -> str:
        made.append(f"Echo{len(made)}-v0")
        gymnasium.register(made[-1], lambda: Echo(*arguments), disable_env_checker=True)
        return made[-1]

    environment.cache_clear()
    yield register
    for id in made:
        del gymnasium.registry[id]


def test_facts_of_a_vector_of_actions() -> None:
    pendulum = environment(PENDULUM)
    assert (pendulum.observation_shape, pendulum.actions.size) == ((3,), 1)
    facts = OnPolicy(pendulum, 16, 0, CPU, actors=2, horizon=4).facts
    model = ActorCritic(**{name: facts[name] for name in facts}, width=8)
    parameters, values = model(torch.randn(5, 3))
    assert (parameters.shape, values.shape) == ((5, 2), (5,))
    deviations = [n for n, p in model.named_parameters() if p.shape == (1,) and "log_std" in n]
    assert deviations == ["head.log_std"]


def test_a_discrete_policy_has_no_parameters_of_its_own() -> None:
    model = ActorCritic((4,), 2, environment("CartPole-v1").actions.head)
    assert not list(model.head.parameters())


def test_the_deviation_is_one_for_all_states() -> None:
    head = WithDeviation(2)
    with torch.no_grad():
        head.log_std.copy_(torch.tensor([0.5, -1.0]))
    parameters = head(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert parameters.tolist() == [[1.0, 2.0, 0.5, -1.0], [3.0, 4.0, 0.5, -1.0]]
    parameters.sum().backward()
    assert head.log_std.grad.tolist() == [2.0, 2.0]


def test_log_probability_of_a_vector_by_hand() -> None:
    # mean (1, 0), deviation (2, 1), drawn (3, 1): one deviation off in each of the two
    # -(1/2 + log 2 + log(2 pi)/2) - (1/2 + 0 + log(2 pi)/2)
    policy = normal(torch.tensor([[1.0, 0.0, np.log(2.0), 0.0]]))
    expected = -(1 + np.log(2) + np.log(2 * np.pi))
    assert policy.log_prob(torch.tensor([[3.0, 1.0]])).item() == pytest.approx(expected, rel=1e-6)
    # entropy: log(2 pi e)/2 each, and log 2
    assert policy.entropy().item() == pytest.approx(np.log(2 * np.pi * np.e) + np.log(2), rel=1e-6)


def test_a_vectors_distribution_is_torchs_multivariate_normal() -> None:
    means, log_stds, drawn = torch.randn(3, 6, 4, dtype=torch.float64)
    policy = normal(torch.cat([means, log_stds], dim=-1))
    expected = MultivariateNormal(means, torch.diag_embed((2 * log_stds).exp()))
    torch.testing.assert_close(policy.log_prob(drawn), expected.log_prob(drawn))
    torch.testing.assert_close(policy.entropy(), expected.entropy())


def test_what_is_played_of_a_vector_is_clipped_to_its_bounds() -> None:
    low, high = np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32)
    actions = vector(low, high)
    played = actions.played([-3.0, 2.5])
    assert played.dtype == np.float32
    assert played.tolist() == [-1.0, 2.5]
    best = actions.best(torch.tensor([[7.0, 8.0, 0.1, 0.2]]))
    assert best.tolist() == [[7.0, 8.0]]  # the means, whatever the deviations


def test_discrete_actions_count_from_where_the_space_does() -> None:
    actions = one_of(3, start=-1)
    assert [actions.played(action) for action in range(3)] == [-1, 0, 1]
    scores = torch.tensor([[0.0, 2.0, 1.0]])
    assert actions.best(scores).tolist() == [1]
    expected = Categorical(logits=scores).log_prob(torch.tensor([2]))
    torch.testing.assert_close(actions.policy(scores).log_prob(torch.tensor([2])), expected)


@pytest.mark.parametrize(
    ("space", "chosen", "shown"),
    [
        (spaces.Discrete(3, start=5), np.array([2, 0]), [7.0, 5.0]),
        (spaces.Box(-1, 1, (1,), np.float32), np.array([[4.0], [0.25]], np.float32), [1.0, 0.25]),
        (spaces.Box(-1, 1, (2, 2), np.float64), np.full((2, 4), [[0.5], [-9.0]]), [0.5, -1.0]),
    ],
    ids=str,
)
def test_actions_arrive_as_the_space_has_them(
    echo: Callable[..., str], space: spaces.Space, chosen: np.ndarray, shown: list[float]
) -> None:
    actors = Actors(environment(echo(space)), 2, first_seed=0)
    assert actors.step(chosen).observations[:, 0, 0].tolist() == shown


def test_observations_of_any_shape_are_flattened(echo: Callable[..., str]) -> None:
    made = environment(echo(spaces.Discrete(2)))
    model = ActorCritic(made.observation_shape, made.actions.size, width=8)
    assert model(torch.randn(5, 2, 2))[0].shape == (5, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((spaces.MultiBinary(3),), "has actions MultiBinary.*, expected Discrete or Box of floats"),
        ((spaces.Box(0, 9, (2,), np.int64),), "has actions Box.*, expected Discrete or Box of"),
        ((spaces.Discrete(2), spaces.Discrete(4)), "observes Discrete.*, expected Box"),
        ((spaces.Discrete(2), spaces.Dict(a=spaces.Discrete(2))), "observes Dict.*, expected Box"),
    ],
    ids=str,
)
def test_spaces_that_do_not_fit(
    echo: Callable[..., str], arguments: tuple[spaces.Space, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"environment 'Echo0-v0' {message}"):
        environment(echo(*arguments))


def test_without_gymnasium(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.cache_clear()
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"needs Gymnasium: pip install 'runner\[rl\]'"):
        environment(PENDULUM)


def rolled(built: Callable[..., Any]) -> tuple[Any, list[Any]]:
    learner = built("gym").learner
    with torch.no_grad():
        learner.model.head.log_std.fill_(1.5)  # wide: many of the drawn actions are clipped
    return learner, list(learner.protocol.batches(learner.model, 0, 0))


def test_the_rollout_has_the_probability_of_what_was_drawn(built: Callable[..., Any]) -> None:
    learner, batches = rolled(built)
    assert max(batch.actions.abs().max() for batch in batches) > 2  # beyond the bounds
    for batch in batches:
        means = learner.model.actor(batch.observations).squeeze(1)
        expected = torch.distributions.Normal(means, np.exp(1.5)).log_prob(batch.actions[:, 0])
        torch.testing.assert_close(batch.old_logprobs, expected)
        record = learner.protocol(learner.model, batch)
        torch.testing.assert_close(record.logprobs, batch.old_logprobs)
        assert record.entropies.shape == record.logprobs.shape == (len(batch),)


def test_a_rollout_of_vectors_goes_on_from_its_state(built: Callable[..., Any]) -> None:
    learner, _ = rolled(built)
    actors = learner.protocol.actors
    state = copy.deepcopy(learner.protocol.state_dict())
    assert state["actors"]["actions"] == actors.actions
    random = torch.get_rng_state()
    expected = list(learner.protocol.batches(learner.model, 1, 0))

    other = built("gym", "seed=7").learner
    other.model.load_state_dict(learner.model.state_dict())
    other.protocol.load_state_dict(state)
    other.protocol.seed = learner.protocol.seed
    torch.set_rng_state(random)
    for ours, theirs in zip(other.protocol.batches(other.model, 1, 0), expected, strict=True):
        for mine, its in zip(vars(ours).values(), vars(theirs).values(), strict=True):
            assert torch.equal(mine, its)


class Swings(nn.Module):
    """Pushes against the speed, with a deviation that evaluation must not use."""

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean = -observations[:, 2:]
        return torch.cat([mean, torch.full_like(mean, 3.0)], dim=-1), torch.zeros(len(mean))


def test_evaluation_acts_by_the_mean() -> None:
    protocol = OnPolicy(environment(PENDULUM), 16, 0, CPU, actors=1, horizon=1, episodes=2)
    returns = []
    for seed in (0, 1):
        env = gymnasium.make(PENDULUM)
        observation, _ = env.reset(seed=FIRST_SEED["test"] + seed)
        total, over = 0.0, False
        while not over:
            action = np.clip(-observation[2:], -2, 2)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    metrics = protocol.evaluate(Swings(), "test")
    assert metrics["return"] == pytest.approx(np.mean(returns), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "replays"),
    [
        (["objective=ppo"], 4),
        (["objective=reinforce"], 1),
        (["objective=reinforce", "replays=3"], 3),
        (["objective=weighted", "objective@terms.a=ppo", "objective@terms.b=reinforce"], 4),
    ],
)
@pytest.mark.parametrize("task", ["gym", "cartpole"])
def test_passes_over_a_rollout_follow_the_objective(
    task: str, words: list[str], replays: int
) -> None:
    protocol = config_of(f"task={task}", *words)["task"]["protocols"][0]
    assert protocol["replays"] == replays
    made = OnPolicy(environment("CartPole-v1"), 8, 0, CPU, actors=2, horizon=8, replays=replays)
    batches = made.batches(ActorCritic((4,), 2), 0, 0)
    assert sum(len(batch) for batch in batches) == replays * 16


def config_of(*words: str) -> dict[str, Any]:
    """A config at its full size."""
    conf = Path(__file__).parents[2] / "conf"
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        plain: Any = OmegaConf.to_container(hydra.compose("config", list(words)), resolve=True)
    return plain
