"""On-policy reinforcement learning: sample a rollout, replay it in minibatches, sample again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.records import Rollout
from tasks.protocol import Batch, Monitor, Protocol
from tasks.rl.environments import Actors, Environment, Step
from tasks.rl.episodes import FIRST_SEED, SEEDS_PER_RUN, play
from tasks.sampling import index_batches


@dataclass(frozen=True)
class Steps(Batch):
    observations: Tensor
    actions: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    returns: Tensor


class OnPolicy(Protocol):
    """An epoch is one rollout of `actors` x `horizon` steps and `replays` passes over it.

    Advantages are GAE's, standardised over the rollout; a truncated episode is bootstrapped from
    the critic, a terminated one is not. Evaluated by the mean return of episodes of the most likely
    actions, whose seeds the training never sees.

    Args:
        horizon: Steps of each actor in a rollout.
        replays: Passes over a rollout; the config takes them from the objective.
        discount: What a reward a step later is worth.
        gae_lambda: Weight of longer advantage estimates; 0 is one-step, 1 Monte Carlo.
        episodes: Evaluation episodes.

    Raises:
        InputError: A setting is outside its domain.
    """

    record = Rollout
    monitor = Monitor("return", maximize=True)

    @checked
    def __init__(
        self,
        data: Environment,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        actors: Count = 8,
        horizon: Count = 128,
        replays: Count = 4,
        discount: Share = 0.99,
        gae_lambda: Share = 0.95,
        episodes: Count = 20,
    ):
        self.environment, self.batch_size, self.seed, self.device = data, batch_size, seed, device
        self.horizon, self.replays, self.episodes = horizon, replays, episodes
        self.discount, self.gae_lambda = discount, gae_lambda
        self.actors = Actors(data, actors, FIRST_SEED["train"] + seed * SEEDS_PER_RUN)
        self.rollout: Steps | None = None
        self.steps_per_epoch = replays * -(-actors * horizon // batch_size)
        self.facts = {
            "observation_shape": data.observation_shape,
            "num_actions": data.actions.size,
            "policy_head": data.actions.head,
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Steps]:
        if start == 0:
            self.rollout = self._sample(model)
        assert self.rollout is not None
        per_replay = self.steps_per_epoch // self.replays
        for number in range(start // per_replay, self.replays):
            skip = start % per_replay if number == start // per_replay else 0
            order = epoch * self.replays + number
            count = len(self.rollout)
            for index in index_batches(count, self.batch_size, self.seed, order, skip, self.device):
                yield Steps(*(column[index] for column in vars(self.rollout).values()))

    def __call__(self, model: nn.Module, batch: Steps) -> Rollout:
        parameters, values = model(batch.observations)
        policy = self.environment.actions.policy(parameters)
        return Rollout(
            logprobs=policy.log_prob(batch.actions),
            old_logprobs=batch.old_logprobs,
            advantages=batch.advantages,
            returns=batch.returns,
            values=values,
            entropies=policy.entropy(),
        )

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        def act(observations: np.ndarray) -> np.ndarray:
            parameters, _ = model(self._tensor(observations))
            return self.environment.actions.best(parameters).cpu().numpy()

        episodes = play(self.environment, act, self.episodes, FIRST_SEED[split])
        returns = np.array([episode.total for episode in episodes])
        return {"return": float(returns.mean()), "return_std": float(returns.std())}

    def state_dict(self) -> dict[str, Any]:
        rollout = None if self.rollout is None else tuple(vars(self.rollout).values())
        return {"actors": self.actors.state_dict(), "rollout": rollout}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.actors.load_state_dict(state["actors"])
        columns = state["rollout"]
        self.rollout = columns and Steps(*(column.to(self.device) for column in columns))

    @torch.no_grad()
    def _sample(self, model: nn.Module) -> Steps:
        seen, actions, logprobs, steps = [], [], [], []
        for _ in range(self.horizon):
            seen.append(self._tensor(self.actors.observations))
            policy = self.environment.actions.policy(model(seen[-1])[0])
            actions.append(policy.sample())
            logprobs.append(policy.log_prob(actions[-1]))
            steps.append(self.actors.step(actions[-1].cpu().numpy()))
        observations = torch.stack(seen)
        advantages, returns = self._advantages(model, observations, steps)
        columns = observations, torch.stack(actions), torch.stack(logprobs), advantages, returns
        return Steps(*(column.flatten(0, 1) for column in columns))

    def _advantages(
        self, model: nn.Module, observations: Tensor, steps: list[Step]
    ) -> tuple[Tensor, Tensor]:
        values, next_values = (
            model(seen.flatten(0, 1))[1].view(self.horizon, -1)
            for seen in (
                observations,
                self._tensor(np.stack([step.observations for step in steps])),
            )
        )
        rewards, terminated, truncated = (
            self._tensor(np.stack([getattr(step, name) for step in steps]))
            for name in ("rewards", "terminated", "truncated")
        )
        advantages = gae(
            rewards, values, next_values, terminated, truncated, self.discount, self.gae_lambda
        )
        standard = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return standard, advantages + values

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates of steps [time, actors].

    A_t = d_t + gamma * lambda * (1 - done_t) * A_{t+1},
    d_t = r_t + gamma * (1 - terminated_t) * V(s_{t+1}) - V(s_t)

    `next_values` are of the state that the step led to, before any reset.

    Source:
        Schulman et al. 2016, arXiv:1506.02438.
    """
    errors = rewards + gamma * (1 - terminated) * next_values - values
    going_on = (1 - terminated) * (1 - truncated)
    advantages = torch.empty_like(errors)
    following = torch.zeros_like(errors[0])
    for time in range(len(errors) - 1, -1, -1):
        following = errors[time] + gamma * gae_lambda * going_on[time] * following
        advantages[time] = following
    return advantages
