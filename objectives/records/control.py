"""Steps in an environment, of the policy itself or of others."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from objectives.records.base import Record


@dataclass(frozen=True)
class Rollout(Record):
    """Steps of an on-policy rollout, replayed under the current policy.

    `advantages` and `returns` are those of the policy that acted; `values` are the current
    critic's. Log-probabilities and entropies are in nats, returns in the environment's reward.
    """

    logprobs: Float[Tensor, " batch"]
    old_logprobs: Float[Tensor, " batch"]
    advantages: Float[Tensor, " batch"]
    returns: Float[Tensor, " batch"]
    values: Float[Tensor, " batch"]
    entropies: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Transitions(Record):
    """Transitions of others, and what two critics and a policy say of them.

    `values_1` and `values_2` are the critics' of the action taken, `targets` what they should be,
    constants. `policy_values` are the first critic's of the policy's own actions, with a gradient
    for the policy alone. Values are discounted sums of scaled rewards, actions lie in [-1, 1].
    """

    values_1: Float[Tensor, " batch"]
    values_2: Float[Tensor, " batch"]
    targets: Float[Tensor, " batch"]
    actions: Float[Tensor, "batch dims"]
    policy_actions: Float[Tensor, "batch dims"]
    policy_values: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class GuidedTransitions(Transitions):
    """Transitions beside actions that a generative model of the data has in the policy's place.

    `state_values` are a third critic's, of the state alone, `state_targets` what they should be.
    `reconstructions` are the model's of the actions taken, its latent variables normal with
    `latent_means` and `latent_stds`. `generated_values` are the first critic's, a constant.
    """

    generated_actions: Float[Tensor, "batch dims"]
    generated_values: Float[Tensor, " batch"]
    state_values: Float[Tensor, " batch"]
    state_targets: Float[Tensor, " batch"]
    reconstructions: Float[Tensor, "batch dims"]
    latent_means: Float[Tensor, "batch latent"]
    latent_stds: Float[Tensor, "batch latent"]
