"""Offline reinforcement learning: transitions of others, replayed for an actor and its critics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.records import GuidedTransitions, Record, Transitions
from tasks.models.td3 import held
from tasks.protocol import Batch, Monitor, Protocol
from tasks.rl.behaviour import Trajectories
from tasks.rl.episodes import FIRST_SEED, Episode, play
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


@dataclass(frozen=True)
class GuidedReplayed(Replayed):
    latent_noise: Tensor
    policy_latent_noise: Tensor


class Offline(Protocol):
    """Transitions with what two critics, their targets and a policy say of them.

    Observations are standardised by the data; rewards are divided by their standard deviation,
    which changes no optimum. The critics' target smooths the target policy's action by clipped
    noise and takes the lower of two target critics (Fujimoto et al. 2018, arXiv:1802.09477).
    Evaluated by whole episodes: the mean return, also on a scale from 0, the random policy, to 100,
    the expert; and by how much the first critic overestimates it, discounted and scaled.

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
        self.reward_scale = 1 / _spread(self.data.rewards)
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
            "overestimation": self._overestimation(model, played),
        }

    def _overestimation(self, model: Any, played: Sequence[Episode]) -> float:
        """What the first critic sees in the first action, beyond what the episode then brought."""
        starts = np.stack([episode.observations[0] for episode in played])
        seen = self._standard(torch.as_tensor(starts, device=self.device))
        values = model.critic_1(seen, model.actor(seen)).mean()
        gained = [episode.discounted(self.discount) for episode in played]
        return float(values - self.reward_scale * float(np.mean(gained)))

    def _standard(self, observations: Tensor) -> Tensor:
        return (observations - self.mean) / self.std

    def _replayed(self, index: Tensor, generator: torch.Generator) -> Replayed:
        data, noise = self.data, self._noise(index, self.num_actions, generator)
        return Replayed(
            self._standard(data.observations[index]),
            data.actions[index],
            data.rewards[index] * self.reward_scale,
            self._standard(data.next_observations[index]),
            data.terminated[index],
            noise,
            index,
        )

    def _noise(self, index: Tensor, size: int, generator: torch.Generator) -> Tensor:
        return torch.randn(len(index), size, generator=generator).to(self.device)

    def _next_actions(self, model: Any, batch: Any) -> Tensor:
        noise = (self.policy_noise * batch.noise).clamp(-self.noise_clip, self.noise_clip)
        smoothed: Tensor = model.target_actor(batch.next_observations) + noise
        return smoothed.clamp(-1, 1)

    def _backed_up(self, batch: Any, values: Tensor) -> Tensor:
        """Rewards and the discounted values of the states after them, but for last ones."""
        return batch.rewards + self.discount * (1 - batch.terminated) * values

    @torch.no_grad()
    def _targets(self, model: Any, batch: Any) -> Tensor:
        return self._lower(model, batch, model.target_critic_1, model.target_critic_2)

    def _lower(self, model: Any, batch: Any, *critics: nn.Module) -> Tensor:
        """What the transition is worth by the lower of two critics of what comes after."""
        after = batch.next_observations, self._next_actions(model, batch)
        values = torch.stack([critic(*after) for critic in critics])
        return self._backed_up(batch, values.amin(dim=0))


class GuidedOffline(Offline):
    """Transitions with what a generative model of the data's actions says of them too.

    It reconstructs the action taken, and the policy's own, which makes of it one that the data may
    have: the gradient of that goes on to the policy and leaves the model as it is. The value of
    the state follows the lower of the critics' targets by the target critics and by the critics.

    Args:
        num_latents: Latent variables of the generative model to each dimension of an action; the
            other arguments are those of `Offline`.

    Raises:
        InputError: A setting is outside its domain.

    Source:
        Liu et al. 2024, arXiv:2405.19909, in the form of the official code.
    """

    record: ClassVar[type[Record]] = GuidedTransitions

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
        num_latents: Count = 2,
    ):
        super().__init__(
            data,
            batch_size,
            seed,
            device,
            sampler,
            discount=discount,
            policy_noise=policy_noise,
            noise_clip=noise_clip,
            episodes=episodes,
        )
        self.num_latents = num_latents * self.num_actions
        self.facts = {**self.facts, "num_latents": self.num_latents}

    def __call__(self, model: Any, batch: Any) -> Record:
        seen, known = batch.observations, vars(super().__call__(model, batch))
        reconstructions, means, stds = model.generator(seen, batch.actions, batch.latent_noise)
        generated, _, _ = held(
            model.generator, seen, known["policy_actions"], batch.policy_latent_noise
        )
        with torch.no_grad():
            generated_values = model.critic_1(seen, generated)
            lower = self._lower(model, batch, model.critic_1, model.critic_2)
        return GuidedTransitions(
            **known,
            generated_actions=generated,
            generated_values=generated_values,
            state_values=model.state_critic(seen),
            state_targets=torch.minimum(known["targets"], lower),
            reconstructions=reconstructions,
            latent_means=means,
            latent_stds=stds,
        )

    def _replayed(self, index: Tensor, generator: torch.Generator) -> GuidedReplayed:
        known = vars(super()._replayed(index, generator))
        noises = (self._noise(index, self.num_latents, generator) for _ in range(2))
        return GuidedReplayed(*known.values(), *noises)


def _spread(rewards: Tensor) -> Tensor:
    """Their standard deviation; 1 where all are the same but for rounding."""
    std = rewards.std(correction=0)
    return torch.where(std > 1e-6 * rewards.abs().max(), std, 1.0)
