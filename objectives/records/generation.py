"""Noised examples, and steps from noise to samples."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from objectives.records.base import Record


@dataclass(frozen=True)
class Denoised(Record):
    """The noise in noised examples, and what a model takes for it."""

    predicted_noise: Float[Tensor, " batch *shape"]
    noise: Float[Tensor, " batch *shape"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Flow(Record):
    """The velocity that a model gives to examples on straight lines from data to noise.

    At a time of 0 an example is `clean`, at 1 it is `noise`; its own velocity is their difference.
    """

    velocity: Float[Tensor, " batch *shape"]
    clean: Float[Tensor, " batch *shape"]
    noise: Float[Tensor, " batch *shape"]
    times: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class RewardedFlow(Flow):
    """Flow on samples of a model's own, and how much better each is than the others.

    `old_velocity` is of the model when it drew them, `ref_velocity` of the reference.
    """

    old_velocity: Float[Tensor, " batch *shape"]
    ref_velocity: Float[Tensor, " batch *shape"]
    advantages: Float[Tensor, " batch"]


@dataclass(frozen=True)
class DenoisingSteps(Record):
    """Random steps from noise to samples, and what the samples are worth beside the others.

    Log-probabilities are of a step's outcome, all dimensions together, in nats: under the current
    model, and under the one that took the step.
    """

    logprob: Float[Tensor, " batch"]
    old_logprob: Float[Tensor, " batch"]
    advantages: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]
