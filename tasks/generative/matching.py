"""Protocols that match a model to noised data: diffusion, and flow along straight lines."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from objectives.domains import Count, checked
from objectives.records import Denoised, Flow, Record
from tasks.generative.rewards import MakeReward, rewards_of
from tasks.generative.samples import Samples
from tasks.generative.sampling import ancestral, euler, sliced_wasserstein
from tasks.protocol import Batch, Monitor, Protocol
from tasks.sampling import MakeSampler, Shuffled, generator_of

MOST = 1000
"""Samples that a model is judged by, at most."""

BETAS, STEPS = (0.0001, 0.02), 1000
"""Shares of a diffusion's variance that become noise, at the first and the last of its steps."""

SEEDS = {"val": 0, "test": 1}
"""What the noise of a split's samples is drawn from, the same in every run."""


@dataclass(frozen=True)
class Noised(Batch):
    """Examples, noise for each, and a time between the two for each: 0 clean, 1 noise."""

    clean: Tensor
    noise: Tensor
    times: Tensor
    index: Tensor


class Matching(Protocol):
    """What diffusion and flow share: batches with noise, and evaluation by samples.

    Evaluated by the sliced Wasserstein distance, in units of the data, between the split, or its
    first 1,000 examples, and as many samples; and by the mean reward of these.

    Args:
        sampler: Which examples a batch holds.
        reward: Makes the function that says what samples are worth; None where nothing does.
    """

    monitor: ClassVar[Monitor] = Monitor("sliced_wasserstein", maximize=False)

    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        reward: MakeReward | None = None,
    ):
        self.data, self.device = data.to(device), device
        self.reward = reward and reward(self.data)
        self.sampler = sampler(data.train, batch_size, seed, device)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.facts: dict[str, Any] = {
            "data_shape": tuple(data.train.shape[1:]),
            "num_examples": len(data.train),
        }

    def batches(self, model: nn.Module, epoch: int, start: int) -> Iterator[Batch]:
        for index in self.sampler.batches(epoch, start):
            clean = self.data.train[index]
            yield Noised(clean, torch.randn_like(clean), self.times(len(index)), index)

    @abstractmethod
    def times(self, count: int) -> Tensor:
        """Times at which examples are trained on."""

    @abstractmethod
    def sample(self, model: nn.Module, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Samples from noise; whatever else is random is the generator's."""

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        return self.metrics(self.drawn(model, split), split)

    def metrics(self, samples: Tensor, split: str) -> dict[str, float]:
        """What is said of a split's samples."""
        held_out = getattr(self.data, split)[:MOST]
        distance = sliced_wasserstein(samples, held_out, generator_of(SEEDS[split], 1))
        known = {"sliced_wasserstein": distance}
        if self.reward is None:
            return known
        return known | {"reward": rewards_of(self.reward, samples).double().mean().item()}

    def drawn(self, model: nn.Module, split: str) -> Tensor:
        """As many samples as a split is judged by, from the same noise always."""
        held_out, generator = getattr(self.data, split)[:MOST], generator_of(SEEDS[split], 0)
        noise = torch.randn(held_out.shape, generator=generator).to(self.device)
        return self.sample(model, noise, generator)


class FlowMatching(Matching):
    """A flow along straight lines from data to noise, followed back in equal steps.

    Args:
        sampling_steps: Steps from noise to a sample.
    """

    record: ClassVar[type[Record]] = Flow

    @checked
    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        *,
        reward: MakeReward | None = None,
        sampling_steps: Count = 50,
    ):
        super().__init__(data, batch_size, seed, device, sampler, reward)
        self.sampling_steps = sampling_steps

    def __call__(self, model: nn.Module, batch: Any) -> Record:
        velocity = model(between(batch.clean, batch.noise, batch.times), batch.times)
        return Flow(velocity, batch.clean, batch.noise, batch.times, batch.index)

    def times(self, count: int) -> Tensor:
        return torch.rand(count, device=self.device)

    def sample(self, model: nn.Module, noise: Tensor, generator: torch.Generator) -> Tensor:
        return euler(model, noise, self.sampling_steps)


class Diffusion(Matching):
    """Denoising diffusion with a linear schedule of noise, reversed step by step.

    Args:
        diffusion_steps: Steps from data to noise, and back.
    """

    record = Denoised

    @checked
    def __init__(
        self,
        data: Samples,
        batch_size: int,
        seed: int,
        device: torch.device,
        sampler: MakeSampler = Shuffled,
        *,
        reward: MakeReward | None = None,
        diffusion_steps: Count = 100,
    ):
        super().__init__(data, batch_size, seed, device, sampler, reward)
        self.kept = kept_variances(diffusion_steps).to(device)

    def __call__(self, model: nn.Module, batch: Noised) -> Denoised:
        steps = len(self.kept)
        kept = expanded(self.kept[(batch.times * steps).round().long() - 1], batch.clean)
        noised = kept.sqrt() * batch.clean + (1 - kept).sqrt() * batch.noise
        return Denoised(model(noised, batch.times), batch.noise, batch.index)

    def times(self, count: int) -> Tensor:
        steps = len(self.kept)
        return torch.randint(1, steps + 1, (count,), device=self.device) / steps

    def sample(self, model: nn.Module, noise: Tensor, generator: torch.Generator) -> Tensor:
        return ancestral(model, noise, self.kept, generator)


def kept_variances(steps: int) -> Tensor:
    """abar_t of each step: the share of the variance that is still data's.

    abar_t = prod_{s <= t} (1 - b_s) of the paper's thousand steps, b linear from 0.0001 to 0.02.
    Fewer or more steps are at equal distances along them, log abar in between on straight lines.

    Source:
        Nichol & Dhariwal 2021, arXiv:2102.09672, for steps at distances.
    """
    logs = np.log1p(-np.linspace(*BETAS, STEPS)).cumsum()
    at = np.linspace(0, STEPS, steps + 1)[1:]
    kept = np.exp(np.interp(at, np.arange(STEPS + 1), [0.0, *logs]))
    return torch.from_numpy(kept).float()


def between(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """(1 - t) clean + t noise."""
    return torch.lerp(clean, noise, expanded(times, clean))


def expanded(values: Tensor, like: Tensor) -> Tensor:
    """A number for each example, in the shape of the examples."""
    return values.view(-1, *[1] * (like.dim() - 1)).expand_as(like)
