"""Rounds of a model's own samples, weighted by what they are worth."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn

from objectives.domains import Count, checked
from objectives.records import RewardedFlow
from tasks.generative.matching import FlowMatching, Noised, between
from tasks.generative.rewards import Reward
from tasks.generative.samples import Samples
from tasks.generative.sampling import euler
from tasks.protocol import Batch, Monitor
from tasks.sampling import index_batches


@dataclass(frozen=True)
class Rewarded(Noised):
    old_velocity: Tensor
    advantages: Tensor


class RewardedSamples(FlowMatching):
    """An epoch is one group of the model's own samples, each noised anew at several times.

    Advantages are rewards standardised over the group, 0 where all are equal. The reference is
    the model as it was before training. Evaluated by the mean reward of samples as well.

    Args:
        reward: Makes the function of samples from the data.
        group_size: Samples of a round.
        times_per_sample: Times at which each is noised.
    """

    record = RewardedFlow
    monitor = Monitor("reward", maximize=True)

    @checked
    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        reward: Callable[[Samples], Reward],
        *,
        group_size: Annotated[int, Ge(2)] = 256,
        times_per_sample: Count = 4,
        sampling_steps: Count = 50,
    ):
        super().__init__(data, batch_size, seed, device, sampling_steps=sampling_steps)
        self.reward, self.group_size = reward(self.data), group_size
        self.batch_size, self.seed, self.times_per_sample = batch_size, seed, times_per_sample
        self.facts |= {"num_examples": group_size * times_per_sample}
        self.steps_per_epoch = -(-group_size * times_per_sample // batch_size)
        self.round: Rewarded | None = None

    def prepare(self, model: nn.Module) -> None:
        self.reference = copy.deepcopy(model).requires_grad_(False).eval()

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        if start == 0:
            self.round = self._round(model)
        assert self.round is not None
        count = len(self.round)
        for index in index_batches(count, self.batch_size, self.seed, epoch, start, self.device):
            yield Rewarded(*(column[index] for column in vars(self.round).values()))

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

    def metrics(self, samples: Tensor, split: str) -> dict[str, float]:
        rewards = self.reward(samples)
        return super().metrics(samples, split) | {"reward": rewards.double().mean().item()}

    def state_dict(self) -> dict[str, Any]:
        columns = None if self.round is None else tuple(vars(self.round).values())
        return {"reference": self.reference.state_dict(), "round": columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference.load_state_dict(state["reference"])
        columns = state["round"]
        self.round = columns and Rewarded(*(column.to(self.device) for column in columns))

    @torch.no_grad()
    def _round(self, model: nn.Module) -> Rewarded:
        shape = self.facts["data_shape"]
        start = torch.randn(self.group_size, *shape, device=self.device)
        samples = euler(model, start, self.sampling_steps)
        advantages = standardized(self.reward(samples))
        clean, advantages = (
            column.repeat_interleave(self.times_per_sample, dim=0)
            for column in (samples, advantages)
        )
        noise, times = torch.randn_like(clean), self.times(len(clean))
        velocity = model(between(clean, noise, times), times)
        index = torch.arange(len(clean), device=self.device)
        return Rewarded(clean, noise, times, index, velocity, advantages)


def standardized(rewards: Tensor) -> Tensor:
    """Rewards less their mean, over their deviation; 0 where all are equal."""
    centred = rewards - rewards.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
