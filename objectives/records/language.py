"""Responses of language models: demonstrations, preferences, rewarded samples."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from objectives.records.base import Record, length, masked_sum


@dataclass(frozen=True)
class Demonstration(Record):
    """Token log-probabilities of a response to be imitated, in nats; the mask is true on it."""

    chosen_logprobs: Float[Tensor, "batch time"]
    chosen_mask: Bool[Tensor, "batch time"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Preference(Record):
    """Token log-probabilities of a chosen and a rejected response, in nats.

    The masks are true on response tokens; the reference model carries no gradient.
    """

    chosen_logprobs: Float[Tensor, "batch time"]
    rejected_logprobs: Float[Tensor, "batch time"]
    ref_chosen_logprobs: Float[Tensor, "batch time"]
    ref_rejected_logprobs: Float[Tensor, "batch time"]
    chosen_mask: Bool[Tensor, "batch time"]
    rejected_mask: Bool[Tensor, "batch time"]
    index: Int[Tensor, " batch"]

    @property
    def chosen_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.chosen_logprobs, self.chosen_mask)

    @property
    def rejected_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.rejected_logprobs, self.rejected_mask)

    @property
    def chosen_mean_logprob(self) -> Float[Tensor, " batch"]:
        return self.chosen_logprob / length(self.chosen_mask)

    @property
    def rejected_mean_logprob(self) -> Float[Tensor, " batch"]:
        return self.rejected_logprob / length(self.rejected_mask)

    @property
    def ref_chosen_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.ref_chosen_logprobs, self.chosen_mask)

    @property
    def ref_rejected_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.ref_rejected_logprobs, self.rejected_mask)


@dataclass(frozen=True)
class SelfPlay(Preference):
    """Two responses of the policy as it was when a round of self-play began, and what it says.

    An oracle has judged them; the policy of the round's beginning carries no gradient.
    """

    old_chosen_logprobs: Float[Tensor, "batch time"]
    old_rejected_logprobs: Float[Tensor, "batch time"]

    @property
    def old_chosen_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.old_chosen_logprobs, self.chosen_mask)

    @property
    def old_rejected_logprob(self) -> Float[Tensor, " batch"]:
        return masked_sum(self.old_rejected_logprobs, self.rejected_mask)


@dataclass(frozen=True)
class Rewards(Record):
    """A model's rewards of a chosen and a rejected response, of any scale."""

    chosen_reward: Float[Tensor, " batch"]
    rejected_reward: Float[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class JudgedPreference(Preference):
    """A preference, and the rewards that a frozen reward model gives both responses."""

    chosen_reward: Float[Tensor, " batch"]
    rejected_reward: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Responses(Record):
    """A policy's responses, several to a prompt, and what they are worth.

    Log-probabilities of tokens, in nats, are under the policy, the one that drew them, and the
    reference; the mask is true on the response. Responses of the same group have one prompt.
    """

    token_logprobs: Float[Tensor, "batch time"]
    old_token_logprobs: Float[Tensor, "batch time"]
    ref_token_logprobs: Float[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
    rewards: Float[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"]


@dataclass(frozen=True)
class BaselinedResponses(Responses):
    """The same, and what the most likely response to each one's prompt is worth."""

    greedy_rewards: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Episodes(Responses):
    """Responses that are written in turns with an environment; the mask is true on the policy's.

    An action may have several tokens: `starts` is true on the first of each, where `step_rewards`
    has what the environment gives for it; `anchors` is the number of the state that it answers, on
    all its tokens. `rewards` are of whole episodes.
    """

    anchors: Int[Tensor, "batch time"]
    starts: Bool[Tensor, "batch time"]
    step_rewards: Float[Tensor, "batch time"]
