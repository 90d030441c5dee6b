"""Rounds of a model's own samples, and what they are worth."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from objectives.domains import Count, Share, checked
from objectives.records import DenoisingSteps, RewardedFlow
from tasks.generative.matching import FlowMatching, Noised, between
from tasks.generative.rewards import MakeReward, rewards_of
from tasks.generative.samples import Samples
from tasks.generative.sampling import euler, random_step
from tasks.protocol import Batch, Monitor
from tasks.sampling import index_batches


@dataclass(frozen=True)
class Rewarded(Noised):
    old_velocity: Tensor
    advantages: Tensor


@dataclass(frozen=True)
class Steps(Batch):
    """Steps from `here`, at a time, to `there`, of samples that have an advantage."""

    here: Tensor
    there: Tensor
    times: Tensor
    old_logprob: Tensor
    advantages: Tensor
    index: Tensor


class Rounds(FlowMatching):
    """An epoch is one group of the model's own samples, several rows of each.

    Advantages are rewards standardised over the group, 0 where all are equal.

    Attributes:
        batch: The type of batch of which a round is one.
    """

    monitor = Monitor("reward", maximize=True)
    batch: ClassVar[type[Batch]]

    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        reward: MakeReward,
        group_size: int,
        rows_per_sample: int,
        sampling_steps: int,
    ):
        super().__init__(
            data, batch_size, seed, device, reward=reward, sampling_steps=sampling_steps
        )
        self.group_size = group_size
        self.batch_size, self.seed = batch_size, seed
        count = group_size * rows_per_sample
        self.steps_per_epoch = -(-count // batch_size)
        self.facts |= {"num_examples": count}
        self.round: Batch | None = None

    @abstractmethod
    def draw_round(self, model: nn.Module) -> Batch:
        """All rows of a round, in the order of their index."""

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        if start == 0:
            with torch.no_grad():
                self.round = self.draw_round(model)
        assert self.round is not None
        count = len(self.round)
        for index in index_batches(count, self.batch_size, self.seed, epoch, start, self.device):
            yield self.batch(*(column[index] for column in vars(self.round).values()))

    def advantages(self, samples: Tensor) -> Tensor:
        """Of a group of samples."""
        assert self.reward is not None
        return standardized(rewards_of(self.reward, samples))

    def state_dict(self) -> dict[str, Any]:
        return {"round": None if self.round is None else tuple(vars(self.round).values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        columns = state["round"]
        self.round = columns and self.batch(*(column.to(self.device) for column in columns))

    def start(self) -> Tensor:
        """Noise that a group's samples begin as."""
        return torch.randn(self.group_size, *self.facts["data_shape"], device=self.device)


class RewardedSamples(Rounds):
    """Each sample of a round is noised anew at several times.

    The reference is the model as it was before training, or follows it from round to round:

    reference <- reference_decay * reference + (1 - reference_decay) * model

    Args:
        reward: Makes the function of samples from the data.
        group_size: Samples of a round.
        times_per_sample: Times at which each is noised.
        reference_decay: 1 leaves the reference as it is, 0 makes it the model that begins a round.
    """

    record = RewardedFlow
    batch = Rewarded

    @checked
    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        reward: MakeReward,
        *,
        group_size: Annotated[int, Ge(2)] = 256,
        times_per_sample: Count = 4,
        reference_decay: Share = 1.0,
        sampling_steps: Count = 50,
    ):
        rounds = group_size, times_per_sample, sampling_steps
        super().__init__(data, batch_size, seed, device, reward, *rounds)
        self.times_per_sample, self.reference_decay = times_per_sample, reference_decay

    def prepare(self, model: nn.Module) -> None:
        self.reference = copy.deepcopy(model).requires_grad_(False).eval()

    def __call__(self, model: nn.Module, batch: Any) -> RewardedFlow:
        noised = between(batch.clean, batch.noise, batch.times)
        with torch.no_grad():
            reference = self.reference(noised, batch.times)
        flow = vars(super().__call__(model, batch))
        return RewardedFlow(
            **flow,
            old_velocity=batch.old_velocity,
            ref_velocity=reference,
            advantages=batch.advantages,
        )

    def draw_round(self, model: nn.Module) -> Rewarded:
        for slow, fast in zip(self.reference.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.reference_decay)
        samples = euler(model, self.start(), self.sampling_steps)
        advantages = self.advantages(samples)
        clean = samples.repeat_interleave(self.times_per_sample, dim=0)
        noise, times = torch.randn_like(clean), self.times(len(clean))
        index = torch.arange(len(clean), device=self.device)
        velocity = model(between(clean, noise, times), times)
        worth = advantages.repeat_interleave(self.times_per_sample)
        return Rewarded(clean, noise, times, index, velocity, worth)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"reference": self.reference.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.reference.load_state_dict(state["reference"])


class RandomSteps(Rounds):
    """Each sample of a round is drawn in random steps, all of which are learned from.

    Evaluated by samples that are drawn without randomness, as those of any flow.

    Args:
        reward: Makes the function of samples from the data.
        group_size: Samples of a round.
        step_noise: How random the steps are.
    """

    record = DenoisingSteps
    batch = Steps

    @checked
    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        reward: MakeReward,
        *,
        group_size: Annotated[int, Ge(2)] = 256,
        step_noise: Annotated[float, Gt(0)] = 0.7,
        sampling_steps: Count = 50,
    ):
        rounds = group_size, sampling_steps, sampling_steps
        super().__init__(data, batch_size, seed, device, reward, *rounds)
        self.step_noise = step_noise

    def __call__(self, model: nn.Module, batch: Steps) -> DenoisingSteps:
        step = self._step(model, batch.here, batch.times)
        logprob = step.log_prob(batch.there).flatten(1).sum(1)
        return DenoisingSteps(logprob, batch.old_logprob, batch.advantages, batch.index)

    def draw_round(self, model: nn.Module) -> Steps:
        here, taken = self.start(), []
        for number in range(self.sampling_steps, 0, -1):
            times = torch.full((len(here),), number / self.sampling_steps, device=self.device)
            step = self._step(model, here, times)
            there = step.sample()
            taken.append((here, there, times, step.log_prob(there).flatten(1).sum(1)))
            here = there
        advantages = self.advantages(here).repeat(self.sampling_steps)
        index = torch.arange(len(advantages), device=self.device)
        columns = *map(torch.cat, zip(*taken, strict=True)), advantages, index
        return Steps(*columns)

    def _step(self, model: nn.Module, here: Tensor, times: Tensor) -> torch.distributions.Normal:
        velocity = model(here, times)
        return random_step(velocity, here, times, self.sampling_steps, self.step_noise)


def standardized(rewards: Tensor) -> Tensor:
    """Rewards less their mean, over their deviation; 0 where all are equal."""
    centred = rewards - rewards.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
