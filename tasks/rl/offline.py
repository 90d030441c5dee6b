"""Offline reinforcement learning: transitions of others, replayed for an actor and its critics."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.records import Record, Transitions
from tasks.models.td3 import held
from tasks.protocol import Batch, Monitor, Protocol
from tasks.rl.behaviour import Trajectories
from tasks.rl.episodes import FIRST_SEED, play
from tasks.sampling import MakeSampler, Shuffled, generator_of


@dataclass(frozen=True)
class Replayed(Batch):
    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    noise: Tensor
    index: Tensor


class Offline(Protocol):
    """Transitions with what two critics, their targets and a policy say of them.

    Observations are standardised by the data; rewards are divided by their standard deviation,
    which changes no optimum. The critics' target smooths the target policy's action by clipped
    noise and takes the lower of two target critics (Fujimoto et al. 2018, arXiv:1802.09477).
    Evaluated by whole episodes: the mean return, and on a scale from 0, the random policy, to 100,
    the expert.

    Args:
        sampler: Which transitions a batch holds.
        discount: What a reward a step later is worth.
        policy_noise: Deviation of that noise, for actions from -1 to 1.
        noise_clip: Its largest size.
        episodes: Evaluation episodes.

    Raises:
        InputError: A setting is outside its domain.
    """

    record: ClassVar[type[Record]] = Transitions
    monitor = Monitor("return", maximize=True)

    @checked
    def __init__(
        self,
        data: Trajectories,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        *,
        discount: Share = 0.99,
        policy_noise: Annotated[float, Ge(0)] = 0.2,
        noise_clip: Annotated[float, Ge(0)] = 0.5,
        episodes: Count = 10,
    ):
        self.data, self.seed, self.device = data.to(device), seed, device
        self.discount, self.policy_noise, self.noise_clip = discount, policy_noise, noise_clip
        self.episodes = episodes
        self.sampler = sampler(self.data, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.mean = self.data.observations.mean(dim=0)
        self.std = self.data.observations.std(dim=0, correction=0) + 1e-3
        self.reward_scale = 1 / self.data.rewards.std(correction=0).clamp_min(1e-3)
        self.num_actions = self.data.actions.shape[1]
        self.facts = {
            "observation_shape": data.environment.observation_shape,
            "num_actions": self.num_actions,
            "num_examples": len(data),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Replayed]:
        for number, index in enumerate(self.sampler.batches(epoch, start), start):
            yield self._replayed(index, generator_of(self.seed, epoch, number))

    def __call__(self, model: Any, batch: Any) -> Record:
        policy_actions = model.actor(batch.observations)
        return Transitions(
            values_1=model.critic_1(batch.observations, batch.actions),
            values_2=model.critic_2(batch.observations, batch.actions),
            targets=self._targets(model, batch),
            actions=batch.actions,
            policy_actions=policy_actions,
            policy_values=held(model.critic_1, batch.observations, policy_actions),
            index=batch.index,
        )

    def evaluate(self, model: Any, split: str) -> dict[str, float]:
        def act(observations: np.ndarray) -> np.ndarray:
            seen = torch.as_tensor(observations, dtype=torch.float32, device=self.device)
            return self.data.played(model.actor(self._standard(seen)))

        played = play(self.data.environment, act, self.episodes, FIRST_SEED[split])
        returns = np.array([episode.total for episode in played])
        mean, worst, best = float(returns.mean()), self.data.worst, self.data.best
        return {
            "return": mean,
            "return_std": float(returns.std()),
            "normalized_return": 100 * (mean - worst) / (best - worst),
        }

    def _standard(self, observations: Tensor) -> Tensor:
        return (observations - self.mean) / self.std

    def _replayed(self, index: Tensor, generator: torch.Generator) -> Replayed:
        data = self.data
        return Replayed(
            self._standard(data.observations[index]),
            data.actions[index],
            data.rewards[index] * self.reward_scale,
            self._standard(data.next_observations[index]),
            data.terminated[index],
            torch.randn(len(index), self.num_actions, generator=generator).to(self.device),
            index,
        )

    def _next_actions(self, model: Any, batch: Any) -> Tensor:
        noise = (self.policy_noise * batch.noise).clamp(-self.noise_clip, self.noise_clip)
        smoothed: Tensor = model.target_actor(batch.next_observations) + noise
        return smoothed.clamp(-1, 1)

    def _backed_up(self, batch: Any, values: Tensor) -> Tensor:
        """Rewards and the discounted values of the states after them, but for last ones."""
        return batch.rewards + self.discount * (1 - batch.terminated) * values

    @torch.no_grad()
    def _targets(self, model: Any, batch: Any) -> Tensor:
        after = batch.next_observations, self._next_actions(model, batch)
        return self._backed_up(
            batch, torch.minimum(model.target_critic_1(*after), model.target_critic_2(*after))
        )
